"""What a distance between two feature maps is."""

from __future__ import annotations

import copy
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from operator import itemgetter
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from opsin.errors import InputError


class Distance(nn.Module, ABC):
    """A distance d(F(x), F(y)): a statistic of each feature map, and a comparison of two statistics.

    The statistic of a reference can be computed once and kept. Calling the distance does both:
    `distance(f, g) = distance.compare(distance.statistic(f), distance.statistic(g))`, in float32 at least.

    Subclass it with `statistic` and `compare`; both see float32 or float64, autocast switched off. With
    `several_taps = True` it may stand in a term of several taps, and `statistic` sees a tuple of feature maps. With
    `several_references = True` its terms name several references, and `compare` sees a tuple of their statistics. With
    `same_size = True` references must have the size of x. With `additive = True` it can be computed in tiles: the
    statistic is a map of the feature's size, and the statistic and the comparison see each position by itself.
    """

    name: ClassVar[str] = "distance"
    several_taps: ClassVar[bool] = False
    several_references: ClassVar[bool] = False
    same_size: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._token = uuid.uuid4().hex

    @property
    def statistic_key(self) -> str:
        """Distances of equal key have the same statistic, which is then computed and kept once for all of them.

        Unless a class says more, only an instance and its copies are known to have the same.
        """
        return self._own_key()

    def _own_key(self) -> str:
        return f"{self.name} {self._token}"

    def _shared_key(self, owner: type[Distance], key: str) -> str:
        """`key`, unless a subclass of `owner` has a statistic of its own."""
        return key if type(self).statistic is owner.statistic else self._own_key()

    def config(self) -> dict[str, Any]:
        """The keyword arguments that make this distance anew, as plain values."""
        return {}

    def describe(self) -> dict[str, Any]:
        """The options as a signature shows them."""
        return self.config()

    @abstractmethod
    def statistic(self, feature: Tensor) -> Tensor:
        """What is compared of a feature map: (N,C,H,W) -> (N,…)."""

    @abstractmethod
    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of two statistics: (N,…), (N or 1,…) -> (N,)."""

    def share(self, tile: int, whole: int) -> float:
        """What a tile of an additive distance counts for: Σ over tiles of share · compare(tile) = compare(whole).

        Args:
            tile: number of positions in the tile.
            whole: number of positions in the map.
        """
        return tile / whole

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of two feature maps.

        Shape: (N,C,H,W), (N or 1,C,H,W) -> (N,).
        """
        with full_precision(x):
            return self.compare(self.statistic(at_least_float32(x)), self.statistic(at_least_float32(y)))

    def extra_repr(self) -> str:
        """The options in `repr`."""
        return ", ".join(f"{k}={v!r}" for k, v in self.describe().items())


