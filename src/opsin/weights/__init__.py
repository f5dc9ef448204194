"""Where weights come from: the bundled VGG-19, torchvision's official files, or a file of one's own.

Importing this package costs nothing: the command line lists the weights there are without loading torch, so
each name is looked up in its module on first use (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsin.weights.catalog import BUNDLED, OFFICIAL, Bundled, OfficialWeights
    from opsin.weights.quantized import decode_vgg19
    from opsin.weights.sources import (
        Weights,
        WeightsStatus,
        fetch,
        find_official,
        load,
        status,
        verify,
        weights_dir,
    )

# `download.download` is left out: a function and a submodule of one name would hide each other.
_HOME = {
    "BUNDLED": "catalog",
    "OFFICIAL": "catalog",
    "Bundled": "catalog",
    "OfficialWeights": "catalog",
    "decode_vgg19": "quantized",
    "Weights": "sources",
    "WeightsStatus": "sources",
    "fetch": "sources",
    "find_official": "sources",
    "load": "sources",
    "status": "sources",
    "verify": "sources",
    "weights_dir": "sources",
}

__all__ = [
    "BUNDLED",
    "OFFICIAL",
    "Bundled",
    "OfficialWeights",
    "Weights",
    "WeightsStatus",
    "decode_vgg19",
    "fetch",
    "find_official",
    "load",
    "status",
    "verify",
    "weights_dir",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
