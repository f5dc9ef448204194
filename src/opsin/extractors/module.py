"""An extractor of any `nn.Module`, its taps the names of submodules."""

from __future__ import annotations

import copy
import hashlib
import uuid
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from opsin.errors import InputError
from opsin.extractors.base import Extractor, ExtractorSpec, Normalization, Normalize, Reduce


class _Done(Exception):  # noqa: N818 (it is no error: it ends a pass whose remaining layers nobody asked for)
    """Raised by the hook of the last tap."""


class _Recorder:
    """Forward hooks of one pass: each keeps its module's output, the last one ends the pass."""

    def __init__(self, taps: Iterable[str]) -> None:
        self.missing = set(taps)
        self.features: dict[str, Tensor] = {}
        self.calls: dict[str, int] = {}

    def hook(self, name: str) -> Any:
        def record(_module: nn.Module, _inputs: object, output: object) -> None:
            call = self.calls[name] = self.calls.get(name, 0) + 1
            tap = name if call == 1 else f"{name}#{call}"
            if tap not in self.missing:
                return
            if not isinstance(output, Tensor):
                raise InputError(
                    f"the output of tap {tap!r} must be a tensor, got {type(output).__name__}. Tap inside of it."
                )
            self.missing.remove(tap)
            if not self.missing:
                self.features[tap] = output
                raise _Done
            # A copy: `out += identity` and other in-place operations behind this module would overwrite the tap.
            self.features[tap] = output.clone()

        return record


def _fingerprint(net: nn.Module) -> str:
    digest = hashlib.sha256(repr(net).encode())
    for name, tensor in net.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def record(net: nn.Module, images: Tensor, taps: list[str], *, owner: str = "") -> dict[str, Tensor]:
    """Run a network as far as its last tap and return what the submodules named `taps` gave, as it is.

    Args:
        net: any network.
        images: its input.
        taps: names of submodules; of a second run `name#2`.
        owner: what errors call the network; its class if empty.

    Raises:
        InputError: a tap whose output is no tensor, or that the pass never reaches.
    """
    recorder = _Recorder(taps)
    modules = dict(net.named_modules())
    names = sorted({tap.partition("#")[0] for tap in taps})
    handles = [modules[name].register_forward_hook(recorder.hook(name)) for name in names]
    try:
        net(images)
    except _Done:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if recorder.missing:
        runs = ", ".join(f"{name} {recorder.calls.get(name, 0)} times" for name in names)
        raise InputError(
            f"a tap must be reached in a pass, got {sorted(recorder.missing)}, which "
            f"{owner or type(net).__name__} does not run ({runs}). Choose other taps."
        )
    return recorder.features


class ModuleExtractor(Extractor):
    """Extractor of any network by the names of its submodules.

    `net` is copied: the copy is frozen, put in eval mode, and its in-place activations are made out-of-place, so that
    a tap in front of one keeps its values; `net` itself stays as it is and may go on training. A submodule that runs
    several times in a pass is tapped at its first run by its name and at the second by `name#2`. The pass ends at the
    last tap asked for.

    Args:
        net: takes images (N,3,H,W).
        normalization: what `net` expects of RGB in [0,1]: "none", "inet", "caffe", or (mean, std) per channel.
        name: what signatures call it; the class name if None.
        copy_net: False takes `net` itself instead of a copy, freezes it and makes its activations out-of-place.

    Raises:
        ChoiceError: a tap that is no submodule.
        InputError: a tap whose output is no tensor, or that the pass never reaches.

    Example:
        >>> import torch, opsin
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> opsin.ModuleExtractor(net)(torch.rand(1, 3, 8, 8), ["0", "1"])["1"].shape
        torch.Size([1, 8, 6, 6])
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        normalization: Normalization = "none",
        name: str | None = None,
        copy_net: bool = True,
    ) -> None:
        if not isinstance(net, nn.Module):
            raise InputError(f"net must be a torch.nn.Module, got {type(net).__name__}. Pass the network itself.")
        normalize = Normalize(normalization)
        if copy_net:
            net = copy.deepcopy(net)
        for module in net.modules():
            if getattr(module, "inplace", None) is True:
                module.inplace = False  # type: ignore[assignment]
        super().__init__(nn.ModuleDict({"normalize": normalize, "net": net}))
        self.spec = ExtractorSpec(
            network=name or type(net).__name__,
            weights="module",
            sha256=_fingerprint(net),
            normalization=normalize.label,
            pooling="",
            padding="",
            # Code that a hash of the weights does not see decides values too: only the same module is the same.
            instance=uuid.uuid4().hex,
        )
        self.taps = ("image", *(n for n, _ in net.named_modules() if n))

    def check_taps(self, taps: Iterable[str]) -> list[str]:
        """Return `taps` without repeats, each checked; see `Extractor.check_taps`."""
        if isinstance(taps, str):
            return super().check_taps(taps)
        taps = list(dict.fromkeys(taps))
        super().check_taps([tap.partition("#")[0] if isinstance(tap, str) else tap for tap in taps])
        return taps

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
        x = images if graph.intersection(wanted) else images.detach()

        def run(x: Tensor) -> dict[str, Any]:
            features = {"image": x}
            if wanted != ["image"]:
                features |= self._run(x, [tap for tap in wanted if tap != "image"])
            return self._give(features, wanted, graph, reduce)

        # Nothing is known of what goes on inside: all of it is computed again.
        return checkpoint(run, x, use_reentrant=False) if recompute else run(x)

    def _run(self, images: Tensor, taps: list[str]) -> dict[str, Tensor]:
        network = self._network
        features = record(network["net"], network["normalize"](images), taps, owner=self.spec.network)
        return {tap: self._shape(feature, images) for tap, feature in features.items()}

    def _shape(self, feature: Tensor, images: Tensor) -> Tensor:
        """Bring a layer's output into the form (N,C,H,W).

        Vectors (N,C) become (N,C,1,1), and token sequences (N,L,C), as transformers have them, (N,C,L,1).
        """
        if feature.ndim == 4:
            return feature
        if feature.ndim == 3:
            return feature.transpose(1, 2).unsqueeze(3)
        if feature.ndim == 2:
            return feature[:, :, None, None]
        raise InputError(
            f"a feature must have 2, 3 or 4 dimensions, got shape {tuple(feature.shape)}. Choose another tap."
        )
