"""`opsin compare`: how different two images look, layer by layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsin.cli.common import quiet_codecs
from opsin.errors import InputError

if TYPE_CHECKING:
    import torch

    from opsin.loss import PerceptualLoss
    from opsin.results import Evaluation, Signature


def compare(
    reference: Annotated[Path, typer.Argument(metavar="A", help="The reference image.", show_default=False)],
    image: Annotated[Path, typer.Argument(metavar="B", help="The image to judge.", show_default=False)],
    loss_name: Annotated[
        str,
        typer.Option(
            "--loss", help="A published loss, e.g. lpips-alex; 'opsin losses' lists them.", show_default="none"
        ),
    ] = "",
    net: Annotated[
        str,
        typer.Option(help="vgg11 … vgg19 (also _bn), alexnet, squeezenet1_1, image, timm:NAME.", show_default="vgg19"),
    ] = "",
    layers: Annotated[
        str, typer.Option(help="Layers with weights, e.g. relu2_2=1,relu3_3=0.5.", show_default="five of the network")
    ] = "",
    distance: Annotated[
        str,
        typer.Option(
            help="cosine, l1, l2, euclidean, charbonnier, huber, unit_l2, gram, mean_std.", show_default="cosine"
        ),
    ] = "",
    weights: Annotated[
        str,
        typer.Option(help="bundled (vgg19 only), official, random, or a file.", show_default="bundled, or the loss's"),
    ] = "",
    resize: Annotated[
        str,
        typer.Option(help="Resize both: 256 (shorter side), 640x480, or 'match' (B to A's size).", show_default="no"),
    ] = "",
    background: Annotated[str, typer.Option(help="Colour behind transparent pixels.")] = "white",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    heatmap: Annotated[
        Path | None, typer.Option(help="Write a picture of where they differ.", show_default=False)
    ] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Also a heat map for each layer.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the heat map if it exists.")] = False,
) -> None:
    """Compare two images as a pretrained network sees them.

    Prints the distance at each layer, their weighted sum, and a signature of what produced the numbers: 0 means equal,
    more means more different.
    """
    if per_layer and heatmap is None:
        raise InputError("--per-layer must go with --heatmap FILE, got no file. Name one.")
    if heatmap is not None:
        from opsin.files import check_writable
        from opsin.images.writing import check_suffix

        check_suffix(heatmap)
        check_writable(heatmap, overwrite=overwrite)

    if loss_name and (net or layers or distance):
        raise InputError("--loss must stand without --net, --layers and --distance, got both. Leave one out.")

    import torch

    from opsin.devices import find_device
    from opsin.distances import DISTANCES, SpatialDistance
    from opsin.tiling import tile_for

    if heatmap is not None and not issubclass(DISTANCES.get(distance, SpatialDistance), SpatialDistance):
        raise InputError(f"--heatmap must go with a distance that has a map, got {distance}. Try --distance cosine.")
    chosen_device = find_device(device)
    # First what is quick to be wrong: weights may have to be downloaded.
    a, b = _read_pair(reference, image, background, resize)
    with torch.inference_mode():
        loss = _make_loss(loss_name, net, layers, distance, weights).to(chosen_device)
        a_there = a.to(chosen_device)
        references: dict[str, Any] = dict.fromkeys(loss.references, a_there)
        tile = tile_for(loss.terms, a.shape[2], a.shape[3])
        result = loss.evaluate(b.to(chosen_device), **references, maps=heatmap is not None, tile=tile)
    if heatmap is not None and not result.maps:
        raise InputError(f"--heatmap must go with a loss that has a map, got {loss_name}. Try --loss lpips-vgg.")
    if not bool(result.total.isfinite().all()):
        raise InputError(f"the total must be finite, got {float(result.total)}. Choose smaller weights of layers.")
    signature = result.signature
    if resize:
        signature["resize"] = resize
    if heatmap is not None:
        _write_heatmap(heatmap, a, b, result, signature, (reference.name, image.name), per_layer, overwrite)
    if as_json:
        terms = {name: float(value) for name, value in result.terms.items()}
        print(json.dumps({"total": float(result.total), "terms": terms, "signature": signature}))
        return
    _print_table(reference, image, result, signature)
    if heatmap is not None:
        print(f"wrote {heatmap}")


def _make_loss(loss_name: str, net: str, layers: str, distance: str, weights: str) -> PerceptualLoss:
    if loss_name:
        from opsin.published.listing import make_loss

        return make_loss(loss_name, weights or None)
    from opsin.assembly import build

    chosen = parse_layers(layers) if layers else None
    return build(net or "vgg19", chosen, distance or "cosine", weights or "bundled")


def parse_layers(text: str) -> dict[str, float]:
    """Turn "relu2_2=1,relu3_3=0.5" into tap -> weight; a layer without a weight has 1.

    Raises:
        InputError: a weight that is no number, or a layer twice.
    """
    layers: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, number = part.partition("=")
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            raise InputError(f"a layer's weight must be a number, got {part!r}. Write e.g. relu2_2=0.5.") from None
        if name in layers:
            raise InputError(f"a layer must be named once, got {name!r} twice. Add up the weights.")
        layers[name] = weight
    if not layers:
        raise InputError(f"--layers must name at least one layer, got {text!r}. Write e.g. relu2_2=1,relu3_3=0.5.")
    return layers


def _read_pair(reference: Path, image: Path, background: str, resize: str) -> tuple[torch.Tensor, torch.Tensor]:
    from opsin.images import read_image
    from opsin.images import resize as resize_image

    with quiet_codecs():
        a, b = (read_image(path, background=background) for path in (reference, image))
    if resize == "match":
        b = resize_image(b, (a.shape[2], a.shape[3]))
    elif resize:
        a, b = resize_image(a, resize), resize_image(b, resize)
    if a.shape != b.shape:
        raise InputError(
            f"images must have one size, got {a.shape[3]}x{a.shape[2]} ('{reference}') and "
            f"{b.shape[3]}x{b.shape[2]} ('{image}'). Crop one, or use --resize match."
        )
    return a, b


def _print_table(reference: Path, image: Path, result: Evaluation, signature: Signature) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    # On a narrower terminal lines break, which is better than numbers that are cut.
    console.width = max(console.width, 64)
    block = "█" if (console.encoding or "").lower().startswith("utf") else "#"
    values = {name: float(value) for name, value in result.terms.items()}
    shares = {name: result.weights[name] * value for name, value in values.items()}
    largest = max((abs(share) for share in shares.values()), default=0.0)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("layer")
    table.add_column("distance", justify="right")
    table.add_column("weight", justify="right")
    table.add_column("weighted", justify="right")
    table.add_column("", no_wrap=True)
    width = max(8, min(32, console.width - 52))
    for name, value in values.items():
        bar = block * (round(width * abs(shares[name]) / largest) if largest else 0)
        table.add_row(Text(name), f"{value:.6g}", f"{result.weights[name]:g}", f"{shares[name]:.6g}", bar)
    table.add_section()
    table.add_row(Text("total", style="bold"), "", "", Text(f"{float(result.total):.6g}", style="bold"), "")
    console.print(Text(f"{image.name} against {reference.name}"), soft_wrap=True)
    console.print(table)
    console.print(Text(str(signature), style="dim"), soft_wrap=True)


def _write_heatmap(
    path: Path,
    a: torch.Tensor,
    b: torch.Tensor,
    result: Evaluation,
    signature: Signature,
    names: tuple[str, str],
    per_layer: bool,
    overwrite: bool,
) -> None:
    from opsin.images import save_pil
    from opsin.report.heatmap import heatmap_figure

    layers: dict[str, Any] | None = dict(result.maps) if per_layer and result.maps else None
    figure = heatmap_figure(
        a,
        b,
        result.map,
        title=f"perceptual distance {float(result.total):.4g}",
        caption=str(signature),
        layers=layers,
        names=names,
    )
    save_pil(path, figure, overwrite=overwrite, metadata={"opsin": json.dumps(signature)})
