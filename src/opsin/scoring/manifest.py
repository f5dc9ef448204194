"""Tables that say which image is compared with which: CSV or Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opsin.errors import ImageError, InputError, MissingExtraError
from opsin.scoring.places import read_bytes

SUFFIXES = (".csv", ".parquet")
COLUMNS = ("reference", "distorted")
OPTIONAL = ("name", "method")


def is_manifest(place: str) -> bool:
    """Whether a place is called as a manifest is."""
    return place.lower().endswith(SUFFIXES)


def read_manifest(place: str) -> list[dict[str, str]]:
    """The rows of a manifest: "reference" and "distorted", and "name" and "method" where it has them.

    Args:
        place: a path or a URL that ends in .csv (with a line of headings) or .parquet.

    Raises:
        InputError: it cannot be read, lacks a column, has a row without a reference or a distorted image, or no row.
        MissingExtraError: it is a Parquet file and pyarrow is not installed.
    """
    try:
        content = read_bytes(place)
    except ImageError as error:
        raise InputError(f"manifest must be a file that can be read, got '{place}': {error}") from error
    columns, rows = (_parquet if place.lower().endswith(".parquet") else _csv)(content, place)
    lacking = [name for name in COLUMNS if name not in columns]
    if lacking:
        raise InputError(
            f"manifest must have the columns reference and distorted, got {', '.join(columns) or 'none'} in '{place}'. "
            f"Add {' and '.join(lacking)}."
        )
    kept = [name for name in (*COLUMNS, *OPTIONAL) if name in columns]
    found = []
    for number, row in enumerate(rows, start=1):
        values = {name: str(row[name]) for name in kept if row.get(name) not in (None, "")}
        if lacking := [name for name in COLUMNS if name not in values]:
            raise InputError(
                f"manifest must name a {' and a '.join(lacking)} in each row, got none in row {number} of '{place}'. "
                "Fill it in, or take the row out."
            )
        found.append(values)
    if not found:
        raise InputError(f"manifest must have a row at least, got none in '{place}'.")
    return found


def _csv(content: bytes, place: str) -> tuple[Sequence[str], Iterator[Mapping[str, Any]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"manifest must be text in UTF-8, got '{place}' ({error.reason}). Save it so.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        return [name.strip() for name in reader.fieldnames or ()], _stripped(reader)
    except csv.Error as error:
        raise _damaged(place, error) from error


def _stripped(reader: csv.DictReader[str]) -> Iterator[Mapping[str, Any]]:
    for row in reader:
        # A row that is too long has the rest under None.
        yield {str(k).strip(): v.strip() if isinstance(v, str) else v for k, v in row.items()}


def _parquet(content: bytes, place: str) -> tuple[Sequence[str], Iterator[Mapping[str, Any]]]:
    pyarrow, parquet = arrow()
    try:
        table = parquet.read_table(pyarrow.BufferReader(content))
        names = [name for name in table.column_names if name in (*COLUMNS, *OPTIONAL)]
        return table.column_names, iter(table.select(names).to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(place, error) from error


def arrow() -> tuple[Any, Any]:
    """Pyarrow and pyarrow.parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(
            "Parquet files must have pyarrow installed, got no such package. pip install 'opsin[score]'"
        ) from error
    return pa, pq


def _damaged(place: str, error: Exception) -> InputError:
    said = " ".join(str(error).split())[:200]
    return InputError(f"manifest must be a whole table, got '{place}', which is not ({said}). Save it anew.")
