"""`opsin generate`: images from noise, a grid of them, and the way from one to the next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsin.checks import whole
from opsin.errors import InputError, OpsinError

if TYPE_CHECKING:
    from torch import Tensor

_GRID, _STRIP = "grid.png", "interpolation.png"
_MOVING = (".gif", ".webp", ".png")
_SHOWN = 64
_FRAMES = 24  # a second
_STRIP_STEPS = 8
_LARGEST = 1 << 20  # of the numbers that files have


def generate(
    model: Annotated[
        Path, typer.Option("--model", "-m", help="model.safetensors of 'opsin train gan'.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the images.", show_default=False)],
    count: Annotated[int, typer.Option("--count", "-n", help="Number of images.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the noise; image i depends on it and i alone.")] = 0,
    truncation: Annotated[
        float | None,
        typer.Option(help="Cut the noise at so many deviations, e.g. 0.7: less various, cleaner.", show_default="none"),
    ] = None,
    grid: Annotated[bool, typer.Option("--grid/--no-grid", help=f"Also write {_GRID}, the first {_SHOWN}.")] = True,
    interpolate: Annotated[
        int,
        typer.Option(help=f"Also write {_STRIP}: the way from each of so many images to the next, a row each."),
    ] = 0,
    animate: Annotated[
        Path | None,
        typer.Option(help="Also write that way, there and back, as .gif, .webp or .png (APNG).", show_default=False),
    ] = None,
    frames: Annotated[int, typer.Option(help="Frames from each image to the next.")] = 24,
    batch: Annotated[int, typer.Option(help="Images at a time.")] = 64,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Make images with a generator that `opsin train gan` has trained.

    Writes 000000.png and so on, and a grid. The same model and seed give the same images, however many are made.
    """
    whole("count", count, 0)
    whole("seed", seed, 0)
    whole("batch", batch)
    whole("frames", frames)
    if count > _LARGEST:
        raise InputError(f"count must be at most {_LARGEST:,}, got {count:,}. Make them in parts, by seed.")
    if interpolate == 1 or interpolate < 0:
        raise InputError(f"interpolate must be at least 2 images, or 0 for none, got {interpolate}.")
    if animate is not None and animate.suffix.lower() not in _MOVING:
        raise InputError(f"animate must be a file that ends in {', '.join(_MOVING)}, got '{animate}'.")
    points = interpolate or (4 if animate else 0)
    names = [f"{number:06d}.png" for number in range(count)]
    targets = [
        output / name for name in [*names, *([_GRID] if grid and count else []), *([_STRIP] * (interpolate > 1))]
    ]
    _check(output, [*targets, *([animate] if animate else [])], overwrite=overwrite)

    from opsin.devices import find_device
    from opsin.gan import sampling
    from opsin.images import write_image

    network = sampling.load_generator(model).to(find_device(device))
    # Refused before there is a folder.
    z = sampling.latents(points, network.latent, seed=seed, truncation=truncation)
    output.mkdir(exist_ok=True)
    first: list[Tensor] = []
    made = 0
    for images in sampling.images_of(network, count, seed=seed, truncation=truncation, batch=batch):
        for image in images.cpu():
            if grid and len(first) < _SHOWN:
                first.append(image)
            write_image(output / names[made], image, overwrite=overwrite)
            made += 1
        _tell(made, count)
    if first:
        import torch

        write_image(output / _GRID, sampling.grid(torch.stack(first)), overwrite=overwrite)
    if interpolate:
        way = sampling.decode(network, sampling.path_between(z, _STRIP_STEPS)).cpu()
        rows = [way[i : i + _STRIP_STEPS + 1] for i in range(0, len(way) - 1, _STRIP_STEPS)]
        write_image(output / _STRIP, sampling.grid(_joined(rows), _STRIP_STEPS + 1), overwrite=overwrite)
    if animate is not None:
        path = sampling.path_between(z, frames, closed=True)
        _animate(animate, [sampling.decode(network, part).cpu() for part in path.split(batch)], overwrite=overwrite)
    written = [f"{count} image{'s' * (count != 1)}"] * bool(count)
    written += [name for name, is_made in ((_GRID, bool(first)), (_STRIP, bool(interpolate))) if is_made]
    print(f"wrote {', '.join(written) or 'nothing'} to {output}" + (f", and {animate}" if animate else ""))


def _check(output: Path, targets: list[Path], *, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise OpsinError(f"output must be a folder, got the file '{output}'. Choose another name.")
    for folder in {output.absolute().parent, *(t.absolute().parent for t in targets if t.parent != output)}:
        if not folder.is_dir():
            raise OpsinError(
                f"output must be in a folder that exists, got '{folder}', which does not. Create it first."
            )
    there = [] if overwrite else [path for path in targets if path.exists()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OpsinError(
            f"output must be new files, got '{there[0]}'{more}, which exist. "
            "Choose another folder, or give --overwrite."
        )


def _joined(rows: list[Tensor]) -> Tensor:
    import torch

    return torch.cat(rows)


def _animate(path: Path, parts: list[Tensor], *, overwrite: bool) -> None:
    from PIL import Image

    from opsin.files import atomic_path

    pictures = [
        Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()) for part in parts for image in part
    ]
    options: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "loop": 0}
    with atomic_path(path, overwrite=overwrite) as temporary:
        pictures[0].save(temporary, format=path.suffix[1:].upper(), duration=round(1000 / _FRAMES), **options)


def _tell(made: int, count: int) -> None:
    if sys.stderr.isatty():
        end = "\r" if made < count else "\r\x1b[K"
        print(f"\r\x1b[K{made}/{count} images" if made < count else "", end=end, file=sys.stderr, flush=True)
