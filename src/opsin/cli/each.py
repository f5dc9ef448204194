"""What commands do that make one image of each of many: progress, Ctrl-C, and images that cannot be done."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from opsin.cli.common import quiet_codecs
from opsin.cli.live import INTERRUPTED, Live, time_text
from opsin.errors import OpsinError
from opsin.interruption import Interruption

if TYPE_CHECKING:
    from opsin.images import Picture
    from opsin.images.jobs import Job

Watch = Callable[[int, int], None]
"""Told how many parts of an image are done, and how many there are."""


class _Stopped(Exception):  # noqa: N818 (nothing is wrong)
    """Ctrl-C was pressed, and the part is done."""


class Each(ABC):
    """All images, one after another.

    Args:
        jobs: what is read and what is made of it.
        overwrite: replace what exists.

    Attributes:
        done: what was written, and its width and height.
        failed: what could not be done of which images, a line each.
        stopped: whether Ctrl-C ended it.
        live: the line that says where it is.
    """

    part = "part"
    """What the parts of an image are called."""
    enough_memory = "Make the image smaller."
    """How there would be."""

    def __init__(self, jobs: Sequence[Job], *, overwrite: bool) -> None:
        self.jobs, self.overwrite = jobs, overwrite
        self.done: list[tuple[Path, int, int]] = []
        self.failed: list[str] = []
        self.stopped = False
        self.live = Live()

    @abstractmethod
    def make(self, job: Job, watch: Watch) -> Picture:
        """What is made of an image.

        Raises:
            OpsinError: nothing can be; the others go on.
        """

    @abstractmethod
    def metadata(self, job: Job) -> dict[str, str]:
        """What the file says of itself."""

    def run(self) -> None:
        """Do one image after another until Ctrl-C."""
        with closing(self.live), Interruption() as interruption:
            self._work(interruption)

    def _work(self, interruption: Interruption) -> None:
        began = time.monotonic()
        for number, job in enumerate(self.jobs):
            if interruption.asked:
                self.stopped = True
                return
            started = time.monotonic()

            def watch(done: int, total: int, *, number: int = number, job: Job = job) -> None:
                if interruption.asked:
                    raise _Stopped
                share = (number + done / total) / len(self.jobs)
                left = (time.monotonic() - began) * (1 - share) / share
                parts = f"  {self.part} {done}/{total}" if total > 1 else ""
                self.live.show(f"{self._place(number)}{job.source}{parts}  {time_text(left)} left", last=False)

            self.live.show(f"{self._place(number)}{job.source}", last=False)
            try:
                picture = self.make(job, watch)
            except _Stopped:
                self.stopped = True
                return
            except OpsinError as error:
                self._fail(job.source, str(error))
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
                    raise
                self._fail(job.source, f"not enough memory. {self.enough_memory}")
            else:
                self._write(job, picture)
                _, width, height = self.done[-1]
                seconds = time.monotonic() - started
                self.live.show(
                    f"{self._place(number)}{job.source}  {width}x{height}  {seconds:.1f} s", last=len(self.jobs) > 1
                )

    def _place(self, number: int) -> str:
        return f"{number + 1}/{len(self.jobs)}  " if len(self.jobs) > 1 else ""

    def _fail(self, source: Path, reason: str) -> None:
        self.failed.append(reason if str(source) in reason else f"'{source}': {reason}")

    def _write(self, job: Job, picture: Picture) -> None:
        from opsin.images import write_picture

        height, width = picture.size
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            with quiet_codecs():
                write_picture(job.target, picture, overwrite=self.overwrite, metadata=self.metadata(job))
        except (OpsinError, OSError):
            # The next one would fail as well; what failed before is told all the same.
            self.live.close()
            self._tell()
            raise
        self.done.append((job.target, width, height))

    def _tell(self) -> None:
        for line in self.failed:
            print(f"opsin: {' '.join(line.split())}", file=sys.stderr)

    def report(self, output: Path, skipped: int) -> None:
        """Say what was done and what was not; those that `skipped` counts existed.

        Raises:
            typer.Exit: something was not.
        """
        left_out = f", left out {skipped} that existed" if skipped else ""
        if len(self.jobs) == 1 and self.done:
            path, width, height = self.done[0]
            print(f"wrote {path}, {width}x{height}{left_out}")
        elif self.done or skipped:
            print(f"wrote {len(self.done)} images to {output}{left_out}")
        self._tell()
        if self.stopped:
            print(f"stopped early: {len(self.done)} of {len(self.jobs)} images are done", file=sys.stderr)
            raise typer.Exit(INTERRUPTED)
        if self.failed:
            raise typer.Exit(1)


def best_device() -> str:
    """The fastest device of this machine."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
