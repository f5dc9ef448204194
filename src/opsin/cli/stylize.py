"""`opsin stylize`: a photo in the style of a painting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from opsin.cli.common import quiet_codecs
from opsin.cli.stylize_clip import SUFFIXES, paint_clip
from opsin.cli.stylize_picture import paint_picture
from opsin.errors import InputError

# Options, by the names of `stylize`'s parameters, that mean something to one way alone, and all that --model takes.
_OF_PICTURES = {"regions", "style_regions", "preview", "checkpoint", "checkpoint_every"}
_OF_CLIPS = {"temporal_weight", "keep_frames"}
_OF_MODELS = {"photo", "output", "model", "size", "device", "overwrite"}


def stylize(
    context: typer.Context,
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
    tv: Annotated[float, typer.Option(help="Total variation: 1 takes away grain, 5 leaves flat areas.")] = 0.0,
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
    keep_frames: Annotated[
        bool, typer.Option("--keep-frames", help="Of a clip: leave its frames as PNG files in OUTPUT-frames.")
    ] = False,
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
    clip = bool({photo.suffix.lower(), output.suffix.lower()} & set(SUFFIXES))
    _refuse_what_does_nothing(context, "--model" if model is not None else "a clip" if clip else "a picture")
    if model is not None:
        if clip:
            raise InputError(f"--model must be for a picture, got the clip '{photo}'. Give a painting with --style.")
        _apply_model(photo, model, output, size, device, overwrite=overwrite)
    elif clip:
        paint_clip(
            photo,
            style or [],
            output,
            style_weights=proportions,
            device=device,
            settings={**settings, "init": init},
            temporal_weight=temporal_weight,
            keep_frames=keep_frames,
            resume=resume,
            force=force,
            overwrite=overwrite,
        )
    else:
        paint_picture(
            photo,
            style or [],
            output,
            style_weights=proportions,
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


def _refuse_what_does_nothing(context: typer.Context, way: str) -> None:
    """Raise if an option was given that has no meaning for what is done."""
    refused = {"a picture": _OF_CLIPS, "a clip": _OF_PICTURES, "--model": set(context.params) - _OF_MODELS}[way]
    for name in context.params:
        source = context.get_parameter_source(name)
        if name in refused and source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} must be left out for {way}, got it. It does nothing there.")


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
