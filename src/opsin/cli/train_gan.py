"""`opsin train gan`: a generator of images from noise."""

from __future__ import annotations

from typing import Annotated

import typer

from opsin.cli.train_common import (
    Accumulate,
    Cache,
    Config,
    Data,
    Device,
    Ema,
    Keep,
    MaxUnreadable,
    Output,
    Precision,
    Resume,
    Schedule,
    Seed,
    Warmup,
    Workers,
    run,
)

_RECIPE = "the recipe's"


def gan(
    output: Output,
    data: Data = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="projected: judged by features of a frozen network; baseline: by an ordinary discriminator.",
            show_default="projected",
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side of the images: 32, 64, 128, 256.", show_default="64")] = None,
    generator: Annotated[
        str | None, typer.Option(help="tiny, small (for a CPU) or full (the paper's).", show_default="small")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="The frozen network: vgg19, efficientnet_lite0, timm:NAME or none.", show_default="vgg19"),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of it: bundled, official, random, or a file.", show_default="its own")
    ] = None,
    taps: Annotated[
        str | None, typer.Option(help="Of it, from shallow to deep, with commas.", show_default="the network's four")
    ] = None,
    feature_size: Annotated[
        int | None, typer.Option(help="Side at which it sees the images.", show_default="64")
    ] = None,
    discriminator_width: Annotated[
        int | None, typer.Option(help="Channels of the discriminator's first layer.", show_default="32")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps.", show_default="10000")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Images a step, over all processes.", show_default="16")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of both networks.", show_default="0.0002")] = None,
    beta1: Annotated[float | None, typer.Option(help="Of Adam.", show_default=_RECIPE)] = None,
    beta2: Annotated[float | None, typer.Option(help="Of Adam.", show_default="0.99")] = None,
    gan: Annotated[
        str | None, typer.Option(help="hinge, vanilla, relativistic, lsgan or wgan.", show_default="hinge")
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="What both see the images through: colour, translation, cutout, with commas, or none.",
            show_default="all three",
        ),
    ] = None,
    mirror: Annotated[
        bool | None, typer.Option("--mirror/--no-mirror", help="Mirror images at random.", show_default="mirror")
    ] = None,
    matching: Annotated[
        str | None,
        typer.Option(
            help="Also match the batch's features: moments, sliced-wasserstein, kernel or none.", show_default="none"
        ),
    ] = None,
    matching_weight: Annotated[float | None, typer.Option(help="Its weight.", show_default="30")] = None,
    schedule: Schedule = None,
    warmup: Warmup = None,
    accumulate: Accumulate = None,
    precision: Precision = None,
    ema: Ema = None,
    seed: Seed = None,
    device: Device = None,
    workers: Workers = None,
    cache: Cache = None,
    sample_every: Annotated[
        int | None, typer.Option(help="Steps between samples; 0 for none.", show_default="250")
    ] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.", show_default="250")] = None,
    keep: Keep = None,
    max_unreadable: MaxUnreadable = None,
    config: Config = None,
    resume: Resume = False,
) -> None:
    """Train a generator of images from noise on a folder of images.

    Leaves OUTPUT/model.safetensors for `opsin generate --model` and `opsin evaluate gan --model`. Ctrl-C writes a
    checkpoint to go on from.
    """
    given = dict(locals())
    from opsin.gan.recipe import GanRecipe
    from opsin.gan.settings import GanSettings

    run(GanSettings, GanRecipe, given, output=output, config=config)
