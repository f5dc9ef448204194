"""An extractor by the name of its network."""

from __future__ import annotations

import os
from typing import Any

from opsin.checks import choice
from opsin.errors import InputError
from opsin.extractors import alexnet, antialiased, efficientnet, squeezenet, vgg
from opsin.extractors.averaged import Averaged
from opsin.extractors.base import Extractor, ImageExtractor
from opsin.extractors.pieapp import PieAPP
from opsin.extractors.resized import Resized
from opsin.extractors.timm import TimmExtractor

NETWORKS = (*vgg.NAMES, *alexnet.NAMES, *squeezenet.NAMES, *antialiased.NAMES, *efficientnet.NAMES, "pieapp", "image")


def make_extractor(network: str, weights: str | os.PathLike[str] | None = None, **options: Any) -> Extractor:
    """Make the extractor of a network by its name.

    Args:
        network: one of `NETWORKS`, or "timm:" and the name of a timm model.
        weights: "bundled", "official", "random" or a path; None takes the class's default: "bundled" for VGG, else
            "official".
        options: further keywords of the extractor's class, such as `pooling`; and `resize`, the shorter side that
            larger images are made smaller to first (see `Resized`), or `average`, the longer side near which they are
            brought by averaging whole blocks (see `Averaged`).

    Raises:
        ChoiceError: a network that does not exist.

    Example:
        >>> import opsin
        >>> opsin.make_extractor("vgg11", "random", pooling="avg")
        VGG('vgg11', weights='random', pooling='avg', padding='zeros')
    """
    for option, smaller in (("resize", Resized), ("average", Averaged)):
        side = options.pop(option, None)
        if side is not None:
            return smaller(make_extractor(network, weights, **options), side)
    if weights is not None:
        options["weights"] = weights
    if isinstance(network, str) and network.startswith("timm:"):
        return TimmExtractor(network.removeprefix("timm:"), **options)
    choice("network", network, NETWORKS)
    if network == "image":
        unused = sorted(options.keys() - {"weights"})
        if unused:
            raise InputError(f"the image itself must have no options, got {unused}. Leave them out.")
        return ImageExtractor()
    if network in alexnet.NAMES:
        return alexnet.AlexNet(**options)
    if network in squeezenet.NAMES:
        return squeezenet.SqueezeNet(**options)
    if network in antialiased.NAMES:
        return antialiased.ShiftTolerant(network, **options)
    if network in efficientnet.NAMES:
        return efficientnet.EfficientNetLite0(**options)
    if network == "pieapp":
        return PieAPP(**options)
    return vgg.VGG(network, **options)


def as_extractor(network: str | Extractor, weights: str | os.PathLike[str] | None = None, **options: Any) -> Extractor:
    """Return `network` if it is an extractor, else make the one of that name.

    Raises:
        ChoiceError: a network that does not exist.
        InputError: options beside an extractor, which has its own already.
    """
    if not isinstance(network, Extractor):
        return make_extractor(network, weights, **options)
    if options:
        raise InputError(
            f"options must go to the extractor when it is made, got {sorted(options)}. Leave them out here."
        )
    return network


def default_layers(network: str) -> tuple[str, ...]:
    """The layers a loss on a network compares unless told otherwise: the last ReLU in front of each pooling.

    For VGG, AlexNet and SqueezeNet these are the layers of LPIPS (Zhang et al. 2018), whether they blur or not.

    Raises:
        InputError: a network of which nobody has said which layers are good.
    """
    if network in vgg.NAMES:
        return vgg.default_layers(network)
    known = {
        "alexnet": ("relu1", "relu2", "relu3", "relu4", "relu5"),
        "squeezenet1_1": ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9"),
        "alexnet_shift_tolerant": ("relu1", "relu2", "relu3", "relu4", "relu5"),
        "vgg16_shift_tolerant": vgg.default_layers("vgg16"),
        # The four that projected GANs look at.
        "efficientnet_lite0": ("stage2", "stage3", "stage5", "stage7"),
        "pieapp": ("patches",),
        "image": ("image",),
    }
    if network not in known:
        raise InputError(f"layers must be named for {network}, got none. Choose from the extractor's taps.")
    return known[network]
