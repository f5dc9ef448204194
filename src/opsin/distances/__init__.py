"""Distances between feature maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from opsin.checks import choice
from opsin.distances.adaptive import AdaptiveStructureTexture
from opsin.distances.artifacts import ArtifactL1
from opsin.distances.base import (
    CallableDistance,
    Distance,
    Regularizer,
    SpatialDistance,
    SummedDistance,
    at_least_float32,
    full_precision,
    map_tensors,
    tensors_of,
)
from opsin.distances.deep_wasserstein import GroupedWasserstein
from opsin.distances.elementwise import L1, L2, Charbonnier, Cosine, Euclidean, Huber, UnitL2
from opsin.distances.ensemble import TransformedEnsemble
from opsin.distances.frequency import FocalFrequency, FrequencyDistribution
from opsin.distances.learned import StructureTexture
from opsin.distances.matching import (
    Contextual,
    ContextualBilateral,
    Moments,
    NearestFeature,
    Palette,
    PatchMatch,
    RelaxedEMD,
    SelfSimilarity,
)
from opsin.distances.pieapp import PatchError
from opsin.distances.statistical import Gram, MeanStd, PatchGram
from opsin.distances.style import (
    MMD,
    Coral,
    GaussianWasserstein,
    HalfSquaredError,
    Histogram,
    SlicedWasserstein,
)
from opsin.distances.variation import TotalVariation
from opsin.distances.watson import WatsonDFT

# Those that serve at any tap of any network.
DISTANCES: dict[str, type[Distance]] = {
    kind.name: kind for kind in (L1, L2, Euclidean, Charbonnier, Huber, Cosine, UnitL2, Gram, MeanStd)
}
# And those that belong to one paper's loss; see `opsin.published`.
ALL_DISTANCES: dict[str, type[Distance]] = DISTANCES | {
    kind.name: kind
    for kind in (
        HalfSquaredError,
        GaussianWasserstein,
        Coral,
        MMD,
        SlicedWasserstein,
        Histogram,
        Contextual,
        ContextualBilateral,
        NearestFeature,
        PatchMatch,
        RelaxedEMD,
        Palette,
        Moments,
        SelfSimilarity,
        StructureTexture,
        AdaptiveStructureTexture,
        GroupedWasserstein,
        PatchError,
        ArtifactL1,
        FocalFrequency,
        PatchGram,
        FrequencyDistribution,
        WatsonDFT,
    )
}

# What measures a single image.
REGULARIZERS: dict[str, type[Regularizer]] = {TotalVariation.name: TotalVariation}

__all__ = [
    "ALL_DISTANCES",
    "DISTANCES",
    "L1",
    "L2",
    "MMD",
    "REGULARIZERS",
    "AdaptiveStructureTexture",
    "ArtifactL1",
    "CallableDistance",
    "Charbonnier",
    "Contextual",
    "ContextualBilateral",
    "Coral",
    "Cosine",
    "Distance",
    "Euclidean",
    "FocalFrequency",
    "FrequencyDistribution",
    "GaussianWasserstein",
    "Gram",
    "GroupedWasserstein",
    "HalfSquaredError",
    "Histogram",
    "Huber",
    "MeanStd",
    "Moments",
    "NearestFeature",
    "Palette",
    "PatchError",
    "PatchGram",
    "PatchMatch",
    "Regularizer",
    "RelaxedEMD",
    "SelfSimilarity",
    "SlicedWasserstein",
    "SpatialDistance",
    "StructureTexture",
    "SummedDistance",
    "TotalVariation",
    "TransformedEnsemble",
    "UnitL2",
    "WatsonDFT",
    "at_least_float32",
    "full_precision",
    "make_distance",
    "map_tensors",
    "tensors_of",
]


def make_distance(distance: str | Distance | Callable[[Tensor, Tensor], Tensor], **options: Any) -> Distance:
    """Make a distance of its name, or of a function `(x, y) -> tensor`.

    Args:
        distance: one of `ALL_DISTANCES`, a `Distance` (returned as it is), or a callable.
        options: keywords of the named distance, e.g. `delta` of "huber".

    Raises:
        ChoiceError: a name that does not exist.
    """
    if isinstance(distance, Distance):
        return distance
    if callable(distance):
        return CallableDistance(distance)
    return ALL_DISTANCES[choice("distance", distance, ALL_DISTANCES)](**options)
