"""Noise of sensors, and JPEG."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)


def gaussian_noise(image: Tensor, sigma: float, rng: np.random.Generator, *, grey: bool = False) -> Tensor:
    """Normal noise of a standard deviation, one for each channel or, if grey, the same for all.

    Shape: (3,H,W) -> (3,H,W).

    Range: [0,1] -> [0,1].
    """
    shape = (1, *image.shape[1:]) if grey else tuple(image.shape)
    noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    return (image + sigma * noise).clamp(0, 1)


def poisson_noise(image: Tensor, strength: float, rng: np.random.Generator, *, grey: bool = False) -> Tensor:
    """The noise of counted light, x + s · (Poisson(v x)/v - x), v the number of levels in x, up to a power of two.

    Shape: (3,H,W) -> (3,H,W).

    Range: [0,1] -> [0,1].

    Args:
        image: x.
        strength: s.
        rng: draws.
        grey: noise of the brightness, the same for all channels.

    Reference: as in Real-ESRGAN's released code.
    """
    octets = (image.clamp(0, 1) * 255).round()
    if grey:
        octets = (octets * octets.new_tensor(_LUMA).reshape(3, 1, 1)).sum(dim=0, keepdim=True).round()
    x = octets / 255
    found = int(torch.bincount(octets.flatten().long()).count_nonzero())
    levels = 2.0 ** np.ceil(np.log2(max(found, 2)))
    counted = torch.from_numpy(rng.poisson((x * levels).numpy()).astype(np.float32)) / levels
    return (image + strength * (counted - x)).clamp(0, 1)


def jpeg(image: Tensor, quality: float) -> Tensor:
    """What JPEG leaves of an image, with its colours at half the size, as cameras store them.

    Shape: (3,H,W) -> (3,H,W).

    Range: [0,1] -> [0,1].
    """
    octets = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(octets).save(file, "JPEG", quality=round(quality), subsampling="4:2:0")
    with Image.open(file) as decoded:
        read = np.asarray(decoded.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(read / 255).permute(2, 0, 1).contiguous()
