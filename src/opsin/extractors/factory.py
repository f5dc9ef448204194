"""An extractor by the name of its network."""

from __future__ import annotations

import os
from typing import Any

from opsin.checks import choice
from opsin.errors import InputError
from opsin.extractors import alexnet, squeezenet, vgg
from opsin.extractors.base import Extractor, ImageExtractor
from opsin.extractors.timm import TimmExtractor

NETWORKS = (*vgg.NAMES, *alexnet.NAMES, *squeezenet.NAMES, "image")


def make_extractor(network: str, weights: str | os.PathLike[str] = "official", **options: Any) -> Extractor:
    """Make the extractor of a network by its name.

    Args:
        network: one of `NETWORKS`, or "timm:" and the name of a timm model.
        weights: "bundled", "official", "random" or a path.
        options: further keywords of the extractor's class, such as `pooling`.

    Raises:
        ChoiceError: a network that does not exist.

    Example:
        >>> import opsin
        >>> opsin.make_extractor("vgg11", "random", pooling="avg")
        VGG('vgg11', weights='random', pooling='avg', padding='zeros')
    """
    if isinstance(network, str) and network.startswith("timm:"):
        return TimmExtractor(network.removeprefix("timm:"), weights, **options)
    choice("network", network, NETWORKS)
    if network == "image":
        if options:
            raise InputError(f"the image itself must have no options, got {sorted(options)}. Leave them out.")
        return ImageExtractor()
    if network in alexnet.NAMES:
        return alexnet.AlexNet(weights, **options)
    if network in squeezenet.NAMES:
        return squeezenet.SqueezeNet(weights, **options)
    return vgg.VGG(network, weights, **options)
