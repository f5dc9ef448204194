"""How much of the photo is asked for: at each scale, and of networks whose features differ in size."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from opsin import weights
from opsin.extractors import make_extractor
from opsin.published.scales import CAFFE_SCALES
from opsin.stylize import objective
from opsin.stylize.settings import LOSSES, Settings

MEAN = (123.68, 116.779, 103.939)  # of RGB, that the original weights take off


@pytest.fixture(scope="module")
def extractors(tmp_path_factory):
    """VGG-19 with its original weights, and the same network with features of about 1 at each ReLU."""
    state = dict(weights.load("vgg19", "bundled").state)
    sizes = [size for tap, size in CAFFE_SCALES.items() if tap.startswith("relu")]
    names = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    for name, before, size in zip(names, [1.0, *sizes], sizes, strict=False):
        state[f"{name}.weight"] = state[f"{name}.weight"] * (before / size)
        state[f"{name}.bias"] = state[f"{name}.bias"] / size
    state["features.0.weight"] = state["features.0.weight"].flip(1)  # read as BGR from the original file alone
    path = tmp_path_factory.mktemp("weights") / "vgg19-of-one.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    numbers = tuple(m / 255 for m in MEAN), (1 / 255,) * 3
    return make_extractor("vgg19", "bundled"), make_extractor("vgg19", path, normalization=numbers)


def weight(extractor, longer_side: int, **settings: object) -> float:
    made = Settings.of({"size": 256, **settings})
    loss, _ = objective.make_losses(made, extractor, [1.0], torch.Generator(), longer_side)
    (found,) = (term.weight for term in loss.terms.values() if term.group == "content")
    return found


def test_coarse_scales_hold_on_to_the_photo(extractors):
    fine, coarse, coarsest = (weight(extractors[0], side, content_weight=0.5) for side in (256, 128, 64))
    assert (coarse, coarsest) == pytest.approx((4 * fine, 16 * fine))


@pytest.mark.parametrize("loss", list(objective._CONTENT))
def test_content_style_and_smoothness_are_as_much_of_the_whole_whatever_the_size_of_the_features(extractors, loss):
    """Layers differ in size, so that only the order is the same; a wrong power of the size is off by 7e4 and more."""
    photo, painting = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    balances, smoothness = [], []
    for extractor in extractors:
        made = Settings(size=64, loss=loss, tv=1.0)
        function, _ = objective.make_losses(made, extractor, [1.0], torch.Generator().manual_seed(0), 64)
        evaluation = function.evaluate((photo + painting) / 2, function.targets(target=photo, style0=painting))
        groups = objective.by_group(function, evaluation)
        balances.append(float(groups["content"] / groups["style"]))
        smoothness.append(float(groups["smoothness"] / groups["style"]))
    assert 1 / 20 < balances[0] / balances[1] < 20
    assert 1 / 20 < smoothness[0] / smoothness[1] < 20


def test_every_loss_but_strotss_has_one():
    assert {*objective._CONTENT, "strotss"} == set(LOSSES)
