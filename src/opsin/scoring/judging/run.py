"""Losses measured on the images of a dataset, and how far they agree with what people said."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from opsin.errors import OpsinError
from opsin.results import Signature
from opsin.scoring.judging import resampling
from opsin.scoring.judging.base import Dataset
from opsin.scoring.judging.correlation import (
    Values,
    average_precision,
    krcc,
    people_2afc,
    plcc,
    srcc,
    two_afc,
)
from opsin.scoring.judging.published import PEOPLE
from opsin.scoring.local import score_locally
from opsin.scoring.reading import Preparation
from opsin.scoring.results import Metric, Pair
from opsin.scoring.scorer import Scorer

AT_ONCE = 8
"""Images of one reference that are read and measured together: the reference is decoded once for them, and no process
holds the hundred and more that some datasets have of one."""

ALL = "all"
CORRELATIONS = ("SRCC", "PLCC", "KRCC")

_IMAGES = {"2afc": ("p0", "p1"), "jnd": ("p1",), "quality": ("distorted",)}
_REFERENCE = {"2afc": "ref", "jnd": "p0", "quality": "reference"}
_JUDGED = {"2afc": "judge", "jnd": "same", "quality": "score"}


@dataclass(eq=False)
class Measured:
    """What losses say of all images of a dataset.

    Attributes:
        dataset: what people said.
        metrics: what was measured.
        signature: what produced the numbers.
        values: (judgements, images of each, metrics); NaN where nothing was measured.
        errors: number of the judgement -> why.
    """

    dataset: Dataset
    metrics: Sequence[Metric]
    signature: Signature
    values: Values = field(init=False)
    errors: dict[int, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing measured."""
        images = len(_IMAGES[self.dataset.task])
        self.values = np.full((len(self.dataset.judgements), images, len(self.metrics)), np.nan)

    def distances(self, metric: str) -> Values:
        """What a metric says, less for what is closer: (judgements, images of each)."""
        place = [m.name for m in self.metrics].index(metric)
        values = self.values[:, :, place]
        return -values if self.metrics[place].higher else values

    def rows(self) -> Iterator[dict[str, Any]]:
        """One for each judgement, as tables have it; what was not measured is None."""
        task = self.dataset.task
        for number, one in enumerate(self.dataset.judgements):
            row: dict[str, Any] = {
                "name": one.name,
                "subset": one.kind,
                _REFERENCE[task]: one.reference,
                **dict(zip(_IMAGES[task], one.images, strict=True)),
                _JUDGED[task]: one.value,
            }
            for place, metric in enumerate(self.metrics):
                for image, called in enumerate(_IMAGES[task]):
                    value = float(self.values[number, image, place])
                    name = f"{metric.name} {called}" if task == "2afc" else metric.name
                    row[name] = None if math.isnan(value) else value
            yield {**row, "error": self.errors.get(number), "signature": self.signature.id}

    @property
    def measured(self) -> int:
        """How many judgements have all of their values."""
        return int((~np.isnan(self.values).any(axis=(1, 2))).sum())


class Number(NamedTuple):
    """What a loss comes to.

    Attributes:
        value: the number; NaN where there is none.
        low: lower end of its confidence interval; NaN where there is none.
        high: upper end of it.
        judgements: how many it is of.
    """

    value: float
    low: float
    high: float
    judgements: int

    def as_dict(self) -> dict[str, float | int | None]:
        """As plain values; what is no number is None."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in self._asdict().items()}


@dataclass(frozen=True)
class Agreement:
    """How far losses agree with people.

    Attributes:
        unit: "%" or nothing.
        columns: what is told of each loss.
        rows: loss -> column -> number; of 2AFC also what people score.
        kinds: loss -> kind of distortion -> SRCC; empty unless asked for.
    """

    unit: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Number]]
    kinds: Mapping[str, Mapping[str, Number]]

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "unit": self.unit,
            "columns": list(self.columns),
            "rows": _plain(self.rows),
            **({"kinds": _plain(self.kinds)} if self.kinds else {}),
        }


def measure(
    dataset: Dataset,
    scorer: Scorer,
    preparation: Preparation,
    *,
    batch: int | None = None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Measure all images of a dataset; what cannot be read becomes an error.

    Args:
        dataset: what people judged.
        scorer: what is measured.
        preparation: what is done to images before.
        batch: references at once, each with `AT_ONCE` images at most; None for what the size allows.
        workers: processes that read; 0 reads in this one.
        progress: called with how many images are done, and of how many.

    Raises:
        OpsinError: nothing could be measured, or a reading process was killed.
    """
    pairs, places = plan(dataset)
    found = Measured(dataset, scorer.metrics, scorer.signature(preparation.describe()))
    total = sum(len(place) for place in places)
    done = 0
    stream: Any = score_locally(pairs, range(len(pairs)), scorer, preparation, batch=batch, workers=workers)
    with closing(stream):  # ends the reading processes, whatever happens
        for scored in stream:
            place = places[scored.number]
            for method, values in scored.values.items():
                number, image = place[method]
                found.values[number, image] = values
            for method, error in scored.errors.items():
                found.errors.setdefault(place[method][0], error)
            done += len(place)
            if progress is not None:
                progress(done, total)
    if not found.measured:
        raise OpsinError(
            f"one judgement at least must be measured, got none of {len(dataset.judgements)} in '{dataset.folder}': "
            f"{next(iter(found.errors.values()))}"
        )
    return found


