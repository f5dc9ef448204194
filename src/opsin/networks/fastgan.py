"""A generator of images from noise that learns from few images and runs on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from opsin.checks import choice, whole
from opsin.errors import InputError
from opsin.networks.base import Network

GENERATOR_SIZES = (32, 64, 128, 256, 512)
"""Sides of the images that `FastGAN` makes."""

# Channels at each side, in widths: half as many at each doubling, as in the authors' table.
_WIDTHS: Mapping[int, float] = MappingProxyType({4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25})
# The map at the key excites the channels of the one at the value: sixteen times as large.
_SKIPS: Mapping[int, int] = MappingProxyType({64: 4, 128: 8, 256: 16, 512: 32})


class FastGAN(Network):
    """FastGAN's generator: noise, a map of 4×4, and a block for each doubling.

    A block is nearest-neighbour enlargement, a convolution of 3×3, batch normalisation and a gated linear unit. From 64
    pixels on, the map a sixteenth as large says how much of each channel remains (skip-layer excitation).

    Shape: (N,Z) -> (N,3,S,S).

    Range: standard normal values -> [0,1].

    Args:
        size: S, one of `GENERATOR_SIZES`.
        width: channels are multiples of it, see the preset names in `make_generator`.
        latent: Z.

    Attributes:
        size: S.
        latent: Z.

    Raises:
        InputError: a size that it has not.

    Differs from the paper: no noise is added to the maps, so that an image depends on z alone; one block a doubling;
    only the largest image is made.

    Reference: "Towards faster and stabilized GAN training for high-fidelity few-shot image synthesis", Liu, Zhu, Song
    and Elgammal, 2021, https://arxiv.org/abs/2101.04775; as the generator of "Projected GANs converge faster", Sauer,
    Chitta, Müller and Geiger, 2021, https://arxiv.org/abs/2111.01007

    Example:
        >>> FastGAN(32, width=4, latent=8)(torch.randn(2, 8)).shape
        torch.Size([2, 3, 32, 32])
    """

    architecture = "fastgan"

    def __init__(self, size: int = 64, width: int = 64, latent: int = 256) -> None:
        super().__init__()
        if size not in GENERATOR_SIZES:
            sides = ", ".join(map(str, GENERATOR_SIZES[:-1]))
            raise InputError(f"size must be {sides} or {GENERATOR_SIZES[-1]}, got {size}. Choose one of them.")
        self.size, self.width, self.latent = size, whole("width", width, 4), whole("latent", latent)
        first = self._channels(4)
        self.first = nn.Sequential(
            spectral_norm(nn.ConvTranspose2d(latent, 2 * first, 4, bias=False)), nn.BatchNorm2d(2 * first), nn.GLU(1)
        )
        sides = [4 * 2**i for i in range(1, GENERATOR_SIZES.index(size) + 4)]
        self.blocks = nn.ModuleDict(
            {str(side): _block(self._channels(side // 2), self._channels(side)) for side in sides}
        )
        self.skips = nn.ModuleDict(
            {str(s): _Excitation(self._channels(_SKIPS[s]), self._channels(s)) for s in sides if s in _SKIPS}
        )
        self.last = spectral_norm(nn.Conv2d(self._channels(size), 3, 3, padding=1))

    def _channels(self, side: int) -> int:
        return max(4, int(_WIDTHS[side] * self.width))

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"size": self.size, "width": self.width, "latent": self.latent}

    def forward(self, z: Tensor) -> Tensor:
        """Images of noise.

        Raises:
            InputError: noise of another shape.
        """
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise InputError(f"noise must be (N,{self.latent}) for this generator, got {tuple(z.shape)}.")
        x = self.first(z[:, :, None, None])
        maps = {4: x}
        for name, block in self.blocks.items():
            side = int(name)
            x = block(F.interpolate(x, scale_factor=2, mode="nearest"))
            if name in self.skips:
                x = self.skips[name](maps[_SKIPS[side]], x)
            maps[side] = x
        return 0.5 + 0.5 * torch.tanh(self.last(x))


class _Excitation(nn.Module):
    """A small map says how much of each channel of a large one remains."""

    def __init__(self, small: int, large: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            spectral_norm(nn.Conv2d(small, large, 4, bias=False)),
            nn.SiLU(),
            spectral_norm(nn.Conv2d(large, large, 1, bias=False)),
            nn.Sigmoid(),
        )

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        return large * self.main(small)


def _block(channels: int, wider: int) -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(channels, 2 * wider, 3, padding=1, bias=False)),
        nn.BatchNorm2d(2 * wider),
        nn.GLU(1),
    )


GENERATORS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "tiny": MappingProxyType({"width": 4, "latent": 16}),
        "small": MappingProxyType({"width": 16, "latent": 128}),
        "full": MappingProxyType({"width": 128, "latent": 256}),
    }
)
"""Sizes of `FastGAN`: for tests, for a CPU, and the authors'."""


def make_generator(name: str, size: int) -> FastGAN:
    """A new generator.

    Args:
        name: one of `GENERATORS`.
        size: side of its images.

    Raises:
        ChoiceError: an unknown name.
        InputError: a size that it has not.
    """
    return FastGAN(size, **GENERATORS[choice("generator", name, GENERATORS)])
