"""The report of `opsin score`: its numbers, and pictures of the pairs that matter most, as a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from opsin.report.drawing import colourize, to_picture
from opsin.report.score_page import Shown, score_page
from opsin.scoring.gallery import Pictures, choose, map_loss, pictures
from opsin.scoring.reading import Preparation
from opsin.scoring.results import Scores
from opsin.scoring.scorer import Scorer
from opsin.scoring.statistics import Summary

_BRIGHTEST = 0.995  # of the values of all maps together, a quantile


def score_report(
    scores: Scores, summary: Summary, preparation: Preparation, scorer: Scorer, *, title: str, notes: Sequence[str] = ()
) -> str:
    """The page, see `score_page`.

    All maps have one scale, so that a pair that differs little is dark beside one that differs much.

    Args:
        scores: what was measured.
        summary: what it comes to.
        preparation: what was done to images.
        scorer: what has measured them; the map is of its first loss that has one.
        title: at the head.
        notes: lines at the foot.
    """
    name, loss = map_loss(scorer)
    found = pictures(scores.pairs, choose(scores), preparation, loss, scorer.device)
    heats = [one.heat.flatten().numpy() for one in found if one.heat is not None]
    top = float(np.quantile(np.concatenate(heats), _BRIGHTEST)) if heats else 0.0
    shown = [_shown(one, top) for one in found]
    said = (*notes, "All heat maps have one scale.") if heats else notes
    return score_page(scores, summary, shown, title=title, heat_of=name, notes=said)


def _shown(one: Pictures, top: float) -> Shown:
    heat: Image.Image | None = None
    if one.heat is not None:
        heat = colourize(one.heat, one.distorted, top)
    number, method, why = one.chosen
    return Shown(number, method, to_picture(one.reference), to_picture(one.distorted), heat, why)
