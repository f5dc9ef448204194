"""What `opsin demo` shows: five distortions of a photo, ranked by pixels and by a perceptual loss."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from PIL import Image, ImageFilter

from opsin.assembly import build
from opsin.images import read_image
from opsin.report.drawing import to_picture
from opsin.report.ranking import Distorted, ranking_figure


def blur(photo: torch.Tensor) -> torch.Tensor:
    """Out of focus: a Gaussian of 2.2 pixels."""
    return _to_tensor(to_picture(photo).filter(ImageFilter.GaussianBlur(2.2)))


def noise(photo: torch.Tensor) -> torch.Tensor:
    """Grain: Gaussian noise of deviation 0.045, from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    return (photo + 0.045 * torch.randn(photo.shape, generator=generator)).clamp(0, 1)


def jpeg(photo: torch.Tensor) -> torch.Tensor:
    """Compressed too far: JPEG at quality 8."""
    buffer = io.BytesIO()
    to_picture(photo).save(buffer, format="JPEG", quality=8)
    with Image.open(buffer) as picture:
        return _to_tensor(picture.convert("RGB"))


def shift(photo: torch.Tensor) -> torch.Tensor:
    """The camera moved by three pixels each way; the border is repeated."""
    padded = torch.nn.functional.pad(photo, (3, 0, 3, 0), mode="replicate")
    return padded[..., : photo.shape[2], : photo.shape[3]]


def colour(photo: torch.Tensor) -> torch.Tensor:
    """Warmer light: red up, blue down."""
    return (photo * torch.tensor([1.12, 1.0, 0.78]).reshape(1, 3, 1, 1)).clamp(0, 1)


DISTORTIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {"blur": blur, "noise": noise, "jpeg": jpeg, "shift": shift, "colour": colour}
)


def run(photo_path: Path) -> tuple[torch.Tensor, list[Distorted], Image.Image]:
    """Distort a photo, measure each result, and draw the two rankings.

    Returns:
        The photo (1,3,H,W), the distorted versions with their numbers, and the picture.
    """
    photo = read_image(photo_path)
    loss = build(weights="bundled")
    items = []
    with torch.inference_mode():
        targets = loss.targets(target=photo)
        for name, distort in DISTORTIONS.items():
            image = distort(photo)
            result = loss.evaluate(image, targets, maps=True)
            mse = float((image - photo).square().mean())
            items.append(Distorted(name, image, mse, float(result.total), result.map))
    captions = (str(loss.signature), "Photo: Chelsea the cat, by Stefan van der Walt (CC0), from scikit-image.")
    return photo, items, ranking_figure(photo, items, captions=captions)


def _to_tensor(picture: Image.Image) -> torch.Tensor:
    raw = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return raw.reshape(picture.height, picture.width, 3).permute(2, 0, 1).unsqueeze(0).float() / 255
