"""Networks that are a chain of layers: what VGG, AlexNet and SqueezeNet share."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from opsin import _native
from opsin.checks import choice
from opsin.errors import InputError, WeightsError
from opsin.extractors.base import Extractor, ExtractorSpec, Normalization, Normalize, ReceptiveField, Reduce
from opsin.weights import sources

POOLINGS = ("max", "avg", "l2")
PADDINGS = ("zeros", "reflect", "replicate")


class Step(NamedTuple):
    """One layer: the name of the tap behind it, what it computes, and its geometry.

    `run` is None for a ReLU. `parts` are ranges of the output's channels that are taps too: (tap, start, stop).
    """

    tap: str
    run: Callable[[Tensor], Tensor] | None
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    ceil: bool = False
    reflects: bool = False
    parts: tuple[tuple[str, int, int], ...] = ()

    def size(self, n: int) -> int:
        """Length of the output for an input of length n; below 1 where there is none."""
        if self.reflects and n <= self.padding:
            return 0
        room = n + 2 * self.padding - self.kernel
        if room < 0 and not self.ceil:
            return 0
        return (-(-room // self.stride) if self.ceil else room // self.stride) + 1


class L2Pool2d(nn.Module):
    """Blurred root mean square: sqrt(hann3x3 * x² + 1e-12), stride 2, padding 1.

    Differentiable everywhere, and free of the aliasing of max pooling. The output has ceil(H/2) rows. It pads as the
    network's convolutions do.

    Reference: "Geodesics of learned representations", Hénaff and Simoncelli 2016; the form of DISTS, Ding et al. 2020.
    """

    def __init__(self, padding: str) -> None:
        super().__init__()
        self.padding = padding
        hann = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float32, device="cpu")
        self.kernel: Tensor
        self.register_buffer("kernel", torch.outer(hann, hann).reshape(1, 1, 3, 3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,ceil(H/2),ceil(W/2))."""
        # In float32 at least: float16 has neither the squares of large features nor the 1e-12, without which the slope
        # of the root of a zero is infinite.
        with torch.autocast(x.device.type, enabled=False):
            full = x.to(torch.promote_types(x.dtype, torch.float32))
            kernel = self.kernel.to(full.dtype).expand(x.shape[1], 1, 3, 3)
            square, pad = full * full, 1
            if self.padding != "zeros":
                square, pad = F.pad(square, (1, 1, 1, 1), mode=self.padding), 0
            pooled = F.conv2d(square, kernel, stride=2, padding=pad, groups=x.shape[1])
            return (pooled + 1e-12).sqrt().to(x.dtype)


class Network(nn.Module):
    """A chain with torchvision's state-dict keys: `features.N…`, and the steps in the order they run."""

    def __init__(self, features: Sequence[nn.Module], steps: Sequence[Step]) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.steps = tuple(steps)
        self.normalize = Normalize("none")


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, pad: int = 0, *, padding: str) -> nn.Conv2d:
    """A convolution without values yet (they are loaded), padded with `padding`."""
    # A mode other than zeros calls F.pad, for nothing where there is no pad.
    mode: Any = padding if pad else "zeros"
    return nn.Conv2d(c_in, c_out, kernel, stride, pad, padding_mode=mode, device="meta")


def conv_step(tap: str, layer: nn.Conv2d) -> Step:
    """The step of a square convolution."""
    pad = int(layer.padding[0])
    reflects = layer.padding_mode == "reflect"
    return Step(tap, layer, layer.kernel_size[0], layer.stride[0], pad, reflects=reflects)


def pool_step(tap: str, pooling: str, kernel: int, *, padding: str, ceil: bool = False) -> tuple[nn.Module, Step]:
    """A pooling layer of stride 2 and its step."""
    if choice("pooling", pooling, POOLINGS) == "l2":
        layer: nn.Module = L2Pool2d(padding)
        return layer, Step(tap, layer, kernel=3, stride=2, padding=1, reflects=padding == "reflect")
    layer = (nn.MaxPool2d if pooling == "max" else nn.AvgPool2d)(kernel, 2, ceil_mode=ceil)
    return layer, Step(tap, layer, kernel=kernel, stride=2, ceil=ceil)


