"""A photo in the style of paintings, by optimisation from coarse to fine."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from opsin import states
from opsin.devices import available_memory
from opsin.errors import InputError, OpsinError
from opsin.extractors import Extractor, make_extractor
from opsin.images import resize
from opsin.results import Signature
from opsin.stylize import colors
from opsin.stylize.descent import Descent
from opsin.stylize.identity import check_same_run, hash_images
from opsin.stylize.inputs import check_image, check_regions, check_weights
from opsin.stylize.objective import StyleObjective, make_losses
from opsin.stylize.planning import Scale, choose_options, fitted, painting_size
from opsin.stylize.settings import Settings

KIND = "stylize"


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        scale: from 0.
        scales: how many there are.
        height: of the picture at this scale.
        width: of it.
        step: of this scale, from 1.
        steps: of this scale.
        done: share of the whole run's work, 0 to 1, counted in pixels.
        seconds: since it began or went on.
        seconds_a_step: that the last step took.
        total: the loss before this step.
        terms: its summands by name: "content", "style" …
        picture: makes the picture as it is now, (1,3,H,W) in [0,1].
    """

    scale: int
    scales: int
    height: int
    width: int
    step: int
    steps: int
    done: float
    seconds: float
    seconds_a_step: float
    total: float
    terms: Mapping[str, float]
    picture: Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class StylizeResult:
    """What came out.

    Attributes:
        image: the picture, (1,3,H,W) in [0,1].
        history: a dict for each step: "scale", "height", "width", "step", "total", and the terms by name.
        stopped: why the run ended before its last step; empty if it didn't.
        settings: what it was made with.
        signature: networks, weights and terms of the loss at the last scale.
    """

    image: Tensor
    history: list[dict[str, float]]
    stopped: str
    settings: Settings
    signature: Signature


