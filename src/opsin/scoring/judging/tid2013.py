"""TID2013: 25 references, 24 kinds of distortion in 5 strengths, mean opinion scores."""

from __future__ import annotations

from pathlib import Path

from opsin.scoring.judging.base import Dataset, Folder, Judged, damaged, in_order, need, number, plain_name, text_of

TITLE = "TID2013"
TABLE = "mos_with_names.txt"
WHOLE = 3000

KINDS = (
    "gaussian-noise",
    "color-noise",
    "spatially-correlated-noise",
    "masked-noise",
    "high-frequency-noise",
    "impulse-noise",
    "quantization-noise",
    "gaussian-blur",
    "denoising",
    "jpeg",
    "jpeg2000",
    "jpeg-transmission-errors",
    "jpeg2000-transmission-errors",
    "non-eccentricity-pattern",
    "local-blocks",
    "mean-shift",
    "contrast",
    "color-saturation",
    "multiplicative-noise",
    "comfort-noise",
    "compression-of-noise",
    "color-quantization",
    "chromatic-aberrations",
    "sparse-sampling",
)
"""The authors' kinds, from number 1 on."""


def read(folder: Path) -> Dataset:
    """Read TID2013; a higher score is a better image.

    Raises:
        InputError: it is not there, or its table is damaged.

    Reference: "Image database TID2013: peculiarities, results and perspectives", Ponomarenko et al., 2015,
    https://doi.org/10.1016/j.image.2014.10.009
    """
    table = need(folder, TITLE, TABLE)
    references = Folder(need(folder, TITLE, "reference_images"))
    distorted = Folder(need(folder, TITLE, "distorted_images"))
    found = []
    for row, line in enumerate(text_of(table).splitlines(), start=1):
        if not line.strip():
            continue
        score, _, name = line.strip().partition(" ")
        name = plain_name(name.strip(), table)
        stem, _, ending = name.rpartition(".")
        source, *code = stem.split("_")
        if len(code) != 2:
            raise damaged(table, f"{line.strip()!r} in row {row}, where '5.5 I01_02_3.bmp' should be")
        reference, image = references.find(f"{source}.{ending}"), distorted.find(name)
        lacking = (
            *(() if reference else (f"reference_images/{source}.{ending}",)),
            *(() if image else (f"distorted_images/{name}",)),
        )
        found.append(
            Judged(
                name=stem.upper(),
                group=source.upper(),
                kind=kind_of(code[0], KINDS),
                reference=reference or "",
                images=(image or "",),
                value=number(score, table, row),
                lacking=lacking,
            )
        )
    kinds = in_order((one.kind for one in found), KINDS)
    return Dataset("tid2013", TITLE, "quality", str(folder), kinds, tuple(found), WHOLE, "MOS")


def kind_of(code: str, kinds: tuple[str, ...]) -> str:
    """The kind that has a number, counted from 1; the number itself where there is none.

    Example:
        >>> kind_of("08", KINDS), kind_of("99", KINDS)
        ('gaussian-blur', '99')
    """
    place = int(code) if code.isascii() and code.isdigit() else 0
    return kinds[place - 1] if 1 <= place <= len(kinds) else code
