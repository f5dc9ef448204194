"""What `opsin score` says at the end, and its files."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from opsin.errors import InputError, OpsinError

if TYPE_CHECKING:
    from opsin.report.score_words import Digits
    from opsin.scoring.pairing import Pairing
    from opsin.scoring.results import Scores
    from opsin.scoring.statistics import Comparison, Spread, Summary

_SHOWN = 5
_COMPARED = 12


class Outputs:
    """The files that are written when all is measured.

    Args:
        csv: a table.
        jsonl: the same.
        parquet: the same.
        report: a page.
        overwrite: replace those that exist.

    Attributes:
        tables: csv, jsonl and parquet, if given.
        all: the report too.

    Raises:
        OpsinError: one exists, or its folder does not.
        InputError: a name that ends in something else, or one for two.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self, csv: Path | None, jsonl: Path | None, parquet: Path | None, report: Path | None, *, overwrite: bool
    ) -> None:
        from opsin.scoring.outputs import check_tables

        named = {"csv": csv, "jsonl": jsonl, "parquet": parquet, "report": report}
        for option, path in named.items():
            ending = ".html" if option == "report" else f".{option}"
            if path is not None and path.suffix.lower() != ending:
                raise InputError(f"--{option} must name a file that ends in {ending}, got '{path}'.")
        self.tables = [path for path in (csv, jsonl, parquet) if path is not None]
        self.report, self.overwrite = report, overwrite
        self.all = [*self.tables, *([report] if report is not None else [])]
        check_tables(self.all, overwrite=overwrite)

    @property
    def journal(self) -> Path | None:
        """Where results are kept as they come; None if nothing is written at all."""
        return self.all[0].with_name(f"{self.all[0].name}.partial") if self.all else None

    def write(
        self, scores: Scores, summary: Summary, *, shard: tuple[int, int] | None = None, page: str | None = None
    ) -> None:
        """Write all of them."""
        from opsin.files import atomic_path
        from opsin.scoring.outputs import write_tables

        write_tables(self.tables, scores, summary, shard=shard, overwrite=self.overwrite)
        if self.report is not None and page is not None:
            with atomic_path(self.report, overwrite=self.overwrite) as temporary:
                temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def refuse(pairing: Pairing) -> None:
    """Raise if an image is in no pair.

    Raises:
        InputError: one is.
    """
    for what, names in (("missing", pairing.missing), ("without a reference", pairing.extra)):
        for method, some in names.items():
            if some:
                raise InputError(
                    f"--strict must have an image for each reference, got {len(some)} {what} in {method}: "
                    f"{_few(some)}. Leave --strict out to go on without."
                )


def title_of(scores: Scores) -> str:
    """What a report is called."""
    many = f"{len(scores.pairs)} pair{'s' * (len(scores.pairs) != 1)}"
    return f"{', '.join(scores.methods)}: {many}"


def tell(
    scores: Scores,
    summary: Summary,
    outputs: Outputs,
    *,
    as_json: bool,
    shard: tuple[int, int] | None = None,
) -> None:
    """Print what was found.

    Raises:
        OpsinError: nothing could be measured.
        typer.Exit: some pairs could not.
    """
    from opsin.scoring.outputs import about

    measured = any(spread.count for spreads in summary.spreads.values() for spread in spreads.values())
    if as_json:
        print(json.dumps(about(scores, summary, shard)))
    elif measured:
        _print_tables(scores, summary)
        if outputs.all:
            print(f"wrote {', '.join(map(str, outputs.all))}")
    for what, names in (("missing", scores.missing), ("without a reference", scores.extra)):
        for method, some in names.items():
            if some:
                print(f"{what} in {method}: {len(some)}: {_few(some)}", file=sys.stderr)
    for (number, method), error in list(scores.errors.items())[:_SHOWN]:
        line = f"{scores.pairs[number].name}, {method}: {error}"
        print(f"opsin: {' '.join(line.split())}", file=sys.stderr)
    if len(scores.errors) > _SHOWN:
        where = f", all of them in {outputs.all[0]}" if outputs.all else ""
        print(f"opsin: and {len(scores.errors) - _SHOWN} more that could not be measured{where}", file=sys.stderr)
    if not measured:
        raise OpsinError("one pair at least must be measured, got none; see above.")
    if scores.errors:
        raise typer.Exit(1)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")


def _print_tables(scores: Scores, summary: Summary) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from opsin.report.score_words import digits_of

    console = Console(highlight=False)
    utf8 = (console.encoding or "").lower().startswith("utf")
    up, down = ("↑", "↓") if utf8 else ("(up)", "(down)")
    # A table that is cut says nothing.
    console.width = max(console.width, 24 + 30 * len(scores.metrics))
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for metric in scores.metrics:
        table.add_column(f"{metric.name} {up if metric.higher else down}", justify="right", no_wrap=True)
    digits = digits_of(scores)
    counts = {spread.count for spreads in summary.spreads.values() for spread in spreads.values()}
    if len(counts) > 1:
        table.add_column("pairs", justify="right")
    best = {
        metric.name: (max if metric.higher else min)(
            (spreads[metric.name].mean for spreads in summary.spreads.values() if spreads[metric.name].count),
            default=math.nan,
        )
        for metric in scores.metrics
    }
    for method, spreads in summary.spreads.items():
        cells = []
        for metric, form in zip(scores.metrics, digits, strict=True):
            spread = spreads[metric.name]
            leads = spread.mean == best[metric.name] and len(scores.methods) > 1
            cells.append(Text(f"{'*' if leads else ''}{_interval(spread, form)}", style="bold" if leads else ""))
        table.add_row(Text(method), *cells, *([str(min(s.count for s in spreads.values()))] if len(counts) > 1 else []))
    many = f"{len(scores.pairs)} pair{'s' * (len(scores.pairs) != 1)}"
    better = "; * is the best" if len(scores.methods) > 1 else ""
    console.print(Text(f"{many}, means and their 95 % intervals{better}"), soft_wrap=True)
    console.print(table)
    for comparison in summary.comparisons[:_COMPARED]:
        form = digits[[metric.name for metric in scores.metrics].index(comparison.metric)]
        console.print(Text(_said(comparison, form)), soft_wrap=True)
    if len(summary.comparisons) > _COMPARED:
        console.print(Text(f"and {len(summary.comparisons) - _COMPARED} more comparisons: --json, --report"))
    console.print(Text(str(scores.signature), style="dim"), soft_wrap=True)


def _interval(spread: Spread, form: Digits) -> str:
    if not spread.count:
        return "none"
    mean = form.write(spread.mean)
    return mean if math.isnan(spread.low) else f"{mean} [{form.write(spread.low)}, {form.write(spread.high)}]"


def _said(found: Comparison, form: Digits) -> str:
    """A comparison in a line."""
    interval = f"{form.write(found.difference)} [{form.write(found.low)}, {form.write(found.high)}]"
    return (
        f"{found.metric}: {found.better} is closer than {found.worse} by {interval}, in {found.wins} of {found.count} "
        f"pairs, p = {found.p:.2g}"
    )
