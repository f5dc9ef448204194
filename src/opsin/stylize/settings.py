"""What a picture is stylized with: all choices, checked, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from opsin.checks import choice, positive, whole
from opsin.errors import InputError

LOSSES = ("gatys", "wasserstein", "sliced-wasserstein", "strotss", "mrf", "contextual", "nnfm")
OPTIMIZERS = ("lbfgs", "adam")
INITS = ("content", "noise")
# What these compare is drawn anew in each step.
_RANDOM = ("sliced-wasserstein", "strotss", "contextual")
COLORS = ("linear", "luminance")
POOLINGS = ("max", "avg", "l2")


@dataclass(frozen=True)
class Settings:
    """How a picture is stylized.

    Attributes:
        loss: what makes a style: "gatys" (Gram matrices), "wasserstein", "sliced-wasserstein", "strotss", "mrf",
            "contextual" or "nnfm", the functions of `opsin.published`.
        size: the longer side of the result in pixels.
        steps: of each scale but the first, which is cheap and gets twice as many.
        start: the longer side of the first scale, at least; `size` for a single one.
        growth: of the size from scale to scale, e.g. 2 or √2.
        optimizer: "lbfgs" or "adam"; None takes Adam for losses that draw at random, which L-BFGS cannot take, and
            else L-BFGS, which needs fewer steps.
        lr: its step; 1 of L-BFGS and 0.02 of Adam if None.
        averaging: of the last iterates, as the weight of what was: e.g. 0.98. None takes that for Adam and 0, the best
            iterate, for L-BFGS.
        content_weight: how much of the photo is kept; 0 makes a texture. At 1/k of the size it counts k² times.
        style_scale: size of the painting beside that of the result: 2 makes brush strokes twice as large.
        tv: how much the total variation counts, which smooths: 1 takes away grain, 5 leaves flat areas.
        init: the picture that is begun with, "content" or "noise", unless one is given.
        keep_colors: None, "linear" (the painting gets the photo's mean and covariance of colours) or "luminance" (only
            brightness is stylized).
        net: the network, one of VGG's.
        weights: "bundled" (VGG-19), "official", "random" or a file.
        pooling: "max", "avg" or "l2".
        seed: of all that is drawn at random.

    Raises:
        ChoiceError: an unknown name.
        InputError: a number out of range.
    """

    loss: str = "gatys"
    size: int = 512
    steps: int = 100
    start: int = 128
    growth: float = 2.0
    optimizer: str | None = None
    lr: float | None = None
    averaging: float | None = None
    content_weight: float = 1.0
    style_scale: float = 1.0
    tv: float = 0.0
    init: str = "content"
    keep_colors: str | None = None
    net: str = "vgg19"
    weights: str = "bundled"
    pooling: str = "max"
    seed: int = 0

    def __post_init__(self) -> None:
        choice("loss", self.loss, LOSSES, owner="style transfer")
        if self.optimizer is not None:
            choice("optimizer", self.optimizer, OPTIMIZERS)
        choice("initial image", self.init, INITS)
        choice("pooling", self.pooling, POOLINGS)
        if self.keep_colors is not None:
            choice("keep_colors", self.keep_colors, COLORS)
        for name, least in (("size", 16), ("start", 16), ("steps", 1), ("seed", 0)):
            whole(name, getattr(self, name), least)
        for name in ("growth", "style_scale"):
            positive(name, getattr(self, name))
        if self.growth < 1.1:
            raise InputError(f"growth must be at least 1.1, got {self.growth}. E.g. 2, or 1.414.")
        if self.lr is not None:
            positive("lr", self.lr)
        if self.averaging is not None and not 0 <= self.averaging < 1:
            raise InputError(f"averaging must be at least 0 and below 1, got {self.averaging}. E.g. 0.98.")
        for name in ("content_weight", "tv"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be a number of at least 0, got {getattr(self, name)}.")

    @property
    def descent(self) -> str:
        """The optimizer that is taken."""
        return self.optimizer or ("adam" if self.loss in _RANDOM else "lbfgs")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """The settings of keywords.

        Raises:
            ChoiceError: a keyword that there is not.
        """
        names = [field.name for field in fields(cls)]
        return cls(**{choice("setting", name, names): value for name, value in options.items()})

    def describe(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)

    def sizes(self) -> list[int]:
        """The longer side at each scale, from coarse to fine.

        Example:
            >>> Settings(size=512).sizes()
            [128, 256, 512]
        """
        sizes = [float(self.size)]
        while round(sizes[-1] / self.growth) >= self.start:
            sizes.append(sizes[-1] / self.growth)
        return [round(size) for size in reversed(sizes)]

    def steps_at(self, scale: int) -> int:
        """Steps of a scale, counted from 0."""
        return self.steps if scale else 2 * self.steps
