"""`opsin evaluate KIND`: how good what trained networks make is."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsin.cli.common import quiet_codecs
from opsin.cli.evaluate_gan import gan
from opsin.cli.live import Live, time_text
from opsin.errors import ImageError, InputError, OpsinError

if TYPE_CHECKING:
    from torch import Tensor

    from opsin.superres.evaluation import Evaluation, Evaluator, Row

app = typer.Typer(help="Measure what trained networks make.", no_args_is_help=False, rich_markup_mode=None)

_FILES = ("scores.json", "scores.csv", "tradeoff.png", "tradeoff.html", "crops.png")
_SHOWN, _SIDE = 3, 128


@app.callback()
def _group() -> None:
    """Measure what trained networks make."""


app.command("gan")(gan)


@app.command("sr")
def sr(
    data: Annotated[Path, typer.Option(help="Folder of photos, searched recursively.", show_default=False)],
    model: Annotated[
        list[Path] | None,
        typer.Option("--model", "-m", help="As 'opsin upscale' takes; may be given several times.", show_default=False),
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="How many times smaller photos are made.", show_default="the models', or 4")
    ] = None,
    losses: Annotated[
        str,
        typer.Option(help="Of 'opsin losses', with commas.", show_default="LPIPS, DISTS, ST-LPIPS if at hand"),
    ] = "",
    downscale: Annotated[str, typer.Option(help="Whose bicubic filter makes them small: matlab or pillow.")] = "matlab",
    small: Annotated[
        Path | None,
        typer.Option(help="Folder of the small images, by the same names, in place of that.", show_default=False),
    ] = None,
    shave: Annotated[
        int | None,
        typer.Option(help="Pixels at each border that PSNR and SSIM leave out.", show_default="the scale"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=f"Folder for {', '.join(_FILES)}.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist in the folder.")] = False,
) -> None:
    """Measure networks that enlarge images, beside the bicubic and the Lanczos filter.

    Photos are made small, enlarged by each network and compared with what they were: PSNR and SSIM on Y, and perceptual
    distances, all of them means over the photos. Images that cannot be read are named at the end, with exit status 1.
    """
    from opsin.images.listing import find_images

    if output is not None:
        _check_output(output, overwrite=overwrite)
    paths = find_images(data)
    names = _names(model or [])
    if small is not None:
        _check_small(paths, data, small)

    from opsin.devices import find_device
    from opsin.published.listing import ALWAYS, USUAL, why_not_at_hand
    from opsin.superres.evaluation import Evaluator
    from opsin.superres.files import load_model

    chosen = find_device(device)
    networks = {name: load_model(path, chosen) for name, path in names.items()}
    factor = next((network.scale for network in networks.values()), 4) if scale is None else scale
    asked = [part for part in (p.strip() for p in losses.split(",")) if part and part != ALWAYS] if losses else None
    evaluator = Evaluator(
        {name: _on(network, chosen) for name, network in networks.items()},
        factor,
        losses=asked,
        shave=shave,
        kind=downscale,
        device=chosen,
    )
    found, failed, too_small = _measure(evaluator, paths, data, small)
    if not found.rows:
        raise OpsinError(
            f"one image at least must be measured, got none of {len(paths)} in '{data}': "
            f"{failed[0] if failed else f'all are smaller than {evaluator.least} pixels'}"
        )
    if as_json:
        print(json.dumps(_content(found)))
    else:
        _print_table(found)
    if output is not None:
        _write(output, evaluator, found, data, small, overwrite=overwrite)
        if not as_json:
            print(f"wrote {', '.join(_FILES)} to {output}")
    for name in USUAL if asked is None else ():
        if why := why_not_at_hand(name):
            print(f"not measured: {name}, {why}", file=sys.stderr)
    if too_small:
        print(
            f"skipped {too_small} image{'s' * (too_small > 1)} smaller than {evaluator.least}x{evaluator.least}",
            file=sys.stderr,
        )
    for line in failed:
        print(f"opsin: {' '.join(line.split())}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _measure(
    evaluator: Evaluator, paths: list[Path], data: Path, small: Path | None
) -> tuple[Evaluation, list[str], int]:
    from opsin.superres.evaluation import Evaluation

    rows: list[Row] = []
    failed: list[str] = []
    too_small = 0
    began = time.monotonic()
    with closing(Live()) as live:
        for number, path in enumerate(paths, start=1):
            relative = path.relative_to(data)
            try:
                image, given = _read(relative, data, small)
                if not evaluator.fits(image):
                    too_small += 1
                    continue
                rows += evaluator.measure(relative.as_posix(), image, small=given)
            except (ImageError, InputError) as error:
                failed.append(f"{relative}: {error}")
            left = (time.monotonic() - began) / number * (len(paths) - number)
            live.show(f"{number}/{len(paths)}  {time_text(left)} left  {relative}", last=False)
    return Evaluation(tuple(rows), evaluator.signature), failed, too_small


def _read(relative: Path, data: Path, small: Path | None) -> tuple[Tensor, Tensor | None]:
    """A photo, and the small image of it if there is a folder of these."""
    from opsin.images import read_image

    with quiet_codecs():
        return read_image(data / relative), None if small is None else read_image(_small_of(relative, small))


def _names(models: list[Path]) -> dict[str, Path]:
    """What the models are called: their file's name, or their folder's where files are called alike."""
    generic = {"model"} | {path.stem for path in models if sum(p.stem == path.stem for p in models) > 1}
    named: dict[str, Path] = {}
    for path in models:
        name = path.absolute().parent.name if path.stem in generic else path.stem
        if name in named:
            raise InputError(
                f"models must have different names, got '{named[name]}' and '{path}'. Rename one file or its folder."
            )
        named[name] = path
    return named


def _on(network: Any, device: Any) -> Any:
    return network.to(device) if hasattr(network, "parameters") else network


def _small_of(relative: Path, folder: Path) -> Path:
    """The small image of a photo, with whatever ending."""
    plain = folder / relative
    if plain.is_file():
        return plain
    return next(iter(sorted(plain.parent.glob(f"{plain.stem}.*"))), plain)


def _check_small(paths: list[Path], data: Path, small: Path) -> None:
    missing = [str(r) for p in paths if not _small_of(r := p.relative_to(data), small).is_file()]
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise InputError(
            f"--small must hold an image for each photo, got none for {len(missing)} of {len(paths)}: {shown}. "
            "Add them, or leave --small out."
        )


def _check_output(output: Path, *, overwrite: bool) -> None:
    from opsin.files import check_writable

    if output.exists() and not output.is_dir():
        raise OpsinError(f"output must be a folder, got the file '{output}'. Choose another name.")
    if output.is_dir():
        for name in _FILES:
            check_writable(output / name, overwrite=overwrite)
    elif not output.absolute().parent.is_dir():
        raise OpsinError(
            f"output must be in a folder that exists, got '{output}'. Create '{output.absolute().parent}' first."
        )


def _content(found: Evaluation) -> dict[str, Any]:
    return {
        "means": {model: _numbers(values) for model, values in found.means().items()},
        "images": [{"image": row.image, "model": row.model, **_numbers(row.values)} for row in found.rows],
        "signature": found.signature,
    }


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no infinity, which is the PSNR of equal images."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _print_table(found: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from opsin.superres.evaluation import HIGHER_IS_BETTER

    console = Console(highlight=False)
    # A table that is cut says nothing.
    console.width = max(console.width, 24 + 16 * len(found.metrics))
    utf8 = (console.encoding or "").lower().startswith("utf")
    up, down = ("↑", "↓") if utf8 else ("(up)", "(down)")
    means = found.means()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for metric in found.metrics:
        table.add_column(f"{metric} {up if metric in HIGHER_IS_BETTER else down}", justify="right", no_wrap=True)
    best = {
        metric: (max if metric in HIGHER_IS_BETTER else min)(values[metric] for values in means.values())
        for metric in found.metrics
    }
    for model, values in means.items():
        cells = []
        for metric, value in values.items():
            shown = f"{value:.2f}" if metric == "psnr" else f"{value:.4f}"
            is_best = value == best[metric]
            cells.append(Text(f"{'*' if is_best else ''}{shown}", style="bold" if is_best else ""))
        table.add_row(Text(model), *cells)
    console.print(Text(f"{_photos(found)}, means; * is the best"), soft_wrap=True)
    console.print(table)


def _photos(found: Evaluation) -> str:
    count = len({row.image for row in found.rows})
    return f"{count} photo{'s' * (count > 1)}"


def _write(
    output: Path, evaluator: Evaluator, found: Evaluation, data: Path, small: Path | None, *, overwrite: bool
) -> None:
    from opsin.files import atomic_path
    from opsin.images import save_pil
    from opsin.report.tradeoff import Point, tradeoff_figure
    from opsin.report.tradeoff_page import tradeoff_page

    output.mkdir(exist_ok=True)
    table = io.StringIO()
    writer = csv.DictWriter(table, ["image", "model", *found.metrics], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"image": row.image, "model": row.model, **row.values} for row in found.rows)
    means = found.means()
    distances = [metric for metric in found.metrics if metric not in ("psnr", "ssim")]
    points = {
        metric: [Point(model, values["psnr"], values[metric]) for model, values in means.items()]
        for metric in distances
    }
    title = f"Perception and distortion, {_photos(found)}, {evaluator.scale} times"
    note = json.dumps({name: value for name, value in found.signature.items() if name != "losses"})
    rows = [{"model": model, **values} for model, values in means.items()]
    page = tradeoff_page(points, rows, title=title, notes=[note])
    chosen = distances[-1]  # one that people's judgements were learned by, where there is one
    for name, content in {
        "scores.json": json.dumps(_content(found), indent=1) + "\n",
        "scores.csv": table.getvalue(),
        "tradeoff.html": page,
    }.items():
        with atomic_path(output / name, overwrite=overwrite) as temporary:
            # Names of old archives are no Unicode; what cannot be said of them must not cost the numbers.
            temporary.write_text(content, encoding="utf-8", errors="backslashreplace")
    save_pil(output / "tradeoff.png", tradeoff_figure(points[chosen], metric=chosen, notes=[note]), overwrite=overwrite)
    save_pil(output / "crops.png", _crops(evaluator, found, data, small), overwrite=overwrite)


def _crops(evaluator: Evaluator, found: Evaluation, data: Path, small: Path | None) -> Any:
    """Middles of the first photos, as they are and as each model has them."""
    from torch.nn import functional as F

    from opsin.report.sheet import contact_sheet

    pictures: list[tuple[str, Tensor]] = []
    for name in list(dict.fromkeys(row.image for row in found.rows))[:_SHOWN]:
        image, given = _read(Path(name), data, small)
        # A list, since a photo may be called as a model is.
        made = [(Path(name).stem, evaluator.cut(image)), *evaluator.enlarged(image, small=given).items()]
        for caption, picture in made:
            height, width = picture.shape[-2:]
            top, left = max(0, (height - _SIDE) // 2), max(0, (width - _SIDE) // 2)
            crop = picture[..., top : top + _SIDE, left : left + _SIDE]
            pictures.append((caption, F.interpolate(crop, scale_factor=2, mode="nearest")))
    return contact_sheet(
        f"{evaluator.scale} times larger", pictures, columns=1 + len(evaluator.models), width=2 * _SIDE
    )
