"""What every super-resolution network is here, whoever wrote it."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from opsin.networks.base import Network


class Upscaler(Network):
    """A network that enlarges images by a whole factor.

    Attributes:
        name: what it is called in tables and on the command line, e.g. "edsr".
        scale: the factor.
        radius: how many pixels of the input around a pixel its result depends on; None if on all, or if unknown.
        tileable: whether an image may be computed in tiles: its result is that of what lies around, not of the whole.
        granularity: pixels of the input that are computed together, such as a window: tiles begin at multiples of it.
    """

    name: str
    scale: int
    radius: int | None
    tileable: bool = True
    granularity: int = 1

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Enlarge images of any size.

        Shape: (N,3,H,W) -> (N,3,sH,sW).

        Range: [0,1] -> about [0,1], not clamped.
        """
