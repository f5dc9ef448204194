"""Which image is compared with which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from opsin.checks import choice
from opsin.errors import InputError
from opsin.scoring.manifest import read_manifest
from opsin.scoring.places import inside, is_url, list_images
from opsin.scoring.results import Pair

WAYS = ("name", "order")
ALL = "{name}"
_SHOWN = 3


@dataclass(frozen=True)
class Pairing:
    """Pairs, and what is in none.

    Attributes:
        pairs: by name, in order.
        methods: the names of what is compared with the references.
        missing: method -> names of references that it has no image for.
        extra: method -> its images that have no reference.
    """

    pairs: tuple[Pair, ...]
    methods: tuple[str, ...]
    missing: Mapping[str, tuple[str, ...]]
    extra: Mapping[str, tuple[str, ...]]


def pair_folders(reference: str, distorted: Mapping[str, str], *, by: str = "name", pattern: str = ALL) -> Pairing:
    """Pair the images of a folder with those of others.

    Args:
        reference: the folder of references, a path or a URL.
        distorted: method -> folder.
        by: "name": by their paths in their folders, without endings; or "order": the first with the first.
        pattern: what an image is called whose reference is called {name}, e.g. "{name}_sr"; both without endings.

    Raises:
        InputError: two images would be of one name, no name is in both, the folders hold different numbers of images
            and the order is to decide, or a folder that is not there or has no image.
        ChoiceError: an unknown way.

    Example:
        >>> pair_folders("photos", {"mine": "out"}, pattern="{name}_x4")  # doctest: +SKIP
        Pairing(pairs=(Pair(name='cat', reference='photos/cat.png', distorted={'mine': 'out/cat_x4.webp'}),), ...)
    """
    choice("way to pair", by, WAYS)
    matched = _matcher(pattern)
    if pattern != ALL and by == "order":
        raise InputError(f"pattern must be left out where the order decides, got {pattern!r}.")
    theirs = {method: _images(folder, [reference, *distorted.values()]) for method, folder in distorted.items()}
    mine = _images(reference, list(distorted.values()))
    if pattern != ALL and reference in distorted.values():
        # One folder for both: what is called as a result is none of the references.
        mine = [path for path in mine if matched(path) is None]
    if by == "order":
        return _by_order(reference, mine, distorted, theirs)
    references = _keyed(mine, _stem, reference)
    found = {method: _keyed(paths, matched, distorted[method]) for method, paths in theirs.items()}
    pairs = []
    for name, path in references.items():
        made = {m: inside(distorted[m], keyed[name]) for m, keyed in found.items() if name in keyed}
        if made:
            pairs.append(Pair(name, inside(reference, path), made))
    for method, keyed in found.items():
        if not keyed.keys() & references.keys():
            raise _no_overlap(reference, references, distorted[method], keyed)
    missing = {m: tuple(name for name in references if name not in keyed) for m, keyed in found.items()}
    paired = {m: {path for name, path in keyed.items() if name in references} for m, keyed in found.items()}
    extra = {m: tuple(path for path in theirs[m] if path not in paired[m]) for m in found}
    return Pairing(tuple(pairs), tuple(distorted), missing, extra)


def pair_manifest(
    manifest: str, *, reference: str | None = None, distorted: Mapping[str, str] | None = None
) -> Pairing:
    """Pair images as a table says.

    Rows of one reference and several methods are one pair. Without a column "name", a pair is called as its reference
    is, without the ending, or as its distorted image where a method has several of one reference.

    Args:
        manifest: see `read_manifest`.
        reference: the folder that the references are in; None for the manifest's own, where they are no URLs and no
            absolute paths.
        distorted: method -> folder, likewise; each of them has all rows, whose "method" must not be given then. None:
            methods are those of the table, or one called "distorted".

    Raises:
        InputError: see `read_manifest`; a file outside of its folder; one name twice.
        MissingExtraError: see `read_manifest`.
    """
    rows = read_manifest(manifest)
    home = _home(manifest)
    if distorted is not None and any("method" in row for row in rows):
        raise InputError(f"manifest must have no column method where folders are given, got one in '{manifest}'.")
    if distorted is None:
        entries = [(row, row.get("method", "distorted"), _place(home, row["distorted"], None)) for row in rows]
    else:
        entries = [(row, m, _place(home, row["distorted"], folder)) for row in rows for m, folder in distorted.items()]
    often = Counter((row["reference"], method) for row, method, _ in entries)
    several = max(often.values()) > 1
    pairs: dict[str, Pair] = {}
    for row, method, place in entries:
        name = row.get("name") or _stem(row["distorted" if several else "reference"])
        source = _place(home, row["reference"], reference)
        pair = pairs.setdefault(name, Pair(name, source, {}))
        if pair.reference != source or method in pair.distorted:
            raise InputError(
                f"manifest must have each name once for a method, got '{name}' twice in '{manifest}'. "
                "Add a column name that tells them apart."
            )
        pairs[name] = pair._replace(distorted={**pair.distorted, method: place})
    methods = tuple(dict.fromkeys(method for _, method, _ in entries))
    missing = {m: tuple(pair.name for pair in pairs.values() if m not in pair.distorted) for m in methods}
    return Pairing(tuple(pairs.values()), methods, missing, dict.fromkeys(methods, ()))


def name_methods(folders: Sequence[str]) -> dict[str, str]:
    """Method -> folder, of "NAME=FOLDER" or of a folder alone, which is called as its last part is.

    Raises:
        InputError: two are called the same.

    Example:
        >>> name_methods(["out/ours", "esrgan=out/run3"])
        {'ours': 'out/ours', 'esrgan': 'out/run3'}
    """
    named: dict[str, str] = {}
    for text in folders:
        name, equals, folder = text.partition("=")
        if not equals or "/" in name or Path(text).exists():
            folder = text
            head = folder.partition("::")[0] if is_url(folder) else str(Path(folder).absolute())
            name = PurePosixPath(head).name or folder
        if name in named:
            raise InputError(
                f"folders must be called differently, got '{named[name]}' and '{folder}', both '{name}'. "
                f"Give one another name: NAME={folder}."
            )
        named[name] = folder
    return named


def _images(folder: str, others: Sequence[str]) -> list[str]:
    """The images of a folder, without those of the others where these lie in it."""
    found = list_images(folder)
    if is_url(folder):
        return found
    root = Path(folder).resolve()
    apart = [Path(other).resolve() for other in others if not is_url(other)]
    within = [f"{other.relative_to(root).as_posix()}/" for other in apart if root in other.parents]
    kept = [path for path in found if not path.startswith(tuple(within))]
    if not kept:
        raise InputError(f"data must be a folder of images, got none in '{folder}' beside those of its subfolders.")
    return kept


def _by_order(
    reference: str, mine: list[str], distorted: Mapping[str, str], theirs: Mapping[str, list[str]]
) -> Pairing:
    for method, paths in theirs.items():
        if len(paths) != len(mine):
            raise InputError(
                f"folders must hold as many images as the references where their order pairs them, got {len(mine)} in "
                f"'{reference}' and {len(paths)} in '{distorted[method]}'. Pair them by name, or by a manifest."
            )
    keyed = _keyed(mine, _stem, reference)
    pairs = tuple(
        Pair(name, inside(reference, path), {m: inside(distorted[m], theirs[m][i]) for m in distorted})
        for i, (name, path) in enumerate(keyed.items())
    )
    return Pairing(pairs, tuple(distorted), dict.fromkeys(distorted, ()), dict.fromkeys(distorted, ()))


def _matcher(pattern: str) -> Callable[[str], str | None]:
    """From the path of a result to the name of its reference; None for other paths."""
    if pattern.count(ALL) != 1 or "/" in pattern:
        raise InputError(
            f"pattern must be a file's name without its ending and have {ALL} in it once, got {pattern!r}. "
            "E.g. {name}_sr."
        )
    before, after = pattern.split(ALL)
    expression = re.compile(f"{re.escape(before)}(.+){re.escape(after)}", re.DOTALL)

    def matched(path: str) -> str | None:
        stem = PurePosixPath(_stem(path))
        found = expression.fullmatch(stem.name)
        return None if found is None else (stem.parent / found[1]).as_posix()

    return matched


def _stem(path: str) -> str:
    return PurePosixPath(path.partition("::")[0]).with_suffix("").as_posix()


def _keyed(paths: Iterable[str], key: Callable[[str], str | None], folder: str) -> dict[str, str]:
    """Name -> path, in the order of names."""
    named = sorted((name, path) for path in paths if (name := key(path)) is not None)
    for (one, path), (other, same) in pairwise(named):
        if one == other:
            raise InputError(
                f"images must have one name each, whatever their endings, got '{path}' and '{same}' in '{folder}'. "
                "Rename or remove one, or pair by a manifest."
            )
    return dict(named)


def _no_overlap(reference: str, mine: Iterable[str], folder: str, theirs: Iterable[str]) -> InputError:
    def some(names: Iterable[str]) -> str:
        few = sorted(names)
        return ", ".join(few[:_SHOWN]) + (" …" if len(few) > _SHOWN else "") if few else "none that fits the pattern"

    return InputError(
        f"folders must have names in common, got {some(mine)} in '{reference}' and {some(theirs)} in '{folder}'. "
        "Give --pattern, e.g. {name}_sr, --pair-by order, or a manifest."
    )


def _home(manifest: str) -> str:
    """The folder that a manifest lies in."""
    if is_url(manifest):
        return manifest.partition("::")[0].rpartition("/")[0]
    return str(Path(manifest).parent)


def _place(home: str, path: str, folder: str | None) -> str:
    """Where a file of a manifest is.

    Raises:
        InputError: outside of the folder that was given for it.
    """
    if folder is None:
        return path if is_url(path) or Path(path).is_absolute() else inside(home, path)
    if is_url(path) or Path(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise InputError(
            f"manifest must name files by their paths in '{folder}', got '{path}', which is elsewhere. "
            "Leave the folders out for other places."
        )
    return inside(folder, path)
