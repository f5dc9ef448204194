"""How much memory a loss or a network takes, told before it runs."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from opsin import _native
from opsin.errors import InputError
from opsin.loss import PerceptualLoss

# From the fastest to the smallest.
_TILES = (2048, 1024, 512, 256, 128, 64)


def peak_memory(
    loss: PerceptualLoss,
    shape: tuple[int, ...],
    *,
    gradient: bool = True,
    kept: bool = False,
    memory: str = "normal",
    tile: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> int:
    """The most memory in bytes that a loss and its gradient take at once, beside the images and the networks.

    The loss runs on tensors without values, which takes a fraction of a second, and what it would allocate is added up.
    On a CPU the process grows by that to within a fifth, if its malloc gives back what is freed. The filters that the
    native convolution lays out anew are counted too, although they stay for later calls.

    Args:
        loss: on its device.
        shape: of the images, (N,3,H,W) or (B,T,3,H,W); references have the same.
        gradient: whether the gradient is wanted.
        kept: whether references come as `Targets`, which are then not counted, or as images.
        memory: see `PerceptualLoss.evaluate`.
        tile: see there.
        dtype: of the images.

    Raises:
        InputError: images that do not fit, or a loss that must see values to know what to do.

    Example:
        >>> import opsin
        >>> loss = opsin.build("vgg11", ["relu2_1"], "l2", weights="random")
        >>> whole, tiled = (peak_memory(loss, (1, 3, 512, 512), tile=tile) for tile in (None, 128))
        >>> whole > 4 * tiled
        True
    """
    # There are no values to be checked.
    loss = PerceptualLoss(loss.terms.values(), input_range=loss.input_range, validate="never")
    parameters = (p for extractor in loss.extractors if extractor._network for p in extractor._network.parameters())
    device = next((p.device for p in parameters), torch.device("cpu"))
    meter = _Meter()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.set_grad_enabled(gradient):
            x = torch.empty(shape, dtype=dtype, device=device, requires_grad=gradient)
            references: dict[str, Any] = {name: torch.empty_like(x, requires_grad=False) for name in loss.references}
            if kept:
                references = {"targets": loss.targets(**references)}
            with meter:
                total = loss.evaluate(x, **references, memory=memory, tile=tile).total
                if gradient:
                    torch.autograd.grad(total.sum(), x)
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise InputError(
            f"loss must be one that does the same whatever the images' values, got one that asks for them: {error}. "
            "Measure it instead."
        ) from error
    return meter.peak + sum(meter.filters.values())


def fit_memory(
    loss: PerceptualLoss, shape: tuple[int, ...], limit: int, *, gradient: bool = True, kept: bool = False
) -> dict[str, Any]:
    """The keywords with which a loss stays within a limit: {}, {"memory": "low"} or {"tile": N}, the fastest that does.

    The choice follows from the shape and the limit alone. `loss(x, y, **fit_memory(loss, x.shape, 4 * 10**9))`

    Args:
        loss: see `peak_memory`.
        shape: see there.
        limit: in bytes.
        gradient: see there.
        kept: see there.

    Raises:
        InputError: nothing stays within it; the message tells what comes nearest.
    """
    choices: list[dict[str, Any]] = [{}, {"memory": "low"}] if gradient else [{}]
    choices += [{"tile": tile} for tile in _TILES if tile < max(shape[-2:])]
    peaks: list[tuple[int, dict[str, Any]]] = []
    reason = ""
    for options in choices:
        try:
            peaks.append((peak_memory(loss, shape, gradient=gradient, kept=kept, **options), options))
        except InputError as error:
            if "tile" not in options:
                raise
            reason = f" ({error})"
            break
        if peaks[-1][0] <= limit:
            return options
    least, options = min(peaks, key=itemgetter(0))
    raise InputError(
        f"limit must be at least {least:,} bytes for images of shape {tuple(shape)}, with {options or 'no options'}, "
        f"got {limit:,}{reason}. Make the images or the batch smaller."
    )


def network_memory(network: nn.Module, shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32) -> int:
    """The most memory in bytes that a network takes at once for its result, beside the image and its weights.

    As `peak_memory`, without a gradient, but the network really runs, on black images: those of other authors may lay
    out their weights anew while they do, and must not be left with tensors without values.

    Args:
        network: on its device.
        shape: of the images; small ones, from which larger ones follow.
        dtype: of them.

    Example:
        >>> network_memory(torch.nn.Conv2d(3, 8, 3), (1, 3, 10, 10))
        2048
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    image = torch.zeros(shape, dtype=dtype, device=device)
    meter = _Meter()
    with torch.no_grad(), meter:
        network(image)
    return meter.peak


class _Meter(TorchDispatchMode):
    """Adds up the storages that operators make, until they are freed.

    Attributes:
        now: bytes held.
        peak: the most that were.
        filters: bytes of the filters that the native convolution lays out, by their weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.filters: dict[int, int] = {}
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # What an operator is given without its having been made here was there before.
        self._known.update(leaf.untyped_storage() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        self.filters |= _native.filters_of(func, args)
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.untyped_storage() not in self._known:
                storage = leaf.untyped_storage()
                self._known.add(storage)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result

    def _free(self, size: int) -> None:
        self.now -= size
