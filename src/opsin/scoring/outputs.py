"""Tables of results: CSV, JSON Lines and Parquet, each whole or not at all, and what goes with them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from opsin.errors import InputError
from opsin.files import atomic_path, check_writable
from opsin.scoring.manifest import arrow
from opsin.scoring.results import Metric, Scores
from opsin.scoring.statistics import Summary

_AFTER = ("error", "reference", "distorted", "signature")
METADATA = b"opsin"
"""The key in a Parquet file's schema under which what goes with a table is."""

_ROWS = 10_000  # of a Parquet file at a time


def write_csv(path: Path, scores: Scores, about: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write a line of headings and one for each pair and method."""
    del about  # is beside it
    with (
        atomic_path(path, overwrite=overwrite) as temporary,
        # Names that are no Unicode must not cost the numbers.
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns(scores.metrics), lineterminator="\n")
        writer.writeheader()
        writer.writerows(scores.rows())


def write_jsonl(path: Path, scores: Scores, about: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write an object for each pair and method; infinite values, which JSON has not, are null."""
    del about
    with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in scores.rows():
            file.write(f"{json.dumps({k: finite(v) for k, v in row.items()})}\n")


def write_parquet(path: Path, scores: Scores, about: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write a row for each pair and method; the signature and the rest of `about` are in the schema's metadata.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa, pq = arrow()
    texts = [pa.field(name, pa.string()) for name in ("name", "method")]
    values = [pa.field(metric.name, pa.float64()) for metric in scores.metrics]
    after = [pa.field(name, pa.string()) for name in _AFTER]
    schema = pa.schema([*texts, *values, *after], metadata={METADATA: json.dumps(about)})
    with atomic_path(path, overwrite=overwrite) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        rows: list[dict[str, Any]] = []
        for row in scores.rows():
            rows.append({k: _sayable(v) for k, v in row.items()})
            if len(rows) == _ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


Write = Callable[..., None]
TABLES: Mapping[str, Write] = MappingProxyType({".csv": write_csv, ".jsonl": write_jsonl, ".parquet": write_parquet})
"""How a table is written, by the ending of its file."""


def columns(metrics: Sequence[Metric]) -> list[str]:
    """The headings of a table."""
    return ["name", "method", *(metric.name for metric in metrics), *_AFTER]


def beside(path: Path) -> Path:
    """Where what goes with a table is written.

    Example:
        >>> beside(Path("out/scores.csv")).name
        'scores.signature.json'
    """
    return path.with_suffix(".signature.json")


def about(scores: Scores, summary: Summary, shard: tuple[int, int] | None = None) -> dict[str, Any]:
    """What goes with a table: the whole signature, what was measured of what, and what it comes to."""
    return {
        "signature": dict(scores.signature),
        "id": scores.signature.id,
        "metrics": [metric._asdict() for metric in scores.metrics],
        "methods": list(scores.methods),
        "pairs": len(scores.pairs),
        "shard": list(shard) if shard else None,
        "missing": {method: list(names) for method, names in scores.missing.items()},
        "extra": {method: list(names) for method, names in scores.extra.items()},
        "errors": len(scores.errors),
        **summary.as_dict(),
    }


def check_tables(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Raise unless tables can be written there.

    Raises:
        OpsinError: one exists, or its folder does not.
        InputError: two would be one file.
        MissingExtraError: one is a Parquet file and pyarrow is not installed.
    """
    for path in paths:
        check_writable(path, overwrite=overwrite)
        if path.suffix.lower() == ".parquet":
            arrow()
    for path in {beside(path) for path in paths if path.suffix.lower() in TABLES}:
        check_writable(path, overwrite=overwrite)
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"outputs must be different files, got {', '.join(map(str, paths))}.")


def write_tables(
    paths: Sequence[Path],
    scores: Scores,
    summary: Summary,
    *,
    shard: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> None:
    """Write tables, each by the ending of its file, and beside each what goes with it.

    Raises:
        OpsinError: one cannot be written.
    """
    content = about(scores, summary, shard)
    for path in paths:
        TABLES[path.suffix.lower()](path, scores, content, overwrite=overwrite)
    for path in dict.fromkeys(beside(path) for path in paths):
        with atomic_path(path, overwrite=overwrite) as temporary:
            temporary.write_text(f"{json.dumps(content, indent=1)}\n", encoding="utf-8", errors="backslashreplace")


def finite(value: Any) -> Any:
    """A value as JSON has it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sayable(value: Any) -> Any:
    """A text that can be written as UTF-8: names of files may be no Unicode."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
