"""What a loss keeps of its references, and what it says of a batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from opsin.distances import Distance, map_tensors, tensors_of
from opsin.errors import InputError
from opsin.inputs import check_batch, check_same_size
from opsin.terms import Term


class Targets(Mapping[str, Tensor]):
    """Statistics of reference images, computed once, without a graph: what `PerceptualLoss.targets` returns.

    An immutable value that belongs to the caller. It fits every loss that has the same statistics, whatever its
    weights.

    """

    def __init__(self, statistics: Mapping[str, Any], sizes: Mapping[str, tuple[int, int, int]]) -> None:
        self._statistics = dict(statistics)
        self._sizes = dict(sizes)

    def __getitem__(self, key: str) -> Any:
        """The statistic of a key; see `Term.target_key`."""
        return self._statistics[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statistics)

    def __len__(self) -> int:
        return len(self._statistics)

    def __reduce__(self) -> tuple[Any, ...]:
        return Targets, (self._statistics, self._sizes)

    @property
    def sizes(self) -> Mapping[str, tuple[int, int, int]]:
        """Reference name -> (N, H, W) of the images."""
        return MappingProxyType(self._sizes)

    def merged(self, other: Targets) -> Targets:
        """These and `other`'s; of a reference that both have, only `other`'s statistics stay.

        Two sets of images under one name never mix.
        """
        mine = {k: v for k, v in self._statistics.items() if k.partition(": ")[0] not in other._sizes}
        return Targets({**mine, **other._statistics}, {**self._sizes, **other._sizes})

    def to(self, *args: Any, **kwargs: Any) -> Targets:
        """The same on another device or in another dtype; the arguments are those of `torch.Tensor.to`."""
        return Targets({k: map_tensors(lambda t: t.to(*args, **kwargs), v) for k, v in self.items()}, self._sizes)

    def check(self, terms: Iterable[Term], x: Tensor) -> None:
        """Raise unless images `x` can be compared with what is kept for `terms`.

        Raises:
            InputError: another batch, device, or size where a term needs the same.
        """
        for term in terms:
            for reference in term.references:
                n, h, w = self._sizes[reference]
                check_batch(x.shape[0], n, reference)
                if isinstance(term.distance, Distance) and term.distance.same_size:
                    check_same_size((x.shape[-2], x.shape[-1]), (h, w), reference)
                for kept in tensors_of(self._statistics.get(term.target_key(reference), ())):
                    if kept.device != x.device:
                        raise InputError(
                            f"targets must be on the device of x, {x.device}, got {kept.device}. "
                            f"Move them: targets.to({str(x.device)!r})."
                        )

    @property
    def nbytes(self) -> int:
        """Memory the statistics take."""
        total = 0
        for value in self.values():
            total += sum(t.numel() * t.element_size() for t in tensors_of(value))
        return total

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {n}×{h}×{w}" for name, (n, h, w) in self.sizes.items())
        return f"Targets({len(self)} statistics of {sizes}; {self.nbytes / 2**20:.1f} MiB)"


class Signature(dict[str, Any]):
    """What produced a result, as plain values; `str()` of it is one line for a log."""

    def __str__(self) -> str:
        networks = ", ".join(
            " ".join(filter(None, (n["network"], n["weights"], n["sha256"].removeprefix("seed:")[:8])))
            + (
                ""
                if n["network"] == "image"
                else f" ({', '.join(filter(None, (n['normalization'], n['pooling'], n['padding'])))})"
            )
            for n in self["networks"].values()
        )
        terms = " + ".join(f"{t['weight']:g}·{t['distance']}({'+'.join(t['taps'])})" for t in self["terms"].values())
        tail = [self[k] for k in ("dtype", "resize") if k in self]
        return " | ".join(
            [f"opsin {self['opsin']}", networks, terms, *map(str, tail), f"torch {self['torch']}", f"id {self.id}"]
        )

    @property
    def id(self) -> str:
        """Eight hex digits of a hash of all of it."""
        return hashlib.sha256(json.dumps(self, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a loss says of a batch.

    Attributes:
        total: Σ weight · term, (N,), or (B,T) for clips.
        terms: name -> the term's distance before its weight, of the same shape.
        weights: name -> weight.
        maps: name -> the distance at each pixel (N,1,H,W), of the terms that have a map; None unless asked for.
        signature: what produced the result.
    """

    total: Tensor
    terms: Mapping[str, Tensor]
    weights: Mapping[str, float]
    maps: Mapping[str, Tensor] | None = None
    _sign: Callable[[], Signature] = field(default=Signature, repr=False)

    @property
    def signature(self) -> Signature:
        """Networks, weight hashes, terms, dtype and versions, as plain values."""
        return self._sign()

    def __reduce__(self) -> tuple[Any, ...]:
        # With the signature written out: what makes it holds the networks.
        signed = partial(Signature, self.signature)
        return Evaluation, (self.total, dict(self.terms), dict(self.weights), self.maps, signed)

    @property
    def map(self) -> Tensor:
        """Σ weight · map of the terms that have one, (N,1,H,W).

        Raises:
            InputError: maps were not asked for, or no term has one.
        """
        if not self.maps:
            raise InputError(
                "a map must be asked for with maps=True of a loss with spatial distances, got none. "
                "Statistics such as the Gram matrix have no map."
            )
        return torch.stack([self.weights[name] * m for name, m in self.maps.items()]).sum(dim=0)