def _expected(network: Network) -> dict[str, tuple[int, ...]]:
    """Keys and shapes that a weights file of the network holds (BatchNorm's step counter plays no part in eval)."""
    state = network.state_dict()
    return {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}


def random_state(network: Network, seed: int) -> dict[str, Tensor]:
    """He-normal weights from a seed: the same on every machine, and features of the size of the input at any depth."""
    generator = torch.Generator("cpu").manual_seed(seed)
    options: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}  # whatever defaults are set
    state = {}
    for name, shape in _expected(network).items():
        if len(shape) == 4:
            fan_in = shape[1] * shape[2] * shape[3]
            state[name] = torch.empty(shape, **options).normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
        elif name.endswith(("running_var", "weight")):
            state[name] = torch.ones(shape, **options)
        else:
            state[name] = torch.zeros(shape, **options)
    return state


class SequentialExtractor(Extractor):
    """An extractor over a `Network`; see `Extractor`."""

    def __init__(
        self,
        name: str,
        build: Callable[[str, str, str], Network],
        weights: str | os.PathLike[str],
        *,
        pooling: str,
        padding: str,
        normalization: Normalization | None,
        seed: int,
        load: Callable[..., sources.Weights] = sources.load,
    ) -> None:
        choice("padding", padding, PADDINGS)
        network = build(name, pooling, padding)
        # A name says what a file was trained with; numbers are taken at their word, with any weights.
        named = normalization if isinstance(normalization, str) else None
        if weights == "random":
            state, kind, source, path = random_state(network, seed), named or "inet", "random", None
            sha256 = f"seed:{seed}"
        else:
            loaded = load(name, weights, normalization=named, progress=True)
            state, kind, source, path = loaded.state, loaded.normalization, loaded.source, loaded.path
            sha256 = loaded.sha256
            _check_state(name, state, _expected(network), str(path or source))
        network.normalize = Normalize(normalization or kind)
        if kind == "caffe":
            # The file's first convolution reads BGR. Turned around once here, images need not be on every call.
            state["features.0.weight"] = state["features.0.weight"].flip(1)
        network.load_state_dict(state, strict=False, assign=True)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.num_batches_tracked = None
        super().__init__(network.to(memory_format=torch.channels_last))
        self._algorithm = _native.algorithm()
        self.spec = ExtractorSpec(name, source, sha256, network.normalize.label, pooling, padding)
        # How many steps a tap takes.
        self._depth = {"image": 0}
        for depth, step in enumerate(network.steps, start=1):
            self._depth.update(dict.fromkeys((*(part[0] for part in step.parts), step.tap), depth))
        self.taps = tuple(self._depth)
        plain = isinstance(weights, str) and weights in sources.NAMES
        self._arguments = {"weights": weights if plain else str(path), "seed": seed}
        if normalization is not named or weights not in ("bundled", "official"):  # those know theirs
            self._arguments["normalization"] = network.normalize.kind

    def config(self) -> dict[str, Any]:
        """The arguments that make this extractor anew, as plain values."""
        given = dict(self._arguments)
        if given["weights"] != "random":
            del given["seed"]
        return {"network": self.spec.network, **given, "pooling": self.spec.pooling, "padding": self.spec.padding}

    def receptive_field(self, tap: str) -> ReceptiveField:
        """The pixels each position of `tap` sees."""
        field = ReceptiveField()
        for step in self._steps_to([choice("tap", tap, self.taps, owner=self.spec.network)]):
            field = field.through(step.kernel, step.stride, step.padding)
        return field

    def map_size(self, tap: str, height: int, width: int) -> tuple[int, int]:
        """Height and width of `tap` of an image of that size; see `Extractor.map_size`."""
        return self._checked_size(self._steps_to([tap]), height, width)

    def minimum_size(self, tap: str) -> int:
        """The least height and width of an image that has this tap."""
        steps = self._steps_to([tap])
        return next(n for n in range(1, 1024) if _output_size(steps, n) >= 1)

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
        steps = self._steps_to(wanted)
        self._checked_size(steps, *images.shape[-2:])
        graph = set(wanted if with_graph is None else with_graph).intersection(wanted)
        graph_depth = max((self._depth[tap] for tap in graph), default=-1)
        x = images if graph else images.detach()
        features: dict[str, Any] = {}

        def give(tap: str, feature: Tensor, given: dict[str, Any]) -> None:
            # A view: there the gradients of all who use the feature meet, before that of the deeper layers joins them.
            # In whatever order they come, the sum is then the same to the last bit.
            feature = feature.view_as(feature) if tap in graph else feature.detach()
            given[tap] = feature if reduce is None else reduce(tap, feature)

        if "image" in wanted:
            give("image", x, features)
        if steps:
            x = self._network.normalize(x).contiguous(memory_format=torch.channels_last)

        def run(x: Tensor, first: int, last: int) -> tuple[Tensor, dict[str, Any]]:
            """Steps `first` … `last` - 1: what comes out of them, and what is given of their taps."""
            given: dict[str, Any] = {}
            tapped = rectified = False
            for depth in range(first, last):
                step = steps[depth]
                if depth == graph_depth:
                    x = x.detach()  # the weights are frozen, so that nothing from here on records a graph
                if isinstance(step.run, nn.Conv2d):
                    # The ReLU behind it is done with it, unless the values in front are a tap.
                    rectified = depth + 1 < last and steps[depth + 1].run is None and step.tap not in wanted
                    x = _native.convolve(step.run, x, relu=rectified, algorithm=self._algorithm)
                elif isinstance(step.run, nn.MaxPool2d):
                    x = _native.pool(step.run, x)
                elif step.run is not None:
                    x = step.run(x)
                elif rectified:
                    rectified = False
                else:
                    # In place unless that would overwrite a tap: the pre-activation values are gone otherwise.
                    x = torch.relu(x) if tapped else torch.relu_(x)
                tapped = step.tap in wanted
                if tapped:
                    give(step.tap, x, given)
                for part, start, stop in step.parts:
                    if part in wanted:
                        give(part, x[:, start:stop], given)
                        tapped = True
            return x, given

        for first, last in pairwise([0, *(_ends(steps) if recompute else ()), len(steps)]):
            if recompute and first < graph_depth:
                x, given = checkpoint(run, x, first, last, use_reentrant=False, preserve_rng_state=False)
            else:
                x, given = run(x, first, last)
            features |= given
        return {tap: features[tap] for tap in wanted}

    def _checked_size(self, steps: Sequence[Step], height: int, width: int) -> tuple[int, int]:
        size = _output_size(steps, height), _output_size(steps, width)
        if min(size) < 1:
            deepest = steps[-1].tap
            least = self.minimum_size(deepest)
            raise InputError(
                f"images must be at least {least}×{least} for {deepest} of {self.spec.network}, "
                f"got {height}×{width}. Enlarge them or choose a shallower tap."
            )
        return size

    def _steps_to(self, taps: Iterable[str]) -> Sequence[Step]:
        return self._network.steps[: max((self._depth[tap] for tap in taps), default=0)]


