"""`opsin train autoencoder`: images as small codes and back, as for latent diffusion."""

from __future__ import annotations

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

_SIZE = "the size's"


def autoencoder(
    output: Output,
    data: Data = None,
    model: Annotated[
        str | None,
        typer.Option(help="vae: codes are numbers; vq: codes are entries of a codebook.", show_default="vae"),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Of the network: small (for a CPU) or published.", show_default="small")
    ] = None,
    downsampling: Annotated[
        int | None, typer.Option(help="How many times smaller codes are: 4 or 8.", show_default="4")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Channels of the first level, a multiple of 4.", show_default=_SIZE)
    ] = None,
    blocks: Annotated[int | None, typer.Option(help="Residual blocks of a level.", show_default=_SIZE)] = None,
    channels: Annotated[int | None, typer.Option(help="Of the codes.", show_default="4")] = None,
    attention: Annotated[
        bool | None,
        typer.Option("--attention/--no-attention", help="Self-attention in the middle.", show_default=_SIZE),
    ] = None,
    entries: Annotated[int | None, typer.Option(help="Of the codebook, for vq.", show_default=_SIZE)] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps.", show_default="20000")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Images a step, over all processes.", show_default="8")
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the crops in pixels.", show_default="128")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default="0.0002")] = None,
    pixel_weight: Annotated[
        float | None, typer.Option(help="Of the mean difference of pixels.", show_default="2")
    ] = None,
    perceptual: Annotated[
        str | None,
        typer.Option(
            help="A loss of 'opsin losses', e.g. lpips-vgg, the papers', or none.", show_default="real-esrgan"
        ),
    ] = None,
    perceptual_weight: Annotated[
        float | None, typer.Option(help="Its weight.", show_default="0.2 for real-esrgan, else 1")
    ] = None,
    weights: PerceptualWeights = None,
    penalty_weight: Annotated[
        float | None, typer.Option(help="Of what codes cost.", show_default="1e-6 for vae, 1 for vq")
    ] = None,
    disc_start: Annotated[
        int | None, typer.Option(help="The step that the discriminator begins at.", show_default="half of all")
    ] = None,
    disc_weight: Annotated[
        float | None,
        typer.Option(help="Of the adversarial loss; 0 for no discriminator.", show_default="0.5 for vae, 0.8 for vq"),
    ] = None,
    discriminator_width: Annotated[
        int | None, typer.Option(help="Channels of the discriminator's first layer.", show_default="64")
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
    """Train a network that makes images small codes and brings them back: on pixels, a perceptual loss and a GAN.

    Leaves OUTPUT/model.safetensors for `opsin.networks.load_network`. Ctrl-C writes a checkpoint to go on from.
    """
    given = dict(locals())
    from opsin.gan.autoencoding.recipe import AutoencoderRecipe
    from opsin.gan.autoencoding.settings import AutoencoderSettings

    run(AutoencoderSettings, AutoencoderRecipe, given, output=output, config=config)
