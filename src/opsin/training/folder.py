"""The folder that a run leaves."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from opsin.errors import OpsinError
from opsin.states import load_state, save_state
from opsin.training.settings import Settings

S = TypeVar("S", bound=Settings)

_CHECKPOINT = re.compile(r"step-(\d{8})\.safetensors")
_KIND = "a run of training"


class RunFolder:
    """The files of a run.

    Attributes:
        path: the folder.
        config: its settings.
        metrics: a line of JSON for each step.
        samples: pictures.
        checkpoints: states to go on from.
        model: the weights that the run is for.
        tensorboard: what TensorBoard shows.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.samples = self.path / "samples"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model.safetensors"
        self.tensorboard = self.path / "tensorboard"

    def settings(
        self, kind: type[S], given: Mapping[str, Any], config: str | os.PathLike[str] | None = None, *, resume: bool
    ) -> S:
        """The settings of a run in this folder: those given, over the file `config`, over what it began with.

        Raises:
            OpsinError: the folder is there already and the run is new, or it is not there and the run goes on.
            InputError: settings that are wrong, or that a run cannot go on with.
        """
        self.check(resume=resume)
        given = {**given, "output": self.path}
        if not resume:
            return kind.collect(given, config)
        earlier = kind.collect({"output": self.path}, self.config)
        settings = kind.collect(given, config, self.config)
        settings.check_resumed(earlier)
        return settings

    def check(self, *, resume: bool) -> None:
        """Raise unless a run may begin here, or go on.

        Raises:
            OpsinError: see `settings`.
        """
        if resume:
            if not self.config.is_file():
                raise OpsinError(
                    f"the run to resume must have a config.yaml, got '{self.path}', which has none. "
                    "Begin it without --resume."
                )
            return
        if self.path.is_file():
            raise OpsinError(f"the run's folder must be a folder, got the file '{self.path}'. Choose another name.")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise OpsinError(
                f"the run's folder must be new or empty, got '{self.path}', which is not. "
                "Choose another name, or go on with --resume."
            )
        if not self.path.absolute().parent.is_dir():
            raise OpsinError(
                f"the run's folder must be in one that exists, got '{self.path}'. Create '{self.path.parent}' first."
            )

    def make(self, settings: Settings) -> None:
        """Make the folders and write the settings."""
        for folder in (self.path, self.samples, self.checkpoints):
            folder.mkdir(exist_ok=True)
        settings.write(self.config)

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of, the last one last."""
        found = (_CHECKPOINT.fullmatch(path.name) for path in self.checkpoints.glob("step-*"))
        return sorted(int(match[1]) for match in found if match)

    def checkpoint(self, step: int) -> Path:
        """The file of a checkpoint."""
        return self.checkpoints / f"step-{step:08d}.safetensors"

    def save(self, step: int, state: Mapping[str, Any], *, keep: int) -> None:
        """Write a checkpoint, whole or not at all, and then remove all but the last few.

        Raises:
            OpsinError: it cannot be written; what was there is untouched.
        """
        save_state(self.checkpoint(step), state, kind=_KIND)
        for old in self.steps()[:-keep]:
            self.checkpoint(old).unlink()
        # A process that was killed while it wrote has left its temporary file.
        for path in self.checkpoints.glob(".step-*"):
            path.unlink()

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None if the run ended before its first.

        Raises:
            OpsinError: it is damaged.
        """
        steps = self.steps()
        return load_state(self.checkpoint(steps[-1]), kind=_KIND) if steps else None
