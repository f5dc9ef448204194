"""The parts of a job that several machines have done, put together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from opsin.errors import OpsinError
from opsin.results import Signature
from opsin.scoring.manifest import arrow
from opsin.scoring.outputs import METADATA, beside
from opsin.scoring.results import Metric, Pair, Scored, Scores


class _Part(NamedTuple):
    """A part's table, what goes with it, and its rows."""

    path: Path
    about: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    @property
    def place(self) -> tuple[int, int]:
        """Which part of how many."""
        number, count = self.about["shard"] or (1, 1)
        return number, count


def merge(paths: Sequence[Path]) -> Scores:
    """The results of all parts of a job together, as if one machine had done it.

    Args:
        paths: of the parts' tables, .jsonl or .parquet.

    Raises:
        OpsinError: a part is missing, there twice, damaged, or of another job.
        MissingExtraError: one is a Parquet file and pyarrow is not installed.
    """
    parts = sorted((_read(path) for path in paths), key=lambda part: part.place)
    first = parts[0]
    for part in parts:
        for name in ("id", "methods", "metrics", "pairs"):
            if part.about[name] != first.about[name]:
                raise OpsinError(
                    f"parts must be of one job, got '{part.path}', whose {name} differ from those of '{first.path}'. "
                    "Score it anew as the others were."
                )
    count = first.place[1]
    if [part.place for part in parts] != [(number, count) for number in range(1, count + 1)]:
        got = ", ".join(f"{number}/{of}" for number, of in (part.place for part in parts))
        raise OpsinError(f"parts must be 1/{count} to {count}/{count}, each once, got {got}. Name all of them.")
    pairs: dict[int, Pair] = {}
    found: list[Scored] = []
    metrics = [Metric(**metric) for metric in first.about["metrics"]]
    for part in parts:
        number = part.place[0] - 1 - count
        last = None
        for row in part.rows:
            if row["name"] != last:
                number, last = number + count, row["name"]
            pair = pairs.get(number, Pair(row["name"], row["reference"], {}))
            pairs[number] = pair._replace(distorted={**pair.distorted, row["method"]: row["distorted"]})
            found.append(_scored(number, row, metrics))
    if sorted(pairs) != list(range(first.about["pairs"])):
        raise OpsinError(f"parts must hold {first.about['pairs']} pairs together, got {len(pairs)}. Score them anew.")
    scores = Scores(
        [pairs[number] for number in range(len(pairs))],
        first.about["methods"],
        metrics,
        Signature(first.about["signature"]),
        first.about["missing"],
        first.about["extra"],
    )
    for scored in found:
        scores.add(scored)
    return scores


def _scored(number: int, row: Mapping[str, Any], metrics: Iterable[Metric]) -> Scored:
    if row["error"] is not None:
        return Scored(number, {}, {row["method"]: row["error"]})
    # JSON has no infinity, which is the PSNR of equal images.
    values = [math.inf if row[metric.name] is None else float(row[metric.name]) for metric in metrics]
    return Scored(number, {row["method"]: values}, {})


def _read(path: Path) -> _Part:
    try:
        if path.suffix.lower() == ".parquet":
            pa, pq = arrow()
            try:
                table = pq.read_table(path)
            except pa.ArrowException as error:
                raise ValueError(str(error)) from error
            return _Part(path, json.loads(table.schema.metadata[METADATA]), table.to_pylist())
        about = json.loads(beside(path).read_text(encoding="utf-8"))
        return _Part(path, about, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OpsinError):
            raise
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise OpsinError(
            "parts must be .parquet files, or .jsonl files with their .signature.json beside them, as opsin score "
            f"writes them, got '{path}' ({said})."
        ) from error
