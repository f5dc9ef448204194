"""The published losses under the names that the command line gives them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from opsin import published
from opsin.assembly import build, load
from opsin.checks import choice
from opsin.distances import DISTANCES
from opsin.errors import InputError, MissingExtraError
from opsin.extractors import NETWORKS, make_extractor
from opsin.loss import PerceptualLoss
from opsin.weights import shift_tolerant
from opsin.weights.sources import find_official

ALWAYS = "vgg19-cosine"
"""The distance that needs nothing but what opsin brings: VGG-19's bundled weights, `opsin compare`'s default."""

USUAL = ("lpips-alex", "lpips-vgg", "dists", "st-lpips-alex", "st-lpips-vgg")
"""Those that people judge images by."""


@dataclass(frozen=True)
class Listed:
    """One published loss: what people ask before they choose it.

    Attributes:
        paper: authors and year.
        network: the network it looks through by default, "image" for none.
        weights: what it takes by default: its network's weights, "none", or "file" where it must be told which.
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
    "st-lpips-alex": Listed(
        "Ghildyal 2022", "alexnet_shift_tolerant", "official", "content", partial(published.st_lpips, "alex")
    ),
    "st-lpips-vgg": Listed(
        "Ghildyal 2022", "vgg16_shift_tolerant", "official", "content", partial(published.st_lpips, "vgg")
    ),
    "e-lpips": Listed("Kettunen 2019", "vgg16", "official", "content", published.e_lpips),
    "dists": Listed("Ding 2020", "vgg16", "official", "content", published.dists, range="[0, 1]"),
    "a-dists": Listed("Ding 2021", "vgg16", "official", "content", published.a_dists, range="[0, 2]"),
    "deepwsd": Listed("Liao 2022", "vgg16", "official", "content", published.deepwsd),
    "pieapp": Listed("Prashnani 2018", "pieapp", "file", "content", published.pieapp, range="(-∞, ∞)"),
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
    "nnfm": Listed("Zhang 2022", "vgg16", "official", "style", published.nnfm, range="[0, 1]"),
    "strotss": Listed("Kolkin 2019", "vgg16", "official", "both", published.strotss),
    "srgan": Listed("Ledig 2017", "vgg19", "bundled", "content", published.srgan),
    "esrgan": Listed("Wang 2018", "vgg19", "bundled", "content", published.esrgan),
    "real-esrgan": Listed("Wang 2021", "vgg19", "bundled", "content", published.real_esrgan),
    "enhancenet-texture": Listed("Sajjadi 2017", "vgg19", "bundled", "content", published.enhancenet_texture),
    "pix2pixhd-vgg": Listed("Wang 2018", "vgg19", "bundled", "content", published.pix2pixhd_vgg),
    "focal-frequency": Listed("Jiang 2021", "image", "none", "content", published.focal_frequency, range="[0, 1]"),
    "fdl": Listed("Ni 2024", "vgg19", "bundled", "content", published.fdl),
    "watson-dft": Listed("Czolbe 2020", "image", "initial", "content", published.watson_dft),
}
LOSSES: Mapping[str, Listed] = MappingProxyType(_listed)


def make_loss(name: str, weights: str | os.PathLike[str] | None = None) -> PerceptualLoss:
    """Make a loss by its name.

    Args:
        name: one of `LOSSES`, e.g. "lpips-alex"; NETWORK-DISTANCE, e.g. "vgg19-l2", for that distance at the network's
            default layers; or a YAML file that `PerceptualLoss.to_yaml` wrote.
        weights: of its network, or its own; None takes the default.

    Raises:
        ChoiceError: an unknown name.
        InputError: weights for a loss that has none, or whose file names them.
        WeightsError: weights that are not there.

    Example:
        >>> make_loss("vgg19-l2", "random").terms["relu1_2"].distance.name
        'l2'
    """
    if is_file(name):
        if weights is not None:
            raise InputError(f"weights must be left out for '{name}', which names them, got {os.fspath(weights)!r}.")
        return load(name)
    network = _plain(name)
    if network:
        return build(make_extractor(network, weights), None, name.rpartition("-")[2])
    listed = LOSSES[choice("loss", name, LOSSES)]
    if weights is None:
        return listed.make()
    if listed.weights == "none":
        raise InputError(f"weights must be left out for {name}, which has none, got {os.fspath(weights)!r}.")
    return listed.make(weights=weights)


def is_file(name: str) -> bool:
    """Whether a loss's name is that of a YAML file."""
    return name.lower().endswith((".yaml", ".yml"))


def _plain(name: str) -> str:
    """The network of a loss called NETWORK-DISTANCE; nothing for other names."""
    network, _, distance = name.rpartition("-")
    return network if network in NETWORKS and distance in DISTANCES else ""


def why_not_at_hand(name: str) -> str | None:
    """Why a loss of `LOSSES` cannot be computed without a download; None if it can.

    Raises:
        ChoiceError: an unknown name.
    """
    network = LOSSES[choice("loss", name, LOSSES)].network
    if network in shift_tolerant.FILES:
        try:
            shift_tolerant.wheel_path(network)
        except MissingExtraError:
            return "stlpips-pytorch is not installed: pip install 'opsin[stlpips]'"
        return None
    if LOSSES[name].weights == "official" and find_official(network) is None:
        return f"the weights of {network} are not there: opsin weights fetch {network}"
    return None


def compares_with_original(name: str) -> bool:
    """Whether a published loss can train a network to come near an original: least at equal pictures, with a gradient.

    Args:
        name: e.g. "lpips-alex".

    Raises:
        ChoiceError: an unknown name.

    Example:
        >>> compares_with_original("lpips-vgg"), compares_with_original("gatys-style")
        (True, False)
    """
    listed = LOSSES[choice("loss", name, LOSSES)]
    return listed.differentiable and listed.compares == "content"
