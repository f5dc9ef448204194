"""What was measured: a value for each pair of images, method and metric, and what could not be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opsin.results import Signature


class Pair(NamedTuple):
    """A reference and what each method made of it.

    Attributes:
        name: what the pair is called.
        reference: path or URL of the reference.
        distorted: method -> path or URL; methods that have none are left out.
    """

    name: str
    reference: str
    distorted: Mapping[str, str]


class Metric(NamedTuple):
    """What is measured.

    Attributes:
        name: of a loss, "psnr" or "ssim".
        higher: whether more is closer.
    """

    name: str
    higher: bool = False


class Scored(NamedTuple):
    """What was found of one pair.

    Attributes:
        number: of the pair, from 0.
        values: method -> a value for each metric.
        errors: method -> why it has none.
    """

    number: int
    values: Mapping[str, Sequence[float]]
    errors: Mapping[str, str]


@dataclass(eq=False)
class Scores:
    """All that was measured.

    Attributes:
        pairs: the pairs.
        methods: their names.
        metrics: what was measured.
        signature: what produced the numbers.
        missing: method -> names of references that it has no image for.
        extra: method -> images that have no reference.
        values: (pairs, methods, metrics); NaN where nothing was measured.
        errors: (number of the pair, method) -> why.
    """

    pairs: Sequence[Pair]
    methods: Sequence[str]
    metrics: Sequence[Metric]
    signature: Signature
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)
    values: npt.NDArray[np.float64] = field(init=False)
    errors: dict[tuple[int, str], str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing measured."""
        self.values = np.full((len(self.pairs), len(self.methods), len(self.metrics)), np.nan)

    def add(self, scored: Scored) -> None:
        """Take in what was found of one pair."""
        for method, values in scored.values.items():
            self.values[scored.number, self.methods.index(method)] = values
        for method, error in scored.errors.items():
            self.errors[scored.number, method] = error

    def of(self, method: str, metric: str) -> npt.NDArray[np.float64]:
        """The values of a method, one for each pair; NaN where there is none."""
        names = [m.name for m in self.metrics]
        return self.values[:, self.methods.index(method), names.index(metric)]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One for each pair and method that was measured or could not be, as tables have it.

        Keys: name, method, the metrics, error, reference, distorted, signature. A value that was not measured is None.
        """
        for number, pair in enumerate(self.pairs):
            for place, method in enumerate(self.methods):
                found = [float(v) for v in self.values[number, place]]
                error = self.errors.get((number, method))
                if error is None and all(map(math.isnan, found)):
                    continue
                yield {
                    "name": pair.name,
                    "method": method,
                    **{m.name: None if math.isnan(v) else v for m, v in zip(self.metrics, found, strict=True)},
                    "error": error,
                    "reference": pair.reference,
                    "distorted": pair.distorted[method],
                    "signature": self.signature.id,
                }