def _ends(steps: Sequence[Step]) -> list[int]:
    """Where the network can be cut: behind poolings, unless a ReLU is next, which may overwrite what it is given."""
    return [
        depth
        for depth in range(1, len(steps))
        if steps[depth - 1].stride > 1 and not isinstance(steps[depth - 1].run, nn.Conv2d) and steps[depth].run
    ]


def _output_size(steps: Iterable[Step], n: int) -> int:
    for step in steps:
        n = step.size(n)
        if n < 1:
            return 0
    return n


def _check_state(
    name: str,
    state: dict[str, Tensor],
    expected: dict[str, tuple[int, ...]],
    where: str,
) -> None:
    """Raise unless `state` holds exactly the tensors of the network."""
    got = {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}
    if got == expected:
        return
    missing = [key for key in expected if key not in got]
    resized = [key for key, shape in expected.items() if got.get(key, shape) != shape]
    if missing:
        detail = f"{missing[0]} is missing"
    elif resized:
        detail = f"{resized[0]} has shape {got[resized[0]]} instead of {expected[resized[0]]}"
    else:
        detail = f"{min(got.keys() - expected.keys())} is one tensor too many"
    raise WeightsError(
        f"weights must be those of {name}, got those of another network in '{where}': {detail}. "
        "Name the network they were made for."
    )
