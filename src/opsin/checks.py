"""Checks of what comes in from outside, with errors that say how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from opsin.errors import ChoiceError, InputError


def choice(what: str, name: object, known: Iterable[str], *, owner: str = "") -> str:
    """Return `name` if it is one of `known`.

    Args:
        what: the noun in the message, e.g. "tap".
        name: the name to look up.
        known: the names there are.
        owner: whose names they are, e.g. "vgg16".

    Raises:
        ChoiceError: `unknown tap 'relu3_5' for vgg16; did you mean 'relu3_3'?`
    """
    known = list(known)
    if isinstance(name, str) and name in known:
        return name
    of = f" for {owner}" if owner else ""
    near = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.5)
    if near:
        hint = f"did you mean '{near[0]}'?"
    elif len(known) <= 40:
        hint = f"choose one of {', '.join(known)}."
    else:
        hint = f"there are {len(known)}, from '{known[0]}' to '{known[-1]}'."
    raise ChoiceError(f"unknown {what} {name!r}{of}; {hint}")


def whole(name: str, value: int, least: int = 1, *, mend: str = "Leave it out for the default.") -> int:
    """Return `value` if it is a whole number of at least `least`.

    Raises:
        InputError: it is not; `mend` says what to do.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}. {mend}")
    return value


def from_zero(name: str, value: float) -> float:
    """Return `value` if it is a number from 0 on.

    Raises:
        InputError: it is not.
    """
    if not 0 <= value < float("inf"):
        raise InputError(f"{name} must be a number from 0 on, got {value}. E.g. 1.")
    return value


def positive(name: str, value: float) -> float:
    """Return `value` if it is a positive number.

    Raises:
        InputError: it is not.
    """
    if not 0 < value < float("inf"):
        raise InputError(f"{name} must be a positive number, got {value}. Leave it out for the default.")
    return float(value)