def stylize(
    content: Tensor,
    style: Tensor | Sequence[Tensor],
    *,
    style_weights: Sequence[float] | None = None,
    content_regions: Tensor | None = None,
    style_regions: Tensor | Sequence[Tensor] | None = None,
    init: str | Tensor = "content",
    extractor: Extractor | None = None,
    device: str | torch.device = "cpu",
    callback: Callable[[Progress], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 50,
    resume: bool = False,
    memory_limit: int | None = None,
    force: bool = False,
    **settings: Any,
) -> StylizeResult:
    """A photo in the style of one or more paintings.

    The picture x makes content_weight · C(x, photo) + Σ_i w_i S(x, painting_i) + tv · TV(x) small, where C compares
    features at relu4_2, brought to the size of S, which is the published loss that `loss` names. The picture grows from
    scale to scale, each beginning with what came out of the one before; at 1/k of the size C counts k² times.

    Shape: content (1,3,H,W), style (1,3,H',W') each -> (1,3,h,w) with max(h, w) = size.

    Args:
        content: the photo, in [0,1].
        style: the painting, or several.
        style_weights: of the paintings, in proportion; equal if None.
        content_regions: a picture of plain colours, one for each region of the photo.
        style_regions: one for each painting: regions take their style from those of the same colour.
        init: what to begin with: "content", "noise", or a picture.
        extractor: the network, in place of the settings' `net`, `weights` and `pooling`.
        device: where to compute.
        callback: called after each step; the run ends if it returns True.
        checkpoint: a file to which the state is written now and then, and when the run ends early.
        checkpoint_every: steps between two of them.
        resume: go on from `checkpoint`, exactly as if there had been no interruption.
        memory_limit: bytes; what is free if None.
        force: begin even if the estimate says that memory won't do.
        settings: see `Settings`.

    Raises:
        InputError: images or numbers that do not fit; a picture too large for memory.
        ChoiceError: an unknown name.
        OpsinError: nothing to resume, or of another run; a checkpoint that cannot be written.

    Reference: "Image style transfer using convolutional neural networks", Gatys, Ecker and Bethge, 2016,
    https://arxiv.org/abs/1508.06576; scales: "Controlling perceptual factors in neural style transfer", Gatys et al.,
    2017, https://arxiv.org/abs/1611.07865

    Example:
        >>> import torch
        >>> from opsin.stylize import stylize
        >>> photo, painting = torch.rand(2, 1, 3, 48, 64)
        >>> stylize(photo, painting, size=32, start=32, steps=1, net="vgg11", weights="random").image.shape
        torch.Size([1, 3, 24, 32])
    """
    given = init if isinstance(init, Tensor) else None
    made = Settings.of({**settings, "init": "content" if given is not None else init})
    paintings = [style] if isinstance(style, Tensor) else list(style)
    areas = None
    if content_regions is not None or style_regions is not None:
        areas = [style_regions] if isinstance(style_regions, Tensor) else list(style_regions or ())
    run = _Run(
        made,
        check_image(content, "content", device),
        [check_image(painting, "style", device) for painting in paintings],
        check_weights(style_weights, len(paintings)),
        None if areas is None else check_regions(content_regions, areas, content, paintings),
        None if given is None else check_image(given, "init", device),
        extractor or make_extractor(made.net, made.weights, pooling=made.pooling),
        torch.device(device),
    )
    limit = available_memory() if memory_limit is None else memory_limit
    if resume:
        if checkpoint is None:
            raise InputError("resume must go with a checkpoint to go on from, got none. Name the file.")
        run.restore(states.load_state(checkpoint, kind=KIND))
    elif limit is not None:
        run.plan(limit, force=force)
    return run.run(callback, checkpoint, checkpoint_every)


class _Run:
    """A run with all that it needs, which can be saved and restored between two steps."""

    def __init__(
        self,
        settings: Settings,
        photo: Tensor,
        paintings: list[Tensor],
        style_weights: list[float],
        areas: list[tuple[str, Tensor, list[Tensor | None]]] | None,
        init: Tensor | None,
        extractor: Extractor,
        device: torch.device,
    ) -> None:
        self.settings, self.areas, self.init = settings, areas, init
        self.photo, self.style_weights = photo, style_weights
        self.paintings = [colors.recoloured(painting, photo, settings.keep_colors) for painting in paintings]
        self.extractor = extractor.to(device)
        self.device = device
        height, width = photo.shape[-2:]
        sizes = [fitted(height, width, size) for size in settings.sizes()]
        self.scales = [Scale(h, w, settings.steps_at(i)) for i, (h, w) in enumerate(sizes)]
        self.scale = 0
        self.history: list[dict[str, float]] = []
        self.generator = torch.Generator(device).manual_seed(settings.seed)
        self.signature = Signature()
        self._resumed: Descent | None = None

    def plan(self, limit: int, *, force: bool) -> None:
        """Choose how the losses are computed, or refuse, before anything has begun."""
        planned = []
        # The largest first: it is what fails, and where it needs nothing special the others don't.
        for scale in reversed(self.scales):
            options: dict[str, Any] = {}
            if not planned or planned[-1].options:
                options = choose_options(
                    self.settings,
                    self.extractor,
                    self.style_weights,
                    scale.height,
                    scale.width,
                    limit,
                    device=self.device,
                    tiles=self.areas is None,
                    force=force,
                )
            planned.append(Scale(scale.height, scale.width, scale.steps, options))
        self.scales = planned[::-1]

    def run(
        self,
        callback: Callable[[Progress], object] | None,
        checkpoint: str | os.PathLike[str] | None,
        every: int,
    ) -> StylizeResult:
        """Take all steps that are left."""
        began = time.monotonic()
        work = [s.height * s.width * s.steps for s in self.scales]
        descent = self._resumed or self._descent(self._start())
        stopped = ""
        while True:
            scale = self.scales[self.scale]
            while descent.steps < scale.steps and not stopped:
                before = time.monotonic()
                step = descent.step()
                if not math.isfinite(step.total):
                    stopped = f"the loss was {step.total} at step {step.number} of {scale.width}x{scale.height}"
                    break
                self.history.append(
                    {
                        "scale": self.scale,
                        "height": scale.height,
                        "width": scale.width,
                        "step": step.number,
                        "total": step.total,
                        **step.terms,
                    }
                )
                if callback is not None:
                    done = sum(work[: self.scale]) + work[self.scale] * step.number / scale.steps
                    image = step.image
                    progress = Progress(
                        self.scale,
                        len(self.scales),
                        scale.height,
                        scale.width,
                        step.number,
                        scale.steps,
                        done / sum(work),
                        time.monotonic() - began,
                        time.monotonic() - before,
                        step.total,
                        step.terms,
                        lambda image=image, scale=scale: self._picture(image, scale),
                    )
                    if callback(progress):
                        stopped = f"it was interrupted at step {step.number} of {scale.width}x{scale.height}"
                if checkpoint is not None and (stopped or step.number % every == 0):
                    states.save_state(checkpoint, self._state(descent), kind=KIND)
            if stopped:
                if not self.history:
                    raise OpsinError(f"the loss must be finite, but {stopped}. Look at the images and the weights.")
                return self._result(descent.best, scale, stopped)
            picture = descent.finish()
            if self.scale + 1 == len(self.scales):
                return self._result(picture, scale, "")
            self.scale += 1
            following = self.scales[self.scale]
            descent = self._descent(resize(picture.clamp(0, 1), (following.height, following.width)))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be where `state` was taken."""
        check_same_run("checkpoint", state["identity"], self._identity)
        self.scale = state["scale"]
        self.scales = [Scale(h, w, steps, options) for h, w, steps, options in state["scales"]]
        self.history = state["history"]
        self._resumed = self._descent(state["descent"]["image"].to(self.device))
        self._resumed.restore(state["descent"])
        self.generator.set_state(state["generator"])

    def _state(self, descent: Descent) -> dict[str, Any]:
        return {
            "identity": self._identity,
            "scale": self.scale,
            "scales": [(s.height, s.width, s.steps, dict(s.options)) for s in self.scales],
            "history": self.history,
            "generator": self.generator.get_state(),
            "descent": descent.state(),
        }

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one it goes on with."""
        masks = [m for _, a, b in self.areas or () for m in (a, *b) if m is not None]
        inputs = [self.photo, *self.paintings, *masks, *([] if self.init is None else [self.init])]
        return {
            "settings": self.settings.describe(),
            "style weights": self.style_weights,
            "network": self.extractor.spec.key,
            "images": hash_images(inputs),
        }

    def _start(self) -> Tensor:
        scale = self.scales[0]
        size = scale.height, scale.width
        if self.init is not None:
            picture = resize(self.init, size)
        elif self.settings.init == "noise":
            shape = (1, 3, *size)
            picture = torch.rand(shape, generator=self.generator, device=self.device)
        else:
            picture = resize(self.photo, size)
        return colors.painted_part(picture, self.settings.keep_colors)

    def _descent(self, picture: Tensor) -> Descent:
        """What goes down from a picture at the scale that it is the turn of."""
        chosen = self.settings
        objective = self._objective(self.scales[self.scale])
        return Descent(picture, objective, optimizer=chosen.descent, lr=chosen.lr, averaging=chosen.averaging)

    def _objective(self, scale: Scale) -> StyleObjective:
        longer = max(scale.height, scale.width)
        mine, kept = make_losses(self.settings, self.extractor, self.style_weights, self.generator, longer, self.areas)
        photo = colors.painted_part(resize(self.photo, (scale.height, scale.width)), self.settings.keep_colors)
        references = {"target": photo} if "target" in kept.references else {}
        for i, painting in enumerate(self.paintings):
            references[f"style{i}"] = resize(painting, painting_size(painting, longer, self.settings))
        tile = scale.options.get("tile")
        targets = kept.targets(tile=tile, **{k: v.expand(-1, 3, -1, -1) for k, v in references.items()})
        self.signature = mine.signature
        return StyleObjective(mine, targets, scale.options)

    def _picture(self, image: Tensor, scale: Scale) -> Tensor:
        """What is optimised as a picture to look at."""
        photo = resize(self.photo, (scale.height, scale.width))
        return colors.completed(image, photo, self.settings.keep_colors).detach().clamp(0, 1).cpu()

    def _result(self, image: Tensor, scale: Scale, stopped: str) -> StylizeResult:
        return StylizeResult(self._picture(image, scale), self.history, stopped, self.settings, self.signature)
