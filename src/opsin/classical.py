"""PSNR and SSIM, torchmetrics': what perceptual distances are reported beside."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from opsin.errors import MissingExtraError

WINDOW = 11
"""Side of SSIM's window: images must be as large."""


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels, 10 log10(1 / mean (x - y)²) over channels and pixels, torchmetrics'.

    Shape: (N,C,H,W), (N,C,H,W) -> (N,).

    Range: [0, ∞], more is closer; ∞ for equal images.

    Args:
        x: the images to judge, in [0,1].
        y: what they should be.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    found = functions().peak_signal_noise_ratio(x, y, data_range=1.0, dim=(1, 2, 3), reduction="none")
    return found.reshape(len(x))


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity, torchmetrics': Gaussian window of 11 pixels, σ = 1.5, K = 0.01 and 0.03.

    The mean over channels and over windows that lie in the image, as the authors take it; torchmetrics' own one is over
    mirrored edges too. It computes in the dtype of the images: float64 has all digits; float32 loses some in the
    variance, a difference of squares, and is within 1e-4 of it, 2e-5 for photos,
    in a tenth of the time and memory.

    Shape: (N,C,H,W), (N,C,H,W) -> (N,), H and W at least 11.

    Range: [-1, 1], 1 for equal images.

    Args:
        x: the images to judge, in [0,1].
        y: what they should be.

    Raises:
        MissingExtraError: torchmetrics is not installed.

    Reference: "Image quality assessment: from error visibility to structural similarity", Wang et al., 2004
    """
    _, values = functions().structural_similarity_index_measure(
        x,
        y,
        data_range=1.0,
        sigma=1.5,
        reduction="none",
        return_full_image=True,
    )
    return values[..., WINDOW // 2 : -(WINDOW // 2), WINDOW // 2 : -(WINDOW // 2)].mean(dim=(1, 2, 3))


def functions() -> Any:
    """Torchmetrics' functions of images.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    try:
        import torchmetrics.functional.image
    except ImportError as error:
        raise MissingExtraError(
            "PSNR and SSIM must have torchmetrics installed, got no such package. "
            "pip install 'opsin[sr]' or 'opsin[score]', which bring it."
        ) from error
    return torchmetrics.functional.image
