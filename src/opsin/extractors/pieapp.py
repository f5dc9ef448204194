"""The network of PieAPP: it sees an image as overlapping patches."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from opsin.checks import choice, whole
from opsin.errors import InputError, WeightsError
from opsin.extractors.base import Extractor, ExtractorSpec, Reduce
from opsin.weights import sources
from opsin.weights.download import sha256_of

PATCH = 64
STRIDE = 27

# Each convolution's channels; there is a max pooling behind the even ones, and what every odd one from the third on
# gives is a feature.
_WIDTHS = (64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512)
_FEATURES = 120832
_COARSE = 2048  # the last of them, which alone decide how much a patch counts
_HIDDEN = 512

# So many patches are in memory at once.
_CHUNK = 64

_NEEDED = (
    "weights of PieAPP must be the path of the authors' file, PieAPPv0.1.pth, or 'random', got {got}. "
    "github.com/prashnani/PerceptualImageError links the file. No licence for it could be found there, and the data it "
    "was trained on are for non-commercial, educational use only: opsin neither ships nor downloads it."
)


class _Network(nn.Module):
    """Eleven convolutions, and of the fully connected layers those that are linear in a patch's features."""

    def __init__(self) -> None:
        super().__init__()
        for i, (c_in, c_out) in enumerate(zip((3, *_WIDTHS), _WIDTHS, strict=False), start=1):
            self.add_module(f"conv{i}", nn.Conv2d(c_in, c_out, 3, padding=1, device="meta"))
        self.fc1_score = nn.Linear(_FEATURES, _HIDDEN, bias=False, device="meta")
        self.fc1_weight = nn.Linear(_COARSE, _HIDDEN, bias=False, device="meta")

    def forward(self, patches: Tensor) -> Tensor:
        """(P,3,64,64) in [0,1] -> (P,1024)."""
        x, features = 255 * patches, []
        for i in range(1, len(_WIDTHS) + 1):
            x = F.relu_(self.get_submodule(f"conv{i}")(x))
            if i % 2 == 0:
                x = F.max_pool2d(x, 2)
            elif i > 1:
                features.append(x.flatten(1))
        every = torch.cat(features, dim=1)
        # What these give of two images is subtracted: in half precision little would be left of near images.
        with torch.autocast(patches.device.type, enabled=False):
            every = every.to(self.fc1_score.weight.dtype)
            return torch.cat([self.fc1_score(every), self.fc1_weight(every[:, -_COARSE:])], dim=1)