class SpatialDistance(Distance):
    """A distance that is a mean over positions, so that it has a map and can be limited to a region."""

    same_size: ClassVar[bool] = True

    @property
    def statistic_key(self) -> str:
        """The feature map itself, unless a subclass has another statistic."""
        return self._shared_key(SpatialDistance, "feature")

    def statistic(self, feature: Tensor) -> Tensor:
        """The feature map itself."""
        return feature

    @abstractmethod
    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance at each position: (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean of the map over positions: (N,C,H,W), (N or 1,C,H,W) -> (N,)."""
        return self.map(x, y).mean(dim=(1, 2))


class SummedDistance(Distance):
    """A distance whose statistic follows from sums over positions, so that an image can be summed up tile by tile.

    `statistic(feature)` is `from_sums(sums(feature, centre), centre, positions)` for any `centre` but for rounding: the
    nearer it is to the channels' means, the fewer digits the sums lose.
    """

    @abstractmethod
    def sums(self, feature: Tensor, centre: Tensor) -> Tensor:
        """Sums over positions: (N,C,H,W), (N,C,1,1) -> (N,…)."""

    @abstractmethod
    def from_sums(self, sums: Tensor, centre: Tensor, positions: int) -> Tensor:
        """The statistic, of the sums over all of an image: (N,…), (N,C,1,1), H·W -> (N,…)."""


class CallableDistance(Distance):
    """Any function `(x, y) -> tensor` of two feature maps as a distance.

    What it returns may be one value per image (N,), anything (N,…) that is then averaged per image, or a scalar; for a
    scalar the function is called on each pair alone, since a batch's mean cannot be taken apart. In a term of several
    taps it sees two tuples. A module is copied, and the copy frozen and put in eval mode.
    """

    name: ClassVar[str] = "callable"
    several_taps: ClassVar[bool] = True
    function: Callable[[Any, Any], Tensor]

    def __init__(self, function: Callable[[Any, Any], Tensor]) -> None:
        super().__init__()
        if isinstance(function, nn.Module):
            function = copy.deepcopy(function).requires_grad_(False).eval()
        # Past nn.Module.__setattr__: a module with a state would put it into the host's state dict.
        object.__setattr__(self, "function", function)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> CallableDistance:
        super()._apply(fn, recurse)
        if isinstance(self.function, nn.Module):
            self.function._apply(fn)
        return self

    @property
    def label(self) -> str:
        """What signatures call the function."""
        return getattr(self.function, "__qualname__", type(self.function).__name__)

    @property
    def statistic_key(self) -> str:
        """The feature map itself."""
        return "feature"

    def config(self) -> dict[str, Any]:
        """The name of the function. It is for people: a function cannot be written to a file."""
        return {"function": self.label}

    def statistic(self, feature: Any) -> Any:
        """The feature map itself, or a tuple of them."""
        return feature

    def compare(self, x: Any, y: Any) -> Tensor:
        """Call the function: (N,C,H,W), (N or 1,C,H,W) -> (N,)."""
        n = (x if isinstance(x, Tensor) else x[0]).shape[0]
        y = map_tensors(lambda t: t.expand(n, *t.shape[1:]), y)
        value = self._call(x, y)
        if value.ndim == 0:
            pairs = [
                (map_tensors(itemgetter(slice(i, i + 1)), x), map_tensors(itemgetter(slice(i, i + 1)), y))
                for i in range(n)
            ]
            value = torch.stack([self._call(a, b).reshape(()) for a, b in pairs])
        if value.shape[0] != n:
            raise InputError(
                f"a callable distance must return a scalar or a tensor (N,…) for N = {n} images, "
                f"got shape {tuple(value.shape)} from {self.label}. Average over the other dimensions."
            )
        return value.flatten(1).mean(dim=1) if value.ndim > 1 else value

    def _call(self, x: Any, y: Any) -> Tensor:
        value = self.function(x, y)
        if not isinstance(value, Tensor):
            raise InputError(
                f"a callable distance must return a torch.Tensor, got {type(value).__name__} from {self.label}. "
                "Leave out .item()."
            )
        return value


class Regularizer(nn.Module, ABC):
    """A measure of one feature map that needs no reference, such as total variation."""

    name: ClassVar[str] = "regularizer"
    several_taps: ClassVar[bool] = False

    def config(self) -> dict[str, Any]:
        """The keyword arguments that make this regularizer anew, as plain values."""
        return {}

    def describe(self) -> dict[str, Any]:
        """The options as a signature shows them."""
        return self.config()

    @abstractmethod
    def forward(self, feature: Tensor) -> Tensor:
        """Measure: (N,C,H,W) -> (N,)."""


def map_tensors(fn: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply `fn` to a tensor, or to each of a tuple of them: the statistic of one tap, or of several."""
    return fn(value) if isinstance(value, Tensor) else tuple(fn(v) for v in value)


def tensors_of(value: Any) -> tuple[Tensor, ...]:
    """The tensors of a statistic."""
    return (value,) if isinstance(value, Tensor) else tuple(value)


def check_same_maps(x: Any, y: Any) -> None:
    """Raise unless each feature map of the reference `y` has the size of x's; one map, or a tuple of them each.

    Raises:
        InputError: it has not.
    """
    for a, b in zip(tensors_of(x), tensors_of(y), strict=True):
        if a.shape[1:] != b.shape[1:]:
            raise InputError(
                f"the reference's feature map must have the size of x's, {tuple(a.shape[1:])} (C,H,W), "
                f"got {tuple(b.shape[1:])}. Resize or crop one of the images."
            )


def at_least_float32(feature: Tensor) -> Tensor:
    """Half precision to float32: Gram matrices and variances of it overflow or lose all digits."""
    return feature.float() if feature.dtype in (torch.float16, torch.bfloat16) else feature


def full_precision(like: Tensor) -> torch.autocast:
    """A context in which autocast does not turn the operations back to half precision."""
    return torch.autocast(like.device.type, enabled=False)
