"""Watson's perceptual model on the spectra of 8×8 blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from opsin.functional.colors import mix_channels

BLOCK = 8

# Keeps powers of 0 finite, and gives an amplitude of 0 a direction to grow in.
EPS = 1e-10

# Below it a coefficient is rounding error: its phase says nothing, and the gradient of a phase is 1 / amplitude.
_LEAST_AMPLITUDE = 1e-6

_YCBCR = ((0.299, 0.587, 0.114), (-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813))


def rgb_to_ycbcr(x: Tensor) -> Tensor:
    """RGB in [0,1] to luma and two chroma channels in [0,1], grey being (Y, 0.5, 0.5).

    Shape: (N,3,H,W) -> (N,3,H,W).
    """
    luma, blue, red = mix_channels(_YCBCR, x).unbind(1)
    return torch.stack([luma, blue + 0.5, red + 0.5], dim=1)


def block_spectra(x: Tensor) -> Tensor:
    """Fourier coefficients of blocks of 8×8 positions side by side, divided by 64: that of frequency 0 is the mean.

    Those that follow from others, as the input is real, are left out.

    Shape: (N,C,H,W), H and W multiples of 8 -> complex (N,C,H·W/64,8,5).
    """
    blocks = x.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4).flatten(2, 3)
    return torch.fft.rfft2(blocks, norm="forward")


def masked_sensitivity(amplitude: Tensor, sensitivity: Tensor, luminance: Tensor, contrast: Tensor) -> Tensor:
    """By how much each coefficient may differ before it is seen: the sensitivity, raised where the image masks it.

    t_l = t (A₀ / mean A₀)^α in bright blocks, where A₀ is the amplitude of frequency 0 and its mean is over the image's
    blocks; s = softmax-weighted mean of t_l and A^w t_l^(1-w), a smooth maximum, where the amplitude A is itself large.

    Shape: amplitude (N,C,K,8,5), sensitivity (C,8,5), luminance (C,), contrast (C,) -> (N,C,K,8,5).

    Args:
        amplitude: A, of the reference.
        sensitivity: t.
        luminance: α.
        contrast: w, in [0,1].
    """
    alpha, w = luminance[:, None, None, None], contrast[:, None, None, None]
    mean = amplitude[..., :1, :1]
    masked = sensitivity[:, None] * ((mean + EPS) / (mean.mean(dim=2, keepdim=True) + EPS)) ** alpha
    both = torch.stack([masked.expand_as(amplitude), (amplitude + EPS) ** w * masked ** (1 - w)])
    return (both * both.softmax(dim=0)).sum(dim=0)


def beta_norm(x: Tensor, beta: Tensor) -> Tensor:
    """(Σ x^β)^(1/β) over all but the first two dimensions of x ≥ 0; its gradient is 0 where x is.

    Shape: (N,C,…), beta (C,) -> (N,C).
    """
    x = x.flatten(2)
    # Divided by the largest first, so that no power over- or underflows. It cancels out, and needs no gradient.
    largest = x.detach().amax(dim=2)
    scale = torch.where(largest > 0, largest, 1)
    positive = x > 0
    powers = torch.where(positive, x / scale[..., None], 1) ** beta[:, None]
    total = torch.where(positive, powers, 0).sum(dim=2)
    return torch.where(largest > 0, scale * torch.where(largest > 0, total, 1) ** (1 / beta), 0)


def phase_distance(x: Tensor, y: Tensor) -> Tensor:
    """The angle between two complex numbers, in [0,π]; numbers below 1e-6 have phase 0. Its gradient is 0 where it is.

    Shape: any two alike -> real, of the same shape.
    """
    difference = _phase(x) - _phase(y)
    return torch.atan2(difference.sin(), difference.cos()).abs()


def watson_dft(
    x: Tensor,
    y: Tensor,
    sensitivity: Tensor,
    luminance: Tensor,
    contrast: Tensor,
    beta: Tensor,
    phase: Tensor,
) -> Tensor:
    """(Σ (| |X| - |Y| | / s)^β)^(1/β) + Σ v |∠X - ∠Y| over the coefficients of all blocks, for each channel.

    X and Y are `block_spectra` of x and y, s is the `masked_sensitivity` of y.

    Shape: x (N,C,H,W), y (N or 1,C,H,W), H and W multiples of 8 -> (N,C).

    Args:
        x: what is judged.
        y: the reference.
        sensitivity: t (C,8,5), positive.
        luminance: α (C,).
        contrast: w (C,), in [0,1].
        beta: β (C,), positive.
        phase: v (C,8,5).
    """
    a, b = block_spectra(x), block_spectra(y)
    shift = complex(EPS, EPS)
    amplitude_a, amplitude_b = (a + shift).abs(), (b + shift).abs()
    allowed = masked_sensitivity(amplitude_b, sensitivity, luminance, contrast)
    amplitudes = beta_norm((amplitude_a - amplitude_b).abs() / allowed, beta)
    return amplitudes + (phase[:, None] * phase_distance(a, b)).sum(dim=(2, 3, 4))


def _phase(x: Tensor) -> Tensor:
    seen = x.detach().abs() > _LEAST_AMPLITUDE
    return torch.where(seen, x, 1).angle()
