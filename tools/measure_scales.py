"""Measure `CAFFE_SCALES` of opsin.published.scales: the mean |f| of each conv and relu tap of the bundled VGG-19.

    python tools/measure_scales.py

prints the table. It needs scikit-image for its sample photos, and takes some seconds.
"""

from __future__ import annotations

import torch
from skimage import data

import opsin

# Photos of people, animals, things and machines that come with scikit-image, at their own size (about 450×600).
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def photo(name: str) -> torch.Tensor:
    """A sample photo, (1,3,H,W) in [0,1]."""
    pixels = torch.from_numpy(getattr(data, name)()).float() / 255
    return pixels.permute(2, 0, 1).unsqueeze(0)


@torch.inference_mode()
def measure() -> dict[str, float]:
    """Tap -> mean |f|, the mean over photos of each photo's mean."""
    vgg = opsin.VGG("vgg19", weights="bundled")
    taps = [tap for tap in vgg.taps if tap.startswith(("conv", "relu"))]
    total = dict.fromkeys(taps, 0.0)
    for name in PHOTOS:
        for tap, feature in vgg(photo(name), taps).items():
            total[tap] += float(feature.abs().double().mean()) / len(PHOTOS)
    return total


if __name__ == "__main__":
    for tap, value in measure().items():
        print(f'    "{tap}": {value:.4g},')
