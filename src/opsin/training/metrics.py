"""What a run says of itself: a file of lines, TensorBoard, and where it is just now."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsin.errors import MissingExtraError
from opsin.files import atomic_path


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        step: how many steps are done.
        steps: how many there will be.
        metrics: of the last step, by name.
        seconds_a_step: of late.
    """

    step: int
    steps: int
    metrics: Mapping[str, float]
    seconds_a_step: float

    @property
    def remaining(self) -> float:
        """Seconds to the end, if it goes on like this."""
        return (self.steps - self.step) * self.seconds_a_step


class Metrics:
    """Writes a line of JSON and TensorBoard's scalars for each step.

    Args:
        path: the file; lines of steps after `step` are taken out first.
        tensorboard: the folder of TensorBoard's files.
        step: how many steps are done.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, path: Path, tensorboard: Path, step: int) -> None:
        writer = board_writer()
        _truncate(path, step)
        self._file = path.open("a", encoding="utf-8")
        self._board = writer(str(tensorboard), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def sync(self) -> None:
        """See that what was written is on the disk: a checkpoint that is has all its lines."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        self._board.close()


def board_writer() -> Any:
    """The class that writes TensorBoard's files.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "training must have tensorboard installed, got no such package. pip install 'opsin[train]'"
        ) from error
    return SummaryWriter


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last one that was cut short by a kill is left out."""
    rows: list[dict[str, Any]] = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _truncate(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = [row for row in read_metrics(path) if row["step"] <= step]
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
