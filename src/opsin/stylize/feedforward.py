"""A painting's style in one pass: how the network is trained (`StyleRecipe`) and how it is applied."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from opsin import published
from opsin.checks import choice, whole
from opsin.distances import TotalVariation, at_least_float32
from opsin.errors import InputError
from opsin.extractors import ImageExtractor, make_extractor
from opsin.files import check_writable
from opsin.images import DEFAULT_MAX_PIXELS, read_image, resize, write_image
from opsin.images.writing import check_suffix
from opsin.loss import PerceptualLoss
from opsin.networks import ImageTransformNet, Network, load_network
from opsin.networks.transform import UPSAMPLINGS
from opsin.stylize.objective import by_group
from opsin.stylize.strips import apply_in_strips
from opsin.terms import Term
from opsin.training import Recipe, Settings, Updates

CONTENT_LAYERS: Mapping[str, float] = {"relu3_3": 1.0}

# With these factors weights of 1 give a picture in which both the photo and the painting are seen, chosen by eye, and a
# loss of the size of numbers that people read; VGG's features come in hundreds.
_CONTENT, _STYLE, _SMOOTHNESS = 5e-5, 1e-5, 5.0

WHOLE_PIXELS = 2_000_000
"""Up to so many pixels `apply` computes an image at once unless it is told otherwise."""

STRIP = 256
"""Rows of the strips that it computes larger ones in."""


@dataclass(frozen=True, kw_only=True)
class StyleSettings(Settings):
    """What training a style takes besides `Settings`.

    Attributes:
        style: the painting.
        style_size: its shorter side in pixels while training; a larger one makes coarser strokes.
        content_weight: of the content loss.
        style_weight: of the style loss.
        tv: weight of the total variation, which smooths.
        width: of the network, see `ImageTransformNet`.
        blocks: see there.
        upsampling: see there.
        net: the network of the loss.
        weights: its weights: "bundled" (vgg19 only), "official", "random" or a file.
    """

    kind: ClassVar[str] = "style"
    changeable: ClassVar[frozenset[str]] = Settings.changeable | {"style"}

    style: Path
    style_size: int = 256
    content_weight: float = 1.0
    style_weight: float = 1.0
    tv: float = 1.0
    width: int = 32
    blocks: int = 5
    upsampling: str = "resize"
    net: str = "vgg19"
    weights: str = "bundled"

    def __post_init__(self) -> None:
        """Check what a single value can be wrong in."""
        super().__post_init__()
        for name in ("content_weight", "style_weight", "tv"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be 0 or a positive number, got {getattr(self, name)}. Leave it out.")
        whole("style_size", self.style_size, 16)
        whole("width", self.width)
        whole("blocks", self.blocks)
        choice("upsampling", self.upsampling, UPSAMPLINGS)


class StyleRecipe(Recipe):
    """Johnson's network learns one painting: content + style + total variation, compared by a perceptual loss.

    L(x) = 5e-5 c · ||F(x) - F(y)||² / CHW at relu3_3 + 1e-5 s · Σ_l 5 mean (G_l(x) - G_l(p))² + 5 t · TV(x), x the
    network's picture of the crop y, p the painting, whose Gram matrices are computed once. The factors are for the
    bundled VGG-19; features of torchvision's weights are smaller.

    Args:
        settings: see `StyleSettings`.

    Raises:
        ImageError: the painting cannot be read.
        OpsinError: weights, layers or sizes that do not fit.

    Reference: see `opsin.published.johnson_style` and `ImageTransformNet`.

    Example:
        >>> recipe = StyleRecipe(StyleSettings(data="photos", output="run", style="p.png"))  # doctest: +SKIP
    """

    product = "stylizer"
    scale = (1.0, 2.0)

    def __init__(self, settings: StyleSettings) -> None:
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = ImageTransformNet(settings.width, settings.blocks, settings.upsampling)
        self.networks: Mapping[str, Network] = {self.product: network}
        painting = resize(read_image(settings.style), settings.style_size)
        self.loss = make_loss(settings)
        self.targets = self.loss.targets(style=painting)

    def to(self, device: torch.device) -> None:
        """Move the loss and the painting's statistics."""
        self.loss.to(device)
        self.targets = self.targets.to(device)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """Adam, as in the paper."""
        return {self.product: Adam(self.networks[self.product].parameters(), lr=lr)}

    def step(self, images: tuple[Tensor, ...], update: Updates) -> dict[str, Tensor]:
        """The loss of a batch, and its parts by what they measure."""
        (photos,) = images
        made = at_least_float32(update.networks[self.product](photos))
        result = self.loss.evaluate(made, self.targets, target=photos)
        total = result.total.mean()
        update(self.product, total)
        return {"loss": total, **by_group(self.loss, result)}

    def sample(self, network: nn.Module, images: tuple[Tensor, ...]) -> Tensor:
        """The images in a row, what is made of them below."""
        (photos,) = images
        rows = (torch.cat(list(batch), dim=2) for batch in (photos, network(photos)))
        return torch.cat(list(rows), dim=1)

    def about(self) -> dict[str, Any]:
        """The kind, the painting's name and the signature of the loss."""
        return {"kind": "style", "style": self.settings.style.name, "signature": dict(self.loss.signature)}


