"""Networks of other authors, by spandrel: the one place that knows it (extra `sr`)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opsin.errors import MissingExtraError, WeightsError
from opsin.networks.base import Network
from opsin.networks.upscaler import Upscaler

# Rec. 601, for networks that enlarge brightness alone.
_LUMA = (0.299, 0.587, 0.114)


class SpandrelUpscaler(Upscaler):
    """A network that spandrel recognises by its weights, for images of any size.

    Images are mirrored at the right and the bottom up to the size that the architecture wants, and what comes of that
    is cut off. Of a network for one channel, brightness is enlarged by it and colour by a bicubic filter.

    Its `weights` have the names of the network's authors: a file that `save_network` writes is read by every program
    that uses spandrel.

    Args:
        descriptor: what spandrel's loader gives.

    Raises:
        WeightsError: a network for something else: masks, faces, other channels.
    """

    architecture = "spandrel"

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        spandrel = _import()
        name = str(descriptor.architecture.id)
        channels = (descriptor.input_channels, descriptor.output_channels)
        if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.purpose == "FaceSR":
            raise WeightsError(f"model must be one that enlarges or restores images, got {name}, which does not.")
        if channels not in ((3, 3), (1, 1)):
            raise WeightsError(
                f"model must be for RGB or brightness, got {name} from {channels[0]} to {channels[1]} channels."
            )
        self.name = name
        self.scale = int(descriptor.scale)
        self.grey = channels == (1, 1)
        # SwinIR attends within windows, and its authors tile it too, although spandrel advises against it.
        self.tileable = descriptor.tiling == spandrel.ModelTiling.SUPPORTED or name == "SwinIR"
        self.model: nn.Module = descriptor.model.train()
        self._needs = descriptor.size_requirements
        self._call = descriptor._call_fn
        # They lay a map of the noise, or crops, beside one image, or choose what computes it: a batch fails.
        self._one_by_one = name in ("DRUNet", "IPT", "SeemoRe") or getattr(self.model, "mode", None) == "FDnCNN"
        self.radius = _radius(name, self.model)
        self.granularity = math.lcm(int(self._needs.multiple_of), _window(self.model))
        for part, parameter in self.model.named_parameters():
            # SPAN's merged convolutions follow from the trained ones; RCAN's mean colours are said to be fixed.
            if "eval_conv" in part or "sub_mean" in part or "add_mean" in part:
                parameter.requires_grad_(False)

    def config(self) -> dict[str, Any]:
        """What it is called; all else is seen in the weights."""
        return {"name": self.name, "scale": self.scale}

    def weights(self) -> dict[str, Tensor]:
        """The network's own weights, under its own names."""
        return self.model.state_dict()

    @classmethod
    def restored(cls, arguments: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Network:
        """The network that weights are of.

        Raises:
            ValueError: spandrel does not recognise them.
            WeightsError: see `detect`.
        """
        network = detect(weights)
        if network is None:
            raise ValueError("spandrel does not recognise them")
        network.name = str(arguments["name"])
        return network

    def forward(self, image: Tensor) -> Tensor:
        """See `Upscaler`."""
        if not self.grey:
            return self._enlarge(image)
        luma = image.new_tensor(_LUMA).reshape(1, 3, 1, 1)
        grey = (image * luma).sum(dim=1, keepdim=True)
        colour = image - grey
        if self.scale != 1:
            colour = F.interpolate(colour, scale_factor=self.scale, mode="bicubic")
        return self._enlarge(grey) + colour

    def _enlarge(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        right, bottom = self._needs.get_padding(width, height)
        if right or bottom:
            image = _mirrored(image, right, bottom)
        if self._one_by_one and image.shape[0] > 1:
            made = torch.cat([self._call(self.model, one.clone()) for one in image.split(1)])
        else:
            made = self._call(self.model, image.clone())  # some multiply it in place
        return made[..., : height * self.scale, : width * self.scale]

    def __deepcopy__(self, memo: dict[int, Any]) -> SpandrelUpscaler:
        # Some of spandrel's networks keep tensors that are results of others, which torch does not copy.
        fresh = self.restored(self.config(), {name: t.detach().clone() for name, t in self.weights().items()})
        memo[id(self)] = fresh
        device = next(self.model.parameters())
        fresh.to(device.device, device.dtype).train(self.training)
        for copied, own in zip(fresh.parameters(), self.parameters(), strict=True):
            copied.requires_grad_(own.requires_grad)
        return fresh  # type: ignore[return-value]


def detect(state: Mapping[str, Any]) -> SpandrelUpscaler | None:
    """The network that a checkpoint's tensors are of; None if spandrel does not know it.

    Raises:
        MissingExtraError: spandrel is not installed.
        WeightsError: it is known, but for something else than enlarging images, or it is damaged.
    """
    spandrel = _import()
    try:
        # Modules are made with random weights first; nobody's numbers are to be drawn for that.
        with torch.random.fork_rng(devices=[]), _quiet():
            found = spandrel.ModelLoader("cpu").load_from_state_dict(
                dict(spandrel.canonicalize_state_dict(dict(state)))
            )
    except spandrel.UnsupportedModelError:
        return None
    except Exception as error:
        # Some forty authors' code divides, indexes and unpacks what a damaged file says: it may raise anything.
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"model must be whole, got weights that do not fit their network: {reason}.") from error
    return SpandrelUpscaler(found)


def make(name: str, scale: int, width: int | None, blocks: int | None) -> SpandrelUpscaler:
    """A new network of an architecture, see `make_upscaler`."""
    _import()
    with _quiet():
        network = _new(name, scale, width, blocks)
    made = detect(network.state_dict())
    if made is None or made.scale != scale:
        raise WeightsError(
            f"a new {name} must be one that spandrel recognises at scale {scale}, got one that it does not. "
            "Choose another width or scale."
        )
    made.name = name
    return made


def _new(name: str, scale: int, width: int | None, blocks: int | None) -> nn.Module:
    network: nn.Module
    if name == "rrdb":
        from spandrel.architectures.ESRGAN import ESRGAN

        network = ESRGAN(num_filters=width or 64, num_blocks=blocks or 23, scale=scale)
        _begin_rrdb(network)
    elif name == "compact":
        from spandrel.architectures.Compact import Compact

        network = Compact(num_feat=width or 64, num_conv=blocks or 16, upscale=scale)
    elif name == "span":
        from spandrel.architectures.SPAN import SPAN

        # The published one takes values of 0..255 and gives those of 0..1, which a new one would have to learn first.
        network = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=width or 48, upscale=scale, norm=False)
    elif name == "rcan":
        from spandrel.architectures.RCAN import RCAN

        # Ten groups of twenty; a narrower one has as many of each.
        groups, each = (10, 20) if blocks is None else (blocks, blocks)
        network = RCAN(scale=scale, n_resgroups=groups, n_resblocks=each, n_feats=width or 64)
    else:
        from spandrel.architectures.SwinIR import SwinIR

        # The published network: six groups of six layers, 180 channels, windows of 8.
        groups = blocks or 6
        network = SwinIR(
            img_size=64,
            embed_dim=width or 180,
            depths=[6] * groups,
            num_heads=[6] * groups,
            window_size=8,
            mlp_ratio=2,
            upscale=scale,
            upsampler="pixelshuffle",
        )
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of other authors' code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")
        yield


