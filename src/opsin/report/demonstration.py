"""What `opsin demo` shows: a photo's distortions ranked by pixels and by a perceptual loss, and the photo painted."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image, ImageFilter

from opsin.assembly import build
from opsin.images import read_image
from opsin.report.drawing import to_picture
from opsin.report.painting import paint
from opsin.report.ranking import Distorted, ranking_figure
from opsin.report.score_report import score_report
from opsin.report.sheet import contact_sheet
from opsin.scoring.pairing import pair_folders
from opsin.scoring.reading import Preparation
from opsin.scoring.run import local_engine, score_pairs
from opsin.scoring.scorer import Scorer
from opsin.scoring.statistics import summarize
from opsin.stylize import Progress, StylizeResult, stylize

REFERENCE, LOSSES = "reference", ("vgg19-cosine", "focal-frequency")
"""What the parts of the photo itself are called, and what they are scored by."""

_ACROSS, _DOWN = 3, 2  # parts of the photo
_CREDIT = "Photo: Chelsea the cat, by Stefan van der Walt (CC0), from scikit-image."


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
    return photo, items, ranking_figure(photo, items, captions=(str(loss.signature), _CREDIT))


def parts(photo: torch.Tensor, items: Sequence[Distorted]) -> dict[str, list[torch.Tensor]]:
    """The photo and its distorted versions, cut into parts: what `opsin score` takes as folders.

    Returns:
        `REFERENCE` and the names of the distortions -> parts (1,3,h,w), row by row.
    """
    height, width = photo.shape[2] // _DOWN, photo.shape[3] // _ACROSS
    images = {REFERENCE: photo, **{item.name: item.image for item in items}}
    return {
        name: [
            image[..., y * height : (y + 1) * height, x * width : (x + 1) * width]
            for y in range(_DOWN)
            for x in range(_ACROSS)
        ]
        for name, image in images.items()
    }


def score_parts(folder: Path) -> str:
    """The report of `opsin score` on folders of parts: a page.

    Args:
        folder: with a folder of images for `REFERENCE` and each distortion.
    """
    pairing = pair_folders(str(folder / REFERENCE), {name: str(folder / name) for name in DISTORTIONS})
    scorer = Scorer(LOSSES)
    scores = score_pairs(pairing, scorer, engine=local_engine(scorer, Preparation(), workers=0))
    title = "Five distortions of a photo, scored part by part"
    return score_report(scores, summarize(scores), Preparation(), scorer, title=title, notes=(_CREDIT,))


STYLES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "stylized": MappingProxyType({}),
        # Brightness alone shows less of the style, so that more of it is asked for.
        "stylized-own-colours": MappingProxyType({"keep_colors": "luminance", "content_weight": 0.2}),
    }
)
"""Names of stylized photos, and the settings in which they differ from `opsin.stylize.Settings`' own."""


@dataclass(frozen=True, eq=False)
class Stylized:
    """A photo in the style of a painting.

    Attributes:
        painting: the painting, (1,3,H,W) in [0,1].
        results: of each of `STYLES`.
        sheet: all of it on one picture.
    """

    painting: torch.Tensor
    results: Mapping[str, StylizeResult]
    sheet: Image.Image


def stylize_photo(
    photo: torch.Tensor, size: int, steps: int, *, callback: Callable[[int, Progress], object]
) -> Stylized:
    """Paint a photo as each of `STYLES` says, and draw the contact sheet.

    Args:
        photo: (1,3,H,W) in [0,1].
        size: the longer side of what is made.
        steps: at each scale.
        callback: called after each step with the number of the picture, from 0.
    """
    painting = _to_tensor(paint())
    results = {}
    for number, (name, settings) in enumerate(STYLES.items()):

        def watch(progress: Progress, number: int = number) -> None:
            callback(number, progress)

        results[name] = stylize(photo, painting, size=size, steps=steps, callback=watch, **settings)
    plain, own = results.values()
    pictures = [
        ("a photo", photo),
        ("a painting, drawn by a program", painting),
        ("the photo in the style of the painting", plain.image),
        ("the same in the colours of the photo", own.image),
    ]
    notes = (
        str(plain.signature),
        f"VGG-19, L-BFGS, {size} pixels, {steps} steps at each scale and twice as many at the first.",
        _CREDIT,
    )
    sheet = contact_sheet("A photo in the style of a painting", pictures, columns=2, width=420, notes=notes)
    return Stylized(painting, results, sheet)


def _to_tensor(picture: Image.Image) -> torch.Tensor:
    raw = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return raw.reshape(picture.height, picture.width, 3).permute(2, 0, 1).unsqueeze(0).float() / 255
