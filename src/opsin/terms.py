"""A term, the summand of a perceptual loss, and how its value is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.distances import (
    Distance,
    Regularizer,
    SpatialDistance,
    SummedDistance,
    at_least_float32,
    full_precision,
    make_distance,
    tensors_of,
)
from opsin.errors import InputError
from opsin.extractors import Extractor, ReceptiveField
from opsin.masks import masked_mean, resize_mask

# What `PerceptualLoss.evaluate` and `targets` call their own arguments.
_RESERVED = frozenset({"self", "x", "targets", "mask", "shrink_mask", "maps", "memory", "tile"})


TermResult = tuple[Tensor, Tensor | None]  # a value (N,), and a map (N,1,H,W) if there is one and it is asked for
StatisticKey = tuple[str, bool]


@dataclass(frozen=True, eq=False, init=False)
class Term:
    """One summand of a perceptual loss: weight · d(F(x), F(reference)).

    Attributes:
        extractor: F.
        tap: the name of a feature map of F, or a tuple of names, whose features the distance then sees as a tuple.
        distance: d: a `Distance`, its name, or any callable `(x, y) -> tensor`; or a `Regularizer`, which sees x alone.
        weight: any finite number. A term of weight 0 is computed without a graph, for logging.
        reference: the name under which the images to compare with are handed in, or a tuple of names for a distance
            that takes several. None for a `Regularizer`.
        label: what the term is called; the tap if empty.
        group: the name of the loss it came from; set when losses are added.

    Raises:
        ChoiceError: an unknown tap or distance.
        InputError: parts that do not fit together.
    """

    extractor: Extractor
    tap: str | tuple[str, ...]
    distance: Distance | Regularizer
    weight: float
    reference: str | tuple[str, ...] | None
    label: str
    group: str

    def __init__(
        self,
        extractor: Extractor,
        tap: str | Sequence[str],
        distance: str | Distance | Regularizer | Callable[[Any, Any], Tensor] = "l2",
        weight: float = 1.0,
        reference: str | Sequence[str] | None = "target",
        label: str = "",
        group: str = "",
    ) -> None:
        if not isinstance(extractor, Extractor):
            raise InputError(
                f"extractor must be an opsin.Extractor, got {type(extractor).__name__}. "
                "opsin.ModuleExtractor(net) makes one of any network."
            )
        if not isinstance(tap, (str, tuple, list)) or not tap:
            raise InputError(f"tap must be a name or a tuple of names, got {tap!r}. See the extractor's taps.")
        taps = (tap,) if isinstance(tap, str) else tuple(tap)
        extractor.check_taps(taps)
        if isinstance(distance, Regularizer):
            made, reference = distance, None
        else:
            made = make_distance(distance)
            reference = _check_references(reference, made)
        if len(taps) > 1 and not made.several_taps:
            raise InputError(
                f"a term of several taps must have a distance that takes a tuple of them, got {made.name!r}. "
                "Make a term for each tap, or a Distance with several_taps = True."
            )
        if not math.isfinite(weight):
            raise InputError(f"weight must be a finite number, got {weight}. Check where it comes from.")
        values = {
            "extractor": extractor,
            "tap": _alone(taps),
            "distance": made,
            "weight": float(weight),
            "reference": reference,
            "label": label or "+".join(taps),
            "group": group,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def taps(self) -> tuple[str, ...]:
        """The taps, as a tuple."""
        return (self.tap,) if isinstance(self.tap, str) else self.tap

    @property
    def statistic_key(self) -> str:
        """What tells the statistic of this term from others of the same images."""
        kind = self.distance.statistic_key if isinstance(self.distance, Distance) else ""
        return f"{kind} of {'+'.join(self.taps)} of {self.extractor.spec.key}"

    @property
    def references(self) -> tuple[str, ...]:
        """The references' names, as a tuple: empty for a `Regularizer`."""
        if self.reference is None:
            return ()
        return (self.reference,) if isinstance(self.reference, str) else self.reference

    @property
    def is_additive(self) -> bool:
        """Whether it is a sum over positions, each by itself."""
        kind = type(self.distance)
        return issubclass(kind, Distance) and kind.additive and _keeps(kind, "additive", "statistic", "compare", "map")

    @property
    def is_summed(self) -> bool:
        """Whether it compares statistics that follow from sums over positions."""
        kind = type(self.distance)
        return issubclass(kind, SummedDistance) and _keeps(kind, "sums", "statistic")

    def target_key(self, reference: str) -> str:
        """Where `Targets` keep the statistic of one of this term's references."""
        return f"{reference}: {self.statistic_key}"

    def kept(self, targets: Mapping[str, Any]) -> Any:
        """The statistic of its reference among `targets`, or a tuple of several."""
        return _alone(tuple(targets[self.target_key(reference)] for reference in self.references))


