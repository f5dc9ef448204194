"""What is made small: content, styles and smoothness of one scale, as one perceptual loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from opsin import published
from opsin.distances import Distance, TotalVariation
from opsin.errors import InputError
from opsin.extractors import Extractor, ImageExtractor
from opsin.loss import PerceptualLoss
from opsin.published.scales import CAFFE_SCALES, tap_scales
from opsin.results import Evaluation, Targets
from opsin.stylize.regions import Region
from opsin.stylize.settings import Settings
from opsin.terms import Term

CONTENT_LAYER = "relu4_2"

# At content_weight=1, for each loss: the content's weight beside the style's with the bundled weights, and with which
# power of the features' size the style grows (wasserstein divides by it); the content grows with the second. The
# weights differ by many powers of ten and were chosen by eye, at 192 to 384 pixels: a building is still one under a
# painting of strong swirls, of which Gatys' own weight of 1 leaves nothing. STROTSS has a content term of its own,
# weighted as its authors do.
_CONTENT = {
    "gatys": (150.0, 4),
    "wasserstein": (4e-7, 0),
    "sliced-wasserstein": (0.1, 2),
    "mrf": (1.0, 2),
    "contextual": (8e-7, 0),
    "nnfm": (5e-8, 0),
}
# The total variation beside the content's distance at tv=1: by eye, what takes away grain.
_SMOOTHNESS = 3e6


@dataclass(frozen=True)
class Value:
    """What an objective says of an image.

    Attributes:
        total: what shall become small, a scalar with a graph.
        terms: its summands by name, plain tensors.
    """

    total: Tensor
    terms: Mapping[str, Tensor]


Objective = Callable[[Tensor], Value]


def style_loss(
    settings: Settings, extractor: Extractor, reference: str, generator: torch.Generator, longer_side: int
) -> PerceptualLoss:
    """The published loss of one painting, which compares with the images called `reference`."""
    options: dict[str, Any] = {"reference": reference, "validate": "never"}
    drawn = {**options, "generator": generator}
    if settings.loss == "gatys":
        return published.gatys_style(extractor, None, **options)
    if settings.loss == "wasserstein":
        return published.wasserstein_style(extractor, None, **options)
    if settings.loss == "sliced-wasserstein":
        return published.sliced_wasserstein(extractor, None, **drawn)
    if settings.loss == "strotss":
        # The authors begin with 16 at 64 pixels and halve it at each doubling.
        alpha = max(settings.content_weight * 16 * 64 / longer_side, 1e-6)
        strotss = published.strotss(extractor, None, alpha=alpha, **drawn)
        # All of it is free of the features' size but for their moments, mostly their covariance: brought to the size
        # that the authors' network gives, 1, lest they drown the rest.
        taps = [tap for tap in strotss.terms["moments"].taps if tap != "image"]
        square = sum(s * s for s in tap_scales(extractor, taps).values()) / len(taps)
        return strotss.reweighted({"moments": strotss.weights["moments"] / square})
    if settings.loss == "mrf":
        return published.mrf(extractor, None, patch_reduction="mean", **options)
    if settings.loss == "contextual":
        return published.contextual(extractor, None, **drawn)
    return published.nnfm(extractor, None, **options)


def _content_weight(loss: str, extractor: Extractor) -> float:
    """The content's weight at content_weight=1, for the size of the network's features."""
    weight, power = _CONTENT[loss]
    return weight * _feature_size(extractor) ** (power - 2)


def _smoothness_weight(loss: str, extractor: Extractor) -> float:
    """The total variation's weight at tv=1, for the size that the loss has."""
    if loss not in _CONTENT:
        return 1.0  # STROTSS, all of which is about 1
    weight, power = _CONTENT[loss]
    return _SMOOTHNESS * weight * _feature_size(extractor) ** power


def _feature_size(extractor: Extractor) -> float:
    """Size of the network's features beside those of the original weights."""
    return 1.0 if extractor.spec.normalization == "caffe" else 1 / CAFFE_SCALES[CONTENT_LAYER]


