"""The image transformation network of Johnson, Alahi and Fei-Fei."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opsin.checks import choice, whole
from opsin.errors import InputError
from opsin.networks.base import Network

UPSAMPLINGS = ("resize", "transposed")


class ConvLayer(nn.Module):
    """A convolution of a map padded by reflection, with instance normalisation and a ReLU after it if wanted.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel: side of the filters, odd.
        stride: of the convolution.
        enlarge: 2 doubles the map by repeating its values before the convolution.
        transposed: a transposed convolution of stride 2 in place of all that; it needs no padding by reflection.
        normalized: with instance normalisation, whose scale and shift are learned.
        active: with a ReLU at the end.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        enlarge: int = 1,
        transposed: bool = False,
        normalized: bool = True,
        active: bool = True,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.enlarge, self.transposed = kernel, stride, enlarge, transposed
        self.margin = kernel // 2
        # Normalisation takes a bias away again.
        bias = not normalized
        if transposed:
            self.conv: nn.Module = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1, bias=bias)
        else:
            self.conv = nn.Conv2d(inputs, outputs, kernel, stride, bias=bias)
        self.norm = nn.InstanceNorm2d(outputs, affine=True) if normalized else None
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C',H',W')."""
        x = self.convolve(x)
        if self.norm is not None:
            x = self.norm(x)
        return F.relu(x) if self.active else x

    def convolve(self, x: Tensor) -> Tensor:
        """All that comes before the normalisation."""
        if self.transposed:
            return self.conv(x)
        if self.enlarge > 1:
            x = F.interpolate(x, scale_factor=self.enlarge, mode="nearest")
        return self.conv(F.pad(x, [self.margin] * 4, mode="reflect"))


class ResidualBlock(nn.Module):
    """x + N(C(ReLU(N(C(x))))), C a 3×3 convolution, N instance normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvLayer(channels, channels)
        self.second = ConvLayer(channels, channels, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W)."""
        return x + self.second(self.first(x))


class ImageTransformNet(Network):
    """A picture to a picture of the same size, in one pass.

    A 9×9 convolution to `width` channels, two of stride 2 that double them, residual blocks, two upsamplings, and a
    9×9 convolution to ½ + ½ tanh.

    Shape: (N,3,H,W) -> (N,3,H,W), H and W at least 16.

    Range: [0,1] -> [0,1].

    Args:
        width: channels of the first map; the paper's 32.
        blocks: number of residual blocks.
        upsampling: "resize" repeats values and convolves; "transposed" is the paper's, and leaves a checkerboard.

    Raises:
        InputError: `width` or `blocks` that is no positive number.
        ChoiceError: an unknown upsampling.

    Differs from the paper: instance normalisation in place of batch normalisation, as the authors' released code
    offers and recommends; every convolution is padded by reflection, where the paper pads the picture once by 40
    pixels; upsampling is that of Odena, Dumoulin and Olah by default.

    Reference: "Perceptual losses for real-time style transfer and super-resolution", Johnson, Alahi and Fei-Fei, 2016,
    https://arxiv.org/abs/1603.08155; "Instance normalization: the missing ingredient for fast stylization", Ulyanov,
    Vedaldi and Lempitsky, 2016, https://arxiv.org/abs/1607.08022; "Deconvolution and checkerboard artifacts", Odena,
    Dumoulin and Olah, 2016, https://distill.pub/2016/deconv-checkerboard

    Example:
        >>> import torch
        >>> net = ImageTransformNet(width=8)
        >>> net(torch.rand(1, 3, 33, 50)).shape
        torch.Size([1, 3, 33, 50])
    """

    architecture: ClassVar[str] = "image-transform"
    least: ClassVar[int] = 16
    """The smallest side of an image: reflection needs more values than it adds."""

    def __init__(self, width: int = 32, blocks: int = 5, upsampling: str = "resize") -> None:
        super().__init__()
        self.width = whole("width", width, mend="E.g. 32.")
        self.blocks = whole("blocks", blocks, mend="E.g. 5.")
        self.upsampling = choice("upsampling", upsampling, UPSAMPLINGS)
        up: dict[str, Any] = {"transposed": True} if upsampling == "transposed" else {"enlarge": 2}
        self.head = nn.Sequential(
            ConvLayer(3, width, 9),
            ConvLayer(width, 2 * width, stride=2),
            ConvLayer(2 * width, 4 * width, stride=2),
        )
        self.body = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(blocks)))
        self.tail = nn.Sequential(
            ConvLayer(4 * width, 2 * width, **up),
            ConvLayer(2 * width, width, **up),
            ConvLayer(width, 3, 9, normalized=False, active=False),
        )

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"width": self.width, "blocks": self.blocks, "upsampling": self.upsampling}

    def forward(self, x: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,3,H,W)."""
        height, width = x.shape[-2:]
        if not torch.compiler.is_compiling():
            self.check_size(height, width)
        # Of sides that 4 does not divide, the upsamplings give up to three rows or columns too many.
        return self.finish(self.tail(self.body(self.head(x))))[..., :height, :width]

    def check_size(self, height: int, width: int) -> None:
        """Raise InputError unless images of this size are large enough."""
        if min(height, width) < self.least:
            raise InputError(
                f"images must be at least {self.least}x{self.least}, got {width}x{height}. Enlarge them first."
            )

    @staticmethod
    def finish(x: Tensor) -> Tensor:
        """From the last map to [0,1]."""
        return torch.tanh(x).mul(0.5).add(0.5)
