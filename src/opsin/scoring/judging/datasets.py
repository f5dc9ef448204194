"""The datasets by their names, and which of them a folder holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from opsin.checks import choice
from opsin.errors import InputError
from opsin.scoring.judging import bapps, csiq, kadid10k, live, pipal, tid2013
from opsin.scoring.judging.base import Dataset, child


class Known(NamedTuple):
    """How a dataset is found and read.

    Attributes:
        looked_for: what a folder of it holds, in words.
        there: whether a folder holds it.
        read: reads it, where it has no splits.
    """

    looked_for: str
    there: Callable[[Path], bool]
    read: Callable[[Path], Dataset] | None


def _has(*names: str) -> Callable[[Path], bool]:
    return lambda folder: any(child(folder, *name.split("/")) is not None for name in names)


def _has_all(*names: str) -> Callable[[Path], bool]:
    return lambda folder: all(child(folder, name) is not None for name in names)


_known = {
    "bapps-2afc": Known("2afc/val or 2afc/train", lambda folder: bapps.home(folder, "2afc") is not None, None),
    "bapps-jnd": Known("jnd/val", lambda folder: bapps.home(folder, "jnd") is not None, None),
    "tid2013": Known(tid2013.TABLE, _has(tid2013.TABLE), tid2013.read),
    "kadid10k": Known(f"{kadid10k.TABLE} and images", _has_all(kadid10k.TABLE, "images"), kadid10k.read),
    "csiq": Known(csiq.TABLES[0], _has(*csiq.TABLES), csiq.read),
    "live": Known(f"dmos.mat or {next(iter(live.TABLES))}", _has(*live.TABLES), live.read),
    "pipal": Known(pipal.LABELS, _has(pipal.LABELS), pipal.read),
}
DATASETS: Mapping[str, Known] = MappingProxyType(_known)


def recognise(folder: Path) -> str:
    """The name of the dataset that a folder holds.

    Raises:
        InputError: there is no such folder, or it holds none of them, or several.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise InputError(f"data must be the folder of a dataset, got '{folder}', which is {what}. Check the name.")
    found = [name for name, known in DATASETS.items() if known.there(folder)]
    if len(found) == 1:
        return found[0]
    looked = "; ".join(f"{known.looked_for} ({name})" for name, known in DATASETS.items())
    if found:
        raise InputError(
            f"folder must hold one dataset, got {' and '.join(found)} in '{folder}'. Say which: --dataset {found[0]}. "
            f"Looked for: {looked}."
        )
    raise InputError(
        f"folder must hold a dataset as its authors publish it, got none in '{folder}'. Looked for: {looked}."
    )


def read_dataset(folder: Path, name: str = "", *, split: str = "", subsets: Sequence[str] = ()) -> Dataset:
    """Read a dataset from the folder that its authors publish.

    Args:
        folder: see each dataset's own `read`.
        name: one of `DATASETS`; nothing for the one that the folder holds.
        split: "val" or "train" of BAPPS; nothing for "val".
        subsets: some of its parts, or kinds of distortion; nothing for all.

    Raises:
        ChoiceError: an unknown dataset, split or subset.
        InputError: the folder does not hold it, or files are missing or damaged.
        MissingExtraError: a package that reads its tables is not installed.
    """
    if name:
        choice("dataset", name, DATASETS)
        if not folder.is_dir():
            recognise(folder)  # says what is wrong with it
    else:
        name = recognise(folder)
    read = DATASETS[name].read
    if read is None:
        dataset = bapps.read(folder, name.removeprefix("bapps-"), split or "val", subsets)
    else:
        if split:
            raise InputError(f"--split must go with BAPPS, got {split!r} for {name}. Leave it out.")
        dataset = read(folder).select(subsets)
    dataset.check()
    return dataset
