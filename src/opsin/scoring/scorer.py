"""What is measured of a batch of images and their references: losses on one shared pass, and PSNR and SSIM beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL import __version__ as pillow
from torch import Tensor

from opsin._version import __version__
from opsin.checks import choice
from opsin.classical import WINDOW, functions, psnr, ssim
from opsin.devices import find_device
from opsin.errors import InputError
from opsin.published.joint import joined, totals
from opsin.published.listing import is_file, make_loss
from opsin.results import Signature, Targets
from opsin.scoring.results import Metric
from opsin.tiling import tile_for

CLASSICAL: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType({"psnr": psnr, "ssim": ssim})
"""What is measured beside losses, of RGB in [0,1]; of both, more is closer."""

_SEED = 0


class Scorer:
    """Measures images against their references.

    All losses look through one pass of each network. A loss that draws random numbers draws the same for each image:
    values depend on nothing but the two images.

    Args:
        losses: names, see `make_loss`.
        also: some of `CLASSICAL`.
        device: where to compute.

    Attributes:
        metrics: what is measured, in order.
        loss: all losses as one; None where only `also` is measured.
        device: where it computes.
        draws: whether a loss draws random numbers, so that one batch must be computed after another.

    Raises:
        ChoiceError: an unknown loss or metric.
        InputError: nothing to measure, one name twice, or a device that is not there.
        WeightsError: weights that are not there.
        MissingExtraError: torchmetrics is not installed.

    Example:
        >>> scorer = Scorer(["focal-frequency"])
        >>> x, y = torch.rand(2, 4, 3, 16, 16)
        >>> scorer.score(x, y).shape
        torch.Size([4, 1])
    """

    def __init__(self, losses: Sequence[str], also: Sequence[str] = (), *, device: str | torch.device = "cpu") -> None:
        for name in also:
            choice("metric", name, CLASSICAL)
        if also:
            functions()
        self.device = find_device(str(device))
        labels = [Path(name).stem if is_file(name) else name for name in losses]
        names = [*labels, *also]
        if not names:
            raise InputError("losses must be one at least, got none. E.g. --loss vgg19-cosine.")
        if len(set(names)) < len(names):
            raise InputError(f"what is measured must be named once, got {', '.join(names)}. Leave one out.")
        with _same_numbers():  # some draw directions when they are made
            made = {label: make_loss(name) for label, name in zip(labels, losses, strict=True)}
        self.loss = joined(made).to(self.device) if made else None
        terms = () if self.loss is None else self.loss.terms.values()
        self.draws = any(hasattr(term.distance, "generator") for term in terms)
        self.also = tuple(also)
        self.metrics = (*(Metric(label) for label in labels), *(Metric(name, higher=True) for name in also))

    def signature(self, preparation: Mapping[str, Any] | None = None) -> Signature:
        """What produces the numbers: losses, networks, hashes of weights, range, dtype, preparation and versions.

        Args:
            preparation: what is done to images before.
        """
        base = (
            self.loss.signature
            if self.loss is not None
            else Signature(
                opsin=__version__, torch=str(torch.__version__), input_range=[0.0, 1.0], networks={}, terms={}
            )
        )
        also = {}
        if self.also:
            version = metadata.version("torchmetrics")
            also = {"also": dict.fromkeys(self.also, f"RGB in [0,1], torchmetrics {version}")}
        metrics = [metric.name for metric in self.metrics]
        return Signature(**base, metrics=metrics, **also, dtype="float32", pillow=pillow, **dict(preparation or {}))

    def tile(self, height: int, width: int) -> int | None:
        """The side of the tiles that images of a size are computed in; None if they are not.

        Raises:
            InputError: they are too large for a loss that cannot be.
        """
        return None if self.loss is None else tile_for(self.loss.terms, height, width)

    @torch.inference_mode()
    def targets(self, references: Tensor) -> Targets | None:
        """What losses need of references (N,3,H,W); None of those that are computed in tiles, or without losses.

        Raises:
            InputError: the images are too small or too large for a loss.
        """
        if self.loss is None or self.tile(*references.shape[-2:]) is not None:
            return None
        with self._numbers():
            images: dict[str, Any] = dict.fromkeys(self.loss.references, references.to(self.device))
            return self.loss.targets(**images)

    @torch.inference_mode()
    def score(self, x: Tensor, references: Tensor | None, targets: Targets | None = None) -> Tensor:
        """The values of images.

        Shape: (N,3,H,W) -> (N, metrics), float64.

        Args:
            x: the images.
            references: what they are compared with; None if `targets` stand for them and they are not needed.
            targets: what `targets` made of the references; None makes it anew.

        Raises:
            InputError: the images are too small or too large for a loss, or a value is no number.
        """
        x = x.to(self.device)
        y = None if references is None else references.to(self.device)
        columns: list[Tensor] = []
        if self.loss is not None:
            tile = self.tile(*x.shape[-2:])
            given: dict[str, Any] = dict.fromkeys(self.loss.references, y) if targets is None else {}
            with self._numbers():
                found = totals(self.loss.evaluate(x, targets, tile=tile, **given), self.loss)
            columns += list(found.values())
        if self.also:
            if y is None:
                raise InputError(f"references must be given for {', '.join(self.also)}, got targets alone.")
            if min(x.shape[-2:]) < WINDOW and "ssim" in self.also:
                raise InputError(
                    f"images must be at least {WINDOW}x{WINDOW} for ssim, got {x.shape[-1]}x{x.shape[-2]}. "
                    "Leave it out."
                )
            columns += [CLASSICAL[name](x, y) for name in self.also]
        values = torch.stack([column.double().cpu() for column in columns], dim=1)
        if bool(values.isnan().any()):
            bad = [m.name for m, column in zip(self.metrics, values.unbind(1), strict=True) if column.isnan().any()]
            raise InputError(f"values must be numbers, got NaN of {', '.join(bad)}. The loss does not fit the image.")
        return values

    def _numbers(self) -> AbstractContextManager[None]:
        # What draws nothing does not touch the generator, which all threads share; setting its seed takes torch longer
        # than a small network, as it writes down who asked for it, once for each kind of device.
        return _same_numbers() if self.draws else nullcontext()


@contextmanager
def _same_numbers() -> Iterator[None]:
    """Within it random numbers begin anew, and elsewhere go on as if nothing had been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        yield
