"""Which files are made of which: files, folders and patterns in, a file or a folder of the same tree out."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from opsin.checks import choice
from opsin.errors import InputError, OpsinError
from opsin.files import check_writable
from opsin.images.listing import SUFFIXES
from opsin.images.writing import WRITABLE_SUFFIXES, check_suffix

FORMATS = ("same", "png", "jpg", "webp", "tif", "bmp")
_MAGIC = "*?["


class Job(NamedTuple):
    """A file that is read and the file that is made of it."""

    source: Path
    target: Path


class _Found(NamedTuple):
    """A file, where it is kept below the output, and whether it was named itself."""

    path: Path
    relative: Path
    named: bool


def find_jobs(
    inputs: Sequence[str], output: str | os.PathLike[str], *, suffix: str = "", file_format: str = "same"
) -> list[Job]:
    """The files that folders and patterns stand for, and what is made of each.

    Folders are searched recursively for images; what is hidden, and the output's own folder, is left out. Below the
    output files keep their place in their folder, or below the part of a pattern that has no wildcard. Patterns know
    `*`, `?`, `[…]` and `**`.

    Args:
        inputs: files, folders and patterns.
        output: a file for one input file, else a folder, which need not exist.
        suffix: what is appended to the names, before their ending.
        file_format: "same" as the input's (PNG for GIF), or one of `FORMATS`.

    Raises:
        InputError: there is no image, or no such file or folder; two files would be made of the same name, or one of
            itself.
        ChoiceError: an unknown format.
        OpsinError: a file for several images.
    """
    choice("format", file_format, FORMATS)
    if any(separator in suffix for separator in ("/", os.sep, "\0")):
        raise InputError(f"suffix must be a part of a file's name, got {suffix!r}. E.g. _new.")
    output = Path(output)
    found = list(_unique(item for text in inputs for item in _expand(text, output)))
    if _is_file(output, found):
        if suffix or file_format != "same":
            option = "suffix" if suffix else "format"
            raise InputError(f"{option} must be left out where the output is a file, got both. The name says it.")
        check_suffix(output)
        if not output.absolute().parent.is_dir():
            raise OpsinError(f"output folder must exist, got '{output.parent}', which does not. Create it first.")
        jobs = [Job(found[0].path, output)]
    else:
        if output.exists() and not output.is_dir():
            what = f"{len(found)} images" if len(found) > 1 else "what a folder or a pattern holds"
            raise OpsinError(f"output must be a folder for {what}, got the file '{output}'. Name another.")
        jobs = [Job(item.path, output / _name(item.relative, suffix, file_format)) for item in found]
        # What an earlier run left beside what it was made of is not an input of its own.
        results = {_key(job.target) for job in jobs if _key(job.target) != _key(job.source)}
        jobs = [job for job, item in zip(jobs, found, strict=True) if item.named or _key(item.path) not in results]
    _check_distinct(jobs)
    return jobs


def check_targets(jobs: Sequence[Job], *, skip_existing: bool, overwrite: bool) -> tuple[list[Job], int]:
    """The jobs whose files are to be made, and how many are left out since theirs exist.

    Raises:
        InputError: both are asked for.
        OpsinError: some exist, and it is not said what to do with them.
    """
    if skip_existing and overwrite:
        raise InputError("one of --skip-existing and --overwrite must be left out, got both.")
    there = [job for job in jobs if job.target.exists()]
    if there and not (skip_existing or overwrite):
        if len(jobs) == 1:
            check_writable(there[0].target)
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OpsinError(
            f"output must be new files, got '{there[0].target}'{more}, which exist. "
            "Choose another folder, or give --skip-existing or --overwrite."
        )
    if not skip_existing:
        return list(jobs), 0
    return [job for job in jobs if not job.target.exists()], len(there)


def _is_file(output: Path, found: Sequence[_Found]) -> bool:
    """Whether the output is meant to be a file."""
    if output.is_dir() or not output.suffix:
        return False
    if len(found) == 1 and found[0].named:
        return True
    if output.suffix.lower() in SUFFIXES:
        what = f"{len(found)} images" if len(found) > 1 else "what a folder or a pattern holds"
        raise OpsinError(f"output must be a folder for {what}, got '{output}', the name of a file. Name a folder.")
    return False


def _expand(text: str, output: Path) -> Iterator[_Found]:
    path = Path(text)
    if path.is_dir():
        yield from _images(path, path.rglob("*"), output, f"the folder '{text}'")
    elif path.exists():
        yield _Found(path, Path(path.name), named=True)
    elif any(character in text for character in _MAGIC):
        fixed = Path()
        for part in path.parts[:-1]:
            if any(character in part for character in _MAGIC):
                break
            fixed /= part
        matches = map(Path, glob.glob(text, recursive=True))  # noqa: PTH207 (Path.glob has no files for **)
        yield from _images(fixed, matches, output, f"the pattern '{text}'")
    else:
        raise InputError(f"input must be a file, a folder or a pattern, got '{text}', which is not there. Check it.")


def _images(folder: Path, paths: Iterable[Path], output: Path, what: str) -> Iterator[_Found]:
    # An output below the folder holds what an earlier run has made of it.
    apart = output.resolve() if folder.resolve() in output.resolve().parents else None
    count = 0
    for path in sorted(paths):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or path.suffix.lower() not in SUFFIXES or not path.is_file() or apart in path.resolve().parents:
            continue
        yield _Found(path, relative, named=False)
        count += 1
    if not count:
        raise InputError(f"input must hold images, got {what} with none that ends in {', '.join(SUFFIXES)}.")


def _unique(found: Iterable[_Found]) -> Iterator[_Found]:
    """Each file once, although it be named twice."""
    seen: set[tuple[Path, Path]] = set()
    for item in found:
        key = (_key(item.path), item.relative)
        if key not in seen:
            seen.add(key)
            yield item


def _name(relative: Path, suffix: str, file_format: str) -> Path:
    kept = ".png" if relative.suffix.lower() not in WRITABLE_SUFFIXES else relative.suffix
    ending = kept if file_format == "same" else f".{file_format}"
    return relative.with_name(f"{relative.stem}{suffix}{ending}")


def _key(path: Path) -> Path:
    """A file's place, by whatever way it is named; of a link that of what it points to."""
    return path.resolve()


def _check_distinct(jobs: Sequence[Job]) -> None:
    made: dict[Path, Path] = {}
    sources = {_key(job.source): job.source for job in jobs}
    for source, target in jobs:
        key = _key(target)
        if key in made:
            raise InputError(
                f"each image must have an output of its own, got '{made[key]}' and '{source}', both of which would "
                f"become '{target}'. Rename one, or give them apart."
            )
        if key in sources:
            raise InputError(
                f"output must be none of the inputs, got '{target}', which would be made of '{source}'. "
                "Choose another folder, or give --suffix _new."
            )
        made[key] = source