def plan(dataset: Dataset) -> tuple[list[Pair], list[dict[str, tuple[int, int]]]]:
    """Pairs of a reference with some of its images, and which judgement and image of it each is.

    Images are called by their places, so that those of several references go through the network together.
    """
    images: dict[str, list[tuple[str, tuple[int, int]]]] = {}
    for number, one in enumerate(dataset.judgements):
        for image, path in enumerate(one.images):
            images.setdefault(one.reference, []).append((path, (number, image)))
    pairs: list[Pair] = []
    places: list[dict[str, tuple[int, int]]] = []
    for reference, those in images.items():
        for first in range(0, len(those), AT_ONCE):
            some = those[first : first + AT_ONCE]
            pairs.append(Pair(reference, reference, {str(i): path for i, (path, _) in enumerate(some)}))
            places.append({str(i): place for i, (_, place) in enumerate(some)})
    return pairs, places


def agreement(measured: Measured, *, kinds: bool = False) -> Agreement:
    """How far losses agree with people, with bootstrap intervals.

    2AFC and JND are in %, for each part and their mean over parts. Correlations are of closeness with quality: more is
    better for both, so that a good loss has positive ones, whichever way distances and scores run.

    Args:
        measured: what losses say.
        kinds: SRCC for each kind of distortion too.

    Raises:
        MissingExtraError: scipy is not installed, and people gave scores.
    """
    dataset = measured.dataset
    if dataset.task != "quality":
        columns = (*dataset.kinds, ALL) if len(dataset.kinds) > 1 else dataset.kinds
        rows = {metric.name: _of_parts(measured, metric.name) for metric in measured.metrics}
        people = {PEOPLE: _of_parts(measured, None)} if dataset.task == "2afc" else {}
        return Agreement("%", columns, {**people, **rows}, {})
    quality = np.array([one.value for one in dataset.judgements]) * (1 if dataset.higher else -1)
    groups = np.array([one.group for one in dataset.judgements])
    of_kind = np.array([one.kind for one in dataset.judgements])
    rows, by_kind = {}, {}
    for metric in measured.metrics:
        closeness = -measured.distances(metric.name)[:, 0]
        kept = ~np.isnan(closeness)
        rows[metric.name] = _correlations(closeness[kept], quality[kept], groups[kept].tolist())
        if kinds:
            by_kind[metric.name] = {
                kind: _of_kind(closeness[one], quality[one], groups[one].tolist())
                for kind in dataset.kinds
                for one in [kept & (of_kind == kind)]
            }
    return Agreement("", CORRELATIONS, rows, by_kind)


def _of_parts(measured: Measured, metric: str | None) -> dict[str, Number]:
    """The scores of a metric for each part and their mean; of people where it is None."""
    dataset = measured.dataset
    of_kind = np.array([one.kind for one in dataset.judgements])
    said = np.array([one.value for one in dataset.judgements])
    distances = None if metric is None else measured.distances(metric)
    there = ~np.isnan(measured.values).any(axis=(1, 2))
    numbers: dict[str, Number] = {}
    samples: list[Values] = []
    for seed, kind in enumerate(dataset.kinds):
        kept = (of_kind == kind) & there
        if not kept.any():
            numbers[kind] = Number(math.nan, *resampling.NONE, 0)
            continue
        if dataset.task == "jnd" and distances is not None:
            value = average_precision(distances[kept, 0], said[kept])
            sample = resampling.resampled_precisions(distances[kept, 0], said[kept], seed)
        else:
            scores = (
                people_2afc(said[kept])
                if distances is None
                else two_afc(distances[kept, 0], distances[kept, 1], said[kept])
            )
            value = float(scores.mean())
            sample = resampling.resampled_means(scores, seed)
        samples.append(sample)
        numbers[kind] = _percent(value, sample, int(kept.sum()))
    if len(dataset.kinds) > 1:
        mean = float(np.mean([number.value for number in numbers.values()])) / 100
        numbers[ALL] = _percent(mean, np.mean(samples, axis=0), sum(number.judgements for number in numbers.values()))
    return numbers


def _percent(value: float, sample: Values, count: int) -> Number:
    low, high = resampling.NONE if math.isnan(value) else resampling.percentiles(sample)
    return Number(100 * value, 100 * low, 100 * high, count)


def _correlations(closeness: Values, quality: Values, groups: Sequence[str]) -> dict[str, Number]:
    values = {name: of(closeness, quality) for name, of in zip(CORRELATIONS, (srcc, plcc, krcc), strict=True)}
    if math.isnan(values["SRCC"]):
        return {name: Number(value, *resampling.NONE, len(closeness)) for name, value in values.items()}
    intervals = resampling.correlation_intervals(closeness, quality, groups)
    return {name: Number(value, *intervals[name], len(closeness)) for name, value in values.items()}


def _of_kind(closeness: Values, quality: Values, groups: Sequence[str]) -> Number:
    value = srcc(closeness, quality)
    interval = resampling.NONE if math.isnan(value) else resampling.srcc_interval(closeness, quality, groups)
    return Number(value, *interval, len(closeness))


def _plain(rows: Mapping[str, Mapping[str, Number]]) -> dict[str, Any]:
    return {name: {column: number.as_dict() for column, number in row.items()} for name, row in rows.items()}
