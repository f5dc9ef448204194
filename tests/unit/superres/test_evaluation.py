"""PSNR and SSIM beside formulas in numpy, and what an evaluation measures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from opsin.errors import ChoiceError, InputError, MissingExtraError
from opsin.functional.resample import downscale
from opsin.networks import EDSR
from opsin.published.listing import ALWAYS, make_loss, why_not_at_hand
from opsin.superres.data import rounded
from opsin.superres.evaluation import Evaluator, evaluate, psnr_y, ssim_y

pytest.importorskip("torchmetrics", reason="extra 'sr'")

Array = npt.NDArray[np.float64]


def pair(seed: int = 0, height: int = 40, width: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """An image in 8 bits and one near to it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 8, 9, generator=generator)
    y = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return rounded(y + 0.05 * torch.randn(y.shape, generator=generator)), rounded(y)


def luma(image: torch.Tensor) -> Array:
    """MATLAB's rgb2ycbcr of floats, times 255."""
    r, g, b = image[0].double().numpy()
    return 65.481 * r + 128.553 * g + 24.966 * b + 16


def ssim(a: Array, b: Array) -> float:
    """The authors' MATLAB code in words: 11x11 Gaussian, the valid region, the mean."""
    axis = np.arange(11) - 5
    row = np.exp(-(axis**2) / (2 * 1.5**2))
    window = np.outer(row, row) / row.sum() ** 2

    def filtered(x: Array) -> Array:
        return np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(x, (11, 11)), window)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = filtered(a), filtered(b)
    va, vb, cov = filtered(a * a) - ma**2, filtered(b * b) - mb**2, filtered(a * b) - ma * mb
    return float(np.mean((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))))


@pytest.mark.parametrize("shave", [0, 4])
def test_psnr_and_ssim_are_the_fields(shave: int) -> None:
    x, y = pair()
    inside = np.s_[shave : 40 - shave, shave : 48 - shave]
    a, b = luma(x)[inside], luma(y)[inside]
    assert float(psnr_y(x, y, shave=shave)) == pytest.approx(10 * np.log10(255**2 / np.mean((a - b) ** 2)), abs=1e-4)
    assert float(ssim_y(x, y, shave=shave)) == pytest.approx(ssim(a, b), abs=1e-6)
    assert float(ssim_y(x, y, shave=shave)) != pytest.approx(ssim(a, b + 9), abs=1e-4)
    assert float(ssim_y(y, y)) == pytest.approx(1)


def test_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [(f"photo{i}", pair(i)[1]) for i in range(2)]
    models = {"nearest": lambda x: torch.nn.functional.interpolate(x, scale_factor=4), "edsr": EDSR(4, 4, 1).eval()}
    found = evaluate(models, photos, scale=4, losses=[])
    assert [(row.image, row.model) for row in found.rows] == [
        (name, model) for name, _ in photos for model in ("bicubic", "lanczos", "nearest", "edsr")
    ]
    assert found.metrics == ("psnr", "ssim", ALWAYS)
    means = found.means()
    rows = [row.values["psnr"] for row in found.rows if row.model == "nearest"]
    assert means["nearest"]["psnr"] == pytest.approx(sum(rows) / 2)
    assert means["bicubic"]["psnr"] > means["nearest"]["psnr"] > means["edsr"]["psnr"]
    assert means["bicubic"][ALWAYS] < means["edsr"][ALWAYS]
    assert found.signature["downscale"] == "matlab"

    # By hand.
    photo = photos[0][1]
    small = rounded(downscale(photo, 4))
    octets = (small[0] * 255).round().byte().permute(1, 2, 0).numpy()
    large = np.asarray(Image.fromarray(octets).resize((48, 40), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    x = torch.from_numpy(large).permute(2, 0, 1)[None]
    first = found.rows[0].values
    assert first["psnr"] == pytest.approx(float(psnr_y(x, photo, shave=4)))
    assert first["ssim"] == pytest.approx(float(ssim_y(x, photo, shave=4)))
    assert first[ALWAYS] == pytest.approx(float(make_loss(ALWAYS)(x, photo)), rel=1e-5)


def test_losses_by_name_share_what_they_can() -> None:
    photo = pair(height=64, width=64)[1]
    evaluator = Evaluator({}, 4, losses=["esrgan", "focal-frequency", "esrgan"])
    assert evaluator.losses == (ALWAYS, "esrgan", "focal-frequency")
    values = evaluator.measure("photo", photo)[0].values
    small = rounded(downscale(photo, 4))
    x = rounded(evaluator.models["bicubic"](small))
    for name in evaluator.losses:
        assert values[name] == pytest.approx(float(make_loss(name)(x, photo)), rel=1e-4)
    assert len({term.extractor.spec.key for term in evaluator.loss.terms.values()}) == 2


def test_small_images_that_are_given() -> None:
    photo = pair()[1]
    evaluator = Evaluator({}, 4, losses=[])
    row = evaluator.measure("photo", photo, small=torch.zeros(1, 3, 10, 12))[0]
    assert row.values["psnr"] < 15
    assert evaluator.signature["downscale"] == "given"
    with pytest.raises(InputError, match="a small image must be 12x10 for a photo of 48x40, got 20x10"):
        evaluator.measure("photo", photo, small=torch.zeros(1, 3, 10, 20))


def test_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"models must enlarge 2 times, got 'mine', which does 4 times"):
        Evaluator({"mine": EDSR(4, 4, 1)}, 2, losses=[])
    with pytest.raises(InputError, match="must not be called 'bicubic'"):
        Evaluator({"bicubic": lambda x: x}, 2, losses=[])
    with pytest.raises(ChoiceError, match=r"unknown loss 'lpips'"):
        Evaluator({}, 2, losses=["lpips"])
    with pytest.raises(InputError, match=r"image must be at least 32 pixels wide and high, got 30x12 in 'low'"):
        Evaluator({}, 4, losses=[]).measure("low", torch.rand(1, 3, 12, 30))
    monkeypatch.setitem(__import__("sys").modules, "torchmetrics.functional.image", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'opsin\[sr\]'"):
        psnr_y(*pair())


def test_what_is_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert "opsin weights fetch vgg16" in str(why_not_at_hand("dists"))
    assert why_not_at_hand("esrgan") is None
    monkeypatch.setattr("opsin.weights.shift_tolerant.find_spec", lambda _: None)
    assert "opsin[stlpips]" in str(why_not_at_hand("st-lpips-alex"))
