"""How much of the photo is asked for: at each scale, and of networks whose features differ in size."""

from __future__ import annotations

import pytest
import torch

from opsin.extractors import make_extractor
from opsin.published.scales import CAFFE_SCALES
from opsin.stylize import objective
from opsin.stylize.settings import LOSSES, Settings

SIZE = CAFFE_SCALES[objective.CONTENT_LAYER]


@pytest.fixture(scope="module")
def extractors():
    """Of features around 1, and of those of the original weights."""
    return make_extractor("vgg19", "random"), make_extractor("vgg19", "bundled")


def weight(extractor, longer_side: int, **settings: object) -> float:
    made = Settings.of({"size": 256, **settings})
    loss, _ = objective.make_losses(made, extractor, [1.0], torch.Generator(), longer_side)
    (found,) = (term.weight for term in loss.terms.values() if term.group == "content")
    return found


def test_coarse_scales_hold_on_to_the_photo(extractors):
    fine, coarse, coarsest = (weight(extractors[0], side, content_weight=0.5) for side in (256, 128, 64))
    assert (coarse, coarsest) == pytest.approx((4 * fine, 16 * fine))


@pytest.mark.parametrize(
    ("loss", "power"),
    [("gatys", 4), ("wasserstein", 2), ("sliced-wasserstein", 2), ("mrf", 2), ("contextual", 0), ("nnfm", 0)],
)
def test_the_weight_follows_the_size_of_the_features(extractors, loss, power):
    """Features s times as large make the content s² times and the style s^power times as large."""
    small, large = (weight(extractor, 256, loss=loss) for extractor in extractors)
    assert large * SIZE**2 / SIZE**power == pytest.approx(small)


def test_every_loss_but_strotss_has_one():
    assert {*objective._CONTENT, "strotss"} == set(LOSSES)
