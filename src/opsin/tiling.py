"""Values and gradients of losses of images of any size, tile by tile, equal to those of the whole image.

Additive distances are d = Σ over positions: each tile adds its share, and its share of the gradient, in one sweep.

Summed statistics are compared as d(S(x), S(y)), S a function of Σ over positions. One sweep, without a graph, adds the
sums up. That gives d and its gradient by the sums, which a second sweep takes on to the pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from opsin.checks import whole
from opsin.distances import at_least_float32, full_precision
from opsin.errors import InputError
from opsin.masks import covered, resize_mask
from opsin.results import Targets
from opsin.terms import (
    Term,
    TermResult,
    no_map,
    shared_pass,
    shrunk_field,
    term_feature,
    term_statistic,
    to_pixels,
)
from opsin.tiles import Tile, Tiling

Features = Mapping[str, Mapping[str, Tensor]]  # extractor key -> tap -> feature

# A pass holds some hundreds of numbers per pixel: more than 16 megapixels do not fit into a good laptop.
WHOLE_PIXELS, MAX_PIXELS = 4_000_000, 16_000_000
"""Images are compared whole up to the one, and up to the other where a loss cannot be computed in tiles."""

TILE = 512
"""Side of the tiles of larger ones."""


class _KnownGradient(torch.autograd.Function):
    """Values (N,) of images (N,3,H,W), one each, whose gradients have been computed already."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, gradient: Tensor) -> Tensor:
        """The values."""
        ctx.save_for_backward(gradient)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradient of each image, times that of its value.

        Raises:
            InputError: it shall be differentiated again (create_graph=True).
        """
        if torch.is_grad_enabled():
            raise InputError("tile must be None for a second derivative, got tiles. memory='low' has one.")
        (gradient,) = ctx.saved_tensors
        return grads[0].to(gradient.dtype).reshape(-1, 1, 1, 1) * gradient, None, None


def is_tiled(name: str, term: Term, tile: int) -> bool:
    """Whether a term is computed in tiles: not if it takes no more memory than its images do.

    Raises:
        InputError: it would have to be, and cannot; `tile` is no whole number of at least 1.
    """
    whole("tile", tile, mend="E.g. 512 pixels.")
    if term.extractor.is_light(term.taps):
        return False
    if not (term.is_additive or term.is_summed):
        raise InputError(
            "tile must be for terms that are sums over positions, or that compare statistics made of such sums, "
            f"got one for {name!r} ({term.distance.name}). Leave it out; memory='low' is for any loss."
        )
    if any(term.extractor.receptive_field(tap) is None for tap in term.taps):
        raise InputError(
            "tile must be for networks whose receptive fields are known, "
            f"got {term.extractor.spec.network}. Leave it out; memory='low' is for any network."
        )
    return True


def tile_for(terms: Mapping[str, Term], height: int, width: int) -> int | None:
    """The side of the tiles that images of a size are compared in; None if they are compared whole.

    Raises:
        InputError: they are too large for a loss that cannot be computed in tiles.
    """
    if height * width <= WHOLE_PIXELS:
        return None
    try:
        for name, term in terms.items():
            is_tiled(name, term, TILE)
    except InputError as error:
        if height * width > MAX_PIXELS:
            raise InputError(
                f"images must have at most {MAX_PIXELS:,} pixels for a loss that cannot be computed in tiles, "
                f"got {width}x{height}. Make them smaller (opsin compare: --resize), or choose another loss."
            ) from error
        return None
    return TILE


def tiled_statistics(terms: Iterable[Term], images: Tensor, tile: int) -> dict[str, Tensor]:
    """Statistics of terms that are computed in tiles, by `Term.statistic_key`, without a graph."""
    statistics: dict[str, Tensor] = {}
    for group in _by_network(terms):
        tiling = _tiling(group, images, tile)
        additive = {term.statistic_key: term for term in group if term.is_additive}
        sums = _Sums([term for term in group if not term.is_additive], tiling)
        with torch.no_grad():
            for part in tiling:
                features = _pass(part, part.cut(images), group)
                sums.add(features)
                for key, term in additive.items():
                    statistic = term_statistic(term, features)
                    if key not in statistics:
                        shape = (*statistic.shape[:2], *tiling.sizes[term.taps[0]])
                        statistics[key] = statistic.new_empty(shape).contiguous(memory_format=torch.channels_last)
                    part.part(term.taps[0], statistics[key]).copy_(statistic)
            statistics |= sums.statistics()
    return statistics


def evaluate_tiled(
    terms: Mapping[str, Term],
    targets: Targets,
    references: Mapping[str, Tensor],
    tile: int,
    x: Tensor,
    mask: Tensor | None,
    shrink_mask: bool,
    maps: bool,
    *,
    graded: bool,
) -> tuple[Tensor, dict[str, TermResult]]:
    """Σ weight · value (N,) of terms that are computed in tiles, whose gradient flows to x, and each of them, without.

    Args:
        terms: by name.
        targets: kept statistics of references.
        references: images, for additive terms of which no statistic is kept: theirs is made tile by tile.
        tile: see `Tiling`.
        x: what is judged.
        mask: see `PerceptualLoss.evaluate`.
        shrink_mask: see there.
        maps: see there.
        graded: whether the gradient is wanted.
    """
    images, x = x, x.detach()
    gradient = torch.zeros_like(x) if graded else None
    values: dict[str, Tensor] = {}
    pictures: dict[str, Tensor] = {}
    for group in _by_network(terms.values()):
        additive = {name: term for name, term in terms.items() if term in group and term.is_additive}
        summed = {name: term for name, term in terms.items() if term in group and name not in additive}
        if mask is not None and summed:
            raise no_map(*next(iter(summed.items())))
        tiling = _tiling(group, x, tile)
        shares = _Shares(additive, tiling, x, targets, references, mask, shrink_mask, maps)
        # The first sweep: the sums that a gradient needs or, without one, everything.
        first = list(summed.values()) if graded else group
        sums = _Sums(summed.values(), tiling)
        with torch.no_grad():
            for part in _tiling(first, x, tile) if first else ():
                features = _pass(part, part.cut(x), first)
                sums.add(features)
                if not graded:
                    shares.add(part, features, shares.references(part))
        values |= sums.compare(summed, targets, graded=graded)
        if gradient is not None:
            for part in tiling:
                kept = shares.references(part)
                leaf = part.cut(x).clone().requires_grad_(True)
                with torch.enable_grad():
                    features = _pass(part, leaf, group, graded=True)
                    slopes = [*shares.add(part, features, kept), *sums.slopes(features)]
                # What nobody holds goes as the gradient passes it.
                del features, kept
                if slopes:
                    part.cut(gradient).add_(torch.autograd.grad(slopes, leaf)[0])
        values |= shares.values
        pictures |= {name: to_pixels(picture, x) for name, picture in shares.pictures.items()}
    total = torch.stack([term.weight * values[name] for name, term in terms.items()]).sum(dim=0)
    if gradient is not None:
        total = _KnownGradient.apply(images, total, gradient)
    return total, {name: (values[name], pictures.get(name)) for name in terms}


def _by_network(terms: Iterable[Term]) -> list[list[Term]]:
    groups: dict[str, list[Term]] = {}
    for term in terms:
        groups.setdefault(term.extractor.spec.key, []).append(term)
    return list(groups.values())


def _tiling(group: list[Term], images: Tensor, tile: int) -> Tiling:
    """The tiles for terms of one network."""
    taps = dict.fromkeys(tap for term in group for tap in term.taps)
    return Tiling(group[0].extractor, taps, (images.shape[-2], images.shape[-1]), tile)


def _pass(part: Tile, images: Tensor, terms: Iterable[Term], *, graded: bool = False) -> Features:
    """What a tile owns of the features of its pixels."""

    def reduce(_: str, tap: str, feature: Tensor) -> Tensor:
        owned = part.owned(tap, feature)
        # A copy, so that the halo goes.
        return owned if owned.shape == feature.shape else owned.clone(memory_format=torch.channels_last)

    return shared_pass(terms, images, graded=graded, reduce=reduce)


class _Shares:
    """Additive terms of one network: what each tile adds to their values."""

    def __init__(
        self,
        terms: Mapping[str, Term],
        tiling: Tiling,
        x: Tensor,
        targets: Targets,
        references: Mapping[str, Tensor],
        mask: Tensor | None,
        shrink_mask: bool,
        maps: bool,
    ) -> None:
        self._terms, self._targets, self._references = terms, targets, references
        self._sizes = {name: tiling.sizes[term.taps[0]] for name, term in terms.items()}
        zero = at_least_float32(x.new_zeros(x.shape[0]))
        self.values = {name: zero.clone() for name in terms}
        self.pictures = {name: zero.new_zeros(len(zero), *size) for name, size in self._sizes.items()} if maps else {}
        self._masks: dict[str, Tensor] = {}
        if mask is not None:
            for name, term in terms.items():
                self._masks[name] = resize_mask(mask, self._sizes[name], shrunk_field(term) if shrink_mask else None)
        self._covered = {name: covered(small, name) for name, small in self._masks.items()}

    def references(self, part: Tile) -> dict[str, Any]:
        """Statistics of a tile of the references: term -> one, or a tuple of several."""
        made: dict[str, Tensor] = {}
        for reference, images in self._references.items():
            new = {term.target_key(reference): term for term in self._terms.values() if reference in term.references}
            new = {key: term for key, term in new.items() if key not in self._targets}
            if new:
                with torch.no_grad():
                    features = _pass(part, part.cut(images), new.values())
                    made |= {key: term_statistic(term, features) for key, term in new.items()}
        for term in self._terms.values():
            for key in map(term.target_key, term.references):
                if key not in made:
                    made[key] = part.part(term.taps[0], self._targets[key])
        return {name: term.kept(made) for name, term in self._terms.items()}

    def add(self, part: Tile, features: Features, kept: Mapping[str, Any]) -> list[Tensor]:
        """Add a tile's shares up, and return those that have a gradient: Σ over images of weight · share."""
        statistics: dict[tuple[str, bool], Tensor] = {}
        slopes = []
        for name, b in kept.items():
            term = self._terms[name]
            with nullcontext() if term.weight else torch.no_grad():
                key = (term.statistic_key, bool(term.weight))
                if key not in statistics:
                    statistics[key] = term_statistic(term, features)
                with full_precision(statistics[key]):
                    share = self._share(name, part, statistics[key], b)
                self.values[name] += share.detach()
                if share.requires_grad:
                    slopes.append(term.weight * share.sum())
        return slopes

    def _share(self, name: str, part: Tile, a: Tensor, b: Any) -> Tensor:
        distance: Any = self._terms[name].distance
        tap = self._terms[name].taps[0]
        tile, whole = a.shape[2] * a.shape[3], self._sizes[name][0] * self._sizes[name][1]
        share = distance.share(tile, whole)
        if not self._masks and not self.pictures:
            return share * distance.compare(a, b)
        # As compare is the mean of the map, this is what the map of the whole image shows here.
        picture = share * whole / tile * distance.map(a, b)
        if self.pictures:
            part.part(tap, self.pictures[name]).copy_(picture.detach())
        if not self._masks:
            return picture.sum(dim=(1, 2)) / whole
        return (picture * part.part(tap, self._masks[name])).sum(dim=(1, 2)) / self._covered[name]


