"""How good enlarged images are: PSNR and SSIM, as the field measures them, and perceptual distances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from opsin.checks import choice, whole
from opsin.classical import WINDOW, functions, psnr, ssim
from opsin.errors import InputError
from opsin.functional.resample import KINDS, downscale
from opsin.networks import Upscaler
from opsin.published.joint import joined, totals
from opsin.published.listing import ALWAYS, USUAL, make_loss, why_not_at_hand
from opsin.superres.data import cut_to_multiple, rounded
from opsin.superres.upscaling import upscale
from opsin.tiling import tile_for

HIGHER_IS_BETTER = ("psnr", "ssim")

BASELINES: Mapping[str, Image.Resampling] = MappingProxyType(
    {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
)
"""Pillow's filters, which are always measured too."""

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """What was measured of one image that one model enlarged.

    Attributes:
        image: its name.
        model: the model's name, or "bicubic" or "lanczos".
        values: metric -> value.
    """

    image: str
    model: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """What was measured of all images, and of what it came.

    Attributes:
        rows: one an image and model, image by image.
        signature: losses, weights and how the images were made small.
    """

    rows: tuple[Row, ...]
    signature: Mapping[str, Any]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what was measured, in order."""
        return tuple(self.rows[0].values) if self.rows else ()

    def means(self) -> dict[str, dict[str, float]]:
        """Model -> metric -> mean over the images."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.model, []).append(row)
        return {
            model: {metric: sum(row.values[metric] for row in rows) / len(rows) for metric in self.metrics}
            for model, rows in found.items()
        }


class Evaluator:
    """Measures images that were enlarged, beside the bicubic and the Lanczos filter.

    Each image is cut to a multiple of the scale, made small, rounded to 8 bits, enlarged by every model, rounded to 8
    bits as a file would be, and compared with what it was: PSNR and SSIM on Y, without a border of `shave` pixels, and
    perceptual losses on the whole image. The losses share one pass of each network, and what they need of the image
    itself is computed once for all models.

    Args:
        models: by name; an `Upscaler` is run in tiles where that is needed, anything else is called.
        scale: how many times smaller.
        losses: of `opsin.published`, by name; None for those of `USUAL` whose weights are at hand. `ALWAYS` is always
            among them.
        shave: pixels left out at each border for PSNR and SSIM; None for the scale, as is usual.
        kind: whose bicubic filter makes images small, see `opsin.functional.resample.downscale`.
        device: where losses are computed; models compute where they are.

    Raises:
        ChoiceError: an unknown loss.
        InputError: a model of another scale.
        MissingExtraError: torchmetrics is not installed.
        WeightsError: weights of a loss that is asked for by name are not there.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        scale: int,
        *,
        losses: Sequence[str] | None = None,
        shave: int | None = None,
        kind: str = "matlab",
        device: str | torch.device = "cpu",
    ) -> None:
        functions()  # what is missing is said before the work begins
        self.scale = whole("scale", scale)
        self.shave = scale if shave is None else whole("shave", shave, 0)
        for name, model in models.items():
            if isinstance(model, Upscaler) and model.scale != scale:
                raise InputError(
                    f"models must enlarge {scale} times, got '{name}', which does {model.scale} times. "
                    "Leave it out, or choose another scale."
                )
            if name in BASELINES:
                raise InputError(f"a model must not be called '{name}', as the filter is. Rename it.")
        self.models: dict[str, Model] = {**{name: _filter(scale, way) for name, way in BASELINES.items()}, **models}
        self.kind, self.device = choice("kind", kind, KINDS), torch.device(device)
        self._given = False
        chosen = [name for name in USUAL if why_not_at_hand(name) is None] if losses is None else list(losses)
        self.losses = tuple(dict.fromkeys((ALWAYS, *chosen)))
        self.loss = joined({name: make_loss(name) for name in self.losses}).to(self.device)

    def measure(self, name: str, image: Tensor, *, small: Tensor | None = None) -> list[Row]:
        """The rows of an image.

        Args:
            name: of the rows.
            image: (1,3,H,W) in [0,1].
            small: (1,3,H/s,W/s), in place of what the filter makes of it.

        Raises:
            InputError: it is too small, too large for a loss that cannot be computed in tiles, or `small` is no such
                image.
        """
        large = self.cut(image)
        if not self.fits(image):
            raise InputError(
                f"image must be at least {self.least} pixels wide and high, got {image.shape[-1]}x{image.shape[-2]} in "
                f"'{name}'. Leave it out."
            )
        references: dict[str, Any] = dict.fromkeys(self.loss.references, large.to(self.device))
        tile = tile_for(self.loss.terms, *large.shape[-2:])
        targets = self.loss.targets(tile=tile, **references)
        rows = []
        with torch.no_grad():
            for model, result in self.enlarged(image, small=small).items():
                values = {
                    "psnr": float(psnr_y(result, large, shave=self.shave)),
                    "ssim": float(ssim_y(result, large, shave=self.shave)),
                }
                found = self.loss.evaluate(result.to(self.device), targets, tile=tile)
                values |= {name: float(value) for name, value in totals(found, self.loss).items()}
                rows.append(Row(name, model, MappingProxyType(values)))
        return rows

    @property
    def least(self) -> int:
        """How many pixels wide and high an image must be."""
        # SSIM's window must lie within the border that is left out, and VGG-19 must have something to pool.
        needed = max(2 * self.shave + WINDOW, 32)
        return -(-needed // self.scale) * self.scale

    def fits(self, image: Tensor) -> bool:
        """Whether an image is large enough."""
        return min(image.shape[-2:]) >= self.least

    def cut(self, image: Tensor) -> Tensor:
        """An image as it is compared: cut to a multiple of the scale."""
        return cut_to_multiple(image, self.scale)

    def enlarged(self, image: Tensor, *, small: Tensor | None = None) -> dict[str, Tensor]:
        """What each model and filter makes of an image made small, in the 8 bits of a file.

        Raises:
            InputError: `small` is not of the image's size, so many times smaller.
        """
        large = self.cut(image)
        if small is None:
            small = downscale(large, self.scale, self.kind)
        elif tuple(side * self.scale for side in small.shape[-2:]) != tuple(large.shape[-2:]):
            raise InputError(
                f"a small image must be {large.shape[-1] // self.scale}x{large.shape[-2] // self.scale} for a photo of "
                f"{image.shape[-1]}x{image.shape[-2]}, got {small.shape[-1]}x{small.shape[-2]}. Check the scale."
            )
        else:
            self._given = True
        small = rounded(small)
        with torch.no_grad():
            return {name: rounded(enlarge(run, small)).to(large) for name, run in self.models.items()}

    @property
    def signature(self) -> dict[str, Any]:
        """What the numbers are of."""
        down = "given" if self._given else self.kind
        return {
            "scale": self.scale,
            "downscale": down,
            "shave": self.shave,
            "channel": "Y, 16..235",
            "losses": dict(self.loss.signature),
        }


def evaluate(
    models: Mapping[str, Model], images: Iterable[tuple[str, Tensor]], *, scale: int, **options: Any
) -> Evaluation:
    """Measure models on images, see `Evaluator`.

    Args:
        models: by name.
        images: name and (1,3,H,W) in [0,1].
        scale: how many times smaller they are made.
        options: of `Evaluator`.

    Raises:
        OpsinError: see `Evaluator`.

    Example:
        >>> from opsin.networks import make_upscaler
        >>> photos = [("noise", torch.rand(1, 3, 40, 40))]
        >>> found = evaluate({"edsr": make_upscaler("edsr", 2, width=4, blocks=1)}, photos, scale=2, losses=[])
        >>> list(found.means()), found.metrics
        (['bicubic', 'lanczos', 'edsr'], ('psnr', 'ssim', 'vgg19-cosine'))
    """
    evaluator = Evaluator(models, scale, **options)
    rows = [row for name, image in images for row in evaluator.measure(name, image)]
    return Evaluation(tuple(rows), evaluator.signature)


def psnr_y(x: Tensor, y: Tensor, *, shave: int = 0) -> Tensor:
    """Peak signal-to-noise ratio of luma in decibels: 10 log10(1 / mean (Y(x) - Y(y))²), torchmetrics'.

    Shape: (1,3,H,W), (1,3,H,W) -> ().

    Range: [0, ∞], more is closer; ∞ for equal images.

    Args:
        x: the image to judge, in [0,1].
        y: what it should be.
        shave: pixels left out at each border.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    return psnr(_luma(x, shave), _luma(y, shave))[0]


