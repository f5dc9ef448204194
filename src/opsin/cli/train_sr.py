"""`opsin train sr`: super-resolution, from the loss on pixels to the recipe of ESRGAN."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opsin.cli.train_common import (
    Accumulate,
    Cache,
    CheckpointEvery,
    Config,
    Data,
    Device,
    Ema,
    Keep,
    MaxUnreadable,
    Output,
    PerceptualWeights,
    Precision,
    Resume,
    SampleEvery,
    Schedule,
    Seed,
    ValEvery,
    ValFraction,
    Warmup,
    Workers,
    run,
)

_RECIPE = "the recipe's"


def sr(
    output: Output,
    data: Data = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="psnr, perceptual, johnson, srgan, esrgan or real-esrgan.", show_default="psnr"),
    ] = None,
    scale: Annotated[int | None, typer.Option(help="How many times larger.", show_default="4")] = None,
    network: Annotated[
        str | None,
        typer.Option(help="srresnet, msrresnet, edsr, rrdb, compact, span, rcan or swinir.", show_default="compact"),
    ] = None,
    width: Annotated[int | None, typer.Option(help="Its channels.", show_default="as published")] = None,
    blocks: Annotated[int | None, typer.Option(help="Its blocks.", show_default="as published")] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Begin with this model or public checkpoint, in place of --network.", show_default=False),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps, of all stages.", show_default="10000")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Images a step, over all processes.", show_default="8")
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the large crops in pixels.", show_default="128")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default=_RECIPE)] = None,
    pretrain_steps: Annotated[
        int | None, typer.Option(help="Steps on pixels alone before all else.", show_default="half with a GAN, or 0")
    ] = None,
    pretrain_lr: Annotated[float | None, typer.Option(help="Learning rate of these.", show_default="0.0002")] = None,
    pixel_loss: Annotated[str | None, typer.Option(help="l1, l2 or charbonnier.", show_default=_RECIPE)] = None,
    pixel_weight: Annotated[float | None, typer.Option(help="Its weight.", show_default=_RECIPE)] = None,
    perceptual: Annotated[
        str | None,
        typer.Option(help="A loss of 'opsin losses', e.g. lpips-vgg or contextual, or none.", show_default=_RECIPE),
    ] = None,
    perceptual_weight: Annotated[float | None, typer.Option(help="Its weight.", show_default=_RECIPE)] = None,
    weights: PerceptualWeights = None,
    tv: Annotated[float | None, typer.Option(help="Of the total variation, which smooths.", show_default="0")] = None,
    gan: Annotated[
        str | None, typer.Option(help="vanilla, relativistic, lsgan, hinge or none.", show_default=_RECIPE)
    ] = None,
    gan_weight: Annotated[float | None, typer.Option(help="Its weight.", show_default=_RECIPE)] = None,
    discriminator: Annotated[str | None, typer.Option(help="vgg, patch or unet.", show_default=_RECIPE)] = None,
    discriminator_width: Annotated[
        int | None, typer.Option(help="Channels of its first layer.", show_default="64")
    ] = None,
    degradation: Annotated[
        str | None,
        typer.Option(help="How small images are made: bicubic, blur-noise-jpeg or real-esrgan.", show_default=_RECIPE),
    ] = None,
    downscale: Annotated[
        str | None, typer.Option(help="Whose bicubic: matlab or pillow.", show_default="matlab")
    ] = None,
    val_fraction: ValFraction = None,
    val_every: ValEvery = None,
    schedule: Schedule = None,
    warmup: Warmup = None,
    accumulate: Accumulate = None,
    precision: Precision = None,
    ema: Ema = None,
    seed: Seed = None,
    device: Device = None,
    workers: Workers = None,
    cache: Cache = None,
    sample_every: SampleEvery = None,
    checkpoint_every: CheckpointEvery = None,
    keep: Keep = None,
    max_unreadable: MaxUnreadable = None,
    config: Config = None,
    resume: Resume = False,
) -> None:
    """Train a network that enlarges photos: on pixels, on a perceptual loss, or against a discriminator.

    Leaves OUTPUT/model.safetensors for `opsin upscale PHOTO --model`. Ctrl-C writes a checkpoint to go on from.
    """
    given = dict(locals())
    from opsin.superres.recipe import SrRecipe
    from opsin.superres.settings import SrSettings

    run(SrSettings, SrRecipe, given, output=output, config=config)
