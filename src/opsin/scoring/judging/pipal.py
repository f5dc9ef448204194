"""PIPAL, the training set: 200 references, 116 results of restoration and distortion of each, Elo scores."""

from __future__ import annotations

import re
from pathlib import Path

from opsin.errors import InputError
from opsin.scoring.judging.base import Dataset, Folder, Judged, damaged, in_order, need, number, plain_name, text_of

TITLE = "PIPAL"
LABELS = "Train_Label"
WHOLE = 23_200

_DISTORTED = re.compile(r"train_dist|distortion_?[1-4]", re.IGNORECASE)


def read(folder: Path) -> Dataset:
    """Read PIPAL's training set; a higher score is a better image.

    Args:
        folder: what holds "Train_Ref", "Train_Label" and the distorted images: "Train_Dist", or "Distortion_1" to
            "Distortion_4" as the authors' archives are called. Folders that an archive's name was unpacked into once
            more are looked into.

    Raises:
        InputError: it is not there, or a table is damaged.

    Reference: "PIPAL: a large-scale image quality assessment dataset for perceptual image restoration", Gu et al.,
    2020, https://arxiv.org/abs/2007.12142
    """
    labels = Folder(need(folder, TITLE, LABELS), deep=True)
    references = Folder(need(folder, TITLE, "Train_Ref"), deep=True)
    distorted = Folder(None)
    for place in sorted(path for path in folder.iterdir() if _DISTORTED.fullmatch(path.name) and path.is_dir()):
        distorted.add(Folder(place, deep=True))
    if not distorted.names():
        raise InputError(
            f"{TITLE} must have 'Train_Dist', or 'Distortion_1' to 'Distortion_4', in its folder, got none in "
            f"'{folder}'. Name the folder that holds them."
        )
    found = []
    for name in (name for name in labels.names() if name.lower().endswith(".txt")):
        table = Path(labels.find(name) or name)
        for row, line in enumerate(text_of(table).splitlines(), start=1):
            if line.strip():
                found.append(_judged(line.strip(), table, row, references, distorted))
    kinds = in_order((one.kind for one in found), ())
    return Dataset("pipal", TITLE, "quality", str(folder), kinds, tuple(found), WHOLE, "Elo score")


def _judged(line: str, table: Path, row: int, references: Folder, distorted: Folder) -> Judged:
    name, _, score = line.partition(",")
    name = plain_name(name.strip(), table)
    stem, _, ending = name.rpartition(".")
    code = stem.split("_")
    if len(code) != 3:
        raise damaged(table, f"{line!r} in row {row}, where 'A0001_00_00.bmp,1400' should be")
    reference, image = references.find(f"{code[0]}.{ending}"), distorted.find(name)
    lacking = (*(() if reference else (f"Train_Ref/{code[0]}.{ending}",)), *(() if image else (name,)))
    return Judged(
        name=stem,
        group=code[0],
        kind=code[1],
        reference=reference or "",
        images=(image or "",),
        value=number(score.strip(), table, row),
        lacking=lacking,
    )
