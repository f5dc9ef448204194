"""Random changes of images that gradients pass through, for discriminators with little data."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.checks import choice
from opsin.errors import InputError

POLICIES = ("colour", "translation", "cutout")
"""The changes that `diff_augment` knows, in the order that they are made in."""

_SHIFT, _CUT = 1 / 8, 1 / 2
_GREY = 0.5


def diff_augment(images: Tensor, policy: tuple[str, ...] = POLICIES) -> Tensor:
    """Change each image of a batch at random, differentiably.

    - "colour": brightness, x + U(-¼, ¼); saturation, the mean over channels plus U(0, 2) times the rest; contrast, the
      image's mean plus U(½, 3/2) times the rest.
    - "translation": a shift by up to an eighth of each side; grey comes in.
    - "cutout": a grey square of half the side at a random place, partly outside.

    What is drawn comes from torch's global generator. Both real and generated images go through it, in the steps of the
    generator and of the discriminator.

    Shape: (N,3,H,W) -> (N,3,H,W).

    Range: [0,1] -> a little beyond [0,1].

    Args:
        images: RGB in [0,1].
        policy: some of `POLICIES`; none leaves the images as they are.

    Raises:
        ChoiceError: a change that it does not know.
        InputError: no batch of colour images.

    Reference: "Differentiable augmentation for data-efficient GAN training", Zhao, Liu, Lin, Zhu and Han, 2020,
    https://arxiv.org/abs/2006.10738; its values on [-1,1] halved for [0,1]

    Example:
        >>> diff_augment(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """
    for name in policy:
        choice("augmentation", name, POLICIES)
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"images must be (N,3,H,W), got {tuple(images.shape)}. Stack colour images.")
    if "colour" in policy:
        images = _colour(images)
    if "translation" in policy:
        images = _translation(images)
    if "cutout" in policy:
        images = _cutout(images)
    return images


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    return torch.empty(images.shape[0], 1, 1, 1, dtype=images.dtype, device=images.device).uniform_(low, high)


def _colour(x: Tensor) -> Tensor:
    x = x + _uniform(x, -0.25, 0.25)
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * _uniform(x, 0, 2)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * _uniform(x, 0.5, 1.5)


def _offsets(x: Tensor, side: int, low: int, high: int) -> Tensor:
    """For each image the indices 0 … side - 1 moved by a whole number of [low, high]."""
    moved = torch.randint(low, high + 1, (x.shape[0], 1), device=x.device)
    return torch.arange(side, device=x.device)[None] + moved


def _translation(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    down, right = (int(side * _SHIFT + 0.5) for side in (height, width))
    padded = F.pad(x, (right, right, down, down), value=_GREY)
    rows, columns = _offsets(x, height, 0, 2 * down), _offsets(x, width, 0, 2 * right)
    number = torch.arange(x.shape[0], device=x.device)[:, None, None]
    # One look-up: (N,H,W,3), and back.
    return padded.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cutout(x: Tensor) -> Tensor:
    inside = []
    for dim, side in ((2, x.shape[2]), (3, x.shape[3])):
        half = int(side * _CUT / 2 + 0.5)
        middle = torch.randint(0, side + 1, (x.shape[0], 1), device=x.device)
        place = torch.arange(side, device=x.device)[None]
        hit = (place >= middle - half) & (place < middle + half)
        inside.append(hit[:, None, :, None] if dim == 2 else hit[:, None, None, :])
    return torch.where(inside[0] & inside[1], _GREY, x)
