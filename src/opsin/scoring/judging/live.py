"""LIVE, release 2: 29 references, 5 kinds of distortion, differences of mean opinion scores."""

from __future__ import annotations

import io
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from opsin.errors import InputError
from opsin.scoring.judging.base import Dataset, Folder, Judged, child, damaged, need, number, plain_name, scipy

TITLE = "LIVE release 2"
TABLES = MappingProxyType({"dmos_realigned.mat": "dmos_new", "dmos.mat": "dmos"})
"""File -> the array in it; the first that is there is taken."""

NAMES = "refnames_all.mat"
WHOLE = 779

COUNTS = MappingProxyType({"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174})
"""How many images each folder has; the tables have them in this order."""


def read(folder: Path) -> Dataset:
    """Read LIVE; a lower score is a better image.

    The realigned scores of dmos_realigned.mat are taken where they are, else those of dmos.mat. Images that are the
    references themselves ("orgs" in the table) are left out.

    Raises:
        InputError: it is not there, or a table is damaged.
        MissingExtraError: scipy is not installed.

    Reference: "A statistical evaluation of recent full reference image quality assessment algorithms", Sheikh, Sabir
    and Bovik, 2006, https://doi.org/10.1109/TIP.2006.881959
    """
    table = next((path for name in TABLES if (path := child(folder, name)) is not None), None)
    if table is None:
        raise InputError(
            f"{TITLE} must have 'dmos.mat' in its folder, got none in '{folder}'. Name the folder that holds it."
        )
    array = TABLES[table.name.lower()]
    content = _matlab(table, array, "orgs")
    names = need(folder, TITLE, NAMES)
    sources = _matlab(names, "refnames_all")["refnames_all"]
    references = Folder(need(folder, TITLE, "refimgs"))
    distorted = {kind: Folder(need(folder, TITLE, kind)) for kind in COUNTS}
    place = 0
    found = []
    for kind, count in COUNTS.items():
        for image in range(1, count + 1):
            score, original, source = content[array][place], content["orgs"][place], sources[place]
            place += 1
            if number(original, table, place):
                continue
            called = plain_name(_text(source), names)
            reference, path = references.find(called), distorted[kind].find(f"img{image}.bmp")
            lacking = (
                *(() if reference else (f"refimgs/{called}",)),
                *(() if path else (f"{kind}/img{image}.bmp",)),
            )
            found.append(
                Judged(
                    name=f"{kind}/img{image}",
                    group=called.rpartition(".")[0].lower(),
                    kind=kind,
                    reference=reference or "",
                    images=(path or "",),
                    value=number(score, table, place),
                    lacking=lacking,
                )
            )
    scores = "realigned DMOS" if array == "dmos_new" else "DMOS"
    return Dataset("live", TITLE, "quality", str(folder), tuple(COUNTS), tuple(found), WHOLE, scores, higher=False)


def _matlab(table: Path, *names: str) -> dict[str, Any]:
    """Arrays of a file of MATLAB's, flat and of as many values as there are images.

    Raises:
        InputError: it is damaged, lacks one, or one has another length.
    """
    package = scipy()
    try:
        content = package.io.loadmat(io.BytesIO(table.read_bytes()))
    except Exception as error:  # SciPy raises anything at all on damaged files
        raise damaged(table, error) from error
    whole = sum(COUNTS.values())
    found = {}
    for name in names:
        if name not in content:
            raise damaged(table, f"no array '{name}'")
        found[name] = np.ravel(content[name])
        if len(found[name]) != whole:
            raise damaged(table, f"{len(found[name])} values of '{name}', where {whole} should be")
    return found


def _text(cell: Any) -> str:
    """A text as MATLAB keeps it in a cell."""
    return str(np.ravel(cell)[0]) if np.size(cell) else ""
