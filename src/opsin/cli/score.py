"""`opsin score`: folders of images against their references; and `opsin score merge`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsin.cli.live import INTERRUPTED, Live, time_text
from opsin.cli.score_results import Outputs, refuse, tell, title_of
from opsin.errors import InputError

if TYPE_CHECKING:
    from opsin.scoring.pairing import Pairing
    from opsin.scoring.reading import Preparation
    from opsin.scoring.results import Scored
    from opsin.scoring.run import Engine, Watch
    from opsin.scoring.scorer import Scorer

_ENGINES = ("local", "ray")


def score(
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="Folder of references, or a manifest alone.", show_default=False)
    ],
    distorted: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=]DIST...", help="Folders to judge, each a method.", show_default=False),
    ] = None,
    loss: Annotated[
        str, typer.Option(help="Of 'opsin losses', NETWORK-DISTANCE as vgg19-l2, or YAML files; with commas.")
    ] = "vgg19-cosine",
    also: Annotated[str, typer.Option(help="psnr, ssim, with a comma; of RGB.", show_default="none")] = "",
    pair_by: Annotated[str, typer.Option(help="name, order, or a manifest: .csv or .parquet.")] = "name",
    pattern: Annotated[
        str, typer.Option(help="Name of an image whose reference is {name}, e.g. {name}_sr.")
    ] = "{name}",
    resize: Annotated[
        str, typer.Option(help="'match' (to the reference), 256 (shorter side) or 640x480.", show_default="no")
    ] = "",
    crop: Annotated[
        str, typer.Option(help="The middle: 'match' (what both have), 256 or 640x480.", show_default="no")
    ] = "",
    background: Annotated[str, typer.Option(help="Colour behind transparent pixels.")] = "white",
    csv: Annotated[Path | None, typer.Option(help="Write a row for each pair and method.", show_default=False)] = None,
    jsonl: Annotated[Path | None, typer.Option(help="The same as JSON Lines.", show_default=False)] = None,
    parquet: Annotated[Path | None, typer.Option(help="The same as Parquet.", show_default=False)] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page to look at: .html, with pictures.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Keep what losses need of references in this folder.", show_default=False)
    ] = None,
    cache_size: Annotated[str, typer.Option(help="The most that it may take.")] = "20GB",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at what is missing or cannot be measured.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    workers: Annotated[
        int | None, typer.Option(help="Processes that read ahead; with Ray, actors.", show_default="by cores")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs at once.", show_default="by size")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster.")] = "local",
    address: Annotated[str, typer.Option(help="Of a Ray cluster that runs.", show_default="one made here")] = "",
    shard: Annotated[str, typer.Option(help="Part i of n as i/n, for 'opsin score merge'.", show_default="all")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Score folders of images against their references.

    Pairs are found by their paths in the folders, without endings. All losses share one pass of each network, and what
    they need of a reference is computed once for all folders. Results are kept as they come: a run that was broken off
    goes on when the same command is given again. Exit status 1: some pairs could not be measured. 'opsin score merge'
    puts parts together.
    """
    from opsin.checks import choice, whole

    choice("engine", engine, _ENGINES)
    if engine == "local" and address:
        raise InputError("--address must go with --engine ray, got --engine local.")
    if engine == "ray" and cache is not None:
        raise InputError("--cache must go with --engine local, got --engine ray, whose actors share no folder.")
    outputs = Outputs(csv, jsonl, parquet, report, overwrite=overwrite)
    part = parse_shard(shard)
    if part and not (jsonl or parquet):
        raise InputError("--shard must go with --jsonl or --parquet, which are merged, got neither. Name a file.")
    limit = parse_size(cache_size)
    for name, value, least in (("--workers", workers, 0), ("--batch", batch, 1)):
        if value is not None:
            whole(name, value, least)
    from opsin.scoring.reading import Preparation

    preparation = Preparation(resize, crop, background)
    pairing = find_pairs(reference, distorted or [], pair_by, pattern)
    if strict:
        refuse(pairing)

    from opsin.scoring.run import StoppedError, score_pairs
    from opsin.scoring.scorer import Scorer
    from opsin.scoring.statistics import summarize

    scorer = Scorer(_parts(loss), _parts(also), device=device)
    options: dict[str, Any] = {"workers": workers, "batch": batch}
    if engine == "ray":
        from opsin.scoring.cluster import ray_engine

        measure = ray_engine(_parts(loss), _parts(also), preparation, device=device, address=address, **options)
    else:
        measure = _local(scorer, preparation, cache, limit, **options)
    with closing(Live()) as live:
        try:
            scores = score_pairs(
                pairing,
                scorer,
                preparation,
                engine=measure,
                journal=outputs.journal,
                anew=overwrite,
                shard=part,
                strict=strict,
                watch=_progress(live, pairing),
            )
        except StoppedError as stopped:
            live.close()
            kept = f"; the same command goes on from '{outputs.journal}'" if outputs.journal else ""
            print(f"{stopped}{kept}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        live.show("statistics and files", last=False)
        summary = summarize(scores)
        page = None
        if report is not None:
            from opsin.report.score_report import score_report

            page = score_report(scores, summary, preparation, scorer, title=title_of(scores))
        outputs.write(scores, summary, shard=part, page=page)
        if outputs.journal is not None:
            outputs.journal.unlink(missing_ok=True)
    tell(scores, summary, outputs, as_json=as_json, shard=part)


def merge(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART...", help="Tables of --shard: .jsonl or .parquet.", show_default=False)
    ],
    csv: Annotated[Path | None, typer.Option(help="Write a row for each pair and method.", show_default=False)] = None,
    jsonl: Annotated[Path | None, typer.Option(help="The same as JSON Lines.", show_default=False)] = None,
    parquet: Annotated[Path | None, typer.Option(help="The same as Parquet.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Put the parts of 'opsin score --shard' together: the results are those of one run over all pairs."""
    outputs = Outputs(csv, jsonl, parquet, None, overwrite=overwrite)
    from opsin.scoring.merging import merge as merge_parts
    from opsin.scoring.statistics import summarize

    scores = merge_parts(parts)
    summary = summarize(scores)
    outputs.write(scores, summary)
    tell(scores, summary, outputs, as_json=as_json)


def find_pairs(reference: str, distorted: Sequence[str], pair_by: str, pattern: str) -> Pairing:
    """The pairs that arguments stand for."""
    from opsin.scoring.manifest import is_manifest
    from opsin.scoring.pairing import ALL, name_methods, pair_folders, pair_manifest

    if not distorted:
        if not is_manifest(reference):
            raise InputError(
                f"DIST must be a folder at least, got none beside '{reference}'. Name what is to be judged, or give a "
                "manifest (.csv, .parquet) alone."
            )
        return pair_manifest(reference)
    methods = name_methods(distorted)
    if not is_manifest(pair_by):
        return pair_folders(reference, methods, by=pair_by, pattern=pattern)
    if pattern != ALL:
        raise InputError(f"--pattern must be left out with a manifest, got {pattern!r}.")
    return pair_manifest(pair_by, reference=reference, distorted=methods)


def parse_shard(text: str) -> tuple[int, int] | None:
    """Part i of n, from "i/n".

    Raises:
        InputError: it is no such part.
    """
    if not text:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    part = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part[0] <= part[1]:
        raise InputError(f"--shard must be i/n with i from 1 to n, got {text!r}. E.g. 1/4.")
    return part


def parse_size(text: str) -> int:
    """Bytes, from "500MB" or "20GB".

    Raises:
        InputError: it is no size.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([MGT])i?B?", text.strip(), re.IGNORECASE)
    size = float(found[1]) * 1000 ** " MGT".index(found[2].upper()) * 1000 if found else 0
    if size < 1:
        raise InputError(f"--cache-size must be a size such as 500MB or 20GB, got {text!r}.")
    return int(size)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _local(scorer: Scorer, preparation: Preparation, folder: Path | None, limit: int, **options: Any) -> Engine:
    """The engine of this machine, with a cache if there is a folder for one."""
    from opsin.scoring.cache import TargetCache
    from opsin.scoring.run import local_engine

    if folder is None:
        return local_engine(scorer, preparation, **options)
    if scorer.loss is None:
        raise InputError("--cache must go with --loss, got none that it could keep anything of.")
    cache = TargetCache(folder, scorer.loss, preparation.describe(), limit)
    return local_engine(scorer, preparation, cache=cache, **options)


def _progress(live: Live, pairing: Pairing) -> Watch:
    """A line that says how far a run is, how fast, and how long it will take."""
    began = time.monotonic()
    first: list[int] = []

    def watch(found: Scored, done: int, total: int) -> None:
        if not first:
            first.append(done - 1)
        seconds = max(time.monotonic() - began, 1e-9)
        rate = (done - first[0]) / seconds
        left = time_text((total - done) / rate)
        live.show(f"{done}/{total}  {rate:.1f} pairs/s  {left} left  {pairing.pairs[found.number].name}", last=False)

    return watch
