"""The painter of clips: coarse to fine for the first frame, from the previous result at full size for later ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from opsin.devices import available_memory
from opsin.errors import OpsinError
from opsin.extractors import Extractor
from opsin.images import resize
from opsin.results import Signature, Targets
from opsin.stylize import colors
from opsin.stylize.descent import Step, combined, descend
from opsin.stylize.objective import Objective, StyleObjective, Value, make_losses
from opsin.stylize.planning import choose_options, painting_size
from opsin.stylize.settings import Settings
from opsin.stylize.transfer import Progress, stylize

Watch = Callable[[int, int, float, Mapping[str, float]], object]
"""Called after each step with its number, how many there are, the objective, and its terms; true stops."""


class Stopped(Exception):  # noqa: N818 (nothing went wrong)
    """A painter was told to stop in the middle of a frame."""


class ClipPainter:
    """A `Painter` by optimisation, with the losses and settings of `opsin.stylize.stylize`.

    Style statistics are computed once. What losses draw at random they draw alike for all frames, and the colours that
    are kept are those of the first frame: else both would flicker.

    Args:
        photo: the first frame, (1,3,H,W) in [0,1], at the size of the result.
        paintings: images (1,3,H,W) in [0,1].
        style_weights: of the paintings.
        settings: the size in them is ignored for that of `photo`.
        later_steps: of frames but the first.
        extractor: the network.
        watch: see `Watch`.
        memory_limit: bytes; what is free if None.
        force: begin even if the estimate says that memory won't do.

    Raises:
        InputError: a picture too large for memory.
    """

    def __init__(
        self,
        photo: Tensor,
        paintings: Sequence[Tensor],
        style_weights: Sequence[float],
        settings: Settings,
        *,
        later_steps: int,
        extractor: Extractor,
        watch: Watch | None = None,
        memory_limit: int | None = None,
        force: bool = False,
    ) -> None:
        height, width = photo.shape[-2:]
        longer = max(height, width)
        self._settings = replace(settings, size=longer)
        self._paintings, self._weights = paintings, style_weights
        self._later_steps, self._extractor, self._watch = later_steps, extractor, watch
        self._limit, self._force = memory_limit, force
        self._generator = torch.Generator(photo.device).manual_seed(settings.seed)
        self._loss, self._kept = make_losses(settings, extractor, style_weights, self._generator, longer)
        limit = available_memory() if memory_limit is None else memory_limit
        self._options: dict[str, Any] = {}
        if limit is not None:
            self._options = choose_options(
                self._settings, extractor, style_weights, height, width, limit, device=photo.device, force=force
            )
        seen = {}
        for i, painting in enumerate(paintings):
            size = painting_size(painting, longer, settings)
            seen[f"style{i}"] = resize(colors.recoloured(painting, photo, settings.keep_colors), size)
        self._style = self._targets(seen)

    @property
    def signature(self) -> Signature:
        """Networks, weights and terms."""
        return self._loss.signature

    def first(self, content: Tensor) -> Tensor:
        """Stylize a frame by itself.

        Raises:
            Stopped: `watch` asked for it.
            OpsinError: the loss isn't finite.
        """
        stopped = False

        def callback(progress: Progress) -> bool:
            nonlocal stopped
            stopped = self._told_to_stop(progress.step, progress.steps, progress.total, progress.terms)
            return stopped

        result = stylize(
            content,
            self._paintings,
            style_weights=self._weights,
            extractor=self._extractor,
            device=content.device,
            callback=callback,
            memory_limit=self._limit,
            force=self._force,
            **self._settings.describe(),
        )
        if stopped:
            raise Stopped
        if result.stopped:
            raise _diverged(result.stopped)
        return result.image.to(content)

    def later(self, content: Tensor, init: Tensor, temporal: Objective) -> Tensor:
        """Stylize a frame from `init`, with a further objective.

        Raises:
            Stopped: `watch` asked for it.
            OpsinError: the loss isn't finite.
        """
        chosen = self._settings

        def callback(step: Step) -> None:
            if not math.isfinite(step.total):
                raise _diverged(f"the loss was {step.total} at step {step.number}")
            if self._told_to_stop(step.number, self._later_steps, step.total, step.terms):
                raise Stopped

        image = descend(
            self._painted_part(init),
            combined(self._objective(content), temporal),
            self._later_steps,
            callback,
            optimizer=chosen.descent,
            lr=chosen.lr,
            averaging=chosen.averaging,
        )
        return colors.completed(image, content, chosen.keep_colors).clamp(0, 1)

    def loss(self, content: Tensor, image: Tensor) -> float:
        """The weighted sum of content, style and smoothness."""
        return float(self.value(content, image).total)

    def value(self, content: Tensor, image: Tensor) -> Value:
        """That sum and its summands."""
        with torch.no_grad():
            return self._objective(content)(self._painted_part(image))

    def _told_to_stop(self, step: int, steps: int, total: float, terms: Mapping[str, float]) -> bool:
        return self._watch is not None and bool(self._watch(step, steps, total, terms))

    def _objective(self, content: Tensor) -> StyleObjective:
        self._generator.manual_seed(self._settings.seed)
        targets = self._style
        if "target" in self._kept.references:
            targets = targets.merged(self._targets({"target": self._painted_part(content)}))
        return StyleObjective(self._loss, targets, self._options)

    def _targets(self, images: Mapping[str, Tensor]) -> Targets:
        tile = self._options.get("tile")
        return self._kept.targets(tile=tile, **{name: image.expand(-1, 3, -1, -1) for name, image in images.items()})

    def _painted_part(self, image: Tensor) -> Tensor:
        return colors.painted_part(image, self._settings.keep_colors)


def _diverged(why: str) -> OpsinError:
    return OpsinError(
        f"the loss must be finite, but {why}. Finished frames are kept; look at the images, the weights and lr."
    )
