"""What people said of images, and the folders that it is read from."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from opsin.checks import choice
from opsin.errors import InputError, MissingExtraError

Task: TypeAlias = Literal["2afc", "jnd", "quality"]
"""Which of two is closer; whether two look the same; how good an image is."""

_SHOWN = 3


class Judged(NamedTuple):
    """What people said of an image, or of two, beside a reference.

    Attributes:
        name: what it is called.
        group: the reference, by a name; what has one reference is resampled together.
        kind: of the distortion, or the part of the dataset.
        reference: path of the reference.
        images: paths: p0 and p1 where people chose between two, else one.
        value: what they said: the fraction that found p1 closer, the fraction that saw no difference, or a score.
        lacking: files of it that are not there.
    """

    name: str
    group: str
    kind: str
    reference: str
    images: tuple[str, ...]
    value: float
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """What people said of all images of a dataset.

    Attributes:
        name: as the command line has it.
        title: as its authors have it.
        task: what people were asked.
        folder: where it lies.
        kinds: of distortions, or its parts, in order.
        judgements: what they said.
        whole: how many there are as published.
        slack: how far that may be off, where the authors say thousands.
        scores: what `value` is called.
        higher: whether a higher score is a better image.
        split: the part of BAPPS.
        published_kinds: all that there are, where a mean over them is published.
    """

    name: str
    title: str
    task: Task
    folder: str
    kinds: tuple[str, ...]
    judgements: tuple[Judged, ...]
    whole: int
    scores: str
    higher: bool = True
    split: str = ""
    published_kinds: tuple[str, ...] = ()
    slack: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing of what is published was left out."""
        return abs(len(self.judgements) - self.whole) <= self.slack

    def select(self, kinds: Sequence[str]) -> Dataset:
        """Those of some kinds; of all if none is named.

        Raises:
            ChoiceError: an unknown kind.
        """
        for kind in kinds:
            choice("subset", kind, self.kinds, owner=self.title)
        kept = tuple(kind for kind in self.kinds if kind in kinds or not kinds)
        return replace(self, kinds=kept, judgements=tuple(one for one in self.judgements if one.kind in kept))

    def check(self) -> None:
        """Raise unless something was judged, each thing once, and all files are there.

        Raises:
            InputError: otherwise, with the first names.
        """
        if not self.judgements:
            raise InputError(f"{self.title} must have a judgement at least, got none in '{self.folder}'.")
        seen: set[str] = set()
        for one in self.judgements:
            if one.name in seen:
                raise InputError(
                    f"{self.title} must have each image once, got '{one.name}' twice in '{self.folder}'. "
                    "Get its table anew."
                )
            seen.add(one.name)
        lacking = list(dict.fromkeys(file for one in self.judgements for file in one.lacking))
        if lacking:
            shown = ", ".join(lacking[:_SHOWN]) + (" …" if len(lacking) > _SHOWN else "")
            raise InputError(
                f"{self.title} must have all of its files, got none for {len(lacking)}: {shown} in '{self.folder}'. "
                "Unpack it anew, or choose the parts that are there with --subset."
            )


class Folder:
    """The files of a folder, found whatever the case of their names: some datasets write I25.BMP and i25.bmp.

    Args:
        path: the folder; one that is not there has no files.
        deep: also those of the folders in it, by their names alone.
    """

    def __init__(self, path: Path | None, *, deep: bool = False) -> None:
        self.path = path
        self._exact: dict[str, str] = {}
        self._folded: dict[str, str] = {}
        for found in () if path is None else _files(path, deep=deep):
            name = os.path.basename(found)  # noqa: PTH119 (no Path for each of many)
            self._exact.setdefault(name, found)
            self._folded.setdefault(name.lower(), found)

    def find(self, name: str) -> str | None:
        """The path of a file; None if it is not there."""
        return self._exact.get(name) or self._folded.get(name.lower())

    def names(self) -> list[str]:
        """The names of its files, in order."""
        return sorted(self._exact)

    def add(self, other: Folder) -> None:
        """Take in the files of another folder that are not in this one."""
        for mine, theirs in ((self._exact, other._exact), (self._folded, other._folded)):
            for name, path in theirs.items():
                mine.setdefault(name, path)


def child(folder: Path, *names: str) -> Path | None:
    """A file or folder in a folder, whatever the case of the names on the way; None if it is not there."""
    for name in names:
        plain = folder / name
        if plain.exists():
            folder = plain
            continue
        if not folder.is_dir():
            return None
        found = next((path for path in sorted(folder.iterdir()) if path.name.lower() == name.lower()), None)
        if found is None:
            return None
        folder = found
    return folder


def need(folder: Path, title: str, *names: str) -> Path:
    """A file or folder in a dataset.

    Raises:
        InputError: it is not there.
    """
    found = child(folder, *names)
    if found is None:
        raise InputError(
            f"{title} must have '{'/'.join(names)}' in its folder, got none in '{folder}'. Name the folder that holds "
            "it."
        )
    return found


def plain_name(name: str, table: Path) -> str:
    """Return the name of a file if it is that alone.

    Raises:
        InputError: it leads elsewhere.
    """
    if not name or name in (".", "..") or set(name) & set("/\\:\0"):
        raise InputError(
            f"'{table.name}' must name files of its dataset by their names alone, got {name!r}. Get it anew, from "
            "the authors."
        )
    return name


def number(text: Any, table: Path, row: int) -> float:
    """A score of a table.

    Raises:
        InputError: it is no finite number.
    """
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise damaged(table, f"{text!r} in row {row}, where a score should be")
    return value


def text_of(table: Path) -> str:
    """The text of a table.

    Raises:
        InputError: it is no text.
    """
    try:
        return table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise damaged(table, f"{error.reason} at byte {error.start}") from error


def damaged(table: Path, what: object) -> InputError:
    """The error of a table that is not as its authors write it."""
    said = " ".join(str(what).split())[:200] or type(what).__name__
    return InputError(f"'{table}' must be the dataset's own table, got {said}. Get it anew, from the authors.")


def in_order(kinds: Iterable[str], order: Iterable[str]) -> tuple[str, ...]:
    """Kinds that occur, in the authors' order, others behind."""
    occurring = set(kinds)
    known = [kind for kind in order if kind in occurring]
    return (*known, *sorted(occurring.difference(known)))


def scipy() -> Any:
    """SciPy, with its parts for statistics, fits and MATLAB's files.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import scipy
        import scipy.io
        import scipy.optimize
        import scipy.stats
    except ImportError as error:
        raise MissingExtraError(
            "Correlations with scores must have scipy installed, got no such package. pip install 'opsin[judge]'"
        ) from error
    return scipy


def openpyxl() -> Any:
    """Openpyxl, which reads Excel's files.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtraError(
            "CSIQ's table of Excel must have openpyxl installed, got no such package. pip install 'opsin[judge]'"
        ) from error
    return openpyxl


def _files(folder: Path, *, deep: bool) -> list[str]:
    if not deep:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.is_file())
    return [os.path.join(home, name) for home, _, names in os.walk(folder) for name in sorted(names)]  # noqa: PTH118
