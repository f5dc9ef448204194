"""Keeping the colours of the photo."""

from __future__ import annotations

import torch

from opsin.stylize import colors


def image(seed: int, low: float, high: float) -> torch.Tensor:
    return low + (high - low) * torch.rand(1, 3, 40, 30, generator=torch.Generator().manual_seed(seed))


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = x[0].flatten(1).double()
    return pixels.mean(dim=1), torch.cov(pixels, correction=0)


def test_matched_colours_have_the_others_mean_and_covariance():
    x, y = image(0, 0.0, 1.0), image(1, 0.3, 0.6)
    y[:, 1] = 0.5 * y[:, 0] + 0.5 * y[:, 1]
    for got, wanted in zip(moments(colors.match_colours(x, y)), moments(y), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def test_an_image_without_contrast_is_matched_too():
    grey = torch.full((1, 3, 8, 8), 0.5)
    assert bool(colors.match_colours(grey, image(0, 0, 1)).isfinite().all())
    assert bool(colors.match_colours(image(0, 0, 1), grey).isfinite().all())


def test_brightness_changes_and_chroma_stays():
    x = image(0, 0.2, 0.8)
    brighter = colors.luminance(x) + 0.1
    y = colors.with_luminance(x, brighter)
    torch.testing.assert_close(colors.luminance(y), brighter)
    # Differences of channels are all that I and Q are made of.
    torch.testing.assert_close(y[:, 0] - y[:, 1], x[:, 0] - x[:, 1], atol=1e-6, rtol=0)


def test_matched_brightness():
    x, y = colors.luminance(image(0, 0, 1)), colors.luminance(image(1, 0.4, 0.5))
    got = colors.match_brightness(x, y)
    torch.testing.assert_close(got.mean(), y.mean())
    torch.testing.assert_close(got.std(), y.std())
