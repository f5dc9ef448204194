"""Discriminators that look at images through a frozen network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from opsin.checks import whole
from opsin.errors import InputError
from opsin.extractors import Extractor, make_extractor
from opsin.networks.discriminators import Discriminator

_LARGEST = 8  # maps are halved until they are no larger
_CHANNELS = 512


class ProjectedDiscriminator(Discriminator):
    """Judges of a frozen network's features, mixed across channels and scales by random projections.

    f_1 … f_4 are features from shallow to deep, each divided by its root mean square over a few images of smooth noise,
    since networks differ in it a hundredfold. Across channels: c_l = A_l f_l, with width · 2^(l-1) channels. Across
    scales, from the deepest on: p_4 = B_4 up(c_4), p_l = B_l up(c_l + p_(l+1)). A_l and B_l are random convolutions of
    1×1 that never change, up is bilinear. Each p_l has a judge of its own: strided convolutions of 4×4 with spectral
    normalisation, and one more that gives logits. All logits of an image are one row.

    Neither the network nor A and B are among its parameters, nor in a checkpoint: they are made anew of their names and
    the seed.

    Shape: (N,3,H,W) -> (N, logits), about 25 of each scale.

    Args:
        extractor: the frozen network, or keywords of `make_extractor` for it; e.g. {"network": "vgg19"}.
        taps: names of features from shallow to deep, each smaller than the one before.
        size: the side that images are brought to before the network sees them.
        width: channels of the first A_1 f_1.
        seed: of the projections.

    Attributes:
        extractor: the frozen network.

    Raises:
        InputError: no taps, or features that do not become smaller from tap to tap.
        OpsinError: a network or weights that are not there.

    Differs from the paper: any network, of which it has EfficientNet-Lite1; `size` is 224 or more there; a judge halves
    down to 8×8 at most, the paper's all to one size; bilinear enlargement does not align corners.

    Reference: "Projected GANs converge faster", Sauer, Chitta, Müller and Geiger, 2021,
    https://arxiv.org/abs/2111.01007

    Example:
        >>> judge = ProjectedDiscriminator({"network": "vgg11", "weights": "random"}, ["pool1", "pool2"], 32, width=4)
        >>> judge(torch.rand(2, 3, 16, 16))[0].shape
        torch.Size([2, 50])
    """

    architecture = "projected-discriminator"

    def __init__(
        self, extractor: Extractor | dict[str, Any], taps: Sequence[str], size: int = 64, width: int = 64, seed: int = 0
    ) -> None:
        super().__init__()
        self.extractor = extractor if isinstance(extractor, Extractor) else make_extractor(**extractor)
        self.taps = self.extractor.check_taps(taps)
        self.size, self.width, self.seed = whole("size", size, 16), whole("width", width, 2), seed
        shapes, scales = self._shapes()
        generator = torch.Generator("cpu").manual_seed(seed)
        judges: list[nn.Module] = []
        for level in reversed(range(len(self.taps))):
            channels, wide = shapes[level][0], width * 2**level
            below = wide // 2 if level else wide
            for name, shape, factor in (("channels", (wide, channels), scales[level]), ("scales", (below, wide), 1.0)):
                matrix = torch.randn(*shape, 1, 1, generator=generator) / (shape[1] ** 0.5 * factor)
                self.register_buffer(f"_{name}_{level}", matrix, persistent=False)
            judges.insert(0, _judge(below, 2 * shapes[level][1]))
        self.judges = nn.ModuleList(judges)

    def _shapes(self) -> tuple[list[tuple[int, int]], list[float]]:
        """Channels and side of each tap, and the root mean square of its values, of images of smooth noise."""
        with torch.no_grad():
            found = self.extractor(_smooth_noise(self.size), self.taps)
        scales = [max(float(found[tap].square().mean().sqrt()), 1e-6) for tap in self.taps]
        shapes = [(found[tap].shape[1], found[tap].shape[2]) for tap in self.taps]
        sides = [side for _, side in shapes]
        if any(small >= large for large, small in pairwise(sides)):
            raise InputError(
                f"taps must be from shallow to deep, each with smaller maps than the one before, got {self.taps} with "
                f"maps of {', '.join(map(str, sides))} pixels. Choose others, or a larger size."
            )
        if sides[-1] < 2:
            raise InputError(
                f"taps must have maps of at least 2x2 at {self.size} pixels, got {self.taps[-1]!r} with {sides[-1]}. "
                "Choose a shallower tap, or a larger size."
            )
        return shapes, scales

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {
            "extractor": self.extractor.config(),
            "taps": self.taps,
            "size": self.size,
            "width": self.width,
            "seed": self.seed,
        }

    @property
    def digest(self) -> str:
        """A hash of all that is frozen: the network's own weights and the projections."""
        network = self.extractor._network
        frozen = {} if network is None else dict(network.state_dict())
        frozen |= {name: b for name, b in self.named_buffers() if name.startswith("_")}
        found = hashlib.sha256()
        for name in sorted(frozen):
            found.update(name.encode())
            found.update(frozen[name].detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def features(self, images: Tensor) -> list[Tensor]:
        """The projected features p_1 … p_L of images in [0,1]; gradients reach the images."""
        if images.shape[-1] != self.size or images.shape[-2] != self.size:
            smaller = images.shape[-1] > self.size
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=smaller)
        found = self.extractor(images, self.taps)
        mixed: list[Tensor] = []
        above: Tensor | None = None
        for level in reversed(range(len(self.taps))):
            x = F.conv2d(found[self.taps[level]], self.get_buffer(f"_channels_{level}"))
            if above is not None:
                # Maps of odd sides are not quite twice as large as those behind them.
                x = x + _brought_to(above, x)
            # Before the enlargement, for speed: a convolution of 1×1 gives the same in either order.
            x = F.conv2d(x, self.get_buffer(f"_scales_{level}"))
            above = F.interpolate(x, scale_factor=2, mode="bilinear")
            mixed.insert(0, above)
        return mixed

    def judge(self, images: Tensor) -> Tensor:
        """All logits of each image in a row."""
        parts = [judge(x).flatten(1) for judge, x in zip(self.judges, self.features(images), strict=True)]
        return torch.cat(parts, dim=1)


