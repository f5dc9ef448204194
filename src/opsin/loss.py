"""The perceptual loss: terms, what is kept of the references, and what comes out."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from opsin import recipe
from opsin._version import __version__
from opsin.checks import choice
from opsin.distances import at_least_float32
from opsin.errors import InputError
from opsin.extractors import Extractor, ExtractorSpec
from opsin.files import atomic_path
from opsin.inputs import check_images, check_range
from opsin.masks import check_mask
from opsin.recomputing import evaluate_recomputing
from opsin.references import complete_targets, make_targets
from opsin.results import Evaluation, Signature, Targets
from opsin.terms import Term, evaluate_terms, free_name, name_terms, shared_pass
from opsin.tiling import evaluate_tiled, is_tiled

VALIDATE = ("first", "always", "never")
REDUCTIONS = ("mean", "sum", "none")
MEMORY = ("normal", "low")


class PerceptualLoss(nn.Module):
    """L(x, y) = Σ wᵢ · dᵢ(Fᵢ(x), Fᵢ(y)) over terms, each distinct network run once.

    It is frozen: it adds no parameters, buffers or state-dict keys to a module that owns it, and ignores `.train()`.
    References are computed without a graph; gradients flow to x alone. Losses add and scale:
    `a + 0.1 * b` is again a loss in which networks that `a` and `b` have in common run once.

    Shape: x (N,3,H,W), or a clip (B,T,3,H,W) that is scored frame by frame -> scalar, or (N,) / (B,T) with
        `reduction="none"`. A reference is a batch like x, or one image for all.

    Args:
        terms: the summands.
        reduction: over the batch: "mean", "sum" or "none".
        input_range: the range of the images; they are converted to [0,1] inside.
        validate: when the images' values are checked (range, NaN): on the "first" call, "always" or "never".
        name: prefix of the terms' names when the loss is added to others.

    Raises:
        InputError: no terms, or options that do not fit.

    Example:
        >>> import torch, opsin
        >>> vgg = opsin.VGG("vgg11", weights="random")
        >>> loss = opsin.PerceptualLoss([opsin.Term(vgg, "relu2_1", "l1"), opsin.Term(vgg, "relu3_2", "l1", 0.5)])
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> targets = loss.targets(target=y)
        >>> result = loss.evaluate(x, targets)
        >>> bool(torch.isclose(result.total, result.terms["relu2_1"] + 0.5 * result.terms["relu3_2"]))
        True
    """

    def __init__(
        self,
        terms: Iterable[Term],
        *,
        reduction: str = "mean",
        input_range: tuple[float, float] = (0.0, 1.0),
        validate: str = "first",
        name: str = "",
    ) -> None:
        super().__init__()
        terms = list(terms)
        if not terms or not all(isinstance(term, Term) for term in terms):
            raise InputError(
                f"terms must be one opsin.Term or more, got {terms!r:.80}. opsin.build makes them by names."
            )
        low, high = (float(v) for v in input_range)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"input_range must be (low, high) with low < high, got {input_range}. E.g. (-1, 1).")
        self.reduction = choice("reduction", reduction, REDUCTIONS)
        self.input_range = (low, high)
        self.validate = choice("validate", validate, VALIDATE)
        self.name = name
        extractors: dict[str, Extractor] = {}
        for i, term in enumerate(terms):
            shared = extractors.setdefault(term.extractor.spec.key, term.extractor)
            terms[i] = replace(term, extractor=shared)
        self._terms = name_terms(terms)
        # Registered so that .to() reaches them; they hold nothing that a state dict would show.
        self._extractors = nn.ModuleList(extractors.values())
        self._distances = nn.ModuleList(term.distance for term in terms)
        self._checked: set[str] = set()
        super().train(False)

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stay in eval mode, whatever mode the host module is put in."""
        return self

    @property
    def terms(self) -> Mapping[str, Term]:
        """The terms by name; read-only."""
        return MappingProxyType(self._terms)

    @property
    def references(self) -> tuple[str, ...]:
        """The names of the images it compares with, e.g. ("target", "style")."""
        return tuple(dict.fromkeys(name for t in self._terms.values() for name in t.references))

    @property
    def weights(self) -> dict[str, float]:
        """Term name -> weight."""
        return {name: term.weight for name, term in self._terms.items()}

    @property
    def signature(self) -> Signature:
        """Networks, weight hashes, terms and versions, as plain values."""
        networks: dict[str, ExtractorSpec] = {}
        for term in self._terms.values():
            spec = term.extractor.spec
            label = next((k for k, v in networks.items() if v == spec), None) or free_name(spec.network, networks)
            networks[label] = spec
        return Signature(
            opsin=__version__,
            torch=str(torch.__version__),
            input_range=list(self.input_range),
            networks={label: spec.describe() for label, spec in networks.items()},
            terms={
                name: {
                    "network": next(k for k, v in networks.items() if v == term.extractor.spec),
                    "taps": list(term.taps),
                    "distance": term.distance.name,
                    "options": term.distance.describe(),
                    "weight": term.weight,
                    "reference": list(term.references) if len(term.references) > 1 else term.reference,
                }
                for name, term in self._terms.items()
            },
        )

    def targets(self, *, tile: int | None = None, **references: Tensor) -> Targets:
        """Statistics of reference images, to be kept and handed to `evaluate` or `forward` again and again.

        Args:
            tile: see `evaluate`.
            references: the images by name, e.g. `target=y, style=s`: all that the loss compares with, or some, if the
                others come with each call.

        Raises:
            InputError: a name the loss does not have, or images that do not fit.
        """
        return make_targets(
            self._prepare_references(references), self._terms.values(), self._tiled(tile).values(), tile
        )

    def evaluate(
        self,
        x: Tensor,
        targets: Targets | None = None,
        *,
        mask: Tensor | None = None,
        shrink_mask: bool = False,
        maps: bool = False,
        memory: str = "normal",
        tile: int | None = None,
        **references: Tensor,
    ) -> Evaluation:
        """Total and terms of each image of a batch.

        Args:
            x: what is judged; gradients flow to it.
            targets: kept statistics of references.
            mask: (N,1,H,W) or (1,1,H,W) in [0,1]: limits the loss to a region. At each tap it is averaged over the
                pixels of a position, and the term is the mean of its map weighted by it.
            shrink_mask: count only positions whose whole receptive field lies in the mask, so that nothing outside
                of it has an influence.
            maps: also give the distance at each pixel, for terms that have a map.
            memory: "normal", or "low": layers are computed again for the gradient instead of being kept; values and
                gradients are the same to the bit.
            tile: side in pixels of the tiles that images are computed in, for images of any size: the values and the
                gradient are those of the whole image but for rounding. For terms that are sums over positions, which
                distances with a map are, and for statistics made of such sums: Gram matrices, means, deviations and
                covariances. The gradient is computed at once; it flows from the total, not from the terms.
            references: images by name, e.g. `target=y`, in place of or besides `targets`.

        Raises:
            InputError: a reference is missing, or shapes, dtypes, devices, sizes or values do not fit; a term that
                cannot be computed in tiles.
        """
        flat, clip = self._prepare(x, "x")
        low = choice("memory", memory, MEMORY) == "low"
        if low and tile is not None:
            raise InputError("memory must be 'normal' with tile, got 'low'. Smaller tiles take less memory.")
        tiled = self._tiled(tile)
        images = self._prepare_references(references)
        targets = complete_targets(targets, images, self._terms, tiled.values(), tile)
        targets.check(self._terms.values(), flat)
        if mask is not None:
            mask = check_mask(mask, flat)
        elif shrink_mask:
            raise InputError("shrink_mask must go with a mask, got none. Pass mask=.")
        graded = torch.is_grad_enabled() and flat.requires_grad
        total = flat.new_zeros(flat.shape[0], dtype=at_least_float32(flat[:0]).dtype)
        terms = {name: term for name, term in self._terms.items() if name not in tiled}
        options = (flat, mask, shrink_mask, maps)
        if low:
            results = evaluate_recomputing(terms, targets, *options, graded=graded)
        else:
            features = shared_pass(terms.values(), flat, graded=graded)
            results = evaluate_terms(terms, features, targets, *options)
        for name, (value, _) in results.items():
            if terms[name].weight:
                total = total + terms[name].weight * value
        if tiled and tile is not None:
            share, of_tiles = evaluate_tiled(tiled, targets, images, tile, *options, graded=graded)
            total = total + share
            results |= of_tiles
        results = {name: results[name] for name in self._terms}

        def sign(dtype: str = str(flat.dtype).removeprefix("torch.")) -> Signature:
            return Signature(**self.signature, dtype=dtype)

        def unflatten(t: Tensor) -> Tensor:
            return t.unflatten(0, clip) if clip else t

        return Evaluation(
            total=unflatten(total),
            terms={name: unflatten(value) for name, (value, _) in results.items()},
            weights=self.weights,
            maps={name: unflatten(p) for name, (_, p) in results.items() if p is not None} if maps else None,
            _sign=sign,
        )

    def forward(
        self,
        x: Tensor,
        target: Tensor | Targets | None = None,
        /,
        *,
        mask: Tensor | None = None,
        shrink_mask: bool = False,
        memory: str = "normal",
        tile: int | None = None,
        **references: Tensor,
    ) -> Tensor:
        """The loss of a batch: `loss(x, y)`, `loss(x, targets)`, `loss(x, y, style=s)` or `loss(x, targets, target=y)`.

        The keywords are those of `evaluate`.

        Returns:
            A scalar, or one value per image with `reduction="none"`.

        Raises:
            InputError: as `evaluate`.
        """
        targets = target if isinstance(target, Targets) else None
        named: dict[str, Any] = dict(references)
        if target is not None and targets is None:
            if "target" in references:
                raise InputError("target must be given once, got it twice. Leave out target=.")
            # The only reference of a loss may have any name.
            only = self.references[0] if len(self.references) == 1 else "target"
            named = {only: target, **references}
        total = self.evaluate(x, targets, mask=mask, shrink_mask=shrink_mask, memory=memory, tile=tile, **named).total
        if self.reduction == "none":
            return total
        return total.mean() if self.reduction == "mean" else total.sum()

    def __add__(self, other: object) -> PerceptualLoss:
        """A loss with the terms of both."""
        if isinstance(other, (int, float)) and other == 0:  # sum([...]) starts from 0
            return self
        if not isinstance(other, PerceptualLoss):
            return NotImplemented
        for option in ("reduction", "input_range", "validate"):
            mine, theirs = getattr(self, option), getattr(other, option)
            if mine != theirs:
                raise InputError(f"{option} must be the same in losses that are added, got {mine!r} and {theirs!r}.")
        terms = [replace(t, group=t.group or loss.name) for loss in (self, other) for t in loss.terms.values()]
        return self._with(terms, name="")

    __radd__ = __add__

    def __mul__(self, factor: float) -> PerceptualLoss:
        """A loss with all weights multiplied."""
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            return NotImplemented
        return self._with([replace(term, weight=factor * term.weight) for term in self._terms.values()])

    __rmul__ = __mul__

    def reweighted(self, weights: Mapping[str, float]) -> PerceptualLoss:
        """A loss with other weights, by term name; terms that are not named keep theirs.

        Raises:
            ChoiceError: a name that is no term.
        """
        for name in weights:
            choice("term", name, self._terms, owner="this loss")
        return self._with([replace(t, weight=weights.get(name, t.weight)) for name, t in self._terms.items()])

    def to_yaml(self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False) -> str:
        """The loss as YAML text, also written to `path` if one is given; `opsin.load` makes it anew.

        Raises:
            InputError: a term with a function or a module in it, which no text can name.
            OpsinError: `path` cannot be written, or exists and `overwrite` is False.
        """
        text = recipe.dump(
            self._terms.values(),
            name=self.name,
            reduction=self.reduction,
            input_range=list(self.input_range),
            validate=self.validate,
        )
        if path is not None:
            with atomic_path(path, overwrite=overwrite) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return text

    @property
    def extractors(self) -> tuple[Extractor, ...]:
        """The distinct networks; each runs once per batch of images."""
        return tuple(self._extractors)  # type: ignore[arg-type] (a ModuleList of extractors)

    def __repr__(self) -> str:
        lines = [
            f"  {name}: {t.weight:g} · {t.distance!r}{' vs ' if t.references else ''}{' and '.join(t.references)}"
            for name, t in self._terms.items()
        ]
        networks = [f"  {extractor!r}" for extractor in self.extractors]
        return "\n".join([f"PerceptualLoss(reduction={self.reduction!r},", *networks, *lines, ")"])

    def _with(self, terms: Sequence[Term], name: str | None = None) -> PerceptualLoss:
        return PerceptualLoss(
            terms,
            reduction=self.reduction,
            input_range=self.input_range,
            validate=self.validate,
            name=self.name if name is None else name,
        )

    def _prepare(self, images: Tensor, name: str) -> tuple[Tensor, tuple[int, int] | None]:
        """Check images and bring them to (N,3,H,W) in [0,1]; also (B,T) if they were clips."""
        clip = None
        if isinstance(images, Tensor) and images.ndim == 5:
            clip = (images.shape[0], images.shape[1])
            images = images.flatten(0, 1)
        check_images(images, name)
        # A graph cannot wait for values; asked first, so that none is made anew because of what has been checked since.
        if not torch.compiler.is_compiling() and (
            self.validate == "always" or (self.validate == "first" and name not in self._checked)
        ):
            check_range(images, self.input_range, name)
            self._checked.add(name)
        low, high = self.input_range
        if (low, high) != (0.0, 1.0):
            images = (images - low) / (high - low)
        return images, clip

    def _tiled(self, tile: int | None) -> dict[str, Term]:
        """The terms that are computed in tiles of that size."""
        return {} if tile is None else {name: t for name, t in self._terms.items() if is_tiled(name, t, tile)}

    def _prepare_references(self, references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for name in references:
            choice("reference", name, self.references, owner="this loss")
        return {name: self._prepare(images, name)[0] for name, images in references.items()}
