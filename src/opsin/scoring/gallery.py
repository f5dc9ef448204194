"""The pairs that a report shows: the worst and the best of each method, with a map of where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.distances import SpatialDistance
from opsin.errors import InputError
from opsin.loss import PerceptualLoss
from opsin.published.listing import ALWAYS, make_loss
from opsin.scoring.reading import Preparation, load, to_batch
from opsin.scoring.results import Metric, Pair, Scores
from opsin.scoring.scorer import Scorer
from opsin.tiling import tile_for

SIDE = 512
"""Pictures are made no larger than this."""

WORST, BEST = 4, 2
"""How many of each method are chosen by each metric."""


class Chosen(NamedTuple):
    """A pair that is to be shown, and why."""

    number: int
    method: str
    why: tuple[str, ...]


class Pictures(NamedTuple):
    """What is shown of it: tensors (1,3,H,W) in [0,1], and (H,W) of the map."""

    chosen: Chosen
    reference: Tensor
    distorted: Tensor
    heat: Tensor | None


def choose(scores: Scores, *, worst: int = WORST, best: int = BEST) -> list[Chosen]:
    """The worst and the best pairs of each method by each metric; a pair chosen several times is there once."""
    reasons: dict[tuple[int, str], list[str]] = {}
    for metric in scores.metrics:
        for method in scores.methods:
            ranked = _ranked(scores, metric, method)
            middle = len(ranked) // 2
            kinds = (("worst", ranked[::-1][: min(worst, len(ranked) - middle)]), ("best", ranked[: min(best, middle)]))
            for kind, numbers in kinds:
                for number in numbers:
                    reasons.setdefault((number, method), []).append(f"{kind} of {metric.name}")
    return [Chosen(number, method, tuple(why)) for (number, method), why in reasons.items()]


def _ranked(scores: Scores, metric: Metric, method: str) -> list[int]:
    """Numbers of the pairs, the closest first; those that were not measured are left out."""
    values = scores.of(method, metric.name)
    order = np.argsort(-values if metric.higher else values, kind="stable")
    return [int(number) for number in order if not np.isnan(values[number])]


def map_loss(scorer: Scorer) -> tuple[str, PerceptualLoss]:
    """The first of the losses that says where images differ, and its name; `ALWAYS` if none does."""
    terms = () if scorer.loss is None else scorer.loss.terms.values()
    for metric in scorer.metrics:
        mine = [term for term in terms if term.group == metric.name]
        # As `PerceptualLoss.evaluate` tells maps: of terms whose distance has one.
        if any(isinstance(term.distance, SpatialDistance) for term in mine):
            return metric.name, PerceptualLoss(mine)
    return ALWAYS, make_loss(ALWAYS).to(scorer.device)


def pictures(
    pairs: Sequence[Pair],
    chosen: Sequence[Chosen],
    preparation: Preparation,
    loss: PerceptualLoss,
    device: torch.device,
) -> list[Pictures]:
    """Read pairs anew and map where they differ; what cannot be read any more is left out.

    Args:
        pairs: all pairs.
        chosen: of them.
        preparation: what is done to images before.
        loss: whose maps they are.
        device: where it is.
    """
    found = []
    for one in chosen:
        pair = pairs[one.number]
        only = pair._replace(distorted={one.method: pair.distorted[one.method]})
        loaded = load(one.number, only, preparation)
        if loaded.reference is None or not loaded.distorted:
            continue
        reference, distorted = to_batch([loaded.reference]), to_batch([loaded.distorted[one.method]])
        heat = _map(loss, reference.to(device), distorted.to(device))
        found.append(Pictures(one, _small(reference), _small(distorted), heat))
    return found


@torch.inference_mode()
def _map(loss: PerceptualLoss, reference: Tensor, distorted: Tensor) -> Tensor | None:
    """(H,W), no larger than a picture; None of images that are too small for the loss."""
    references: dict[str, Any] = dict.fromkeys(loss.references, reference)
    try:
        tile = tile_for(loss.terms, *reference.shape[-2:])
        found = loss.evaluate(distorted, maps=True, tile=tile, **references)
    except InputError:
        return None
    return _small(found.map.cpu())[0, 0]


def _small(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    scale = SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(image, size, mode="area")