def _smooth_noise(size: int, count: int = 4) -> Tensor:
    """Images of noise whose deviation is the same at each scale, as that of photos nearly is; always the same ones."""
    generator = torch.Generator("cpu").manual_seed(0)
    total = torch.zeros(count, 3, size, size)
    side = 2
    while side <= size:
        noise = torch.randn(count, 3, side, side, generator=generator)
        total += F.interpolate(noise, (size, size), mode="bilinear")
        side *= 2
    return (0.5 + 0.1 * total).clamp(0, 1)


def _brought_to(x: Tensor, like: Tensor) -> Tensor:
    return x if x.shape[-2:] == like.shape[-2:] else F.interpolate(x, like.shape[-2:], mode="bilinear")


def _judge(channels: int, side: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    while side > _LARGEST:
        wider = min(2 * channels, _CHANNELS)
        layers += [
            spectral_norm(nn.Conv2d(channels, wider, 4, stride=2, padding=1, bias=False)),
            nn.BatchNorm2d(wider),
            nn.LeakyReLU(0.2),
        ]
        channels, side = wider, side // 2
    if not layers:
        wider = min(2 * channels, _CHANNELS)
        layers = [spectral_norm(nn.Conv2d(channels, wider, 3, padding=1)), nn.LeakyReLU(0.2)]
        channels = wider
    # As many logits of small maps as of large ones, so that each scale counts the same.
    layers.append(spectral_norm(nn.Conv2d(channels, 1, 4, padding=max(0, _LARGEST - side) // 2)))
    return nn.Sequential(*layers)