class _Sums:
    """The sums that the statistics of terms of one network are made of."""

    def __init__(self, terms: Iterable[Term], tiling: Tiling) -> None:
        self._terms = {term.statistic_key: term for term in terms}
        self._tiling = tiling
        self._centres: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._slopes: dict[str, Tensor] = {}

    def add(self, features: Features) -> None:
        """Add a tile's sums."""
        for key, term in self._terms.items():
            if key not in self._centres:
                # The means of the first tile are near enough to those of the image.
                self._centres[key] = term_feature(term, features).mean(dim=(2, 3), keepdim=True)
            sums = self._of(key, features)
            self._sums[key] = self._sums[key] + sums if key in self._sums else sums

    def statistics(self) -> dict[str, Tensor]:
        """The statistics of all that was added."""
        made = {}
        for key, term in self._terms.items():
            height, width = self._tiling.sizes[term.taps[0]]
            distance: Any = term.distance
            made[key] = distance.from_sums(self._sums[key], self._centres[key], height * width)
        return made

    def compare(self, terms: Mapping[str, Term], targets: Targets, *, graded: bool) -> dict[str, Tensor]:
        """The values of terms; keeps the gradient by the sums if it is wanted."""
        for leaf in self._sums.values():
            leaf.requires_grad_(graded)
        values, slopes = {}, []
        with torch.set_grad_enabled(graded):
            statistics = self.statistics()
            for name, term in terms.items():
                distance: Any = term.distance
                a = statistics[term.statistic_key]
                with full_precision(a):
                    value = distance.compare(a, term.kept(targets))
                values[name] = value.detach()
                if term.weight:
                    slopes.append(term.weight * value.sum())
        if graded and slopes:
            grads = torch.autograd.grad(slopes, list(self._sums.values()), allow_unused=True)
            self._slopes = {key: grad for key, grad in zip(self._sums, grads, strict=True) if grad is not None}
        return values

    def slopes(self, features: Features) -> list[Tensor]:
        """What stands in for the values in the second sweep: each has the gradient that the tile's sums have."""
        return [(slope * self._of(key, features)).sum() for key, slope in self._slopes.items()]

    def _of(self, key: str, features: Features) -> Tensor:
        distance: Any = self._terms[key].distance
        feature = term_feature(self._terms[key], features)
        with full_precision(feature):
            return distance.sums(feature, self._centres[key])
