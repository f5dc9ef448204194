"""`opsin stylize`: a photo in the style of a painting."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsin.cli.common import how_it_was_made, quiet_codecs
from opsin.cli.live import INTERRUPTED, Live, terms_text, time_text
from opsin.errors import InputError, OpsinError
from opsin.interruption import Interruption

if TYPE_CHECKING:
    from torch import Tensor

    from opsin.stylize import Progress

_CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")


def stylize(
    photo: Annotated[
        Path, typer.Argument(metavar="PHOTO", help="The picture to paint, or a clip.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the result.", show_default=False)],
    style: Annotated[
        list[Path] | None,
        typer.Option("--style", "-s", help="A painting; may be given several times.", show_default=False),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="In place of a painting: a network of 'opsin train style'.", show_default=False),
    ] = None,
    loss: Annotated[
        str,
        typer.Option(help="gatys, wasserstein, sliced-wasserstein, strotss, mrf, contextual or nnfm."),
    ] = "gatys",
    size: Annotated[
        int | None,
        typer.Option(help="The longer side of the result in pixels.", show_default="512; with --model the photo's"),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps at each scale; twice as many at the first.")] = 100,
    style_weights: Annotated[
        str, typer.Option(help="Of the paintings, in proportion, e.g. 2,1.", show_default="equal")
    ] = "",
    content_weight: Annotated[float, typer.Option(help="How much of the photo is kept; 0 makes a texture.")] = 1.0,
    style_scale: Annotated[float, typer.Option(help="Size of the painting beside the result: 2 coarsens it.")] = 1.0,
    keep_colors: Annotated[
        str, typer.Option(help="Keep the photo's colours: linear or luminance.", show_default="no")
    ] = "",
    tv: Annotated[float, typer.Option(help="Weight of the total variation, which smooths.")] = 0.0,
    init: Annotated[str, typer.Option(help="What to begin with: content, noise, or an image file.")] = "content",
    regions: Annotated[
        Path | None, typer.Option(help="A picture of plain colours: the photo's regions.", show_default=False)
    ] = None,
    style_regions: Annotated[
        list[Path] | None,
        typer.Option(help="The same of each painting, in order: regions of one colour match.", show_default=False),
    ] = None,
    start: Annotated[int, typer.Option(help="The longer side of the first, coarsest scale.")] = 128,
    growth: Annotated[float, typer.Option(help="From scale to scale, e.g. 1.414.")] = 2.0,
    optimizer: Annotated[
        str, typer.Option(help="lbfgs or adam.", show_default="adam for losses that draw at random, else lbfgs")
    ] = "",
    lr: Annotated[float | None, typer.Option(help="Its step.", show_default="1, Adam 0.02")] = None,
    averaging: Annotated[
        float | None, typer.Option(help="Average of iterates, e.g. 0.98.", show_default="none, Adam 0.98")
    ] = None,
    net: Annotated[str, typer.Option(help="vgg11 … vgg19.")] = "vgg19",
    weights: Annotated[str, typer.Option(help="bundled (vgg19 only), official, random, or a file.")] = "bundled",
    pooling: Annotated[str, typer.Option(help="max, avg or l2.")] = "max",
    seed: Annotated[int, typer.Option(help="Of all that is drawn at random.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    preview: Annotated[
        int, typer.Option(help="Write the picture every so many steps to OUTPUT-preview.", show_default="never")
    ] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep the state in this file, to go on later.", show_default=False)
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between two states.")] = 50,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from --checkpoint, or with the frames of a clip.")
    ] = False,
    temporal_weight: Annotated[
        float, typer.Option(help="Of a clip: how strongly frames are held to the previous ones.")
    ] = 1.0,
    force: Annotated[bool, typer.Option("--force", help="Begin even if memory is said not to do.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
) -> None:
    """Paint a photo, or a clip, in the style of a painting.

    Ctrl-C stops and writes the best picture so far. The result says in its metadata how it was made.
    """
    if (model is None) == (not style):
        raise InputError(f"one of --style and --model must be given, got {'both' if style else 'none'}.")
    settings: dict[str, Any] = {
        "loss": loss,
        "size": 512 if size is None else size,
        "steps": steps,
        "start": start,
        "growth": growth,
        "optimizer": optimizer or None,
        "lr": lr,
        "averaging": averaging,
        "content_weight": content_weight,
        "style_scale": style_scale,
        "tv": tv,
        "keep_colors": keep_colors or None,
        "net": net,
        "weights": weights,
        "pooling": pooling,
        "seed": seed,
    }
    proportions = _numbers(style_weights) if style_weights else None
    clip = photo.suffix.lower() in _CLIPS
    still = {"--regions": regions, "--style-regions": style_regions, "--preview": preview, "--checkpoint": checkpoint}
    given = [name for name, value in still.items() if value]
    if (clip or model is not None) and given:
        what = "--model" if model is not None else "a clip"
        raise InputError(f"{given[0]} must be for a picture that is optimised, got it for {what}. Leave it out.")
    if model is not None:
        if clip:
            raise InputError(f"--model must be for a picture, got the clip '{photo}'. Give a painting with --style.")
        _apply_model(photo, model, output, size, device, overwrite=overwrite)
    elif clip:
        options = {"resume": resume, "overwrite": overwrite, "force": force, "temporal_weight": temporal_weight}
        _paint_clip(photo, style or [], output, proportions, device, {**settings, "init": init}, options)
    else:
        _paint(
            photo,
            style or [],
            output,
            proportions=proportions,
            regions=regions,
            style_regions=style_regions or [],
            init=init,
            preview=preview,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
            device=device,
            settings=settings,
            force=force,
            overwrite=overwrite,
        )


def _paint(
    photo: Path,
    style: Sequence[Path],
    output: Path,
    *,
    proportions: list[float] | None,
    regions: Path | None,
    style_regions: Sequence[Path],
    init: str,
    preview: int,
    checkpoint: Path | None,
    checkpoint_every: int,
    resume: bool,
    device: str,
    settings: dict[str, Any],
    force: bool,
    overwrite: bool,
) -> None:
    from opsin.files import check_writable
    from opsin.images.writing import check_suffix

    check_suffix(output)
    check_writable(output, overwrite=overwrite)
    if preview < 0:
        raise InputError(f"--preview must be a number of steps, got {preview}. Leave it out for none.")
    shown = output.with_name(f"{output.stem}-preview{output.suffix}")
    if preview:
        check_writable(shown, overwrite=overwrite)
    if resume and checkpoint is None:
        raise InputError("--resume must go with --checkpoint FILE, got none. Name the file.")
    if checkpoint is not None and not resume:
        check_writable(checkpoint, overwrite=overwrite)
    if len(style_regions) != (0 if regions is None else len(style)):
        raise InputError(
            f"--regions must go with as many --style-regions as there are --style, {len(style)}, "
            f"got {'none' if regions is None else 'it'} with {len(style_regions)}. Add what is missing."
        )

    from opsin.devices import find_device
    from opsin.images import read_image, write_image
    from opsin.stylize import Settings, stylize
    from opsin.stylize.settings import INITS

    begins = init if init in INITS else "content"  # else it is a file
    Settings.of({**settings, "init": begins})  # what is wrong is said before anything is read
    chosen = find_device(device)
    with quiet_codecs():
        content = read_image(photo)
        paintings = [read_image(path) for path in style]
        begun = init if init in INITS else read_image(Path(init))
    of_photo = None if regions is None else _read_regions(regions, content)
    of_paintings = [_read_regions(path, image) for path, image in zip(style_regions, paintings, strict=False)]
    with closing(Live()) as live, Interruption() as interruption:

        def watch(progress: Progress) -> bool:
            left = progress.seconds * (1 - progress.done) / progress.done
            live.show(
                f"{progress.width}x{progress.height}  step {progress.step}/{progress.steps}  "
                f"{progress.seconds_a_step:.2f} s/step  {time_text(left)} left  {terms_text(progress.terms)}",
                last=progress.step == progress.steps,
            )
            if preview and progress.step % preview == 0:
                write_image(shown, progress.picture(), overwrite=True)
            return interruption.asked

        result = stylize(
            content,
            paintings,
            style_weights=proportions,
            content_regions=of_photo,
            style_regions=of_paintings or None,
            init=begun,
            device=chosen,
            callback=watch,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
            force=force,
            **settings,
        )
    write_image(output, result.image, overwrite=overwrite, metadata=how_it_was_made(result, photo, style))
    height, width = result.image.shape[-2:]
    print(f"wrote {output}, {width}x{height}")
    if interruption.asked:
        print(f"stopped early: {result.stopped}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    if result.stopped:
        raise OpsinError(
            f"the run must go to its end, but {result.stopped}; '{output}' is the best picture until then."
        )


def _paint_clip(
    clip: Path,
    style: Sequence[Path],
    output: Path,
    proportions: list[float] | None,
    device: str,
    settings: dict[str, Any],
    options: dict[str, Any],
) -> None:
    from opsin.devices import find_device
    from opsin.images import read_image
    from opsin.stylize.video import VideoProgress, stylize_video

    chosen = find_device(device)
    with quiet_codecs():
        paintings = [read_image(path) for path in style]
    with closing(Live()) as live, Interruption() as interruption:

        def watch(progress: VideoProgress) -> bool:
            of = "" if progress.frames is None else f"/{progress.frames}"
            live.show(
                f"frame {progress.frame + 1}{of}  step {progress.step}/{progress.steps}  "
                f"{terms_text(progress.terms)}  {time_text(progress.seconds)}",
                last=progress.step == progress.steps,
            )
            return interruption.asked

        result = stylize_video(
            clip, paintings, output, style_weights=proportions, device=chosen, callback=watch, **options, **settings
        )
    if result.stopped:
        print(f"stopped early: {result.stopped}. Go on with --resume.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    print(f"wrote {output}, {result.frames} frames of {result.width}x{result.height}, sound: {result.sound}")


def _apply_model(photo: Path, model: Path, output: Path, size: int | None, device: str, *, overwrite: bool) -> None:
    from opsin.devices import find_device
    from opsin.stylize.feedforward import stylize_file

    with quiet_codecs():
        width, height = stylize_file(photo, model, output, size=size, device=find_device(device), overwrite=overwrite)
    print(f"wrote {output}, {width}x{height}")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--style-weights must be numbers with commas between, got {text!r}. E.g. 2,1.") from None


def _read_regions(path: Path, image: Tensor) -> Tensor:
    """A picture of regions at the size of what it is of."""
    from torch.nn import functional as F

    from opsin.images import read_image

    with quiet_codecs():
        areas = read_image(path)
    if areas.shape != image.shape:
        sizes = [f"{t.shape[3]}x{t.shape[2]}" for t in (areas, image)]
        print(f"resized {path} from {sizes[0]} to {sizes[1]}, the size of its picture", file=sys.stderr)
        areas = F.interpolate(areas, image.shape[-2:], mode="nearest")
    return areas
