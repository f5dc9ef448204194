"""What is measured of a generator: that it is near the data, covers it, and neither copies nor repeats."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from opsin.errors import ChoiceError, InputError
from opsin.gan.evaluation import Evaluator


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator("efficientnet_lite0", "random", "stage3", size=32)


def pictures(count: int, seed: int) -> Tensor:
    """Coarse noise, of one distribution."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.interpolate(torch.rand(count, 3, 4, 4, generator=generator), (32, 32), mode="bicubic")


@pytest.fixture(scope="module")
def data(evaluator: Evaluator) -> Tensor:
    return evaluator.vectors([pictures(120, 0).clamp(0, 1)])


def test_more_of_the_same_is_near(evaluator: Evaluator, data: Tensor) -> None:
    found = evaluator.compare(evaluator.vectors([pictures(100, 1).clamp(0, 1)]), data)
    assert abs(found.kernel) < 4 * found.kernel_error
    assert found.precision > 0.6
    assert found.recall > 0.6
    assert found.spread == pytest.approx(1, abs=0.15)
    assert 0.25 < found.copies < 0.75
    assert not found.collapsed
    assert (found.generated, found.real) == (100, 120)


def test_something_else_is_far(evaluator: Evaluator, data: Tensor) -> None:
    near = evaluator.compare(evaluator.vectors([pictures(100, 1).clamp(0, 1)]), data)
    far = evaluator.compare(evaluator.vectors([0.3 * pictures(100, 1).clamp(0, 1)]), data)
    assert far.frechet > 2 * near.frechet
    assert far.kernel > near.kernel + 10 * near.kernel_error
    assert far.precision < near.precision


def test_a_constant_generator_is_noticed(evaluator: Evaluator, data: Tensor) -> None:
    constant = pictures(1, 5).clamp(0, 1).expand(60, -1, -1, -1)
    found = evaluator.compare(evaluator.vectors([constant]), data)
    assert found.collapsed
    assert found.spread < 1e-3
    assert found.recall < 0.1
    few = pictures(2, 5).clamp(0, 1)[torch.arange(60) % 2] + 0.01 * pictures(60, 6)
    assert evaluator.compare(evaluator.vectors([few.clamp(0, 1)]), data).recall < 0.3


def test_copies_are_noticed(evaluator: Evaluator, data: Tensor) -> None:
    copied = (pictures(120, 0)[:50] + 0.002).clamp(0, 1)
    assert evaluator.compare(evaluator.vectors([copied]), data).copies == 1


def test_vectors_do_not_depend_on_batches(evaluator: Evaluator) -> None:
    images = pictures(7, 2).clamp(0, 1)
    torch.testing.assert_close(evaluator.vectors(images.split(3)), evaluator.vectors([images]), rtol=1e-4, atol=1e-5)


def test_the_signature_tells_all(evaluator: Evaluator) -> None:
    found = json.loads(json.dumps(evaluator.signature))
    assert found["extractor"]["network"] == "efficientnet_lite0"
    assert found["extractor"]["sha256"] == "seed:0"
    assert (found["tap"], found["size"]) == ("stage3", 32)
    assert evaluator.label == "efficientnet_lite0 stage3 at 32"


def test_what_is_refused(evaluator: Evaluator, data: Tensor) -> None:
    with pytest.raises(InputError, match="at least 5 images of each"):
        evaluator.compare(data[:4], data)
    with pytest.raises(InputError, match="got none"):
        evaluator.vectors([])
    with pytest.raises(ChoiceError, match="unknown tap"):
        Evaluator("efficientnet_lite0", "random", "stage9")
    with pytest.raises(InputError, match="tap must be given"):
        Evaluator("vgg11", "random")
