"""What the loop asks of a kind of training: its networks, its optimisers and what they do in a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from opsin.networks import Network


class Updates(Protocol):
    """What a recipe gets for a step: its networks as they are to be run, and a way to step."""

    networks: Mapping[str, nn.Module]
    """The recipe's networks by their names; run these: they may be wrapped for several processes."""

    def __call__(self, name: str, loss: Tensor) -> None:
        """Let the optimiser `name` step down the gradient of a scalar.

        With accumulation or mixed precision it does so when its time has come.
        """


class Recipe(ABC):
    """One kind of training, as the loop sees it.

    A recipe owns any number of networks and optimisers, and in a step calls `update` for each of them in the order it
    likes: one for a style, two for a generator and a discriminator. It keeps no count of steps, and draws random
    numbers from torch's global generator, which the loop seeds anew at each step.

    Attributes:
        networks: what is trained, by name.
        product: the name of the network that the run is for; its weights are averaged and written.
        scale: how much of an image a crop shows, see `ImageFolder`.
    """

    networks: Mapping[str, Network]
    product: str
    scale: ClassVar[tuple[float, float] | None] = None

    @abstractmethod
    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """New optimisers of the networks' parameters, by name."""

    @abstractmethod
    def step(self, images: Tensor, update: Updates) -> dict[str, Tensor]:
        """Compute losses of a batch (N,3,S,S) in [0,1], call `update` with them, and return scalars to log.

        The one called "loss" is shown while training.
        """

    @abstractmethod
    def sample(self, network: nn.Module, images: Tensor) -> Tensor:
        """A picture (3,H,W) that shows what `network`, the product, does to images (N,3,S,S)."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Plain values that are written beside the product's weights, such as the signature of the loss."""

    def to(self, device: torch.device) -> None:
        """Move everything besides the networks, such as losses and their targets."""
        del device
