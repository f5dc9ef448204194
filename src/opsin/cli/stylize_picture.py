"""`opsin stylize` of a picture."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from opsin.cli.common import how_it_was_made, quiet_codecs
from opsin.cli.live import INTERRUPTED, Live, terms_text, time_text
from opsin.errors import InputError, OpsinError
from opsin.interruption import Interruption

if TYPE_CHECKING:
    from torch import Tensor

    from opsin.stylize import Progress


def paint_picture(
    photo: Path,
    style: Sequence[Path],
    output: Path,
    *,
    style_weights: list[float] | None,
    regions: Path | None,
    style_regions: Sequence[Path],
    init: str,
    preview: int,
    checkpoint: Path | None,
    checkpoint_every: int,
    resume: bool,
    device: str,
    settings: Mapping[str, Any],
    force: bool,
    overwrite: bool,
) -> None:
    """Paint a picture, say where it is, and write it with how it was made; on Ctrl-C the best one so far.

    Args:
        photo: the file.
        style: files of paintings.
        output: the file to write.
        style_weights: of the paintings, in proportion.
        regions: a file of the photo's regions.
        style_regions: one for each painting.
        init: "content", "noise", or a file.
        preview: steps between two looks, 0 for none.
        checkpoint: the file of the state.
        checkpoint_every: steps between two states.
        resume: go on from `checkpoint`.
        device: where to compute, as the user names it.
        settings: of `opsin.stylize.Settings`, without `init`.
        force: begin even if memory is said not to do.
        overwrite: replace files that exist.
    """
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
            style_weights=style_weights,
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