def _alone(values: tuple[Any, ...]) -> Any:
    """The only one of the values, or all of them if there are several or none."""
    return values[0] if len(values) == 1 else values


def _keeps(kind: type, promise: str, *methods: str) -> bool:
    """Whether no class overrides the methods that a promise is about below the one that made it."""

    def made(attribute: str) -> int:
        return next((i for i, cls in enumerate(kind.__mro__) if attribute in vars(cls)), len(kind.__mro__))

    return made(promise) <= min(map(made, methods))


def _check_references(reference: str | Sequence[str] | None, distance: Distance) -> str | tuple[str, ...]:
    if reference is None:
        raise InputError("a term without a reference must have a Regularizer, got a distance. Name its reference.")
    if not distance.several_references:
        return _check_reference(reference)
    if isinstance(reference, str) or len(set(reference)) != len(reference) or len(reference) < 2:
        raise InputError(
            f"reference must be a tuple of different names for {distance.name!r}, which compares with several images, "
            f"got {reference!r}. E.g. ('target', 'ema')."
        )
    return tuple(_check_reference(name) for name in reference)


def _check_reference(reference: object) -> str:
    if not isinstance(reference, str) or not reference.isidentifier() or reference in _RESERVED:
        raise InputError(
            f"reference must be a name that can be a keyword, other than {', '.join(sorted(_RESERVED))}, "
            f"got {reference!r}. E.g. 'style'."
        )
    return reference


def shared_pass(
    terms: Iterable[Term],
    images: Tensor,
    *,
    graded: bool,
    reduce: Callable[[str, str, Tensor], Any] | None = None,
    recompute: bool = False,
) -> dict[str, dict[str, Any]]:
    """One pass of each network for the union of the terms' taps: extractor key -> tap -> feature.

    Args:
        terms: whose features are wanted.
        images: (N,3,H,W) in [0,1].
        graded: whether gradients shall reach the images, through the taps of terms whose weight is not 0.
        reduce: (extractor key, tap, feature) -> what is wanted of it; see `Extractor.forward`.
        recompute: see there.
    """
    extractors: dict[str, Extractor] = {}
    wanted: dict[str, dict[str, bool]] = {}
    for term in terms:
        key = term.extractor.spec.key
        extractors.setdefault(key, term.extractor)
        taps = wanted.setdefault(key, {})
        for tap in term.taps:
            taps[tap] = taps.get(tap, False) or (graded and term.weight != 0)
    features = {}
    for key, extractor in extractors.items():
        # Extractors that others wrote need not know of what isn't asked of them.
        options: dict[str, Any] = {} if reduce is None else {"reduce": partial(reduce, key)}
        if recompute:
            options["recompute"] = True
        graph = [tap for tap, graph in wanted[key].items() if graph]
        features[key] = extractor(images, list(wanted[key]), with_graph=graph, **options)
    return features


def term_feature(term: Term, features: Mapping[str, Mapping[str, Tensor]]) -> Any:
    """The feature map of a term, or a tuple of several, in float32 at least, out of what `shared_pass` gives."""
    return _alone(tuple(at_least_float32(features[term.extractor.spec.key][tap]) for tap in term.taps))


def term_statistic(term: Term, features: Mapping[str, Mapping[str, Tensor]]) -> Any:
    """The statistic of a term. For a `Regularizer` it is the feature."""
    feature = term_feature(term, features)
    if not isinstance(term.distance, Distance):
        return feature
    with full_precision(tensors_of(feature)[0]):
        return term.distance.statistic(feature)


