"""What all kinds of `opsin train` share: options, the line that says where a run is, and warnings in a line."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from opsin.cli.live import Live, terms_text, time_text

if TYPE_CHECKING:
    from opsin.training import Progress, Recipe, Settings

    S = TypeVar("S", bound=Settings)

# The options of every kind. Those that are not given come from --config, from the run that goes on, or are the
# defaults of `opsin.training.Settings`.
Data = Annotated[Path | None, typer.Option(help="Folder of images, searched recursively.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.", show_default=False)]
Config = Annotated[Path | None, typer.Option(help="YAML file of these options.", show_default=False)]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the run's folder.")]
Steps = Annotated[int | None, typer.Option(help="Number of steps.", show_default="2000")]
BatchSize = Annotated[int | None, typer.Option("--batch", help="Images a step, over all processes.", show_default="4")]
Crop = Annotated[int | None, typer.Option(help="Side of the training images in pixels.", show_default="256")]
Lr = Annotated[float | None, typer.Option(help="Learning rate.", show_default="0.001")]
Schedule = Annotated[
    str | None, typer.Option(help="Of the learning rate: constant, or cosine to 0.", show_default="constant")
]
Warmup = Annotated[int | None, typer.Option(help="Steps in which the learning rate rises.", show_default="0")]
Accumulate = Annotated[int | None, typer.Option(help="Parts a step is computed in, for less memory.", show_default="1")]
Precision = Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.", show_default="float32")]
Ema = Annotated[
    float | None, typer.Option(help="Decay of the weights' moving average; 0 for none.", show_default="0.999")
]
Seed = Annotated[int | None, typer.Option(help="Of all that is drawn at random.", show_default="0")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", show_default="auto")]
Workers = Annotated[int | None, typer.Option(help="Processes that read images.", show_default="1")]
Cache = Annotated[int | None, typer.Option(help="MiB of decoded images that each of them keeps.", show_default="256")]
SampleEvery = Annotated[int | None, typer.Option(help="Steps between samples; 0 for none.", show_default="100")]
CheckpointEvery = Annotated[int | None, typer.Option(help="Steps between checkpoints.", show_default="100")]
Keep = Annotated[int | None, typer.Option(help="Checkpoints that are kept.", show_default="3")]
MaxUnreadable = Annotated[
    int | None, typer.Option(help="Unreadable images that are skipped before the run ends.", show_default="100")
]

# Of those kinds that have them.
PerceptualWeights = Annotated[
    str | None,
    typer.Option(help="Of its network: bundled, official, random, or a file.", show_default="the loss's"),
]
ValFraction = Annotated[
    float | None, typer.Option(help="How many of the files are held out to measure with.", show_default="0")
]
ValEvery = Annotated[int | None, typer.Option(help="Steps between measurements.", show_default="500")]


def run(
    kind: type[S], recipe: Callable[[S], Recipe], arguments: Mapping[str, Any], *, output: Path, config: Path | None
) -> None:
    """Train: the settings from a command's arguments, then the loop, and at the end what it left.

    Args:
        kind: of the settings.
        recipe: makes the recipe of the settings.
        arguments: all of the command's, by name; None where one was not given.
        output: the folder of the run.
        config: a YAML file of settings.
    """
    from opsin.training import RunFolder, train

    resume = bool(arguments["resume"])
    apart = {"output", "config", "resume"}
    given = {name: value for name, value in arguments.items() if value is not None and name not in apart}
    settings = RunFolder(output).settings(kind, given, config, resume=resume)
    with _one_line_warnings(), closing(_Pace()) as pace:
        folder = train(recipe(settings), settings, resume=resume, callback=pace.watch)
    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        print(f"wrote {folder.model}")


class _Pace(Live):
    """A line five times a second on a terminal, and elsewhere one on stdout each half minute."""

    def __init__(self) -> None:
        super().__init__()
        self._next = time.monotonic() + 30

    def watch(self, progress: Progress) -> None:
        if not self.terminal and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (0.2 if self.terminal else 30)
        line = (
            f"step {progress.step}/{progress.steps}  {time_text(round(progress.remaining))} left  "
            f"{progress.seconds_a_step:.2f} s/step  {terms_text(progress.metrics)}"
        )
        if self.terminal:
            self.show(line, last=False)
        else:
            print(line, flush=True)


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Warnings of ours as a line of their own each, without the line of code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message="skipped ", category=UserWarning)
        plain = warnings.showwarning

        def show(message: Warning | str, *rest: Any, **options: Any) -> None:
            text = " ".join(str(message).split())
            if text.startswith("skipped "):
                lead = "\r\x1b[K" if sys.stderr.isatty() else ""
                print(f"{lead}opsin: {text}", file=sys.stderr, flush=True)
            else:
                plain(message, *rest, **options)  # type: ignore[arg-type] (as it came)

        warnings.showwarning = show
        yield