def make_loss(settings: StyleSettings) -> PerceptualLoss:
    """The loss that a style is trained with; its terms are in the groups "content", "style" and "smoothness".

    Raises:
        OpsinError: a network or weights that do not exist.
    """
    extractor = make_extractor(settings.net, settings.weights)
    content = _CONTENT * settings.content_weight * published.johnson_feature(extractor, None, layers=CONTENT_LAYERS)
    style = _STYLE * settings.style_weight * published.johnson_style(extractor, None)
    terms = [replace(term, group="content") for term in content.terms.values()]
    terms += [replace(term, group="style") for term in style.terms.values()]
    if settings.tv:
        terms.append(Term(ImageExtractor(), "image", TotalVariation(), _SMOOTHNESS * settings.tv, group="smoothness"))
    return PerceptualLoss(terms, name="style")


def apply(model: Network, image: Tensor, *, strip: int | None = None) -> Tensor:
    """Stylize an image of any size with a trained network.

    Large images are computed in strips of rows. Instance normalisation needs statistics of the whole map, which are
    gathered strip by strip before what lies behind is computed; so the result is that of the whole image but for
    rounding (2e-6), in a quarter of the memory at about one and a half times the computation.

    Shape: (1,3,H,W) -> (1,3,H,W), H and W at least 16.

    Range: [0,1] -> [0,1].

    Args:
        model: what `load_network` gives.
        image: on the model's device.
        strip: rows of a strip; 0 computes the image at once, None chooses by its size.

    Raises:
        InputError: a network of another kind, an image that does not fit, or a negative `strip`.

    Example:
        >>> apply(ImageTransformNet(width=4), torch.rand(1, 3, 40, 50), strip=16).shape
        torch.Size([1, 3, 40, 50])
    """
    if not isinstance(model, ImageTransformNet):
        raise InputError(f"model must be an ImageTransformNet, got {type(model).__name__}. Load one of a style.")
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"image must be (1,3,H,W) of floats in [0,1], got {got}. See opsin.read_image.")
    height, width = image.shape[-2:]
    model.check_size(height, width)
    if strip is None:
        strip = STRIP if height * width > WHOLE_PIXELS else 0
    elif whole("strip", strip, 0, mend="E.g. 256.") and strip < 16:
        raise InputError(f"strip must be at least 16 rows, or 0, got {strip}. E.g. 256.")
    with torch.no_grad():
        if not strip or height <= strip:
            return model(image)
        return apply_in_strips(model, image, strip)


def stylize_file(
    photo: str | os.PathLike[str],
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    size: int | None = None,
    strip: int | None = None,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> tuple[int, int]:
    """Stylize an image file with a model file, and return the width and height of what was written.

    Args:
        photo: what `read_image` reads.
        model: `model.safetensors` of a run of `opsin train style`.
        output: the suffix chooses the format.
        size: longer side of the result; None keeps that of the photo.
        strip: see `apply`.
        device: what computes.
        overwrite: replace the output if it exists.
        max_pixels: see `read_image`.

    Raises:
        ImageError: an image file that cannot be read or written.
        WeightsError: a model that is missing, damaged, a pickle or of another architecture.
        OpsinError: as `write_image` and `apply`.
    """
    check_suffix(output)
    check_writable(output, overwrite=overwrite)
    network, about = load_network(model, ImageTransformNet.architecture)
    image = read_image(photo, max_pixels=max_pixels)
    if size is not None:
        height, width = image.shape[-2:]
        factor = whole("size", size, 16) / max(height, width)
        image = resize(image, (max(1, round(height * factor)), max(1, round(width * factor))))
    result = apply(network.to(device), image.to(device), strip=strip).cpu()
    metadata = {
        "Software": f"opsin {about.get('version', '')}".strip(),
        "opsin:photo": Path(photo).name,
        "opsin:style": str(about.get("style", "")),
        "opsin:model": f"{about['architecture']} {about['arguments']}, step {about.get('step', '?')}",
    }
    write_image(output, result, overwrite=overwrite, metadata=metadata)
    return result.shape[-1], result.shape[-2]
