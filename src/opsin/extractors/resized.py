"""An extractor that makes large images smaller first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.checks import whole
from opsin.errors import InputError
from opsin.extractors.base import Extractor, Reduce
from opsin.inputs import check_images


class Resized(Extractor):
    """An extractor that sees images whose shorter side is at most `shorter_side`: larger ones are made smaller first.

    The filter is Pillow's bilinear one, widened so that nothing aliases, and differentiable. The longer side keeps the
    proportion and is rounded down. Images that are not larger go through unchanged. "image" is the resized image.
    It shares the network of `extractor`, and counts as another network in a loss: its features are others.

    Shape: (N,3,H,W) in [0,1] -> {tap: (N,C,H',W')}.

    Args:
        extractor: the extractor to run.
        shorter_side: in pixels.

    Raises:
        InputError: no extractor, or no whole number of at least 1.

    Example:
        >>> import torch, opsin
        >>> small = Resized(opsin.VGG("vgg11", "random"), 16)
        >>> small(torch.rand(1, 3, 32, 48), ["image"])["image"].shape
        torch.Size([1, 3, 16, 24])
    """

    def __init__(self, extractor: Extractor, shorter_side: int) -> None:
        if not isinstance(extractor, Extractor):
            raise InputError(
                f"extractor must be an opsin.Extractor, got {type(extractor).__name__}. opsin.make_extractor makes one."
            )
        # The extractor itself stands where others have their network, so that .to() and copies reach it.
        super().__init__(extractor)
        self.shorter_side = whole("shorter_side", shorter_side, mend="E.g. 256.")
        # In the name, so that signatures show it.
        self.spec = replace(extractor.spec, network=f"{extractor.spec.network} at {shorter_side} px")
        self.taps = extractor.taps

    def check_taps(self, taps: Iterable[str]) -> list[str]:
        """Return `taps` without repeats, each checked; see `Extractor.check_taps`."""
        return self._network.check_taps(taps)

    def forward(
        self,
        images: Tensor,
        taps: Iterable[str],
        *,
        with_graph: Collection[str] | None = None,
        reduce: Reduce | None = None,
        recompute: bool = False,
    ) -> dict[str, Any]:
        """Feature maps of the resized images at `taps`; see `Extractor.forward`."""
        check_images(images)
        taps = self.check_taps(taps)
        if with_graph is not None and not set(with_graph).intersection(taps):
            images = images.detach()
        images = self._resize(images)
        return self._network(images, taps, with_graph=with_graph, reduce=reduce, recompute=recompute)

    def config(self) -> dict[str, Any]:
        """The arguments that make this extractor anew, as plain values."""
        return {**self._network.config(), "resize": self.shorter_side}

    def receptive_field(self, tap: str) -> None:
        """Not known: it would depend on the size of the image."""

    def is_light(self, taps: Iterable[str]) -> bool:
        """Yes: the network sees small images only."""
        return True

    def _resize(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        shorter = min(height, width)
        if shorter <= self.shorter_side:
            return images
        size = (height * self.shorter_side // shorter, width * self.shorter_side // shorter)
        # In half precision the filter's weights would not add up to 1.
        half = images.dtype in (torch.float16, torch.bfloat16)
        small = F.interpolate(images.float() if half else images, size, mode="bilinear", antialias=True)
        return small.to(images.dtype)
