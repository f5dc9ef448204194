"""`opsin demo`: a photo, five distortions, and two opinions about which is closest."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsin.errors import MissingExtraError, OpsinError

if TYPE_CHECKING:
    from opsin.report.ranking import Distorted


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to; made if it is not there.")] = Path(
        "opsin-demo"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures of an earlier run.")] = False,
) -> None:
    """Distort a sample photo in five ways and rank the results by pixels and by perception.

    Writes ranking.png, and the photos as PNG to play with. Works offline, with the bundled VGG-19.
    """
    from opsin.files import check_writable

    photo_path = _sample_photo()
    if output.exists() and not output.is_dir():
        raise OpsinError(f"output must be a folder, got the file '{output}'. Choose another name.")
    from opsin.report import demonstration

    names = ["ranking", "photo", *demonstration.DISTORTIONS]
    paths = {name: output / f"{name}.png" for name in names}
    if output.is_dir():
        for path in paths.values():
            check_writable(path, overwrite=overwrite)
    photo, items, figure = demonstration.run(photo_path)
    output.mkdir(parents=True, exist_ok=True)
    from opsin.images import save_pil, write_image

    write_image(paths["photo"], photo, overwrite=overwrite)
    for item in items:
        write_image(paths[item.name], item.image, overwrite=overwrite)
    save_pil(paths["ranking"], figure, overwrite=overwrite)
    _print_ranking(items)
    again = shlex.join([_command(), "compare", str(paths["photo"]), str(paths["blur"])])
    print(f"wrote {paths['ranking']}: look at it. Then try: {again}")


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
