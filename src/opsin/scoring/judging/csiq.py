"""CSIQ: 30 references, 6 kinds of distortion in 4 or 5 strengths, differences of mean opinion scores."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opsin.errors import InputError
from opsin.scoring.judging.base import (
    Dataset,
    Folder,
    Judged,
    child,
    damaged,
    in_order,
    need,
    number,
    openpyxl,
    plain_name,
    text_of,
)

TITLE = "CSIQ"
TABLES = ("csiq.DMOS.xlsx", "csiq.DMOS.csv")
SHEET = "all_by_image"
WHOLE = 866
COLUMNS = ("image", "dst_type", "dst_lev", "dmos")

# What the table calls a kind -> its folder, and what the names of its files have.
_KINDS = {
    "noise": ("awgn", "AWGN"),
    "blur": ("blur", "BLUR"),
    "contrast": ("contrast", "contrast"),
    "fnoise": ("fnoise", "fnoise"),
    "jpeg": ("jpeg", "JPEG"),
    "jpeg 2000": ("jpeg2000", "jpeg2000"),
}


def read(folder: Path) -> Dataset:
    """Read CSIQ; a lower score is a better image.

    Args:
        folder: what holds "src_imgs", "dst_imgs" and the table: the authors', or its sheet "all_by_image" saved as
            csiq.DMOS.csv.

    Raises:
        InputError: it is not there, or its table is damaged.
        MissingExtraError: openpyxl is not installed.

    Reference: "Most apparent distortion: full-reference image quality assessment and the role of strategy", Larson and
    Chandler, 2010, https://doi.org/10.1117/1.3267105
    """
    table = next((path for name in TABLES if (path := child(folder, name)) is not None), None)
    if table is None:
        raise InputError(
            f"{TITLE} must have '{TABLES[0]}' in its folder, got none in '{folder}'. Name the folder that holds it."
        )
    rows = _excel(table) if table.suffix.lower() == ".xlsx" else _csv(table)
    references = Folder(need(folder, TITLE, "src_imgs"))
    place = need(folder, TITLE, "dst_imgs")
    distorted = {kind: Folder(child(place, kind)) for kind, _ in _KINDS.values()}
    begin = next((i for i, row in enumerate(rows) if set(COLUMNS) <= {str(cell).strip() for cell in row}), None)
    if begin is None:
        raise damaged(table, f"no row with the headings {', '.join(COLUMNS)}")
    headings = [str(cell).strip() for cell in rows[begin]]
    found = []
    for number_, row in enumerate(rows[begin + 1 :], start=begin + 2):
        cells = dict(zip(headings, row, strict=False))
        image, called, level, score = (cells.get(column) for column in COLUMNS)
        if image in (None, ""):
            continue  # the sheet ends in empty rows
        if str(called).strip() not in _KINDS:
            raise damaged(table, f"the kind {called!r} in row {number_}")
        kind, token = _KINDS[str(called).strip()]
        source = plain_name(_whole(image), table)
        name = plain_name(f"{source}.{token}.{_whole(level)}.png", table)
        reference, path = references.find(f"{source}.png"), distorted[kind].find(name)
        lacking = (
            *(() if reference else (f"src_imgs/{source}.png",)),
            *(() if path else (f"dst_imgs/{kind}/{name}",)),
        )
        found.append(
            Judged(
                name=f"{kind}/{name.removesuffix('.png')}",
                group=source,
                kind=kind,
                reference=reference or "",
                images=(path or "",),
                value=number(score, table, number_),
                lacking=lacking,
            )
        )
    kinds = in_order((one.kind for one in found), (kind for kind, _ in _KINDS.values()))
    return Dataset("csiq", TITLE, "quality", str(folder), kinds, tuple(found), WHOLE, "DMOS", higher=False)


def _excel(table: Path) -> list[Sequence[Any]]:
    package = openpyxl()
    content = io.BytesIO(table.read_bytes())
    try:
        book = package.load_workbook(content, read_only=True, data_only=True)
        try:
            return [tuple(row) for row in book[SHEET].iter_rows(values_only=True)]
        finally:
            book.close()
    except Exception as error:  # openpyxl raises anything at all on damaged files
        raise damaged(table, error) from error


def _csv(table: Path) -> list[Sequence[Any]]:
    try:
        return list(csv.reader(io.StringIO(text_of(table), newline="")))
    except csv.Error as error:
        raise damaged(table, error) from error


def _whole(cell: Any) -> str:
    """A cell as a name has it: to a table's program the image 1600 is a number, and may have become 1600.0."""
    return re.sub(r"\.0+$", "", str(cell).strip())