class PieAPP(Extractor):
    """The network of PieAPP, run on patches of 64×64 pixels that lie `stride` apart.

    f(p) are the outputs of the 3rd, 5th, 7th, 9th and 11th of its convolutions for a patch p, g(p) that of the last
    alone. The tap "patches" is what its fully connected layers begin with, without their biases: 512 channels of
    W_s f(p) and 512 of W_w g(p), the patches as positions. They are linear, so that W (f(p) - f(q)) = W f(p) - W f(q),
    and 1,024 numbers are all that has to be kept of a patch instead of 120,832.

    Patches are run 64 at a time. Where gradients are asked for and there are more, features are computed anew on the
    way back: of the others only the pixels are in memory.

    Shape: (N,3,H,W) in [0,1], H and W at least 64 -> {"patches": (N,1024,(H-64)//stride+1,(W-64)//stride+1)}.

    Args:
        weights: the path of the authors' file, as .pth or .safetensors; or "random".
        stride: in pixels, from patch to patch.
        channels: the order the network reads colours in: "rgb", as the package piq does, or "bgr", as the authors'
            script does. Images are RGB either way.
        seed: of random weights.

    Attributes:
        heads: the rest of the fully connected layers: the arguments of `opsin.distances.pieapp.PatchError`.

    Raises:
        InputError: a stride that is no whole number of at least 1; images smaller than a patch.
        WeightsError: no weights, or a file that is missing, damaged or of another network.

    Reference: "PieAPP: perceptual image-error assessment through pairwise preference", Prashnani, Cai, Mostofi and Sen,
    2018, https://arxiv.org/abs/1806.02067

    Example:
        >>> import torch
        >>> PieAPP("random")(torch.rand(1, 3, 64, 91), ["patches"])["patches"].shape
        torch.Size([1, 1024, 1, 2])
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        stride: int = STRIDE,
        channels: str = "rgb",
        seed: int = 0,
    ) -> None:
        whole("stride", stride, mend=f"The usual one is {STRIDE}.")
        choice("channels", channels, ["rgb", "bgr"])
        network = _Network()
        if weights is None or weights in ("official", "bundled"):
            raise WeightsError(_NEEDED.format(got=weights or "none"))
        if weights == "random":
            state, source, sha256, given = random_state(seed), "random", f"seed:{seed}", "random"
        else:
            path = sources.existing_file(weights)
            state, source, sha256, given = _read(path), "file", sha256_of(path), str(path)
        if channels == "bgr":
            # Turned around once here, images need not be on every call.
            state["conv1.weight"] = state["conv1.weight"].flip(1)
        self.heads = _heads(state)
        network.load_state_dict({name: state[name] for name in network.state_dict()}, assign=True)
        super().__init__(network)
        # In the name, so that signatures show it.
        name = "pieapp" if stride == STRIDE else f"pieapp at stride {stride}"
        self.spec = ExtractorSpec(name, source, sha256, f"0..255 {channels}", "max", "zeros")
        self.taps = ("image", "patches")
        self.stride = stride
        self._arguments = {"weights": given, "stride": stride, "channels": channels}
        if given == "random":
            self._arguments["seed"] = seed

    def config(self) -> dict[str, Any]:
        """The arguments that make this extractor anew, as plain values."""
        return {"network": "pieapp", **self._arguments}

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
        features = {"image": images}
        if "patches" in wanted:
            height, width = images.shape[-2:]
            if min(height, width) < PATCH:
                raise InputError(
                    f"images must be at least {PATCH}×{PATCH} for PieAPP, got {height}×{width}. Enlarge them."
                )
            features["patches"] = self._patches(images if "patches" in graph else images.detach())
        # It computes its patches again for the gradient whatever is asked for.
        return self._give(features, wanted, graph, reduce)

    def _patches(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,1024,rows,columns), one row of patches at a time."""
        n, _, height, width = images.shape
        tops = range(0, height - PATCH + 1, self.stride)
        count = n * len(tops) * ((width - PATCH) // self.stride + 1)
        again = count > _CHUNK and torch.is_grad_enabled() and images.requires_grad
        rows = []
        for top in tops:
            strip = images[:, :, top : top + PATCH].unfold(3, PATCH, self.stride)
            patches = strip.permute(0, 3, 1, 2, 4).flatten(0, 1)
            parts = [
                checkpoint(self._network, part, use_reentrant=False, preserve_rng_state=False)
                if again
                else self._network(part)
                for part in patches.split(_CHUNK)
            ]
            rows.append(torch.cat(parts).unflatten(0, (n, -1)))
        return torch.stack(rows, dim=1).permute(0, 3, 1, 2)


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a weights file."""
    shapes: dict[str, tuple[int, ...]] = {n: tuple(value.shape) for n, value in _Network().state_dict().items()}
    for head in ("score", "weight"):
        shapes |= {f"fc1_{head}.bias": (_HIDDEN,), f"fc2_{head}.weight": (1, _HIDDEN), f"fc2_{head}.bias": (1,)}
    return shapes | {"ref_score_subtract.weight": (1, 1), "ref_score_subtract.bias": (1,)}


def random_state(seed: int) -> dict[str, Tensor]:
    """He-normal weights from a seed and no biases.

    Those of the last layers are positive, so that the loss is a distance of a kind: 0 for equal images, positive for
    others.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    state = {}
    for name, shape in expected_shapes().items():
        value = torch.zeros(shape, dtype=torch.float32, device="cpu")
        if name == "ref_score_subtract.weight":
            value.fill_(1.0)
        elif name.endswith(".weight"):
            value.normal_(0.0, (2.0 / value[0].numel()) ** 0.5, generator=generator)
            if name.startswith("fc2_"):
                value.abs_()
        state[name] = value
    return state


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, in float32."""
    content = sources.read_state(path)
    expected = expected_shapes()
    got = {name: tuple(value.shape) for name, value in content.items()}
    if got.get("ref_score_subtract.weight") == (1,):  # as the authors saved it
        got["ref_score_subtract.weight"] = (1, 1)
    wrong = next((name for name in (*expected, *got) if got.get(name) != expected.get(name)), None)
    if wrong is not None:
        found, shape = got.get(wrong, "nothing"), expected.get(wrong, "nothing")
        raise WeightsError(
            f"weights must be those of PieAPP, got those of another network in '{path}': {wrong} is {found} instead of "
            f"{shape}. Choose the authors' PieAPPv0.1.pth."
        )
    return {name: content[name].detach().to(torch.float32, copy=True).reshape(expected[name]) for name in expected}


def _heads(state: dict[str, Tensor]) -> dict[str, Any]:
    """What is behind the first fully connected layers, as arguments of `PatchError`.

    A patch's error is a·0.01·(v·h + b) + c with the one weight a and bias c of `ref_score_subtract`, its weight
    v·h + b + 1e-6: both are a vector times h, and a constant.
    """
    heads: dict[str, Any] = {}
    (a,), (c,) = (state[f"ref_score_subtract.{part}"].double().flatten().tolist() for part in ("weight", "bias"))
    for head, gain, constant in (("score", 0.01 * a, c), ("weight", 1.0, 1e-6)):
        heads[f"{head}_bias"] = state[f"fc1_{head}.bias"].double()
        heads[f"{head}_gain"] = gain * state[f"fc2_{head}.weight"].double().flatten()
        heads[f"{head}_offset"] = gain * float(state[f"fc2_{head}.bias"].double()) + constant
    return heads
