"""What a network must say of itself to be written to a file and made anew from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """A network that is trained here.

    Attributes:
        architecture: its name in files.
    """

    architecture: ClassVar[str]

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The keyword arguments that make it anew, as plain values."""

    def weights(self) -> dict[str, Tensor]:
        """What is written to a file, by name."""
        return self.state_dict()

    @classmethod
    def restored(cls, arguments: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Network:
        """The network that `config` and `weights` were taken from.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: they are of no such network.
        """
        network = cls(**arguments)
        network.load_state_dict(weights)
        return network
