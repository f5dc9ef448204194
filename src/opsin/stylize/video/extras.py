"""The packages of the extra `video`, imported when they are first needed."""

from __future__ import annotations

from types import ModuleType

from opsin.errors import MissingExtraError


def require_av() -> ModuleType:
    """PyAV, which reads and writes clips.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise _missing("PyAV", "av") from error
    return av


def require_cv2() -> ModuleType:
    """OpenCV, which finds the optical flow.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise _missing("OpenCV", "cv2") from error
    return cv2


def _missing(name: str, package: str) -> MissingExtraError:
    return MissingExtraError(f"video must have {name} installed, got no package {package}. pip install 'opsin[video]'")
