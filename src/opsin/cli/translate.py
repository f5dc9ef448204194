"""`opsin translate`: images made of images by a network that `opsin train translate` has trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsin._version import __version__
from opsin.cli.common import quiet_codecs
from opsin.cli.each import Each, Watch
from opsin.errors import InputError

if TYPE_CHECKING:
    from opsin.images import Picture
    from opsin.images.jobs import Job

_TRIED = 128
# Of what is free: what an operator needs for itself while it runs, and what malloc keeps, is not in the estimate.
_SHARE = 0.5


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

    Images that cannot be read are told at the end, and the exit code is 1. Ctrl-C stops after the image that is being
    computed.
    """
    from opsin.images.jobs import check_targets, find_jobs

    jobs = find_jobs(inputs, output, suffix=suffix, file_format=file_format)
    jobs, skipped = check_targets(jobs, skip_existing=skip_existing, overwrite=overwrite)
    run = _Run(jobs, overwrite=overwrite)
    if jobs:
        run.load(model, device)
        run.run()
    run.report(output, skipped)


class _Run(Each):
    """All images, one after another."""

    def load(self, model: Path, device: str) -> None:
        """Make the network, and see how much memory it takes."""
        from opsin.devices import find_device
        from opsin.memory import network_memory
        from opsin.networks import Pix2PixHD, load_network

        self.model = model
        self.network = load_network(model, Pix2PixHD.architecture).network.to(find_device(device))
        # It grows with the number of pixels, so that a small image tells of a large one.
        self.a_pixel = network_memory(self.network, (1, 3, _TRIED, _TRIED)) / _TRIED**2

    def make(self, job: Job, watch: Watch) -> Picture:
        """The image that the network makes.

        Raises:
            InputError: it would not fit into memory, or the image is too small.
        """
        del watch  # it is made whole
        import torch

        from opsin.devices import available_memory
        from opsin.images import Picture, read_image
        from opsin.images.writing import check_size

        with quiet_codecs():
            image = read_image(job.source)
        height, width = image.shape[-2:]
        check_size(job.target, height, width)
        device = next(self.network.parameters()).device
        need, free = self.a_pixel * height * width / _SHARE, available_memory(device)
        if free is not None and need > free:
            raise InputError(
                f"an image must fit into memory, got {width}x{height} pixels, which take about {need / 2**30:.1f} GiB "
                f"of the {free / 2**30:.1f} that are free. Make it smaller first."
            )
        with torch.inference_mode():
            made = self.network(image.to(device)).clamp(0, 1).cpu()
        return Picture(made)

    def metadata(self, job: Job) -> dict[str, str]:
        """The names of the image and the model."""
        return {"Software": f"opsin {__version__}", "opsin:image": job.source.name, "opsin:model": self.model.name}
