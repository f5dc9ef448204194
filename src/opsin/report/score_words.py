"""Names and numbers as the page of scores writes them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from opsin.scoring.results import Metric, Scores

NONE = "–"
"""Where there is no number."""


def plain(name: str) -> str:
    """A name that can be written as UTF-8: what is no Unicode in it, as in names of files, is spelled out."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def markup(name: str) -> str:
    """A name as HTML has it, in text and in attributes."""
    return escape(plain(name), quote=True)


def arrow(metric: Metric) -> str:
    """The way that is closer."""
    return "↑" if metric.higher else "↓"


def counted(number: int, one: str, many: str = "") -> str:
    """A number and the noun that goes with it."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def block(name: str, value: Any) -> str:
    """Data for the script: JSON in which nothing ends the element or begins a comment; its strings are `plain`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'<script type="application/json" id="{name}">{text.replace("<", chr(92) + "u003c")}</script>'


def bare(value: float, digits: int = 6) -> float | str | None:
    """A value as JSON has it: None for NaN, words that a script reads as numbers for ±∞."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(f"{value:.{digits}g}")


@dataclass(frozen=True)
class Digits:
    """How all values of a metric are written, so that they can be compared.

    Attributes:
        after: digits after the point; -1 for powers of ten.
    """

    after: int

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> Digits:
        """Four digits for the larger of the values."""
        finite = np.abs(values[np.isfinite(values)])
        size = float(np.quantile(finite, 0.9)) if len(finite) else 0.0
        power = math.floor(math.log10(size)) if size > 0 else -1
        return cls(max(0, 3 - power) if -4 <= power <= 6 else -1)

    def write(self, value: float) -> str:
        """A value in these digits."""
        if math.isnan(value):
            return NONE
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        if self.after < 0:
            return f"{value:.3e}"
        return f"{round(value, self.after) + 0.0:.{self.after}f}"  # 0, not -0


def digits_of(scores: Scores) -> Sequence[Digits]:
    """Of each metric."""
    return [Digits.of(scores.values[:, :, number]) for number in range(len(scores.metrics))]
