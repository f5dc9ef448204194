"""Discriminators: networks that tell images that were made from photos."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from opsin.checks import choice, whole
from opsin.errors import InputError
from opsin.networks.base import Network


class Discriminator(Network):
    """A network that gives logits, higher for images that look real.

    One call takes any number of batches, and each is judged by itself, with batch statistics of its own: over several
    processes one call stands for one gradient.

    Attributes:
        multiple: sides of images must be multiples of it.
        smallest: the least side of an image.
    """

    multiple: int = 1
    smallest: int = 1

    @abstractmethod
    def judge(self, images: Tensor) -> Tensor:
        """Logits of a batch (N,3,H,W) in [0,1]; their shape is the network's own.

        Raises:
            InputError: images of a size that it cannot judge.
        """

    def forward(self, *batches: Tensor) -> tuple[Tensor, ...]:
        """The logits of each batch."""
        return tuple(self.judge(images) for images in batches)

    def check(self, height: int, width: int) -> None:
        """Whether images of a size can be judged.

        Raises:
            InputError: they cannot.
        """
        name = self.architecture.removesuffix("-discriminator")
        if any(side % self.multiple for side in (height, width)):
            raise InputError(
                f"the images that discriminator '{name}' judges must have sides that are multiples of {self.multiple}, "
                f"got {width}x{height}. Choose another crop."
            )
        if min(height, width) < self.smallest:
            raise InputError(
                f"the images that discriminator '{name}' judges must be at least {self.smallest}x{self.smallest}, "
                f"got {width}x{height}. Choose a larger crop."
            )


class VGGDiscriminator(Discriminator):
    """SRGAN's and ESRGAN's: pairs of convolutions, each pair halves the image, and two linear layers at its end.

    Convolutions of 3×3 and 4×4 (stride 2) with batch normalisation and LeakyReLU 0.2, channels from `width` to eight
    times as many, until less than 8×8 or an odd number is left, 4×4 of an image of 128; then 100 numbers and one.

    Shape: (N,3,S,S) -> (N,1).

    Args:
        size: S, a multiple of 16.
        width: channels of the first layer.

    Raises:
        InputError: a size that is no multiple of 16.

    Reference: "Photo-realistic single image super-resolution using a generative adversarial network", Ledig et al.,
    2017, https://arxiv.org/abs/1609.04802; in the form of ESRGAN's released code

    Example:
        >>> VGGDiscriminator(32, width=2)(torch.rand(2, 3, 32, 32))[0].shape
        torch.Size([2, 1])
    """

    architecture = "vgg-discriminator"

    def __init__(self, size: int = 128, width: int = 64) -> None:
        super().__init__()
        if size < 16 or size % 16:
            raise InputError(
                f"the images that discriminator 'vgg' judges must be a multiple of 16 wide, got {size}. E.g. "
                f"{max(size // 16, 1) * 16}, or take 'patch' or 'unet'."
            )
        self.size, self.width = size, whole("width", width)
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2)]
        layers += _normed(nn.Conv2d(width, width, 4, stride=2, padding=1, bias=False))
        channels, side = width, size // 2
        while side >= 8 and side % 2 == 0:
            wider = min(channels * 2, width * 8)
            layers += _normed(nn.Conv2d(channels, wider, 3, padding=1, bias=False))
            layers += _normed(nn.Conv2d(wider, wider, 4, stride=2, padding=1, bias=False))
            channels, side = wider, side // 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(channels * side**2, 100), nn.LeakyReLU(0.2), nn.Linear(100, 1))

    def check(self, height: int, width: int) -> None:
        """See `Discriminator`."""
        if (height, width) != (self.size, self.size):
            raise InputError(
                f"the images that this discriminator 'vgg' judges must be {self.size}x{self.size}, got "
                f"{width}x{height}. Make it for that size, or take 'patch' or 'unet'."
            )

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"size": self.size, "width": self.width}

    def judge(self, images: Tensor) -> Tensor:
        """One logit an image.

        Raises:
            InputError: images of another size.
        """
        self.check(*images.shape[-2:])
        return self.head(self.features(images).flatten(1))


class PatchDiscriminator(Discriminator):
    """pix2pix' PatchGAN: a logit for each patch, from strided convolutions of 4×4.

    The first has no normalisation, and the last two have stride 1; with three strided ones a logit sees 70×70 pixels.

    Shape: (N,3,H,W) -> (N,1,h,w).

    Args:
        width: channels of the first layer; at most eight times as many follow.
        layers: strided convolutions.
        norm: "batch", "instance" or "none".

    Raises:
        ChoiceError: another norm.

    Reference: "Image-to-image translation with conditional adversarial networks", Isola et al., 2017,
    https://arxiv.org/abs/1611.07004

    Example:
        >>> PatchDiscriminator(width=2)(torch.rand(1, 3, 64, 64))[0].shape
        torch.Size([1, 1, 6, 6])
    """

    architecture = "patch-discriminator"

    def __init__(self, width: int = 64, layers: int = 3, norm: str = "batch") -> None:
        super().__init__()
        norms: dict[str, type[nn.Module]] = {
            "batch": nn.BatchNorm2d,
            "instance": nn.InstanceNorm2d,
            "none": nn.Identity,
        }
        made = norms[choice("norm", norm, norms)]
        self.width, self.layers, self.norm = whole("width", width), whole("layers", layers), norm
        # Each strided one halves, and the two of stride 1 take a pixel each.
        self.smallest = 3 * 2**layers
        parts: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = width
        for number in range(1, layers + 1):
            wider = min(width * 2**number, width * 8)
            stride = 2 if number < layers else 1
            parts += [nn.Conv2d(channels, wider, 4, stride=stride, padding=1, bias=norm != "batch"), made(wider)]
            parts.append(nn.LeakyReLU(0.2))
            channels = wider
        self.body = nn.Sequential(*parts, nn.Conv2d(channels, 1, 4, padding=1))

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"width": self.width, "layers": self.layers, "norm": self.norm}

    def judge(self, images: Tensor) -> Tensor:
        """A logit a patch.

        Raises:
            InputError: images that are too small for one.
        """
        self.check(*images.shape[-2:])
        return self.body(images)


class UNetDiscriminator(Discriminator):
    """Real-ESRGAN's: a U-Net with skips and spectral normalisation, which gives a logit for each pixel.

    Shape: (N,3,H,W) -> (N,1,H,W), H and W multiples of 8.

    Args:
        width: channels of the first layer; eight times as many in the middle.

    Reference: "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data", Wang et al., 2021,
    https://arxiv.org/abs/2107.10833; "Spectral normalization for generative adversarial networks", Miyato et al., 2018,
    https://arxiv.org/abs/1802.05957

    Example:
        >>> UNetDiscriminator(width=2)(torch.rand(1, 3, 16, 24))[0].shape
        torch.Size([1, 1, 16, 24])
    """

    architecture = "unet-discriminator"
    multiple = 8
    smallest = 8

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = self.width = whole("width", width)
        self.first = nn.Conv2d(3, w, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(w * 2**i, w * 2 ** (i + 1), 4, stride=2, padding=1, bias=False)) for i in range(3)
        )
        self.up = nn.ModuleList(
            spectral_norm(nn.Conv2d(w * 2 ** (i + 1), w * 2**i, 3, padding=1, bias=False)) for i in (2, 1, 0)
        )
        self.last = nn.Sequential(
            spectral_norm(nn.Conv2d(w, w, 3, padding=1, bias=False)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(w, w, 3, padding=1, bias=False)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(w, 1, 3, padding=1),
        )

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"width": self.width}

    def judge(self, images: Tensor) -> Tensor:
        """A logit a pixel.

        Raises:
            InputError: sides that are no multiples of 8.
        """
        self.check(*images.shape[-2:])
        x = F.leaky_relu(self.first(images), 0.2)
        skips = []
        for conv in self.down:
            skips.append(x)
            x = F.leaky_relu(conv(x), 0.2)
        for conv, skip in zip(self.up, reversed(skips), strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = F.leaky_relu(conv(x), 0.2) + skip
        return self.last(x)


class ImageDiscriminator(Discriminator):
    """DCGAN's with spectral normalisation: strided convolutions down to 4×4, and one logit of an image.

    Convolutions of 4×4 and stride 2 with LeakyReLU 0.2, channels from `width` to eight times as many, and batch
    normalisation between.

    Shape: (N,3,S,S) -> (N,1).

    Args:
        size: S, a power of two of at least 16.
        width: channels of the first layer.

    Raises:
        InputError: another size.

    Reference: "Unsupervised representation learning with deep convolutional generative adversarial networks", Radford,
    Metz and Chintala, 2016, https://arxiv.org/abs/1511.06434; "Spectral normalization for generative adversarial
    networks", Miyato et al., 2018, https://arxiv.org/abs/1802.05957

    Example:
        >>> ImageDiscriminator(32, width=2)(torch.rand(2, 3, 32, 32))[0].shape
        torch.Size([2, 1])
    """

    architecture = "image-discriminator"

    def __init__(self, size: int = 64, width: int = 64) -> None:
        super().__init__()
        if size < 16 or size & (size - 1):
            raise InputError(
                f"the images that discriminator 'image' judges must be a power of two wide, from 16 on, got {size}."
            )
        self.size, self.width = size, whole("width", width)
        layers: list[nn.Module] = [spectral_norm(nn.Conv2d(3, width, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        channels, side = width, size // 2
        while side > 4:
            wider = min(2 * channels, 8 * width)
            layers += [
                spectral_norm(nn.Conv2d(channels, wider, 4, stride=2, padding=1, bias=False)),
                nn.BatchNorm2d(wider),
                nn.LeakyReLU(0.2),
            ]
            channels, side = wider, side // 2
        self.body = nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels, 1, 4)), nn.Flatten())

    def check(self, height: int, width: int) -> None:
        """See `Discriminator`."""
        if (height, width) != (self.size, self.size):
            raise InputError(
                f"the images that this discriminator judges must be {self.size}x{self.size}, got {width}x{height}."
            )

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"size": self.size, "width": self.width}

    def judge(self, images: Tensor) -> Tensor:
        """One logit an image.

        Raises:
            InputError: images of another size.
        """
        self.check(*images.shape[-2:])
        return self.body(images)


DISCRIMINATORS: Mapping[str, str] = MappingProxyType(
    {
        "vgg": "SRGAN's and ESRGAN's: one logit an image",
        "patch": "pix2pix' PatchGAN: one a patch",
        "unet": "Real-ESRGAN's U-Net with spectral normalisation: one a pixel",
    }
)
"""Names of `make_discriminator`."""


def make_discriminator(name: str, size: int, width: int = 64) -> Discriminator:
    """A new discriminator.

    Args:
        name: one of `DISCRIMINATORS`.
        size: side of the images that it will judge.
        width: channels of its first layer.

    Raises:
        ChoiceError: an unknown name.
        InputError: a size that it cannot judge.
    """
    choice("discriminator", name, DISCRIMINATORS)
    if name == "vgg":
        return VGGDiscriminator(size, width)
    network = PatchDiscriminator(width) if name == "patch" else UNetDiscriminator(width)
    network.check(size, size)
    return network


def _normed(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.LeakyReLU(0.2)]
