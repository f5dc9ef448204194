"""`opsin export`: a loss or a trained network as an ONNX file, for programs that have no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from opsin.errors import InputError

# What files of networks end in; no loss is called so.
_NETWORKS = (".safetensors", ".pth", ".pt", ".ckpt")


def export(
    loss_name: Annotated[
        str,
        typer.Argument(
            metavar="LOSS",
            help="A published loss, e.g. lpips-alex; 'opsin losses' lists them. Or a network: RUN/model.safetensors.",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write, e.g. lpips.onnx.")],
    size: Annotated[
        str,
        typer.Option(help="Side of the images, or WIDTHxHEIGHT.", show_default="256; of a network that enlarges, any"),
    ] = "",
    dynamic_size: Annotated[bool, typer.Option("--dynamic-size", help="Leave the size of the images open.")] = False,
    batch: Annotated[
        int, typer.Option(help="Number of pairs of images; 0 leaves it open.", min=0, show_default=False)
    ] = 0,
    weights: Annotated[
        str,
        typer.Option(help="bundled (vgg19 only), official, random, or a file.", show_default="the loss's"),
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a loss as an ONNX file: two images in, their distance out. Or a trained network: an image in, one out.

    The inputs are called x (the image to judge) and after the loss's references, mostly target, the output distance;
    those of a network image and result. Its metadata say what it was made of, under "opsin".
    """
    height, width = parse_size(size or "256")
    if loss_name.endswith(_NETWORKS):
        fixed = bool(size) and not dynamic_size
        _export_network(Path(loss_name), output, (height, width), batch, weights, fixed, dynamic_size, overwrite)
        return

    from opsin.export import check_output, to_onnx
    from opsin.published.listing import make_loss

    check_output(output, overwrite=overwrite)  # first what is quick to be wrong: weights may have to be downloaded
    loss = make_loss(loss_name, weights or None)
    to_onnx(
        loss,
        output,
        (height, width),
        batch=batch or 2,
        dynamic_batch=not batch,
        dynamic_size=dynamic_size,
        overwrite=overwrite,
    )
    print(f"wrote {output}: {', '.join(('x', *loss.references))} -> distance")
    print(loss.signature)


def _export_network(
    model: Path,
    output: Path,
    size: tuple[int, int],
    batch: int,
    weights: str,
    fixed: bool,
    dynamic_size: bool,
    overwrite: bool,
) -> None:
    if batch or weights:
        option = "--batch" if batch else "--weights"
        raise InputError(f"{option} must be left out for a trained network, which has its own weights and any batch.")
    from opsin.export import check_output, network_to_onnx
    from opsin.networks import Upscaler, load_network, load_upscaler
    from opsin.networks.files import is_ours

    check_output(output, overwrite=overwrite)
    network, about = load_network(model) if is_ours(model) or not model.is_file() else load_upscaler(model)
    if isinstance(network, Upscaler):  # which nobody wants for one size
        size, dynamic_size = (size, False) if fixed else ((64, 64), True)
    network_to_onnx(network, output, size, dynamic_size=dynamic_size, about=about, overwrite=overwrite)
    print(f"wrote {output}: image -> result")


def parse_size(text: str) -> tuple[int, int]:
    """Turn "256" or "640x480" (width first) into (height, width).

    Raises:
        InputError: it is neither.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if match is None:
        raise InputError(f"--size must be a number of pixels or WIDTHxHEIGHT, got {text!r}. Write e.g. 256 or 640x480.")
    width, height = int(match[1]), int(match[2] or match[1])
    return height, width
