"""The packages of the extra `video`, imported when they are first needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from opsin.errors import MissingExtraError


def require_av() -> ModuleType:
    """PyAV, which reads and writes clips.

    Raises:
        MissingExtraError: it is not installed.
    """
    return _require("PyAV", "av")


def require_cv2() -> ModuleType:
    """OpenCV, which finds the optical flow.

    Raises:
        MissingExtraError: it is not installed.
    """
    return _require("OpenCV", "cv2")


def _require(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"video must have {name} installed, got no package {package}. pip install 'opsin[video]'"
        ) from error
