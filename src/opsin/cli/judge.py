"""`opsin judge`: how far losses agree with what people say of the same images."""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsin.cli.live import Live, time_text
from opsin.errors import InputError

if TYPE_CHECKING:
    from opsin.scoring.judging.base import Dataset
    from opsin.scoring.judging.published import Published
    from opsin.scoring.judging.run import Agreement, Measured, Number
    from opsin.scoring.reading import Preparation
    from opsin.scoring.scorer import Scorer

_SHOWN = 5  # errors

_NOUNS = {"2afc": "triplet", "jnd": "pair", "quality": "image"}
_SAID = {
    "2afc": "% of people's choices that a loss makes too",
    "jnd": "average precision in %, of finding what looks the same by small distances",
    "quality": "correlations of closeness with quality, so that more is better for all losses",
}


def judge(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Of a dataset, as its authors publish it.", show_default=False)
    ],
    loss: Annotated[
        str, typer.Option(help="Of 'opsin losses', NETWORK-DISTANCE as vgg19-l2, or YAML files; with commas.")
    ] = "vgg19-cosine",
    also: Annotated[str, typer.Option(help="psnr, ssim, with a comma; of RGB.", show_default="none")] = "",
    dataset: Annotated[
        str,
        typer.Option(
            help="bapps-2afc, bapps-jnd, tid2013, kadid10k, csiq, live, pipal.", show_default="what the folder holds"
        ),
    ] = "",
    split: Annotated[str, typer.Option(help="Of BAPPS: val or train.", show_default="val")] = "",
    subset: Annotated[
        str,
        typer.Option(
            help="Parts of BAPPS or kinds of distortion, e.g. traditional,cnn; with commas.", show_default="all"
        ),
    ] = "",
    per_type: Annotated[bool, typer.Option("--per-type", help="Also SRCC for each kind of distortion.")] = False,
    load_size: Annotated[
        int | None,
        typer.Option(help="Shorter side that images are brought to; 0: none.", show_default="64 for BAPPS, else 0"),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write a row for each judgement.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that read ahead; 0: none.")] = 2,
    batch: Annotated[int | None, typer.Option(help="References at once.", show_default="by size")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Compare losses with what people say: BAPPS, TID2013, KADID-10k, CSIQ, LIVE, PIPAL.

    Prints how far each loss agrees with people's judgements, with 95 % bootstrap intervals, beside published numbers
    where there are some. Exit status 1: some images could not be measured.
    """
    from opsin.checks import whole

    if csv_file is not None:
        from opsin.files import check_writable

        check_writable(csv_file, overwrite=overwrite)
    whole("workers", workers, 0)
    if batch is not None:
        whole("batch", batch)
    if load_size is not None:
        whole("load size", load_size, 0)

    from opsin.scoring.judging.bapps import LOAD_SIZE
    from opsin.scoring.judging.base import scipy
    from opsin.scoring.judging.datasets import read_dataset
    from opsin.scoring.judging.published import published
    from opsin.scoring.judging.run import agreement
    from opsin.scoring.reading import PILLOW_BILINEAR, Preparation
    from opsin.scoring.scorer import Scorer

    judged = read_dataset(folder, dataset, split=split, subsets=_parts(subset))
    if judged.task == "quality":
        scipy()  # before the work, not behind it
    elif per_type:
        raise InputError(f"--per-type must go with scores of quality, got {judged.name}, whose parts are told anyway.")
    side = load_size if load_size is not None else 0 if judged.task == "quality" else LOAD_SIZE
    preparation = Preparation(str(side), filter=PILLOW_BILINEAR) if side else Preparation()
    scorer = Scorer(_parts(loss), _parts(also), device=device)
    measured = _measure(judged, scorer, preparation, workers=workers, batch=batch)
    found = agreement(measured, kinds=per_type)
    known = {name: number for name, number in published(judged, side).items() if name in found.rows}
    if csv_file is not None:
        _write(csv_file, measured, overwrite=overwrite)
    if as_json:
        print(json.dumps(_content(measured, found, known, side)))
    else:
        _print(measured, found, known, side)
        if csv_file is not None:
            print(f"wrote {csv_file}")
    _tell_errors(measured)
    if measured.errors:
        raise typer.Exit(1)


def _measure(judged: Dataset, scorer: Scorer, preparation: Preparation, *, workers: int, batch: int | None) -> Measured:
    from opsin.scoring.judging.run import measure

    began = time.monotonic()
    with closing(Live()) as live:

        def progress(done: int, total: int) -> None:
            left = (time.monotonic() - began) / done * (total - done)
            live.show(f"{done}/{total} images  {time_text(left)} left", last=False)

        return measure(judged, scorer, preparation, batch=batch, workers=workers, progress=progress)


def _heading(measured: Measured, side: int) -> str:
    judged = measured.dataset
    noun = _NOUNS[judged.task]
    count = f"{len(judged.judgements)} {noun}{'s' * (len(judged.judgements) > 1)}"
    parts = [
        judged.title,
        *([judged.split] if judged.split else []),
        count if judged.complete else f"{count} of the {judged.whole} that there are",
        *([f"shorter side {side} pixels"] if side else []),
    ]
    return f"{', '.join(parts)}: {_SAID[judged.task]}"


def _notes(measured: Measured, found: Agreement) -> list[str]:
    judged = measured.dataset
    notes = ["± is half of a 95 % bootstrap interval"]
    if judged.task == "quality":
        sense = "as it is" if judged.higher else "its sign turned, since less is better"
        notes.append(f"quality is the dataset's {judged.scores}, {sense}; PLCC after a logistic fit")
    elif len(judged.kinds) > 1:
        lacking = [kind for kind in judged.published_kinds if kind not in judged.kinds]
        papers = ", as in the paper" if (judged.name, judged.split) == ("bapps-2afc", "val") else ""
        behind = f", without the authors' {', '.join(lacking)}" if lacking else papers
        notes.append(f"all is the mean over the {len(judged.kinds)} parts{behind}")
    if "people" in found.rows:
        notes.append("people is what one of them scores on average")
    return notes


def _print(measured: Measured, found: Agreement, known: Mapping[str, Published], side: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    utf8 = (console.encoding or "").lower().startswith("utf")
    plus_minus = " ±" if utf8 else " +-"
    digits = 1 if found.unit else 4
    names = max(map(len, found.rows))
    headings = [*found.columns, *(["published"] if known else [])]
    # A table that is cut says nothing.
    console.width = max(console.width, names + 2 + sum(max(len(heading), 16) + 2 for heading in headings))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("", *headings):
        table.add_column(Text(heading), justify="right" if heading else "left", no_wrap=True)
    for name, row in found.rows.items():
        cells = [_cell(row[column], digits, plus_minus) for column in found.columns]
        if known:
            cells.append(f"{known[name].value:.1f}" if name in known else "")
        table.add_row(Text(name), *cells)
    console.print(Text(_heading(measured, side)), soft_wrap=True)
    console.print(table)
    if found.kinds:
        by_kind = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("SRCC", *found.kinds):
            by_kind.add_column(Text(heading), justify="left" if heading == "SRCC" else "right", no_wrap=True)
        for kind in measured.dataset.kinds:
            by_kind.add_row(Text(kind), *(_cell(row[kind], digits, plus_minus) for row in found.kinds.values()))
        console.width = max(console.width, 30 + sum(max(len(name), 16) + 2 for name in found.kinds))
        console.print(by_kind)
    notes = "; ".join(_notes(measured, found))
    console.print(Text(notes if utf8 else notes.replace("±", "+-")), soft_wrap=True)
    for source, called in _sources(known).items():
        console.print(Text(f"published: {', '.join(called)}: {source}"), soft_wrap=True)
    console.print(Text(str(measured.signature), style="dim"), soft_wrap=True)


def _sources(known: Mapping[str, Published]) -> dict[str, list[str]]:
    """Paper -> what is from it, in its words."""
    sources: dict[str, list[str]] = {}
    for number in known.values():
        called = sources.setdefault(number.source, [])
        if number.called not in called:
            called.append(number.called)
    return sources


def _cell(number: Number, digits: int, plus_minus: str) -> str:
    if math.isnan(number.value):
        return "-"
    half = (number.high - number.low) / 2
    return f"{number.value:.{digits}f}" + ("" if math.isnan(half) else f"{plus_minus}{half:.{digits}f}")


def _content(measured: Measured, found: Agreement, known: Mapping[str, Published], side: int) -> dict[str, Any]:
    judged = measured.dataset
    return {
        "dataset": judged.name,
        "task": judged.task,
        "split": judged.split or None,
        "load_size": side,
        "judgements": len(judged.judgements),
        "measured": measured.measured,
        "whole": judged.whole,
        "scores": judged.scores,
        **found.as_dict(),
        "published": {name: number._asdict() for name, number in known.items()},
        "errors": {judged.judgements[number].name: error for number, error in measured.errors.items()},
        "signature": measured.signature,
    }


def _write(path: Path, measured: Measured, *, overwrite: bool) -> None:
    from opsin.files import atomic_path

    rows = measured.rows()
    first = next(rows)
    with (
        atomic_path(path, overwrite=overwrite) as temporary,
        # Names that are no Unicode must not cost the numbers.
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(first), lineterminator="\n")
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)


def _tell_errors(measured: Measured) -> None:
    judgements = measured.dataset.judgements
    for number, error in list(measured.errors.items())[:_SHOWN]:
        print(f"opsin: {' '.join(f'{judgements[number].name}: {error}'.split())}", file=sys.stderr)
    if (more := len(measured.errors) - _SHOWN) > 0:
        print(f"opsin: and {more} more that could not be measured", file=sys.stderr)


def _parts(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
