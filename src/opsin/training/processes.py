"""Devices, precision and processes, by Hugging Face's accelerate: the one place that knows it (extra `train`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from opsin.devices import find_device
from opsin.errors import InputError, MissingExtraError
from opsin.training.settings import Settings

_NAMES = {"float32": "no", "float16": "fp16", "bfloat16": "bf16"}


@contextmanager
def processes(settings: Settings) -> Iterator[Processes]:
    """What this process is among those of a run, until the run is over.

    Raises:
        MissingExtraError: accelerate is not installed.
        InputError: the device is not there, or the processes cannot share a batch.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import GradientAccumulationPlugin
    except ImportError as error:
        raise MissingExtraError(
            "training must have accelerate installed, got no such package. pip install 'opsin[train]'"
        ) from error
    # Precision belongs to accelerate's state of the whole program: a run before this one may have had another.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        cpu=settings.device == "cpu",
        mixed_precision=_NAMES[settings.precision],
        # Not by a number, which `accelerate launch` would overrule with its own.
        gradient_accumulation_plugin=GradientAccumulationPlugin(settings.accumulate, sync_with_dataloader=False),
        device_placement=False,
    )
    try:
        yield Processes(accelerator, settings)
    finally:
        # The group of processes is torch's to leave where the caller made it.
        if accelerator.num_processes > 1:
            accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)


class Processes:
    """This process among those of a run.

    Attributes:
        device: what it computes on.
        count: how many there are.
        index: which one it is.
        part: images that it computes at once.
    """

    def __init__(self, accelerator: Any, settings: Settings) -> None:
        self._accelerator = accelerator
        self.count: int = accelerator.num_processes
        self.index: int = accelerator.process_index
        alone = self.count == 1 and settings.device != "auto"
        self.device = torch.device(settings.device) if alone else accelerator.device
        find_device(str(self.device))
        self.part, rest = divmod(settings.batch, self.count * settings.accumulate)
        if rest or not self.part:
            raise InputError(
                f"batch must be a multiple of {self.count} processes × {settings.accumulate} parts, "
                f"got {settings.batch}. E.g. {max(self.part, 1) * self.count * settings.accumulate}."
            )

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.index == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """A network so that its gradients are those of all processes."""
        return self._accelerator.prepare_model(network.to(self.device))

    def wrap_optimizer(self, optimizer: Optimizer) -> Optimizer:
        """An optimiser that waits for the last part of a step."""
        return self._accelerator.prepare_optimizer(optimizer)

    @contextmanager
    def sharing(self, networks: Mapping[str, nn.Module]) -> Iterator[None]:
        """One part of a step: in the set precision, and gradients are shared with the last one."""
        with self._accelerator.accumulate(*networks.values()), self._accelerator.autocast():
            yield

    def backward(self, loss: Tensor) -> None:
        """Gradients of a part's loss."""
        with torch.autocast(self.device.type, enabled=False):
            self._accelerator.backward(loss)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes."""
        return self._accelerator.reduce(values, "mean") if self.count > 1 else values

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        if self.count == 1:
            return flag
        return bool(self._accelerator.reduce(torch.tensor(float(flag), device=self.device), "sum"))

    def union(self, names: Set[str]) -> set[str]:
        """What is in the set of any process."""
        if self.count == 1:
            return set(names)
        from accelerate.utils import gather_object

        return set(gather_object(sorted(names)))

    def wait(self) -> None:
        """Until all processes are here."""
        self._accelerator.wait_for_everyone()

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """What scales losses in float16."""
        return self._accelerator.scaler