def ssim_y(x: Tensor, y: Tensor, *, shave: int = 0) -> Tensor:
    """Structural similarity of luma, torchmetrics': Gaussian window of 11 pixels, σ = 1.5, K = 0.01 and 0.03.

    Shape: (1,3,H,W), (1,3,H,W) -> ().

    Range: [-1, 1], 1 for equal images.

    Args:
        x: the image to judge, in [0,1].
        y: what it should be.
        shave: pixels left out at each border.

    Raises:
        MissingExtraError: torchmetrics is not installed.

    Reference: "Image quality assessment: from error visibility to structural similarity", Wang et al., 2004
    """
    return ssim(_luma(x, shave).double(), _luma(y, shave).double())[0]


def enlarge(model: Model, small: Tensor) -> Tensor:
    """An image enlarged by a model of any kind, clamped."""
    return upscale(model, small) if isinstance(model, Upscaler) else model(small).clamp(0, 1)


def _filter(scale: int, way: Image.Resampling) -> Model:
    """Pillow's filter, of 8 bits as in files."""

    def enlarged(small: Tensor) -> Tensor:
        octets = (small[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        height, width = small.shape[-2:]
        made = Image.fromarray(np.ascontiguousarray(octets)).resize((width * scale, height * scale), way)
        return torch.from_numpy(np.asarray(made, dtype=np.float32) / 255).permute(2, 0, 1)[None]

    return enlarged


def _luma(image: Tensor, shave: int) -> Tensor:
    """Y of BT.601 between 16/255 and 235/255, as MATLAB's rgb2ycbcr: (1,3,H,W) -> (1,1,H-2·shave,W-2·shave)."""
    weights = image.new_tensor((65.481, 128.553, 24.966)).reshape(1, 3, 1, 1) / 255
    y = (image * weights).sum(dim=1, keepdim=True) + 16 / 255
    return y[..., shave : y.shape[-2] - shave, shave : y.shape[-1] - shave]
