"""`opsin train translate`: images made of images."""

from __future__ import annotations

from typing import Annotated

import typer

from opsin.cli.train_common import (
    Accumulate,
    Cache,
    CheckpointEvery,
    Config,
    Crop,
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
    Warmup,
    Workers,
    run,
)

_RECIPE = "the recipe's"


def translate(
    output: Output,
    data: Data = None,
    inputs: Annotated[
        str | None, typer.Option(help="The folder in DATA of what is given.", show_default="input")
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="The folder in DATA of what is to be made of it.", show_default="target")
    ] = None,
    side_by_side: Annotated[
        bool | None,
        typer.Option("--side-by-side/--apart", help="Each image holds both, left and right.", show_default=False),
    ] = None,
    reverse: Annotated[
        bool | None, typer.Option("--reverse/--forward", help="Exchange what is given and made.", show_default=False)
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="pix2pixhd or pix2pix.", show_default="pix2pixhd")] = None,
    generator: Annotated[
        str | None, typer.Option(help="tiny, small (for a CPU) or full (the paper's).", show_default="small")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps.", show_default="20000")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Images a step, over all processes.", show_default="1")
    ] = None,
    crop: Crop = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default="0.0002")] = None,
    gan: Annotated[str | None, typer.Option(help="lsgan, vanilla, hinge or wgan.", show_default=_RECIPE)] = None,
    matching_weight: Annotated[
        float | None, typer.Option(help="Of the discriminator's features' matching.", show_default=_RECIPE)
    ] = None,
    perceptual: Annotated[
        str | None, typer.Option(help="A loss of 'opsin losses', or none.", show_default=_RECIPE)
    ] = None,
    perceptual_weight: Annotated[float | None, typer.Option(help="Its weight.", show_default="1")] = None,
    weights: PerceptualWeights = None,
    pixel_weight: Annotated[float | None, typer.Option(help="Of L1 on pixels.", show_default=_RECIPE)] = None,
    discriminator_width: Annotated[
        int | None, typer.Option(help="Channels of its first layer.", show_default="32")
    ] = None,
    discriminator_scales: Annotated[
        int | None, typer.Option(help="At how many scales it judges.", show_default="2")
    ] = None,
    mirror: Annotated[
        bool | None, typer.Option("--mirror/--no-mirror", help="Mirror pairs at random.", show_default="mirror")
    ] = None,
    val_fraction: Annotated[
        float | None, typer.Option(help="How many of the pairs are held out to measure with.", show_default="0")
    ] = None,
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
    """Train a network that makes images of images, on pairs: DATA/input/NAME and DATA/target/NAME.

    Leaves OUTPUT/model.safetensors for `opsin translate IMAGE --model`. Ctrl-C writes a checkpoint to go on from.
    """
    given = dict(locals())
    from opsin.gan.translation.recipe import TranslateRecipe
    from opsin.gan.translation.settings import TranslateSettings

    run(TranslateSettings, TranslateRecipe, given, output=output, config=config)
