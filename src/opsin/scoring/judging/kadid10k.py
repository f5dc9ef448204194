"""KADID-10k: 81 references, 25 kinds of distortion in 5 strengths, scores of a crowd."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from opsin.scoring.judging.base import Dataset, Folder, Judged, damaged, in_order, need, number, plain_name, text_of
from opsin.scoring.judging.tid2013 import kind_of

TITLE = "KADID-10k"
TABLE = "dmos.csv"
WHOLE = 10_125
COLUMNS = ("dist_img", "ref_img", "dmos")

KINDS = (
    "gaussian-blur",
    "lens-blur",
    "motion-blur",
    "color-diffusion",
    "color-shift",
    "color-quantization",
    "color-saturation-1",
    "color-saturation-2",
    "jpeg2000",
    "jpeg",
    "white-noise",
    "color-noise",
    "impulse-noise",
    "multiplicative-noise",
    "denoising",
    "brighten",
    "darken",
    "mean-shift",
    "jitter",
    "non-eccentricity-patch",
    "pixelate",
    "quantization",
    "color-block",
    "high-sharpen",
    "contrast",
)
"""The authors' kinds, from number 1 on."""


def read(folder: Path) -> Dataset:
    """Read KADID-10k; a higher score is a better image, although the authors call it DMOS.

    Raises:
        InputError: it is not there, or its table is damaged.

    Reference: "KADID-10k: a large-scale artificially distorted IQA database", Lin, Hosu and Saupe, 2019,
    https://doi.org/10.1109/QoMEX.2019.8743252
    """
    table = need(folder, TITLE, TABLE)
    images = Folder(need(folder, TITLE, "images"))
    reader = csv.DictReader(io.StringIO(text_of(table), newline=""))
    try:
        headings = [name.strip() for name in reader.fieldnames or ()]
        rows = [{str(k).strip(): v for k, v in row.items()} for row in reader]
    except csv.Error as error:
        raise damaged(table, error) from error
    if lacking := [name for name in COLUMNS if name not in headings]:
        raise damaged(table, f"no column {', '.join(lacking)} among {', '.join(headings) or 'none'}")
    found = []
    for row, values in enumerate(rows, start=2):
        names = [plain_name(str(values[column] or "").strip(), table) for column in COLUMNS[:2]]
        image, reference = (images.find(name) for name in names)
        stem = names[0].rpartition(".")[0]
        code = stem.split("_")
        if len(code) != 3:
            raise damaged(table, f"{names[0]!r} in row {row}, where a name such as I01_02_03.png should be")
        found.append(
            Judged(
                name=stem,
                group=names[1].rpartition(".")[0],
                kind=kind_of(code[1], KINDS),
                reference=reference or "",
                images=(image or "",),
                value=number(values["dmos"], table, row),
                lacking=tuple(f"images/{n}" for n, path in zip(names, (image, reference), strict=True) if path is None),
            )
        )
    kinds = in_order((one.kind for one in found), KINDS)
    return Dataset("kadid10k", TITLE, "quality", str(folder), kinds, tuple(found), WHOLE, "DMOS (higher is better)")
