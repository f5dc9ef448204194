"""`opsin evaluate gan`: how near generated images are to the data, and whether a generator copies or repeats."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsin.checks import whole
from opsin.cli.common import quiet_codecs
from opsin.cli.live import Live
from opsin.errors import ImageError, InputError, OpsinError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from opsin.gan.evaluation import Evaluator, Quality
    from opsin.gan.fidelity import Fidelity, Inception

_FILES = ("scores.json", "samples.png", "neighbours.png")
_SHOWN, _NEIGHBOURS = 8, 5


def gan(  # noqa: PLR0912 (each branch is an option)
    data: Annotated[Path, typer.Option(help="Folder of real images, searched recursively.", show_default=False)],
    samples: Annotated[
        Path | None, typer.Option(help="Folder of generated images, in place of --model.", show_default=False)
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="model.safetensors of 'opsin train gan'.", show_default=False),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", help="Images that the model makes.", show_default="as many as real ones"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of their noise.")] = 0,
    truncation: Annotated[float | None, typer.Option(help="Of their noise.", show_default="none")] = None,
    network: Annotated[str, typer.Option(help="vgg19, efficientnet_lite0, timm:NAME …")] = "vgg19",
    weights: Annotated[
        str | None, typer.Option(help="Of it: bundled, official, random, or a file.", show_default="its own")
    ] = None,
    tap: Annotated[str | None, typer.Option(help="Of it.", show_default="a deep one")] = None,
    size: Annotated[int, typer.Option(help="Side of the images that it sees.")] = 64,
    fid: Annotated[
        bool, typer.Option("--fid", help="FID and KID too, on Inception, by torch-fidelity (extra 'fidelity').")
    ] = False,
    fid_weights: Annotated[
        Path | None,
        typer.Option(help="Of Inception.", show_default="the official ones, where they are at hand"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=f"Folder for {', '.join(_FILES)}.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist in the folder.")] = False,
) -> None:
    """Measure generated images by a network's features: distances from real ones, precision, recall and copies.

    The distances are no FID and no KID, which are on features of Inception: --fid adds them. A generator that makes the
    same image again and again is told of on stderr. Images that cannot be read are named at the end; the exit status
    is 1.
    """
    from opsin.images.listing import find_images

    if (samples is None) == (model is None):
        raise InputError("one of --samples and --model must be given, got both or neither. Name what is measured.")
    if output is not None:
        _check_output(output, overwrite=overwrite)
    paths = find_images(data)
    if len(paths) < 5:
        raise InputError(f"data must hold at least 5 images to compare with, got {len(paths)} in '{data}'. Add images.")
    shown = find_images(samples) if samples is not None else []

    from opsin.devices import find_device
    from opsin.gan.evaluation import Evaluator

    if count is not None:
        whole("count", count, 5)
    chosen = find_device(device)
    evaluator = Evaluator(network, weights, tap, size=size, device=chosen)
    inception = _inception(fid_weights, chosen) if fid or fid_weights is not None else None
    seers = [evaluator] if inception is None else [evaluator, inception]
    failed: list[str] = []
    used: list[Path] = []
    with closing(Live()) as live:
        if model is not None:
            from opsin.gan import sampling

            generator = sampling.load_generator(model).to(chosen)
            number = count or len(paths)
            made = sampling.images_of(generator, number, seed=seed, truncation=truncation)
            generated, pictures = _vectors(seers, made, live, number, "generated")
        else:
            generated, pictures = _vectors(seers, _read(shown, None, failed, []), live, len(shown), "generated")
        # As the generator has learned them, or the others' sharpness would count.
        side = pictures[0].shape[-1]
        real, _ = _vectors(seers, _read(paths, side, failed, used), live, len(paths), "real")
    found = evaluator.compare(generated[0], real[0])
    fidelity = inception.compare(generated[1], real[1]) if inception is not None else None
    content = {
        **found.as_dict(),
        "features": evaluator.label,
        "signature": {**evaluator.signature, "side": side, "seed": seed, "truncation": truncation},
        "inception": fidelity.as_dict() if fidelity is not None else None,
        "data": str(data),
        "of": str(model or samples),
    }
    if as_json:
        print(json.dumps(content))
    else:
        _print(found, evaluator.label, fidelity)
    if output is not None:
        _write(output, content, pictures, generated[0], real[0], used, overwrite=overwrite)
        if not as_json:
            print(f"wrote {', '.join(_FILES)} to {output}")
    if found.collapsed:
        print(
            f"opsin: the images are far more alike than the data, {found.spread:.2f} of its spread: the generator has "
            "collapsed",
            file=sys.stderr,
        )
    for line in failed:
        print(f"opsin: {' '.join(line.split())}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _inception(weights: Path | None, device: torch.device) -> Inception:
    from opsin.gan.fidelity import Inception

    return Inception(weights, device=device)


def _check_output(output: Path, *, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise OpsinError(f"output must be a folder, got the file '{output}'. Choose another name.")
    if not output.absolute().parent.is_dir():
        raise OpsinError(f"output must be in a folder that exists, got '{output}'. Create '{output.parent}' first.")
    there = [name for name in _FILES if (output / name).exists()]
    if there and not overwrite:
        raise OpsinError(f"output must have no '{there[0]}' yet, got '{output}' with one. Give --overwrite.")


def _read(paths: list[Path], side: int | None, failed: list[str], used: list[Path]) -> Iterator[Tensor]:
    """Images as squares of their shorter side, as generators learn them, brought to a size; those read are noted."""
    from opsin.images import read_image
    from opsin.training.data import middle_square, resized

    for path in paths:
        try:
            with quiet_codecs():
                image = read_image(path)[0]
        except ImageError as error:
            failed.append(str(error))
            continue
        used.append(path)
        shorter = min(image.shape[-2:])
        yield resized(middle_square(image, shorter), side or shorter)[None]


def _vectors(
    seers: Sequence[Evaluator | Inception], images: Iterator[Tensor], live: Live, total: int, what: str
) -> tuple[list[Tensor], list[Tensor]]:
    """The features of all images, of each network, and the first of these images themselves."""
    import torch

    first: list[Tensor] = []
    done = 0

    def batches() -> Iterator[Tensor]:
        nonlocal done
        waiting: list[Tensor] = []
        for batch in images:
            if len(first) < 64:
                first.extend(batch[: 64 - len(first)].cpu().split(1))
            # Images of one size go through the network together.
            if waiting and waiting[0].shape[-2:] != batch.shape[-2:]:
                yield torch.cat(waiting)
                waiting = []
            waiting.append(batch)
            done += len(batch)
            if sum(map(len, waiting)) >= seers[0].batch:
                yield torch.cat(waiting)
                waiting = []
            if live.terminal:
                live.show(f"{what} images: {done}/{total}", last=False)
        if waiting:
            yield torch.cat(waiting)

    found = [[seer.vectors([batch]) for seer in seers] for batch in batches()]
    if not found:
        raise InputError("images must be given to be measured, got none that can be read.")
    return [torch.cat(parts) for parts in zip(*found, strict=True)], first


def _print(found: Quality, label: str, fidelity: Fidelity | None) -> None:
    rows = [
        (f"frechet ({label})", f"{found.frechet:.2f}", "lower is better"),
        (f"kernel x 1000 ({label})", f"{found.kernel:.2f} ± {found.kernel_error:.2f}", "lower is better"),
        ("precision", f"{found.precision:.3f}", "how much of them looks like data"),
        ("recall", f"{found.recall:.3f}", "how much of the data they cover"),
        ("spread", f"{found.spread:.3f}", "1 is the data's"),
        ("copies", f"{found.copies:.3f}", "nearer to a real image than any other real one is"),
    ]
    if fidelity is not None:
        from opsin.gan.fidelity import FEATURES

        fid, kid = fidelity.names
        # The covariance of that many features wants more images.
        few = min(found.generated, found.real) <= FEATURES
        note = "lower is better" + ("; too high with so few images" if few else "")
        rows[:0] = [
            (fid, f"{fidelity.fid:.2f}", note),
            (f"{kid} x 1000", f"{1000 * fidelity.kid:.2f} ± {1000 * fidelity.kid_std:.2f}", "lower is better"),
        ]
    print(f"{found.generated} generated and {found.real} real images")
    width = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, value, meaning in rows:
        print(f"  {name:<{width[0]}}  {value:>{width[1]}}  {meaning}")


def _write(
    output: Path,
    content: dict[str, Any],
    pictures: list[Tensor],
    generated: Tensor,
    real: Tensor,
    paths: list[Path],
    *,
    overwrite: bool,
) -> None:
    import torch
    from torch.nn import functional as F

    from opsin.files import atomic_path
    from opsin.functional.populations import nearest
    from opsin.gan.sampling import grid
    from opsin.images import save_pil, write_image
    from opsin.report.sheet import contact_sheet

    side = max(image.shape[-1] for image in pictures)
    squares = torch.cat(
        [image if image.shape[-1] == side else F.interpolate(image, (side, side)) for image in pictures]
    )
    shown = pictures[:_SHOWN]
    count = min(_NEIGHBOURS, len(real))
    _, indices = nearest(generated[: len(shown)], real, count)
    cells: list[tuple[str, Tensor]] = []
    for row, picture in enumerate(shown):
        cells.append(("generated", picture))
        for index in indices[row].tolist():
            (image,) = _read([paths[index]], side, [], [])
            cells.append((paths[index].stem, image))
    sheet = contact_sheet(
        "Generated images, and the nearest real ones", cells, columns=count + 1, width=128, notes=[content["features"]]
    )
    output.mkdir(exist_ok=True)
    with atomic_path(output / "scores.json", overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", errors="backslashreplace")
    write_image(output / "samples.png", grid(squares), overwrite=overwrite)
    save_pil(output / "neighbours.png", sheet, overwrite=overwrite)
