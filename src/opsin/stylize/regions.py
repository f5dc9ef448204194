"""Regions of a photo that take their style from regions of a painting, told by pictures of as many colours."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.distances import Distance, map_tensors, tensors_of
from opsin.errors import InputError

_MOST = 8
# Colours nearer than this are one: the edges of a picture drawn with soft strokes, or saved as JPEG.
_ALIKE = 0.25
_LEAST_SHARE = 0.005


class Region(Distance):
    """A distance of what lies in a region: of the positions of a feature map whose pixels are inside by half or more.

    For distances that see a map as a set of positions. A region so small that it fills no position by half has those
    that it fills most.

    Shape: (N,C,H,W), (N or 1,C,H',W') -> (N,).

    Args:
        distance: of the positions, which it gets as a map of one row.
        mask: 1 inside, 0 outside; (1,1,H,W).
        label: what the region is called. Of two regions with one label and one distance, one may be the photo's and
            the other the painting's: what is kept of the second is compared with the first.

    Reference: "Controlling perceptual factors in neural style transfer", Gatys, Ecker, Bethge, Hertzmann and
    Shechtman, 2017, https://arxiv.org/abs/1611.07865

    Differs from the paper: a position is inside or outside, where the paper weights them.
    """

    name: ClassVar[str] = "region"
    several_taps: ClassVar[bool] = True

    def __init__(self, distance: Distance, mask: Tensor, label: str) -> None:
        super().__init__()
        self.distance, self.label = distance, label
        self._mask = mask
        self._inside: dict[tuple[int, int], Tensor] = {}

    @property
    def statistic_key(self) -> str:
        """That of the distance, in this region."""
        return f"region {self.label} of {self.distance.statistic_key}"

    def describe(self) -> dict[str, Any]:
        """The options as a signature shows them."""
        return {"region": self.label, "distance": self.distance.name, **self.distance.describe()}

    def statistic(self, feature: Any) -> Any:
        """The distance's statistic of the positions inside."""
        maps = tensors_of(feature)
        size = (maps[0].shape[2], maps[0].shape[3])
        if any((m.shape[2], m.shape[3]) != size for m in maps):
            raise InputError(
                f"regions must be for a loss whose layers have one size, got {self.distance.name!r} with several. "
                "Choose gatys, wasserstein, sliced-wasserstein, contextual or nnfm."
            )
        if size not in self._inside:
            share = F.adaptive_avg_pool2d(self._mask, size).flatten()
            self._inside[size] = (share >= share.max().clamp(max=0.5)).nonzero().flatten().to(maps[0].device)
        inside = self._inside[size]
        return self.distance.statistic(map_tensors(lambda m: m.flatten(2)[:, :, inside].unsqueeze(2), feature))

    def compare(self, x: Any, y: Any) -> Tensor:
        """The distance's comparison."""
        return self.distance.compare(x, y)


def split(photo: Tensor, paintings: list[Tensor]) -> list[tuple[str, Tensor, list[Tensor | None]]]:
    """Regions by colour: the name of the colour, where it is in the photo, and where in each painting, if it is there.

    Each pixel counts to the nearest of the photo's main colours.

    Shape: (1,3,H,W), and (1,3,H',W') each -> (1,1,H,W), and (1,1,H',W') each, of 0 and 1.

    Raises:
        InputError: more than 8 colours, a colour of the photo that no painting has, or of a painting that the photo
            has not.
    """
    colours = _colours(photo, "the photo's regions")
    names = ["#" + "".join(f"{round(255 * v):02x}" for v in colour.tolist()) for colour in colours]
    of_photo = _nearest(photo, colours)
    of_paintings = []
    for i, painting in enumerate(paintings, start=1):
        for colour in _colours(painting, f"the regions of painting {i}"):
            if torch.cdist(colour[None], colours).min() > _ALIKE:
                text = "#" + "".join(f"{round(255 * v):02x}" for v in colour.tolist())
                raise InputError(
                    f"regions of painting {i} must have colours of the photo's, {', '.join(names)}, got {text}. "
                    "Paint the regions that belong together in one colour."
                )
        of_paintings.append(_nearest(painting, colours))
    regions = []
    for i, name in enumerate(names):
        found = [_mask(labels, i) for labels in of_paintings]
        if all(mask is None for mask in found):
            raise InputError(
                f"a region must have pixels in a painting too, got none of the photo's {name}. "
                "Paint a part of the painting's regions in that colour."
            )
        mask = _mask(of_photo, i)
        if mask is not None:
            regions.append((name, mask, found))
    return regions


def _colours(picture: Tensor, what: str) -> Tensor:
    """The main colours of a picture of regions, the most frequent first: (n,3)."""
    levels = (picture[0].flatten(1).T * 255).round().to(torch.int64)
    values, counts = levels.unique(dim=0, return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    chosen: list[Tensor] = []
    for i in order.tolist():
        if counts[i] < _LEAST_SHARE * len(levels):
            break
        colour = values[i] / 255.0
        if all(torch.linalg.vector_norm(colour - other) > _ALIKE for other in chosen):
            chosen.append(colour)
    if not 1 <= len(chosen) <= _MOST:
        raise InputError(
            f"{what} must be a picture of 1 to {_MOST} plain colours, got {len(chosen) or 'none'}. "
            "Draw them without shades."
        )
    return torch.stack(chosen)


def _nearest(picture: Tensor, colours: Tensor) -> Tensor:
    pixels = picture[0].flatten(1).T
    return torch.cdist(pixels, colours).argmin(dim=1).reshape(picture.shape[2:])


def _mask(labels: Tensor, i: int) -> Tensor | None:
    mask = (labels == i).float()[None, None]
    return mask if bool(mask.any()) else None
