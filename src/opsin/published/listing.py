"""The published losses under the names that the command line gives them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from opsin import published
from opsin.checks import choice
from opsin.loss import PerceptualLoss


@dataclass(frozen=True)
class Listed:
    """One published loss: what people ask before they choose it.

    Attributes:
        paper: authors and year.
        network: the network it looks through by default, "image" for none.
        weights: that network's default weights.
        compares: what it judges: "content" (equal pictures are closest), "style" (equal textures are), or "both".
        make: makes the loss; `weights=` overrides the default.
        range: of its values; lower is closer for all of them.
        differentiable: whether it can train a network.
    """

    paper: str
    network: str
    weights: str
    compares: str
    make: Callable[..., PerceptualLoss]
    range: str = "[0, ∞)"
    differentiable: bool = True


_listed = {
    "lpips-alex": Listed("Zhang 2018", "alexnet", "official", "content", partial(published.lpips, "alex")),
    "lpips-vgg": Listed("Zhang 2018", "vgg16", "official", "content", partial(published.lpips, "vgg")),
    "lpips-squeeze": Listed("Zhang 2018", "squeezenet1_1", "official", "content", partial(published.lpips, "squeeze")),
    "dists": Listed("Ding 2020", "vgg16", "official", "content", published.dists, range="[0, 1]"),
    "johnson-feature": Listed("Johnson 2016", "vgg16", "official", "content", published.johnson_feature),
    "johnson-style": Listed("Johnson 2016", "vgg16", "official", "style", published.johnson_style),
    "gatys-content": Listed("Gatys 2016", "vgg19", "bundled", "content", published.gatys_content),
    "gatys-style": Listed("Gatys 2016", "vgg19", "bundled", "style", published.gatys_style),
    "wasserstein-style": Listed("Gaussian W2", "vgg19", "bundled", "style", published.wasserstein_style),
    "adain-style": Listed("Huang 2017", "vgg19", "bundled", "style", published.adain_style),
    "coral": Listed("Sun 2016", "vgg19", "bundled", "style", published.coral),
    "mmd-style": Listed("Li 2017", "vgg19", "bundled", "style", published.mmd_style),
    "sliced-wasserstein": Listed("Heitz 2021", "vgg19", "bundled", "style", published.sliced_wasserstein),
    "histogram": Listed("Risser 2017", "vgg19", "bundled", "style", published.histogram),
    "contextual": Listed("Mechrez 2018", "vgg19", "bundled", "content", published.contextual),
    "cobi": Listed("Zhang 2019", "vgg19", "bundled", "content", published.cobi),
    "mrf": Listed("Li 2016", "vgg19", "bundled", "style", published.mrf),
    "nnfm": Listed("Zhang 2022", "vgg16", "official", "style", published.nnfm),
    "strotss": Listed("Kolkin 2019", "vgg16", "official", "both", published.strotss),
    "srgan": Listed("Ledig 2017", "vgg19", "bundled", "content", published.srgan),
    "esrgan": Listed("Wang 2018", "vgg19", "bundled", "content", published.esrgan),
    "real-esrgan": Listed("Wang 2021", "vgg19", "bundled", "content", published.real_esrgan),
    "enhancenet-texture": Listed("Sajjadi 2017", "vgg19", "bundled", "content", published.enhancenet_texture),
    "pix2pixhd-vgg": Listed("Wang 2018", "vgg19", "bundled", "content", published.pix2pixhd_vgg),
    "focal-frequency": Listed("Jiang 2021", "image", "none", "content", published.focal_frequency),
    "fdl": Listed("Ni 2024", "vgg19", "bundled", "content", published.fdl),
}
LOSSES: Mapping[str, Listed] = MappingProxyType(_listed)


def make_loss(name: str, weights: str | os.PathLike[str] | None = None) -> PerceptualLoss:
    """Make a published loss by its name in `LOSSES`.

    Args:
        name: e.g. "lpips-alex".
        weights: of its network; None takes the default.

    Raises:
        ChoiceError: an unknown name.
        WeightsError: weights that are not there.
    """
    listed = LOSSES[choice("loss", name, LOSSES)]
    options: dict[str, Any] = {} if weights is None or listed.network == "image" else {"weights": weights}
    return listed.make(**options)
