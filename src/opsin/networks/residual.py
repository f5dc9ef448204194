"""SRResNet, MSRResNet and EDSR: residual networks that enlarge images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opsin.checks import whole
from opsin.errors import InputError
from opsin.networks.base import Network
from opsin.networks.upscaler import Upscaler

# DIV2K's mean colour, which EDSR takes off.
_MEAN = (0.4488, 0.4371, 0.4040)


class ResidualUpscaler(Upscaler):
    """A convolution, residual blocks at the small image's size, and pixel shuffles.

    Keys of the weights are those of BasicSR, so that its checkpoints of EDSR and MSRResNet load.

    Args:
        scale: one of `scales`.
        width: channels.
        blocks: residual blocks.

    Raises:
        InputError: another scale, or a number below 1.
    """

    scales: ClassVar[Sequence[int]] = (1, 2, 3, 4, 8)

    def __init__(self, scale: int, width: int, blocks: int) -> None:
        super().__init__()
        if scale not in self.scales:
            known = ", ".join(map(str, self.scales))
            raise InputError(f"scale must be one of {known} for {self.architecture}, got {scale}. Choose one of these.")
        self.name = self.architecture
        self.scale, self.width, self.blocks = scale, whole("width", width), whole("blocks", blocks)

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"scale": self.scale, "width": self.width, "blocks": self.blocks}

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """See `Upscaler`."""

    @property
    def radius(self) -> int:  # type: ignore[override] (what a plain attribute is elsewhere)
        """Pixels of the input around one that its result depends on."""
        return _radius(1, 2 * self.blocks + 1, self.scale, 1)


class SRResNet(ResidualUpscaler):
    """The generator of SRGAN: batch normalisation, PReLU, and 9×9 convolutions at both ends.

    Shape: (N,3,H,W) -> (N,3,sH,sW).

    Range: [0,1] -> about [0,1].

    Args:
        scale: 1, 2, 3, 4 or 8.
        width: channels; 64 in the paper.
        blocks: 16 in the paper.

    Raises:
        InputError: another scale, or a number below 1.

    Differs from the paper: the last tanh is left out, as in the released successors; values are about [0,1].

    Reference: "Photo-realistic single image super-resolution using a generative adversarial network", Ledig et al.,
    2017, https://arxiv.org/abs/1609.04802

    Example:
        >>> SRResNet(4, width=4, blocks=1)(torch.rand(1, 3, 5, 6)).shape
        torch.Size([1, 3, 20, 24])
    """

    architecture = "srresnet"

    def __init__(self, scale: int = 4, width: int = 64, blocks: int = 16) -> None:
        super().__init__(scale, width, blocks)
        self.conv_first = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(*(_NormedBlock(width) for _ in range(blocks)))
        self.conv_after_body = nn.Sequential(_conv(width, width), nn.BatchNorm2d(width))
        self.upsample = nn.Sequential(*_shuffles(width, scale, nn.PReLU))
        self.conv_last = nn.Conv2d(width, 3, 9, padding=4)

    def forward(self, image: Tensor) -> Tensor:
        """See `Upscaler`."""
        first = self.conv_first(image)
        return self.conv_last(self.upsample(first + self.conv_after_body(self.body(first))))

    @property
    def radius(self) -> int:  # type: ignore[override] (see above)
        """Pixels of the input around one that its result depends on."""
        return _radius(4, 2 * self.blocks + 1, self.scale, 4)


class MSRResNet(ResidualUpscaler):
    """SRResNet without normalisation, as ESRGAN's authors changed it: it learns what a bilinear enlargement lacks.

    Shape: (N,3,H,W) -> (N,3,sH,sW).

    Range: [0,1] -> about [0,1].

    Args:
        scale: 1, 2, 3, 4 or 8.
        width: channels; 64 as released.
        blocks: 16 as released.

    Raises:
        InputError: another scale, or a number below 1.

    Reference: "ESRGAN: enhanced super-resolution generative adversarial networks", Wang et al., 2018,
    https://arxiv.org/abs/1809.00219, and its released code.

    Example:
        >>> MSRResNet(2, width=4, blocks=1)(torch.rand(1, 3, 5, 6)).shape
        torch.Size([1, 3, 10, 12])
    """

    architecture = "msrresnet"

    def __init__(self, scale: int = 4, width: int = 64, blocks: int = 16) -> None:
        super().__init__(scale, width, blocks)
        self.conv_first = _conv(3, width)
        self.body = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.upconvs = _factors(scale)
        for number, factor in enumerate(self.upconvs, start=1):
            setattr(self, f"upconv{number}", _conv(width, width * factor**2))
        self.conv_hr = _conv(width, width)
        self.conv_last = _conv(width, 3)
        self.apply(_kaiming)
        for part in (*self.body, self.conv_last):
            _shrink(part)

    def forward(self, image: Tensor) -> Tensor:
        """See `Upscaler`."""
        x = self.body(F.leaky_relu(self.conv_first(image), 0.1))
        for number, factor in enumerate(self.upconvs, start=1):
            x = F.leaky_relu(F.pixel_shuffle(getattr(self, f"upconv{number}")(x), factor), 0.1)
        x = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.1))
        if self.scale == 1:
            return x + image
        return x + F.interpolate(image, scale_factor=self.scale, mode="bilinear")

    @property
    def radius(self) -> int:  # type: ignore[override] (see above)
        """Pixels of the input around one that its result depends on."""
        return _radius(1, 2 * self.blocks, self.scale, 2)


class EDSR(ResidualUpscaler):
    """Residual blocks without normalisation, one ReLU each, and a skip over all of them.

    Shape: (N,3,H,W) -> (N,3,sH,sW).

    Range: [0,1] -> about [0,1].

    Args:
        scale: 1, 2, 3, 4 or 8.
        width: channels; 64 in the baseline, 256 in the large one, 32 or 16 for a CPU.
        blocks: 16 in the baseline, 32 in the large one, 8 or 4 for a CPU.
        res_scale: what the blocks' results are multiplied by; 0.1 in the large one.
        img_range: what values are multiplied by inside; 255 in the released ones.

    Raises:
        InputError: another scale, or a number below 1.

    Reference: "Enhanced deep residual networks for single image super-resolution", Lim et al., 2017,
    https://arxiv.org/abs/1707.02921

    Example:
        >>> EDSR(4, width=4, blocks=1)(torch.rand(1, 3, 5, 6)).shape
        torch.Size([1, 3, 20, 24])
    """

    architecture = "edsr"

    def __init__(
        self, scale: int = 4, width: int = 64, blocks: int = 16, res_scale: float = 1.0, img_range: float = 1.0
    ) -> None:
        super().__init__(scale, width, blocks)
        self.res_scale, self.img_range = res_scale, img_range
        self.conv_first = _conv(3, width)
        self.body = nn.Sequential(*(_Block(width, res_scale) for _ in range(blocks)))
        self.conv_after_body = _conv(width, width)
        self.upsample = nn.Sequential(*_shuffles(width, scale))
        self.conv_last = _conv(width, 3)
        # Not a weight: checkpoints have none.
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1), persistent=False)

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {**super().config(), "res_scale": self.res_scale, "img_range": self.img_range}

    def forward(self, image: Tensor) -> Tensor:
        """See `Upscaler`."""
        mean: Any = self.mean
        first = self.conv_first((image - mean) * self.img_range)
        x = self.upsample(first + self.conv_after_body(self.body(first)))
        return self.conv_last(x) / self.img_range + mean


def released(state: Mapping[str, Tensor]) -> Network | None:
    """The network of a checkpoint of BasicSR's EDSR or MSRResNet; None for any other.

    What a checkpoint does not say is taken from those released: EDSR's values are of 0..255, and one of 256 channels
    scales its blocks by 0.1.
    """
    if "conv_first.weight" not in state or "body.0.conv1.weight" not in state or "conv_last.weight" not in state:
        return None
    width = state["conv_first.weight"].shape[0]
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("body."))
    kind: type[ResidualUpscaler]
    options: dict[str, Any] = {}
    if "conv_hr.weight" in state:
        kind = MSRResNet
        rises = [state[f"upconv{i}.weight"].shape[0] // width for i in (1, 2, 3) if f"upconv{i}.weight" in state]
    elif "conv_after_body.weight" in state:
        kind = EDSR
        rises = [w.shape[0] // width for k, w in state.items() if k.startswith("upsample.") and k.endswith(".weight")]
        options = {"img_range": 255.0, "res_scale": 0.1 if width == 256 else 1.0}
    else:
        return None
    scale = 1
    for rise in rises:
        scale *= round(rise**0.5)
    network = kind(scale=scale, width=width, blocks=blocks, **options)
    network.load_state_dict(state)
    return network


class _Block(nn.Module):
    """x + s · conv(ReLU(conv(x)))."""

    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(width, width), _conv(width, width)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x))) * self.scale


class _NormedBlock(nn.Sequential):
    """x + BN(conv(PReLU(BN(conv(x)))))."""

    def __init__(self, width: int) -> None:
        super().__init__(
            _conv(width, width), nn.BatchNorm2d(width), nn.PReLU(), _conv(width, width), nn.BatchNorm2d(width)
        )

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


def _conv(channels: int, filters: int) -> nn.Conv2d:
    return nn.Conv2d(channels, filters, 3, padding=1)


def _factors(scale: int) -> list[int]:
    """A scale as the steps that it is enlarged in."""
    return [3] if scale == 3 else [2] * (scale.bit_length() - 1)


def _shuffles(width: int, scale: int, activation: type[nn.Module] | None = None) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for factor in _factors(scale):
        layers += [_conv(width, width * factor**2), nn.PixelShuffle(factor)]
        if activation is not None:
            layers.append(activation())
    return layers


def _radius(first: int, body: int, scale: int, last: int) -> int:
    """How far a result reaches: through the margins behind the shuffles, each shuffle's convolution, and those before.

    Args:
        first: margin of the first convolution.
        body: margins of those before the shuffles.
        scale: of the shuffles together.
        last: margins behind them, in pixels of the result.
    """
    reach = last
    for factor in reversed(_factors(scale)):
        reach = -(-reach // factor) + 1
    return first + body + reach


def _kaiming(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@torch.no_grad()
def _shrink(block: nn.Module) -> None:
    """A tenth of the weights: what is added to a skip begins near to nothing."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            module.weight *= 0.1
