"""BAPPS: which of two patches is closer to a third (2AFC), and whether two look the same (JND)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from opsin.checks import choice
from opsin.errors import InputError
from opsin.scoring.judging.base import Dataset, Folder, Judged, child, damaged, in_order

LOAD_SIZE = 64
"""The side that the authors bring patches to before they compare them."""

SPLITS = ("val", "train")
SUBSETS = ("traditional", "cnn", "superres", "deblur", "color", "frameinterp")
JND_SUBSETS = ("traditional", "cnn")

_TITLES = {"2afc": "BAPPS 2AFC", "jnd": "BAPPS JND"}
_PARTS = {"2afc": ("ref", "p0", "p1", "judge"), "jnd": ("p0", "p1", "same")}
# How many there are, in hundreds: the authors say "4.7k".
_HUNDREDS = {
    ("2afc", "val"): dict(zip(SUBSETS, (47, 47, 109, 94, 47, 19), strict=True)),
    ("2afc", "train"): {"traditional": 566, "cnn": 381, "mix": 566},
    ("jnd", "val"): dict.fromkeys(JND_SUBSETS, 48),
}
_MOST_BYTES = 4096  # of a file with one number


def home(folder: Path, task: str) -> Path | None:
    """The folder of a task: "2afc" or "jnd" in what the authors' script downloads, or that folder itself."""
    found = child(folder, task)
    if found is not None and found.is_dir():
        return found
    last = _PARTS[task][-1]
    mine = any(part.is_dir() for split in SPLITS for part in folder.glob(f"{split}/*/{last}"))
    return folder if mine else None


def read(folder: Path, task: str, split: str = "val", subsets: Sequence[str] = ()) -> Dataset:
    """Read BAPPS.

    A judgement of 2AFC is the fraction of people who found p1 closer, one of JND the fraction who saw no difference.

    Args:
        folder: what holds "2afc" and "jnd", or one of these.
        task: "2afc" or "jnd".
        split: "val" or "train"; JND has "val" alone.
        subsets: some of the parts; all that are there if none is named.

    Raises:
        InputError: it is not there, or a file of it is damaged.
        ChoiceError: an unknown split or subset.

    Reference: "The unreasonable effectiveness of deep features as a perceptual metric", Zhang, Isola, Efros, Shechtman
    and Wang, 2018, https://arxiv.org/abs/1801.03924
    """
    title = _TITLES[task]
    choice("split", split, [s for t, s in _HUNDREDS if t == task], owner=title)
    place = home(folder, task)
    root = None if place is None else child(place, split)
    last = _PARTS[task][-1]
    there = [p.parent.name for p in sorted(root.glob(f"*/{last}")) if p.is_dir()] if root is not None else []
    if root is None or not there:
        raise InputError(
            f"{title} must have '{task}/{split}/SUBSET/{last}' in its folder, got none in '{folder}'. Name the folder "
            f"that holds '{task}'."
        )
    for subset in subsets:
        choice("subset", subset, there, owner=title)
    published = _HUNDREDS[task, split]
    kinds = tuple(kind for kind in in_order(there, published) if kind in subsets or not subsets)
    judgements = [one for kind in kinds for one in _subset(root / kind, task, kind)]
    return Dataset(
        name=f"bapps-{task}",
        title=title,
        task="2afc" if task == "2afc" else "jnd",
        folder=str(folder),
        kinds=kinds,
        judgements=tuple(judgements),
        whole=100 * sum(published.values()),
        slack=50 * len(published),
        scores=last,
        split=split,
        published_kinds=tuple(published),
    )


def _subset(folder: Path, task: str, kind: str) -> list[Judged]:
    """The judgements of one folder: files of one name, whatever their endings, belong together."""
    parts = {part: _by_stem(child(folder, part)) for part in _PARTS[task]}
    first, *others = _PARTS[task]
    stems = sorted(set().union(*parts.values()))
    found = []
    for stem in stems:
        paths = {part: files.get(stem) for part, files in parts.items()}
        lacking = tuple(f"{kind}/{part}/{stem}" for part, path in paths.items() if path is None)
        judged = paths[others[-1]]
        found.append(
            Judged(
                name=f"{kind}/{stem}",
                group=f"{kind}/{stem}",
                kind=kind,
                reference=paths[first] or "",
                images=tuple(paths[part] or "" for part in others[:-1]),
                value=float("nan") if judged is None else _fraction(Path(judged)),
                lacking=lacking,
            )
        )
    return found


def _by_stem(folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    files = Folder(folder)
    return {Path(name).stem: files.find(name) or "" for name in files.names() if not name.startswith(".")}


def _fraction(path: Path) -> float:
    """The one number of a NumPy file.

    Raises:
        InputError: it is no such file, or its number is not from 0 to 1.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise damaged(path, f"more than {_MOST_BYTES} bytes, where one number should be")
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        (value,) = np.asarray(loaded, dtype=np.float64).ravel().tolist()
    except (ValueError, TypeError, OSError, EOFError, MemoryError) as error:
        raise damaged(path, error) from error
    if not 0 <= value <= 1:
        raise damaged(path, f"{value}, where a fraction from 0 to 1 should be")
    return value
