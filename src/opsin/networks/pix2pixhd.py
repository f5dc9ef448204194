"""The networks of pix2pixHD: an image becomes another one of the same size, judged at several scales."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opsin.checks import choice, whole
from opsin.errors import InputError
from opsin.networks.base import Network


class Pix2PixHD(Network):
    """pix2pixHD's global generator: c7s1-w, then convolutions that halve, residual blocks, and their way back.

    Convolutions of 7×7 at both ends and of 3×3 between, reflection padding, instance normalisation, ReLU; channels
    double with each halving; on the way back each pixel becomes four before a convolution. Inside, images are in
    [-1,1], and tanh bounds what comes out.

    Shape: (N,3,H,W) -> (N,3,H,W), any size of at least `smallest`; sides that are no multiples of 2^down are padded by
    reflection, and what was padded is cut off.

    Range: [0,1] -> [0,1].

    Args:
        width: channels at full size.
        down: halvings.
        blocks: residual blocks.

    Attributes:
        smallest: the least side of an image.

    Raises:
        InputError: a number that is too small.

    Differs from the paper: its transposed convolutions of 3×3 meet each other unevenly and leave a checkerboard, see
    "Deconvolution and checkerboard artifacts", Odena, Dumoulin and Olah, 2016, https://doi.org/10.23915/distill.00003.

    Reference: "High-resolution image synthesis and semantic manipulation with conditional GANs", Wang, Liu, Zhu, Tao,
    Kautz and Catanzaro, 2018, https://arxiv.org/abs/1711.11585; its blocks are those of Johnson et al., 2016,
    https://arxiv.org/abs/1603.08155

    Example:
        >>> Pix2PixHD(4, down=2, blocks=1)(torch.rand(1, 3, 33, 20)).shape
        torch.Size([1, 3, 33, 20])
    """

    architecture = "pix2pixhd"

    def __init__(self, width: int = 64, down: int = 4, blocks: int = 9) -> None:
        super().__init__()
        self.width, self.down = whole("width", width), whole("down", down)
        self.blocks = whole("blocks", blocks, 0)
        # An image is padded by 3 and by less than a whole step, and the smallest map by 1: reflection needs more.
        self.smallest = max(4, 2 ** (down + 1))
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), *_normed(width)]
        channels = width
        for _ in range(down):
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), *_normed(2 * channels)]
            channels *= 2
        layers += [_Residual(channels) for _ in range(blocks)]
        for _ in range(down):
            larger = nn.Upsample(scale_factor=2, mode="nearest")
            layers += [larger, nn.ReflectionPad2d(1), nn.Conv2d(channels, channels // 2, 3), *_normed(channels // 2)]
            channels //= 2
        self.body = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"width": self.width, "down": self.down, "blocks": self.blocks}

    def forward(self, images: Tensor) -> Tensor:
        """The other images.

        Raises:
            InputError: images of another shape, or too small.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < self.smallest:
            raise InputError(
                f"images must be (N,3,H,W) with sides of at least {self.smallest}, got {tuple(images.shape)}. "
                "Enlarge them, or make a network of fewer halvings."
            )
        height, width = images.shape[-2:]
        step = 2**self.down
        missing = (-width % step, -height % step)
        x = F.pad(2 * images - 1, (0, missing[0], 0, missing[1]), mode="reflect") if any(missing) else 2 * images - 1
        return 0.5 + 0.5 * self.body(x)[..., :height, :width]


class _Residual(nn.Module):
    """x + conv(relu(conv(x))), both normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *_normed(channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _normed(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU()]


class MultiScaleDiscriminator(Network):
    """pix2pixHD's PatchGANs: the same one at each of several scales, each with weights of its own.

    At scale s it sees the images averaged down 2^s times (3×3, stride 2, the border not counted). Each is strided
    convolutions of 4×4 with instance normalisation and LeakyReLU 0.2, channels from `width` to eight times as many.

    Shape: pairs of images (N,3,H,W), (N,3,H,W) -> for each scale the features of all layers, the logits (N,1,h,w) last.

    Args:
        width: channels of the first layer.
        layers: strided convolutions.
        scales: how many.

    Attributes:
        smallest: the least side of an image.

    Raises:
        InputError: a number that is too small.

    Reference: see `Pix2PixHD`; the PatchGAN is that of "Image-to-image translation with conditional adversarial
    networks", Isola et al., 2017, https://arxiv.org/abs/1611.07004

    Example:
        >>> judge = MultiScaleDiscriminator(2)
        >>> ((large, small),) = judge((torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)))
        >>> len(large), large[-1].shape, small[-1].shape
        (5, torch.Size([1, 1, 11, 11]), torch.Size([1, 1, 7, 7]))
    """

    architecture = "multi-scale-discriminator"

    def __init__(self, width: int = 64, layers: int = 3, scales: int = 2) -> None:
        super().__init__()
        self.width, self.layers, self.scales = whole("width", width), whole("layers", layers), whole("scales", scales)
        self.smallest = 2 ** (scales - 1) * 2 ** (layers + 1)
        self.judges = nn.ModuleList(_patches(width, layers) for _ in range(scales))

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"width": self.width, "layers": self.layers, "scales": self.scales}

    def check(self, height: int, width: int) -> None:
        """Whether images of a size can be judged.

        Raises:
            InputError: they cannot.
        """
        if min(height, width) < self.smallest:
            raise InputError(
                f"the images that a discriminator of {self.scales} scales judges must be at least "
                f"{self.smallest}x{self.smallest}, got {width}x{height}. Choose a larger crop."
            )

    def forward(self, *pairs: tuple[Tensor, Tensor]) -> tuple[list[list[Tensor]], ...]:
        """The features of each pair: what was given, and what is to be judged beside it.

        Raises:
            InputError: images that are too small.
        """
        return tuple(self._judge(torch.cat(pair, dim=1)) for pair in pairs)

    def _judge(self, x: Tensor) -> list[list[Tensor]]:
        self.check(*x.shape[-2:])
        found = []
        for scale, judge in enumerate(self.judges):
            if scale:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            features, y = [], 2 * x - 1
            for part in judge.children():
                y = part(y)
                features.append(y)
            found.append(features)
        return found


def _patches(width: int, layers: int) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Sequential(nn.Conv2d(6, width, 4, stride=2, padding=2), nn.LeakyReLU(0.2))]
    channels = width
    for number in range(1, layers + 1):
        wider = min(width * 2**number, width * 8)
        stride = 2 if number < layers else 1
        conv = nn.Conv2d(channels, wider, 4, stride=stride, padding=2)
        parts.append(nn.Sequential(conv, nn.InstanceNorm2d(wider), nn.LeakyReLU(0.2)))
        channels = wider
    return nn.Sequential(*parts, nn.Conv2d(channels, 1, 4, padding=2))


TRANSLATORS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "tiny": MappingProxyType({"width": 4, "down": 2, "blocks": 1}),
        "small": MappingProxyType({"width": 24, "down": 2, "blocks": 6}),
        "full": MappingProxyType({"width": 64, "down": 4, "blocks": 9}),
    }
)
"""Sizes of `Pix2PixHD`: for tests, for a CPU, and the authors'."""


def make_translator(name: str) -> Pix2PixHD:
    """A new generator that makes images of images.

    Raises:
        ChoiceError: an unknown name; see `TRANSLATORS`.
    """
    return Pix2PixHD(**TRANSLATORS[choice("generator", name, TRANSLATORS)])
