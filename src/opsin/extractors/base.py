"""What every extractor is: a frozen network that gives the feature maps asked for by name."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from opsin import _native
from opsin.checks import choice
from opsin.errors import InputError
from opsin.inputs import check_images

# RGB. "inet": the mean and deviation of ImageNet that torchvision's networks were trained with. "caffe": the pixel
# means of the original VGG networks, on 0..255.
INET_MEAN, INET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (123.68, 116.779, 103.939)


@dataclass(frozen=True)
class ExtractorSpec:
    """What decides the values that an extractor gives: two extractors of equal spec are one.

    Attributes:
        network: the architecture, e.g. "vgg19".
        weights: where the weights come from: "bundled", "official", "file", "random" or "module". Not compared: the
            same file is the same weights wherever it was found.
        sha256: hash of the weights' file, or "seed:0" for random ones.
        normalization: "inet", "caffe", "none" or the numbers.
        pooling: "max", "avg", "l2" or "blur".
        padding: "zeros", "reflect" or "replicate".
        instance: tells apart networks that a hash cannot, such as two modules of the user's.
    """

    network: str
    weights: str = field(default="", compare=False)
    sha256: str = ""
    normalization: str = "none"
    pooling: str = "max"
    padding: str = "zeros"
    instance: str = ""

    @property
    def key(self) -> str:
        """A string that is equal for equal specs."""
        parts = (self.network, self.sha256, self.normalization, self.pooling, self.padding, self.instance)
        return "|".join(parts)

    def describe(self) -> dict[str, str]:
        """The spec as plain values, for a signature. It is the same from run to run."""
        return {
            "network": self.network,
            "weights": self.weights,
            "sha256": self.sha256,
            "normalization": self.normalization,
            "pooling": self.pooling,
            "padding": self.padding,
        }


@dataclass(frozen=True)
class ReceptiveField:
    """The pixels that position i of a tap sees along one axis: start + i·stride … start + i·stride + size - 1."""

    size: int = 1
    stride: int = 1
    start: int = 0

    def through(self, kernel: int, stride: int, padding: int) -> ReceptiveField:
        """The field after one more layer."""
        return ReceptiveField(
            size=self.size + (kernel - 1) * self.stride,
            stride=self.stride * stride,
            start=self.start - padding * self.stride,
        )


Normalization = str | tuple[Sequence[float], Sequence[float]]

# (tap, feature) -> what is wanted of it
Reduce = Callable[[str, Tensor], Any]


class Normalize(nn.Module):
    """RGB in [0,1] to what a network was trained on: (x·scale - mean) / std.

    `kind` is "inet", "caffe", "none", or a mean and a standard deviation per channel on [0,1].

    Attributes:
        kind: as given, numbers as lists.
        label: what specs call it.

    Raises:
        ChoiceError: an unknown name.
        InputError: numbers that are not three finite means and three positive deviations.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, kind: Normalization) -> None:
        super().__init__()
        if isinstance(kind, str):
            choice("normalization", kind, ["inet", "caffe", "none"])
            self.kind: Any = kind
            self.label = kind
        else:
            self.kind = _checked_numbers(kind)
            mean, std = (",".join(f"{v:.15g}" for v in values) for values in self.kind)
            self.label = f"mean {mean} std {std}"
        mean, std = {"none": (None, None), "inet": (INET_MEAN, INET_STD), "caffe": (CAFFE_MEAN, None)}.get(
            self.label, self.kind
        )
        self.scale = 255.0 if kind == "caffe" else 1.0
        self._values = {"mean": mean, "std": std}
        for name, values in self._values.items():
            # On the CPU in float32 like the weights, whatever default device or dtype is set.
            tensor = None if values is None else torch.tensor(values, dtype=torch.float32, device="cpu")
            self.register_buffer(name, None if tensor is None else tensor.reshape(1, 3, 1, 1), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Normalize:
        super()._apply(fn, recurse)
        # Anew from the decimal constants: 0.485 that went through float32 is off by 1e-8 in a float64 network.
        for name, values in self._values.items():
            if values is not None:
                old = getattr(self, name)
                setattr(self, name, torch.tensor(values, dtype=old.dtype, device=old.device).reshape(1, 3, 1, 1))
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; (N,3,H,W) -> (N,3,H,W)."""
        if self.scale != 1.0:
            x = x * self.scale
        if self.mean is not None:
            x = torch.sub(x, self.mean, out=_native.map_for(x, self.mean))
        if self.std is not None:
            x = x / self.std if self.mean is None else x.div_(self.std)  # what is ours already needs no second map
        return x


def _checked_numbers(normalization: Any) -> list[list[float]]:
    try:
        mean, std = ([float(v) for v in values] for values in normalization)
    except (TypeError, ValueError):
        mean, std = [], []
    finite = len(mean) == len(std) == 3 and all(math.isfinite(v) for v in (*mean, *std))
    if not finite or min(std) <= 0:
        raise InputError(
            "normalization must be a name, or three means and three positive deviations of RGB in [0,1], "
            f"got {normalization!r:.80}. E.g. ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))."
        )
    return [mean, std]


class Extractor(nn.Module, ABC):
    """Frozen network: `extractor(images, taps) -> {tap: feature}`.

    It runs no further than the deepest tap asked for. Its network is kept out of the module registry, so that a host
    module that owns an extractor (or a loss) gains no parameters, no buffers and no state-dict keys, and a distributed
    wrapper broadcasts nothing; `.to()`, `copy.deepcopy` and `pickle` reach it all the same. It stays in eval mode.

    Attributes:
        spec: what decides the values.
        taps: every name that can be asked for, from shallow to deep. "image" is the input itself.
    """

    spec: ExtractorSpec
    taps: tuple[str, ...]
    _network: Any  # a module or None; subclasses know which

    def __init__(self, network: nn.Module | None) -> None:
        super().__init__()
        if network is not None:
            network.requires_grad_(False).eval()
        # Past nn.Module.__setattr__, which would register it.
        object.__setattr__(self, "_network", network)
        super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Extractor:
        super()._apply(fn, recurse)
        network = self._network
        if network is not None:
            network._apply(fn)
        return self

    def train(self, mode: bool = True) -> Extractor:
        """Stay in eval mode, whatever mode the host module is put in."""
        return self

    @abstractmethod
    def forward(
        self,
        images: Tensor,
        taps: Iterable[str],
        *,
        with_graph: Collection[str] | None = None,
        reduce: Reduce | None = None,
        recompute: bool = False,
    ) -> dict[str, Any]:
        """Feature maps of `images` at `taps`.

        Shape: (N,3,H,W) in [0,1] -> {tap: (N,C,H',W')}.

        Args:
            images: RGB in [0,1].
            taps: names out of `self.taps`.
            with_graph: the taps that gradients shall reach `images` through (all if None). The others are computed
                without a graph.
            reduce: if given, what it makes of each tap's feature is returned in place of the feature, which is not kept
                any longer than the layers behind it need it.
            recompute: keep neither features nor layers for the gradient, but compute them again, some layers at a time,
                when it comes to them: the same values and the same gradient. `reduce` must do the same each time.

        Raises:
            ChoiceError: a tap that the network does not have.
            InputError: images of another shape, dtype or device, or too small for the deepest tap.
        """

    def config(self) -> dict[str, Any]:
        """The arguments that make this extractor anew, as plain values.

        Raises:
            InputError: it was made of a module, which no text can name.
        """
        raise InputError(
            f"an extractor that is written to a file must be one that opsin can make by name, got {self.spec.network}. "
            "Hand it to opsin.load(file, extractors={...}) instead."
        )

    def receptive_field(self, tap: str) -> ReceptiveField | None:
        """The pixels each position of `tap` sees, or None where that is not known."""
        return ReceptiveField() if tap == "image" else None

    def map_size(self, tap: str, height: int, width: int) -> tuple[int, int] | None:
        """Height and width of `tap` of an image of that size, or None where that is not known.

        Raises:
            InputError: such an image is too small for the tap.
        """
        return (height, width) if tap == "image" else None

    def is_light(self, taps: Iterable[str]) -> bool:
        """Whether the features at `taps` take no more memory than the images do, whatever their size."""
        return all(tap == "image" for tap in taps)

    @staticmethod
    def _give(
        features: Mapping[str, Tensor], taps: Iterable[str], graph: Collection[str] | None, reduce: Reduce | None
    ) -> dict[str, Any]:
        """What `forward` returns of features: those outside of `graph` (if not None) detached, each reduced."""
        kept = {tap: features[tap] if graph is None or tap in graph else features[tap].detach() for tap in taps}
        return kept if reduce is None else {tap: reduce(tap, feature) for tap, feature in kept.items()}

    def check_taps(self, taps: Iterable[str]) -> list[str]:
        """Return `taps` without repeats, each checked.

        Raises:
            ChoiceError: a tap that the network does not have.
        """
        if isinstance(taps, str):
            raise InputError(f"taps must be a list of names, got the string {taps!r}. Write [{taps!r}].")
        return list(dict.fromkeys(choice("tap", tap, self.taps, owner=self.spec.network) for tap in taps))

    def _check_tensor(self, images: Tensor) -> None:
        check_images(images)
        network = self._network
        weight = None if network is None else next(network.parameters(), None)
        if weight is None:
            return
        if images.device != weight.device:
            raise InputError(
                f"images must be on the device of the network, {weight.device}, got {images.device}. "
                f"Move one of them: loss.to({str(images.device)!r})."
            )
        # Under autocast the convolutions cast for themselves, so that a half-precision generator's images are welcome.
        if images.dtype != weight.dtype and not torch.is_autocast_enabled(images.device.type):
            raise InputError(
                f"images must have the dtype of the network, {weight.dtype}, got {images.dtype}. "
                f"Convert one of them: images.to({weight.dtype}) or loss.to({images.dtype})."
            )

    def __repr__(self) -> str:
        s = self.spec
        return (
            f"{type(self).__name__}({s.network!r}, weights={s.weights!r}, pooling={s.pooling!r}, padding={s.padding!r})"
        )


class ImageExtractor(Extractor):
    """The network that is none: its only tap is "image", the input itself.

    The extractor of losses on pixels, so that they are terms like any other.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self.spec = ExtractorSpec(network="image", weights="none")
        self.taps = ("image",)

    def forward(
        self,
        images: Tensor,
        taps: Iterable[str],
        *,
        with_graph: Collection[str] | None = None,
        reduce: Reduce | None = None,
        recompute: bool = False,
    ) -> dict[str, Any]:
        """The images themselves; see `Extractor.forward`."""
        self._check_tensor(images)
        return self._give({"image": images}, self.check_taps(taps), with_graph, reduce)

    def config(self) -> dict[str, Any]:
        """The arguments that make this extractor anew."""
        return {"network": "image"}