def evaluate_terms(
    terms: Mapping[str, Term],
    features: Mapping[str, Mapping[str, Tensor]],
    targets: Mapping[str, Any],
    x: Tensor,
    mask: Tensor | None,
    shrink_mask: bool,
    maps: bool,
    statistics: dict[StatisticKey, Any] | None = None,
) -> dict[str, TermResult]:
    """Values (N,) of terms, by name, and their maps (N,1,H,W) where there are any and they are asked for.

    Args:
        terms: by name.
        features: of x, as `shared_pass` gives them.
        targets: statistics of the references, by `Term.target_key`.
        x: the images.
        mask: see `PerceptualLoss.evaluate`.
        shrink_mask: see there.
        maps: see there.
        statistics: those of x that are known already, by `statistic_key` and whether with a graph.
    """
    statistics = {} if statistics is None else statistics
    results = {}
    for name, term in terms.items():
        with nullcontext() if term.weight else torch.no_grad():
            key = (term.statistic_key, bool(term.weight))
            if key not in statistics:
                statistics[key] = term_statistic(term, features)
            results[name] = _compare(name, term, statistics[key], term.kept(targets), x, mask, shrink_mask, maps)
    return results


def _compare(
    name: str,
    term: Term,
    a: Any,
    b: Any,
    x: Tensor,
    mask: Tensor | None,
    shrink_mask: bool,
    maps: bool,
) -> TermResult:
    """A term's value and map, out of the statistic `a` of x and what is kept of its references, `b`."""
    distance = term.distance
    with full_precision(x):
        if isinstance(distance, SpatialDistance) and (mask is not None or maps):
            picture = distance.map(a, b)
            if mask is None:
                value = picture.mean(dim=(1, 2))
            else:
                field = shrunk_field(term) if shrink_mask else None
                value = masked_mean(picture, resize_mask(mask, picture.shape[-2:], field), name)
            if maps:
                return value, to_pixels(picture, x)
            return value, None
        if mask is not None:
            raise no_map(name, term)
        value = distance(a) if isinstance(distance, Regularizer) else distance.compare(a, b)
    if value.shape != x.shape[:1]:
        raise InputError(
            f"a distance must return shape ({x.shape[0]},), got {tuple(value.shape)} from {distance.name}."
        )
    return value, None


def to_pixels(picture: Tensor, x: Tensor) -> Tensor:
    """Enlarge a map of positions to the size of the images: (N,h,w), (N,C,H,W) -> (N,1,H,W)."""
    return F.interpolate(picture.unsqueeze(1), size=x.shape[-2:], mode="bilinear", align_corners=False)


def shrunk_field(term: Term) -> ReceptiveField:
    """The receptive field by which a mask is shrunk for a term.

    Raises:
        InputError: it is not known.
    """
    field = term.extractor.receptive_field(term.taps[0])
    if field is None:
        raise InputError(
            "shrink_mask must be for networks whose receptive fields are known, "
            f"got {term.extractor.spec.network}. Shrink the mask yourself."
        )
    return field


def no_map(name: str, term: Term) -> InputError:
    """The error of a mask for a term that has no map which it could limit."""
    return InputError(
        f"mask must be for terms that have a map, got one for {name!r} ({term.distance.name}). "
        "Crop the images instead, or add that term without a mask."
    )


def name_terms(terms: Sequence[Term]) -> dict[str, Term]:
    """Names of terms: the label, after the group where there are several; a repeat gets #2."""
    several = len({term.group for term in terms}) > 1
    named: dict[str, Term] = {}
    for term in terms:
        name = f"{term.group}/{term.label}" if several and term.group else term.label
        named[free_name(name, named)] = term
    return named


def free_name(name: str, taken: Iterable[str]) -> str:
    """`name`, or the first of `name#2`, `name#3` … that is not taken."""
    taken = set(taken)
    count = 1
    candidate = name
    while candidate in taken:
        count += 1
        candidate = f"{name}#{count}"
    return candidate
