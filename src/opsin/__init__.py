"""Perceptual losses for PyTorch: L(x, y) = Σ wᵢ · d(Fᵢ(x), Fᵢ(y)).

Names are imported when they are first used, so that the command line answers without waiting for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from opsin._version import __version__

if TYPE_CHECKING:
    from opsin import compat, distances, export, extractors, functional, images, published, weights
    from opsin.assembly import build, load, perceptual_loss
    from opsin.balancing import balance
    from opsin.distances import Distance, Regularizer, SpatialDistance
    from opsin.errors import (
        ChoiceError,
        ImageError,
        InputError,
        MissingExtraError,
        OpsinError,
        WeightsError,
    )
    from opsin.extractors import (
        VGG,
        AlexNet,
        Extractor,
        ImageExtractor,
        ModuleExtractor,
        SqueezeNet,
        TimmExtractor,
        make_extractor,
    )
    from opsin.feature_matching import FeatureMatching
    from opsin.images import read_image, write_image
    from opsin.loss import PerceptualLoss
    from opsin.memory import fit_memory, peak_memory
    from opsin.results import Evaluation, Signature, Targets
    from opsin.terms import Term

_HOMES = {
    "balance": "opsin.balancing",
    "build": "opsin.assembly",
    "load": "opsin.assembly",
    "perceptual_loss": "opsin.assembly",
    "Distance": "opsin.distances",
    "Regularizer": "opsin.distances",
    "SpatialDistance": "opsin.distances",
    "ChoiceError": "opsin.errors",
    "ImageError": "opsin.errors",
    "InputError": "opsin.errors",
    "MissingExtraError": "opsin.errors",
    "OpsinError": "opsin.errors",
    "WeightsError": "opsin.errors",
    "AlexNet": "opsin.extractors",
    "Extractor": "opsin.extractors",
    "ImageExtractor": "opsin.extractors",
    "ModuleExtractor": "opsin.extractors",
    "SqueezeNet": "opsin.extractors",
    "TimmExtractor": "opsin.extractors",
    "VGG": "opsin.extractors",
    "make_extractor": "opsin.extractors",
    "FeatureMatching": "opsin.feature_matching",
    "read_image": "opsin.images",
    "write_image": "opsin.images",
    "PerceptualLoss": "opsin.loss",
    "fit_memory": "opsin.memory",
    "peak_memory": "opsin.memory",
    "Evaluation": "opsin.results",
    "Signature": "opsin.results",
    "Targets": "opsin.results",
    "Term": "opsin.terms",
}
_MODULES = ("compat", "distances", "export", "extractors", "functional", "images", "published", "weights")

__all__ = [
    "VGG",
    "AlexNet",
    "ChoiceError",
    "Distance",
    "Evaluation",
    "Extractor",
    "FeatureMatching",
    "ImageError",
    "ImageExtractor",
    "InputError",
    "MissingExtraError",
    "ModuleExtractor",
    "OpsinError",
    "PerceptualLoss",
    "Regularizer",
    "Signature",
    "SpatialDistance",
    "SqueezeNet",
    "Targets",
    "Term",
    "TimmExtractor",
    "WeightsError",
    "__version__",
    "balance",
    "build",
    "compat",
    "distances",
    "export",
    "extractors",
    "fit_memory",
    "functional",
    "images",
    "load",
    "make_extractor",
    "peak_memory",
    "perceptual_loss",
    "published",
    "read_image",
    "weights",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"opsin.{name}")
    else:
        raise AttributeError(f"module 'opsin' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
