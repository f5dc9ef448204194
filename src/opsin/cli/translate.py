"""`opsin translate`: images made of images by a network that `opsin train translate` has trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsin.cli.common import quiet_codecs
from opsin.cli.live import Live
from opsin.errors import InputError, OpsinError

if TYPE_CHECKING:
    from torch import Tensor

    from opsin.networks import Network


_TRIED = 128


def translate(
    inputs: Annotated[
        list[str], typer.Argument(help="Images, folders and patterns.", show_default=False, metavar="IMAGE...")
    ],
    model: Annotated[
        Path, typer.Option("--model", "-m", help="model.safetensors of 'opsin train translate'.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file for one image, else a folder.", show_default=False)
    ],
    suffix: Annotated[str, typer.Option(help="Appended to the names, before their ending.")] = "",
    file_format: Annotated[str, typer.Option("--format", help="same, png, jpg, webp, tif or bmp.")] = "same",
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what is there.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Make images of images with a network that was trained on pairs, each whole and of its own size.

    Images that cannot be read are named at the end, with exit status 1.
    """
    from opsin.superres.jobs import check_targets, find_jobs

    jobs, left_out = check_targets(
        find_jobs(inputs, output, suffix=suffix, file_format=file_format),
        skip_existing=skip_existing,
        overwrite=overwrite,
    )
    from opsin.devices import find_device
    from opsin.images import read_image, write_image
    from opsin.networks import Pix2PixHD, load_network

    network = load_network(model, Pix2PixHD.architecture).network.to(find_device(device))
    failed: list[str] = []
    done = 0
    live = Live()
    for number, job in enumerate(jobs, start=1):
        live.show(f"{number}/{len(jobs)}  {job.source}", last=False)
        try:
            with quiet_codecs():
                image = read_image(job.source)
            made = _made(network, image)
        except OpsinError as error:
            reason = str(error)
            failed.append(reason if str(job.source) in reason else f"'{job.source}': {reason}")
            continue
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_image(job.target, made, overwrite=overwrite)
        done += 1
    live.close()
    rest = f", left out {left_out} that existed" if left_out else ""
    if done == 1 and len(jobs) == 1:
        print(f"wrote {jobs[0].target}{rest}")
    elif done or left_out:
        print(f"wrote {done} images to {output}{rest}")
    for line in failed:
        print(f"opsin: {' '.join(line.split())}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _made(network: Network, image: Tensor) -> Tensor:
    """The image that the network makes.

    Raises:
        InputError: it would not fit into memory, or the image is too small.
    """
    import torch

    from opsin.devices import available_memory
    from opsin.memory import network_memory

    parameter = next(network.parameters())
    height, width = image.shape[-2:]
    # It grows with the number of pixels, so that a small image tells of a large one.
    need = network_memory(network, (1, 3, _TRIED, _TRIED)) / _TRIED**2 * height * width
    free = available_memory(parameter.device)
    if free is not None and need > free:
        raise InputError(
            f"an image must fit into memory, got {width}x{height} pixels, which take about {need / 2**30:.1f} GiB of "
            f"the {free / 2**30:.1f} that are free. Make it smaller first."
        )
    with torch.no_grad():
        return network(image.to(parameter.device)).clamp(0, 1).cpu()
