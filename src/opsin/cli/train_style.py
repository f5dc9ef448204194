"""`opsin train style`: a painting's style in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opsin.cli.train_common import (
    Accumulate,
    BatchSize,
    Cache,
    CheckpointEvery,
    Config,
    Crop,
    Data,
    Device,
    Ema,
    Keep,
    Lr,
    MaxUnreadable,
    Output,
    Precision,
    Resume,
    SampleEvery,
    Schedule,
    Seed,
    Steps,
    Warmup,
    Workers,
    run,
)

Net = Annotated[str | None, typer.Option(help="Network of the loss.", show_default="vgg19")]
LossWeights = Annotated[
    str | None,
    typer.Option("--weights", help="bundled (vgg19 only), official, random, or a file.", show_default="bundled"),
]


def style(
    output: Output,
    style: Annotated[Path | None, typer.Option(help="The painting.", show_default=False)] = None,
    data: Data = None,
    steps: Steps = None,
    batch: BatchSize = None,
    crop: Crop = None,
    lr: Lr = None,
    style_weight: Annotated[float | None, typer.Option(help="Of the style loss.", show_default="1")] = None,
    content_weight: Annotated[float | None, typer.Option(help="Of the content loss.", show_default="1")] = None,
    tv: Annotated[float | None, typer.Option(help="Of the total variation, which smooths.", show_default="1")] = None,
    style_size: Annotated[
        int | None, typer.Option(help="The painting's shorter side; larger is coarser.", show_default="256")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Channels of the first layer.", show_default="32")] = None,
    blocks: Annotated[int | None, typer.Option(help="Residual blocks.", show_default="5")] = None,
    upsampling: Annotated[str | None, typer.Option(help="resize or transposed.", show_default="resize")] = None,
    net: Net = None,
    weights: LossWeights = None,
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
    """Train a network that gives any photo the style of one painting, in one pass.

    Leaves OUTPUT/model.safetensors for `opsin stylize PHOTO --model`. Ctrl-C writes a checkpoint to go on from.
    """
    given = dict(locals())
    from opsin.stylize.feedforward import StyleRecipe, StyleSettings

    run(StyleSettings, StyleRecipe, given, output=output, config=config)
