"""What the loop asks of a kind of training: its networks, its optimisers and what they do in a step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from opsin.networks import Network
from opsin.training.data import ImageFolder
from opsin.training.settings import Settings


class Updates(Protocol):
    """What a recipe gets for a step: its networks as they are to be run, and a way to step."""

    networks: Mapping[str, nn.Module]
    """The recipe's networks by their names; run these: they may be wrapped for several processes."""

    step: int
    """The number of the step, counted from 0."""

    def __call__(self, name: str, loss: Tensor) -> None:
        """Let the optimiser `name` step down the gradient of a scalar.

        With accumulation or mixed precision it does so when its time has come.
        """


class Recipe(ABC):
    """One kind of training, as the loop sees it.

    A recipe owns any number of networks and optimisers, and in a step calls `update` for each of them in the order it
    likes: one for a style, two for a generator and a discriminator. It keeps no count of steps, `update` has it, and
    draws random numbers from torch's global generator, which the loop seeds anew at each step.

    Attributes:
        networks: what is trained, by name.
        product: the name of the network that the run is for; its weights are averaged and written.
        scale: how much of an image a crop shows, see `ImageFolder`.
        validate_every: steps between two calls of `validate`; 0 for none.
    """

    networks: Mapping[str, Network]
    product: str
    scale: ClassVar[tuple[float, float] | None] = None
    validate_every: int = 0

    def folder(self, settings: Settings) -> ImageFolder:
        """What is trained on.

        Raises:
            InputError: there is no such folder, or no image in it.
        """
        return ImageFolder(
            settings.data, settings.crop, scale=self.scale, seed=settings.seed, cache=settings.cache * 2**20
        )

    def rate(self, settings: Settings, step: int) -> float:
        """What learning rates are multiplied by at a step, counted from 0."""
        return rate_factor(settings, step, settings.steps)

    @abstractmethod
    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """New optimisers of the networks' parameters, by name."""

    @abstractmethod
    def step(self, images: tuple[Tensor, ...], update: Updates) -> dict[str, Tensor]:
        """Compute losses of a batch, call `update` with them, and return scalars to log.

        Each tensor is (N,3,S,S) in [0,1], as many as a sample of `folder` has.
        """

    @abstractmethod
    def sample(self, network: nn.Module, images: tuple[Tensor, ...]) -> Tensor:
        """A picture (3,H,W) that shows what `network`, the product, does to a batch."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Plain values that are written beside the product's weights, such as the signature of the loss."""

    def validate(self, network: nn.Module, data: ImageFolder) -> Mapping[str, float]:
        """What is logged of `network`, the product, on the files of `data` that it is not trained on."""
        del network, data
        return {}

    def settle(self, network: nn.Module) -> None:
        """Bring what is not averaged in `network`, the product with averaged weights, in line with these.

        Called before it is shown, validated or written, and nothing of it reaches the steps that follow. Statistics of
        batch normalisation are those of the weights as they were at the last step.
        """
        del network

    def to(self, device: torch.device) -> None:
        """Move everything besides the networks, such as losses and their targets."""
        del device


def means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each name over what was found of several images; nothing of none."""
    return {name: sum(values[name] for values in found) / len(found) for name in (found[0] if found else ())}


def rate_factor(settings: Settings, step: int, steps: int) -> float:
    """What the schedule multiplies the learning rate by at a step, counted from 0, of so many."""
    warm = min(1.0, (step + 1) / (settings.warmup + 1))
    if settings.schedule == "constant":
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))
