"""The errors opsin raises: each says what must be what, what it got instead, and how to mend it."""

from __future__ import annotations


class OpsinError(ValueError):
    """Base of every error that opsin raises on purpose."""


class InputError(OpsinError):
    """A tensor, number or combination of arguments that does not fit."""


class ChoiceError(OpsinError):
    """A name (network, tap, distance, weights, term …) that does not exist."""


class WeightsError(OpsinError):
    """A weights file that is missing, damaged, of another network, or could not be downloaded."""


class ImageError(OpsinError):
    """An image or video file that cannot be read or written."""


class MissingExtraError(OpsinError, ImportError):
    """An optional dependency that is not installed."""