def _import() -> Any:
    try:
        import spandrel
    except ImportError as error:
        raise MissingExtraError(
            "networks of other authors must have spandrel installed, got no such package. pip install 'opsin[sr]'"
        ) from error
    return spandrel


def _mirrored(image: Tensor, right: int, bottom: int) -> Tensor:
    """Mirrored at the edge as often as it takes: `reflect` alone cannot pad by more than an image has."""
    while right or bottom:
        height, width = image.shape[-2:]
        x, y = min(right, max(width - 1, 0)), min(bottom, max(height - 1, 0))
        if (right and not x) or (bottom and not y):
            return F.pad(image, (0, right, 0, bottom), mode="replicate")
        image = F.pad(image, (0, x, 0, y), mode="reflect")
        right, bottom = right - x, bottom - y
    return image


def _window(model: nn.Module) -> int:
    found = getattr(model, "hyperparameters", {}).get("window_size", 1)
    return found if isinstance(found, int) and found > 0 else 1


def _radius(name: str, model: nn.Module) -> int | None:
    """How far a result reaches in networks that are convolutions alone; None of others."""
    hyper: Mapping[str, Any] = getattr(model, "hyperparameters", {})
    if name == "Compact":
        return sum(isinstance(module, nn.Conv2d) for module in model.modules())
    if name == "SPAN":
        # conv_1, three in each of six blocks, conv_2, and the last.
        return 1 + 3 * 6 + 1 + 1
    if name == "ESRGAN" and not hyper.get("shuffle_factor") and hyper.get("upsampler", "upconv") == "upconv":
        blocks, scale = int(hyper.get("num_blocks", 23)), int(hyper.get("scale", 4))
        reach = 2  # the two convolutions at the end
        factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        for factor in factors:
            # A convolution after each enlargement.
            reach = -(-(reach + 1) // factor)
        return reach + 1 + 15 * blocks + 1
    return None


@torch.no_grad()
def _begin_rrdb(network: nn.Module) -> None:
    """ESRGAN's beginning: Kaiming's, a tenth of it in the dense blocks."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if "RDB" in name:
                module.weight *= 0.1
            if module.bias is not None:
                nn.init.zeros_(module.bias)