def make_losses(
    settings: Settings,
    extractor: Extractor,
    style_weights: Sequence[float],
    generator: torch.Generator,
    longer_side: int,
    regions: Sequence[tuple[str, Tensor, Sequence[Tensor | None]]] | None = None,
) -> tuple[PerceptualLoss, PerceptualLoss]:
    """The loss of the picture, and the one that makes its targets: they differ where there are regions.

    Their references are "target", the photo, and "style0", "style1" …, the paintings. The groups of their terms are
    "content", "style", or the paintings' numbers where there are several, and "smoothness".

    Args:
        settings: see `Settings`.
        extractor: the network.
        style_weights: of the paintings; they are taken in proportion.
        generator: of all that losses draw.
        longer_side: of the picture.
        regions: see `regions.split`.
    """
    total = sum(style_weights)
    ours: list[Term] = []
    theirs: list[Term] = []
    if settings.content_weight and settings.loss in _CONTENT:
        weight = settings.content_weight * _content_weight(settings.loss, extractor)
        # Coarse scales hold on to the photo more: what is lost there does not come back.
        weight *= (settings.size / longer_side) ** 2
        content = published.gatys_content(extractor, None, layers={CONTENT_LAYER: weight})
        ours += [replace(term, group="content") for term in content.terms.values()]
    if settings.tv:
        smooth = settings.tv * _smoothness_weight(settings.loss, extractor)
        ours.append(Term(ImageExtractor(), "image", TotalVariation(), smooth, group="smoothness"))
    theirs += ours
    for i, weight in enumerate(style_weights):
        style = style_loss(settings, extractor, f"style{i}", generator, longer_side)
        group = "style" if len(style_weights) == 1 else f"style {i + 1}"
        terms = [replace(term, weight=term.weight * weight / total, group=group) for term in style.terms.values()]
        if regions is None:
            ours += terms
            theirs += terms
            continue
        for label, of_photo, of_paintings in regions:
            of_painting = of_paintings[i]
            if of_painting is None:
                continue
            # Several paintings may have the region: each is asked for as much of it as its weight says.
            share = float(of_photo.mean()) / sum(
                w for w, m in zip(style_weights, of_paintings, strict=True) if m is not None
            )
            for term in terms:
                ours.append(_limited(term, of_photo, label, share * total))
                theirs.append(_limited(term, of_painting, label, share * total))
    options: dict[str, Any] = {"validate": "never", "name": "stylize"}
    return PerceptualLoss(ours, **options), PerceptualLoss(theirs, **options)


def _limited(term: Term, mask: Tensor, label: str, share: float) -> Term:
    distance = term.distance
    if not isinstance(distance, Distance) or term.references == ("target",):
        raise InputError(
            "regions must be for a loss that compares with the painting alone, "
            f"got {distance.name!r}, which looks at the photo. Choose gatys, wasserstein or nnfm."
        )
    return replace(term, distance=Region(distance, mask, label), weight=term.weight * share)


def by_group(loss: PerceptualLoss, evaluation: Evaluation) -> dict[str, Tensor]:
    """Weighted terms added up by their groups, the mean over the batch of each, without a graph."""
    groups: dict[str, Tensor] = {}
    for name, value in evaluation.terms.items():
        group = loss.terms[name].group
        share = evaluation.weights[name] * value.detach().mean()
        groups[group] = groups[group] + share if group in groups else share
    return groups


class StyleObjective:
    """A perceptual loss with its targets as an `Objective`.

    Args:
        loss: of the picture.
        targets: of the photo and the paintings.
        options: keywords of `PerceptualLoss.evaluate`, e.g. `tile`.
    """

    def __init__(self, loss: PerceptualLoss, targets: Targets, options: Mapping[str, Any]) -> None:
        self.loss, self.targets, self.options = loss, targets, dict(options)

    def __call__(self, image: Tensor) -> Value:
        """The loss of an image (1,3,H,W), or of a brightness (1,1,H,W)."""
        evaluation = self.loss.evaluate(image.expand(-1, 3, -1, -1), self.targets, **self.options)
        return Value(evaluation.total.sum(), by_group(self.loss, evaluation))
