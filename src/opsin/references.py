"""Statistics of references: made of images, and put together with those that are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from opsin.errors import InputError
from opsin.results import Targets
from opsin.terms import Term, shared_pass, term_statistic
from opsin.tiling import tiled_statistics


def make_targets(
    images: Mapping[str, Tensor], terms: Iterable[Term], tiled: Collection[Term], tile: int | None
) -> Targets:
    """Statistics of reference images, without a graph.

    Args:
        images: by reference, (N,3,H,W) in [0,1].
        terms: whose statistics are wanted.
        tiled: those among the terms that are computed in tiles.
        tile: side of the tiles.
    """
    terms = list(terms)
    statistics: dict[str, Any] = {}
    sizes: dict[str, tuple[int, int, int]] = {}
    for name, batch in images.items():
        sizes[name] = (batch.shape[0], batch.shape[-2], batch.shape[-1])
        mine = [term for term in terms if name in term.references]
        if tile is not None:
            in_tiles = [term for term in mine if term in tiled]
            made = tiled_statistics(in_tiles, batch, tile)
            statistics |= {term.target_key(name): made[term.statistic_key] for term in in_tiles}
            mine = [term for term in mine if term not in tiled]
        with torch.no_grad():
            features = shared_pass(mine, batch, graded=False)
            for term in mine:
                if term.target_key(name) not in statistics:
                    statistics[term.target_key(name)] = term_statistic(term, features)
    return Targets(statistics, sizes)


def complete_targets(
    targets: Targets | None,
    images: Mapping[str, Tensor],
    terms: Mapping[str, Term],
    tiled: Collection[Term],
    tile: int | None,
) -> Targets:
    """Kept statistics and those of new images together: all that the terms need.

    Statistics of additive terms that are computed in tiles are not made of new images: nobody needs all of one at once.

    Args:
        targets: those that are kept.
        images: see `make_targets`.
        terms: by name.
        tiled: see there.
        tile: see there.

    Raises:
        InputError: something that a term needs is neither kept nor among the images.
    """
    if targets is not None and not isinstance(targets, Targets):
        raise InputError(
            f"targets must be what loss.targets(...) returns, got {type(targets).__name__}. Name images: target=y."
        )
    later = [term for term in tiled if term.is_additive]
    if images or targets is None:
        new = make_targets(images, [term for term in terms.values() if term not in later], tiled, tile)
        targets = new if targets is None else targets.merged(new)
    for name, term in terms.items():
        for reference in term.references:
            if term.target_key(reference) in targets or (reference in images and term in later):
                continue
            if reference in targets.sizes:
                raise InputError(
                    f"targets must be made by a loss with the same statistics, got none for term {name!r}. "
                    "Call this loss's targets(...)."
                )
            raise InputError(
                f"reference {reference!r} must be given for term {name!r}, "
                f"got {sorted(targets.sizes) or 'none'}. Pass {reference}=images."
            )
    return targets
