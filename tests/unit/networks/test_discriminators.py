"""Networks that tell made images from photos."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from opsin.errors import ChoiceError, InputError
from opsin.networks import (
    DISCRIMINATORS,
    Discriminator,
    PatchDiscriminator,
    UNetDiscriminator,
    VGGDiscriminator,
    load_network,
    make_discriminator,
    save_network,
)

NAMES = list(DISCRIMINATORS)
SHAPES = {"vgg": (2, 1), "patch": (2, 1, 2, 2), "unet": (2, 1, 32, 32)}


@pytest.fixture(params=NAMES)
def network(request: pytest.FixtureRequest) -> Discriminator:
    """Each of them, small, for images of 32."""
    torch.manual_seed(0)
    return make_discriminator(request.param, 32, width=4)


@pytest.fixture
def batches() -> tuple[Tensor, Tensor]:
    """Two that differ in their statistics."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 32, 32, generator=generator), 0.1 * torch.rand(2, 3, 32, 32, generator=generator)


def test_the_published_numbers() -> None:
    assert _parameters(VGGDiscriminator(128, 64)) == 14_499_401
    assert _parameters(UNetDiscriminator(64)) == 4_376_897
    # pix2pix' discriminator of three channels instead of six.
    assert _parameters(PatchDiscriminator(64)) == 2_768_705 - 3 * 64 * 16


@pytest.mark.parametrize("name", NAMES)
def test_shapes(name: str) -> None:
    (logits,) = make_discriminator(name, 32, width=2)(torch.rand(2, 3, 32, 32))
    assert tuple(logits.shape) == SHAPES[name]


def test_batches_of_one_call_are_judged_apart(network: Discriminator, batches: tuple[Tensor, Tensor]) -> None:
    """As by two calls, in train mode too: those of one batch see nothing of the other's statistics."""
    apart = copy.deepcopy(network)
    together = network(*batches)
    for logits, images in zip(together, batches, strict=True):
        assert torch.equal(logits, apart(images)[0])
    for own, other in zip(network.buffers(), apart.buffers(), strict=True):
        assert torch.equal(own, other)


def test_batch_statistics_would_be_seen(batches: tuple[Tensor, Tensor]) -> None:
    """What the test above is able to see."""
    network = make_discriminator("vgg", 32, width=4)
    joined = network(torch.cat(batches))[0].chunk(2)
    assert not torch.allclose(joined[0], network(*batches)[0], atol=1e-3)


def test_gradients_of_two_batches_in_one_call(network: Discriminator, batches: tuple[Tensor, Tensor]) -> None:
    for _ in range(2):  # the second finds spectral normalisation's vectors changed by the first
        real, fake = network(*batches)
        (fake.mean() - real.square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


def test_spectral_norms_are_one() -> None:
    network = UNetDiscriminator(width=4)
    for _ in range(30):
        network(torch.rand(1, 3, 16, 16))
    for conv in (*network.down, *network.up):
        weight: Any = conv.weight
        weight = weight.flatten(1).detach()
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=0.02)


def test_files(network: Discriminator, batches: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    network(*batches)
    save_network(tmp_path / "d.safetensors", network, {})
    loaded = load_network(tmp_path / "d.safetensors", network.architecture).network
    for own, other in zip(network.eval()(*batches), loaded(*batches), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("vgg", 40, "a multiple of 16"),
        ("patch", 23, "at least 24x24, got 23x23"),
        ("unet", 20, "multiples of 8, got 20x20"),
        ("unet", 0, "at least 8x8"),
    ],
)
def test_sizes_that_do_not_fit(name: str, size: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_discriminator(name, size, width=2)


@pytest.mark.parametrize(("name", "said"), [("vgg", "32x32, got 33x16"), ("patch", "24x24"), ("unet", "got 33x16")])
def test_images_that_do_not_fit(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_discriminator(name, 32, width=2)(torch.rand(1, 3, 16, 33))


def test_the_smallest_patch() -> None:
    for layers in (1, 2, 3):
        for norm in ("batch", "instance", "none"):
            network = PatchDiscriminator(2, layers, norm)
            assert network(torch.rand(2, 3, network.smallest, network.smallest))[0].shape == (2, 1, 1, 1)


def test_what_cannot_be() -> None:
    with pytest.raises(ChoiceError, match="unknown discriminator 'vggg'; did you mean 'vgg'"):
        make_discriminator("vggg", 32)
    with pytest.raises(InputError, match="width must be a whole number of at least 1, got 0"):
        make_discriminator("unet", 32, width=0)
    with pytest.raises(ChoiceError, match="norm"):
        PatchDiscriminator(norm="layer")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[None]:
    """One process of gloo."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("process")
@pytest.mark.skipif(not distributed.is_gloo_available(), reason="needs gloo")
def test_over_processes(network: Discriminator, batches: tuple[Tensor, Tensor]) -> None:
    """One call, one gradient: the same as without."""
    alone = copy.deepcopy(network)
    for judge in (DistributedDataParallel(network), alone):
        real, fake = judge(*batches)
        (fake.mean() - real.mean()).backward()
    for own, other in zip(network.parameters(), alone.parameters(), strict=True):
        assert own.grad is not None
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-5, atol=1e-7)


def _parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
