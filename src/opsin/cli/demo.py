"""`opsin demo`: what a perceptual loss sees, and what it paints, shown with a photo of a cat."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsin.cli.common import how_it_was_made
from opsin.cli.live import Live, terms_text, time_text
from opsin.errors import MissingExtraError, OpsinError

if TYPE_CHECKING:
    from torch import Tensor

    from opsin.report.demonstration import Stylized
    from opsin.report.ranking import Distorted
    from opsin.stylize import Progress

_SHEET, _REPORT, _PARTS = "contact-sheet", "report.html", "parts"


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to; made if it is not there.")] = Path(
        "opsin-demo"
    ),
    size: Annotated[int, typer.Option(help="The longer side of the stylized photos in pixels.")] = 320,
    steps: Annotated[int, typer.Option(help="Of style transfer at each scale; twice as many at the first.")] = 40,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures of an earlier run.")] = False,
) -> None:
    """Show what perceptual losses do, in about a minute, with a photo of a cat.

    Distorts the photo in five ways and ranks the results by pixels and by perception (ranking.png), scores them part by
    part (report.html, a page for a browser), then paints the photo in the style of a painting (contact-sheet.png). All
    pictures are written as PNG to play with. Works offline, with the bundled VGG-19.
    """
    from opsin.files import atomic_path, check_writable

    photo_path = _sample_photo()
    if output.exists() and not output.is_dir():
        raise OpsinError(f"output must be a folder, got the file '{output}'. Choose another name.")
    from opsin.report import demonstration
    from opsin.stylize import Settings

    Settings(size=size, steps=steps)  # what is wrong with them is said before the work begins
    names = ["ranking", "photo", *demonstration.DISTORTIONS, _SHEET, "painting", *demonstration.STYLES]
    paths = {name: output / f"{name}.png" for name in names}
    if output.is_dir():
        for path in (*paths.values(), output / _REPORT):
            check_writable(path, overwrite=overwrite)
        if (output / _PARTS).exists() and not overwrite:
            raise OpsinError(
                f"output must be a new folder, got '{output / _PARTS}', which exists. Choose another or overwrite it."
            )
    photo, items, figure = demonstration.run(photo_path)
    output.mkdir(parents=True, exist_ok=True)
    from opsin.images import save_pil, write_image

    write_image(paths["photo"], photo, overwrite=overwrite)
    for item in items:
        write_image(paths[item.name], item.image, overwrite=overwrite)
    save_pil(paths["ranking"], figure, overwrite=overwrite)
    _print_ranking(items)
    for name, images in demonstration.parts(photo, items).items():
        (output / _PARTS / name).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images, start=1):
            write_image(output / _PARTS / name / f"{number}.png", image, overwrite=True)
    with atomic_path(output / _REPORT, overwrite=overwrite) as temporary:
        temporary.write_text(demonstration.score_parts(output / _PARTS), encoding="utf-8")
    print(f"wrote {paths['ranking']} and {output / _REPORT}: look at them while the photo is painted.", flush=True)

    began = time.monotonic()
    stylized = _stylize(photo, size, steps)
    seconds = time.monotonic() - began
    write_image(paths["painting"], stylized.painting, overwrite=overwrite)
    for name, result in stylized.results.items():
        made = how_it_was_made(result, paths["photo"], [paths["painting"]])
        write_image(paths[name], result.image, overwrite=overwrite, metadata=made)
    save_pil(paths[_SHEET], stylized.sheet, overwrite=overwrite)
    print(f"wrote {paths[_SHEET]}, painted in {seconds:.0f} s: look at it too. Then try:")
    mine, scores = output / "mine.png", output / "scores.csv"
    methods = [output / _PARTS / name for name in ("blur", "jpeg")]
    for words in (
        ["compare", paths["photo"], paths["blur"]],
        ["score", output / _PARTS / demonstration.REFERENCE, *methods, "--csv", scores],
        ["stylize", paths["photo"], "--style", paths["painting"], "-o", mine, "--size", 256, "--style-scale", 2],
    ):
        print(f"  {shlex.join([_command(), *map(str, words)])}")


def _stylize(photo: Tensor, size: int, steps: int) -> Stylized:
    """Paint, with a line on a terminal that says how far it is."""
    from opsin.report import demonstration

    count = len(demonstration.STYLES)
    began = time.monotonic()
    with closing(Live()) as live:

        def watch(number: int, progress: Progress) -> None:
            done = (number + progress.done) / count
            left = (time.monotonic() - began) * (1 - done) / done
            live.show(
                f"painting {number + 1}/{count}  {progress.width}x{progress.height}  "
                f"step {progress.step}/{progress.steps}  {time_text(left)} left  {terms_text(progress.terms)}",
                last=False,
            )

        return demonstration.stylize_photo(photo, size, steps, callback=watch)


def _command() -> str:
    """How to call this program again: by its name if the shell finds it by that, else as it was called."""
    return "opsin" if shutil.which("opsin") == shutil.which(sys.argv[0]) else sys.argv[0]


def _sample_photo() -> Path:
    """scikit-image's photo of a cat, found without importing the package."""
    import importlib.util

    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "the demo must have scikit-image's photos, got no such package. pip install 'opsin[demo]'"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data" / "chelsea.png"


def _print_ranking(items: Sequence[Distorted]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("closest first", "by pixel MSE", "", "by perceptual loss", ""):
        table.add_column(heading)
    by_mse = sorted(items, key=lambda item: item.mse)
    by_loss = sorted(items, key=lambda item: item.loss)
    for rank, (a, b) in enumerate(zip(by_mse, by_loss, strict=True), start=1):
        table.add_row(str(rank), a.name, f"{a.mse:.5f}", b.name, f"{b.loss:.4f}")
    Console(highlight=False).print(table)
