"""The loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from opsin.errors import InputError, OpsinError
from opsin.images import write_image
from opsin.interruption import Interruption
from opsin.networks import save_network
from opsin.training.averaging import Average
from opsin.training.data import Batch, ImageFolder, Skipped, batches
from opsin.training.folder import RunFolder
from opsin.training.metrics import Metrics, Progress, board_writer
from opsin.training.processes import Processes, processes
from opsin.training.recipe import Recipe
from opsin.training.settings import Settings

_SHOWN = 4


class _DivergedError(Exception):
    """A loss or a weight that is no number any more."""


def train(
    recipe: Recipe,
    settings: Settings,
    *,
    resume: bool = False,
    callback: Callable[[Progress], None] | None = None,
) -> RunFolder:
    """Train to the last step, and leave a folder with the model, its checkpoints, metrics and samples.

    A run that goes on does what it would have done without the break, to the bit on a CPU: its state is that of the
    networks, their average and the optimisers, and all else follows from the number of the step. Crops are drawn from
    (seed, number of the crop), and torch's random numbers begin anew at each step, from (seed, step, process). Ctrl-C
    lets the step end and writes a checkpoint before it is raised.

    Args:
        recipe: what is trained, and how.
        settings: see `Settings`.
        resume: go on from the last checkpoint in `settings.output`.
        callback: called after each step, in the first process.

    Raises:
        OpsinError: the loss is no number any more, a disk is full, or the folder is there already; whatever happens,
            the last checkpoint stays whole.
        ImageError: too many images cannot be read.
        InputError: settings that do not fit the machine or the data.
        MissingExtraError: accelerate or tensorboard is not installed.
        KeyboardInterrupt: after the checkpoint that Ctrl-C asks for.

    Example:
        >>> from opsin.stylize.feedforward import StyleRecipe, StyleSettings
        >>> settings = StyleSettings(data="photos", output="run", style="painting.png")  # doctest: +SKIP
        >>> train(StyleRecipe(settings), settings).model  # doctest: +SKIP
        PosixPath('run/model.safetensors')
    """
    folder = RunFolder(settings.output)
    folder.check(resume=resume)
    board_writer()  # what is missing is said before a folder is made
    data = recipe.folder(settings)
    with processes(settings) as group:
        loop = _Loop(recipe, settings, folder, data, group)
        group.wait()  # nobody makes the folder before all have looked
        if resume:
            loop.restore()
        if group.first:
            folder.make(settings)
        with Interruption() as interruption:
            try:
                loop.run(callback, interruption)
            except _DivergedError as error:
                steps = folder.steps()
                last = f"the last checkpoint is that of step {steps[-1]}" if steps else "there is no checkpoint yet"
                raise OpsinError(
                    f"{error} at step {loop.done + 1}; {last}. Lower the learning rate, or look at what changed."
                ) from None
        if interruption.asked and loop.done < settings.steps:
            raise KeyboardInterrupt
    return folder


class _Loop:
    """A run in one process: networks and optimisers, how far they are, and the steps."""

    def __init__(
        self, recipe: Recipe, settings: Settings, folder: RunFolder, data: ImageFolder, group: Processes
    ) -> None:
        self.recipe, self.settings, self.folder, self.data, self.group = recipe, settings, folder, data, group
        self.done = 0
        self.settled = -1  # the step that the product was made ready after
        # That nothing can be used is found out here, before there is a folder.
        self.shown = data.middles(_SHOWN) if group.first else ()
        recipe.to(group.device)
        for network in recipe.networks.values():
            network.to(group.device).train()
        self.average = Average(recipe.networks[recipe.product], settings.ema)
        self.optimizers = recipe.optimizers(settings.lr)
        self.rates = {name: [g["lr"] for g in o.param_groups] for name, o in self.optimizers.items()}
        self.update = _Updates(recipe.networks, self.optimizers, group)

    def run(self, callback: Callable[[Progress], None] | None, interruption: Interruption) -> None:
        """Do the steps that are left."""
        settings, group = self.settings, self.group
        skipped = Skipped(settings.max_unreadable)
        stream = batches(
            self.data,
            first=self.done,
            last=settings.steps,
            batch=settings.batch,
            part=group.part,
            process=group.index,
            processes=group.count,
            workers=settings.workers,
        )
        log = Metrics(self.folder.metrics, self.folder.tensorboard, self.done) if group.first else None
        pace = 0.0
        with closing(log) if log else nullcontext():
            while self.done < settings.steps:
                begun = time.perf_counter()
                values = self.step(stream, skipped)
                stop = group.any(interruption.asked)
                seconds = time.perf_counter() - begun
                pace = seconds if not pace else pace + (seconds - pace) / min(self.done, 20)
                if log is not None:
                    if self.recipe.validate_every and self.due(self.recipe.validate_every):
                        values |= self.validate()
                    rate = next(iter(self.optimizers.values())).param_groups[0]["lr"]
                    log.write(self.done, {**values, "lr": rate, "seconds": round(seconds, 4)})
                    if settings.sample_every and (self.due(settings.sample_every) or stop):
                        self.show(self.shown)
                    if self.due(settings.checkpoint_every) or stop:
                        log.sync()
                        self.save()
                    if callback is not None:
                        callback(Progress(self.done, settings.steps, values, pace))
                if stop:
                    interruption.asked = True
                    break
        small = group.union(skipped.small)
        if small and group.first:
            warnings.warn(
                f"skipped {len(small)} images smaller than a crop of {self.data.crop}x{self.data.crop}, "
                f"e.g. '{min(small)}'",
                stacklevel=3,
            )
        group.wait()

    def due(self, every: int) -> bool:
        """Whether something is to be done at this step that is done every so often and at the end."""
        return self.done % every == 0 or self.done == self.settings.steps

    def step(self, stream: Iterator[Batch], skipped: Skipped) -> dict[str, float]:
        """One step of each optimiser; the means of what was logged."""
        self._seed()
        self.update.step = self.done
        factor = self.recipe.rate(self.settings, self.done)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name], strict=True):
                group["lr"] = rate * factor
        sums: dict[str, Tensor] = {}
        for _ in range(self.settings.accumulate):
            batch = next(stream)
            skipped.add(batch.skipped)
            images = tuple(tensor.to(self.group.device) for tensor in batch.images)
            with self.group.sharing(self.update.networks):
                logged = self.recipe.step(images, self.update)
            for name, value in logged.items():
                sums[name] = sums.get(name, 0) + value.detach().float() / self.settings.accumulate
        means = self.group.mean(torch.stack(list(sums.values()))).tolist()
        self.average.update(self.recipe.networks[self.recipe.product], self.done)
        self.done += 1
        return dict(zip(sums, means, strict=True))

    def product(self) -> nn.Module:
        """The product with averaged weights, ready for use."""
        if self.settled != self.done:
            self.recipe.settle(self.average.network)
            self.settled = self.done
        return self.average.network

    def validate(self) -> dict[str, float]:
        """What the recipe measures on images that are held out."""
        with torch.no_grad():
            return dict(self.recipe.validate(self.product(), self.data))

    def show(self, images: tuple[Tensor, ...]) -> None:
        """Write a picture of what the model does by now."""
        with torch.no_grad():
            shown = tuple(tensor.to(self.group.device) for tensor in images)
            picture = self.recipe.sample(self.product(), shown)
        write_image(self.folder.samples / f"step-{self.done:08d}.png", picture, overwrite=True)

    def save(self) -> None:
        """Write a checkpoint, and the model as it is by now."""
        networks = self.recipe.networks
        for name, network in networks.items():
            # A gradient may be no number where the loss still was one, and the next step has not shown it yet.
            if not all(bool(p.isfinite().all()) for p in network.parameters()):
                self.done -= 1
                raise _DivergedError(f"weights of the {name} must be finite numbers, got NaN or infinity")
        state = {
            "step": self.done,
            "data": self.data.digest,
            "networks": {name: network.state_dict() for name, network in networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "average": self.product().state_dict(),
            "scaler": self.group.scaler.state_dict() if self.group.scaler else None,
        }
        self.folder.save(self.done, state, keep=self.settings.keep)
        product: Any = self.product()
        save_network(self.folder.model, product, {**self.recipe.about(), "step": self.done})

    def restore(self) -> None:
        """Go back to the last checkpoint.

        Raises:
            InputError: it is of other data, or its step is past the end.
        """
        state = self.folder.load()
        if state is None:
            return
        if state["data"] != self.data.digest:
            raise InputError(
                f"data must hold the images that the run began with, got others in '{self.data.folder}'. "
                "Put them back, or begin another run."
            )
        if state["step"] >= self.settings.steps:
            raise InputError(
                f"steps must be more than the {state['step']} that are done, got {self.settings.steps}. Raise it."
            )
        self.done = state["step"]
        for name, network in self.recipe.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.average.network.load_state_dict(state["average"])
        if self.group.scaler is not None:
            self.group.scaler.load_state_dict(state["scaler"])

    def _seed(self) -> None:
        sequence = np.random.SeedSequence((self.settings.seed, self.done, self.group.index))
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))


class _Updates:
    """What a recipe steps with; see `recipe.Updates`."""

    def __init__(
        self, networks: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer], group: Processes
    ) -> None:
        self.networks: Mapping[str, nn.Module] = {name: group.wrap(network) for name, network in networks.items()}
        self.step = 0
        self._optimizers = {name: group.wrap_optimizer(optimizer) for name, optimizer in optimizers.items()}
        self._group = group

    def __call__(self, name: str, loss: Tensor) -> None:
        if self._group.any(not bool(loss.isfinite())):
            raise _DivergedError(f"the {name}'s loss must be a finite number, got {float(loss.detach())}")
        self._group.backward(loss)
        optimizer = self._optimizers[name]
        optimizer.step()
        optimizer.zero_grad()
