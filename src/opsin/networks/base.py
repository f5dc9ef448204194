"""What a network must say of itself to be written to a file and made anew from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import nn


class Network(nn.Module, ABC):
    """A network that is trained here.

    Attributes:
        architecture: its name in files.
    """

    architecture: ClassVar[str]

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The keyword arguments that make it anew, as plain values."""
