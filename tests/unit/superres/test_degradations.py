"""What makes small, bad images: the same from the same numbers, and as strong as it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from opsin.errors import ChoiceError
from opsin.functional.resample import downscale
from opsin.superres.degradations import DEGRADATIONS, SecondOrder, make_degradation
from opsin.superres.degradations.kernels import blurred, gaussian, sinc
from opsin.superres.degradations.noise import gaussian_noise, jpeg, poisson_noise


def smooth(height: int = 48, width: int = 64) -> torch.Tensor:
    """Colours that change slowly."""
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 4, width), indexing="ij")
    return torch.stack([0.5 + 0.4 * torch.sin(x + y), 0.5 + 0.3 * torch.cos(x), 0.5 + 0.3 * torch.sin(2 * y)])


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_shapes_ranges_and_the_same_from_the_same(name: str, scale: int) -> None:
    make = make_degradation(name, scale)
    image = smooth()
    first = [make(image, np.random.default_rng(seed)) for seed in range(6)]
    again = [make(image, np.random.default_rng(seed)) for seed in range(6)]
    for a, b in zip(first, again, strict=True):
        assert a.shape == (3, 48 // scale, 64 // scale)
        assert a.dtype == torch.float32
        assert float(a.min()) >= 0
        assert float(a.max()) <= 1
        assert torch.equal(a, b)
    assert torch.equal(image, smooth())
    if name != "bicubic":
        assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("name", ["blur-noise-jpeg", "real-esrgan"])
def test_they_spoil_more_than_the_filter_does_and_keep_the_picture(name: str) -> None:
    image = smooth(64, 64)
    plain = downscale(image[None], 4)[0]
    spoiled = [make_degradation(name, 4)(image, np.random.default_rng(seed)) for seed in range(12)]
    errors = [float((s - plain).abs().mean()) for s in spoiled]
    assert 0.004 < sum(errors) / 12 < 0.2
    assert max(errors) > 2 * min(errors)
    mean = torch.stack(spoiled).mean(dim=(0, 2, 3))
    torch.testing.assert_close(mean, plain.mean(dim=(1, 2)), rtol=0, atol=0.05)


def test_images_smaller_than_the_kernels() -> None:
    for seed in range(20):
        made = SecondOrder(4)(torch.rand(3, 16, 8), np.random.default_rng(seed))
        assert made.shape == (3, 4, 2)
        assert bool(made.isfinite().all())


def test_how_low_the_cutoffs_of_sinc_filters_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As published: π/3 at the least, but π/5 for large kernels in the two rounds, not at the end."""
    drawn: list[tuple[int, float]] = []

    def noted(size: int, cutoff: float) -> np.ndarray:
        drawn.append((size, cutoff))
        return sinc(size, cutoff)

    monkeypatch.setattr("opsin.superres.degradations.second_order.sinc", noted)
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))  # how much is drawn depends on it
    for sinc_share, last in [(0.0, 1.0), (1.0, 0.0)]:
        drawn.clear()
        make = SecondOrder(2, sinc=sinc_share, last_sinc=last)
        rng = np.random.default_rng(0)
        for _ in range(80):
            make(image, rng)
        small = min(cutoff for size, cutoff in drawn if size < 13)
        large = min(cutoff for size, cutoff in drawn if size >= 13)
        assert np.pi / 3 <= small < 1.2
        assert (np.pi / 5 <= large < 0.8) if sinc_share else (np.pi / 3 <= large < 1.2)
        assert max(cutoff for _, cutoff in drawn) <= np.pi


def test_the_margin_of_bicubic() -> None:
    """A crop with so much around it gives what the whole image gives there; with less it does not."""
    make = make_degradation("bicubic", 4)
    image = torch.rand(3, 64, 64)
    rng = np.random.default_rng(0)
    whole = make(image, rng)
    margin = make.margin
    assert margin == 8
    seen = make(image[:, 32 - margin : 48 + margin, 16 - margin : 32 + margin].contiguous(), rng)
    torch.testing.assert_close(seen[:, 2:-2, 2:-2], whole[:, 8:12, 4:8], rtol=0, atol=1e-6)
    less = make(image[:, 28:52, 12:36].contiguous(), rng)
    assert float((less[:, 1:-1, 1:-1] - whole[:, 8:12, 4:8]).abs().max()) > 1e-3


def test_unknown_names() -> None:
    with pytest.raises(ChoiceError, match=r"'bicubik'.*did you mean 'bicubic'"):
        make_degradation("bicubik", 4)
    with pytest.raises(ChoiceError, match="kind"):
        make_degradation("bicubic", 4, kind="gimp")


class TestKernels:
    @pytest.mark.parametrize("plateau", [False, True])
    @pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
    def test_sum_symmetry_and_direction(self, plateau: bool, beta: float) -> None:
        turned = gaussian(21, 4.0, 1.0, np.pi / 4, beta=beta, plateau=plateau)
        assert turned.sum() == pytest.approx(1)
        np.testing.assert_allclose(turned, turned[::-1, ::-1], atol=1e-15)
        np.testing.assert_allclose(turned, turned.T, atol=1e-15)
        assert turned[14, 14] > turned[14, 6]  # long from the upper left to the lower right

    def test_beta(self) -> None:
        """The larger, the flatter the top: what is left a pixel beside the peak."""
        beside = [gaussian(21, 2.0, beta=beta)[10, 11] / gaussian(21, 2.0, beta=beta)[10, 10] for beta in (0.5, 1, 3)]
        assert beside == pytest.approx([np.exp(-0.5 * 0.25**beta) for beta in (0.5, 1, 3)])

    def test_the_gaussian_is_one(self) -> None:
        row = np.exp(-0.5 * (np.arange(-10, 11) / 1.7) ** 2)
        np.testing.assert_allclose(gaussian(21, 1.7), np.outer(row, row) / row.sum() ** 2, atol=1e-15)

    def test_sinc_lets_long_waves_pass_and_short_ones_not(self) -> None:
        spectrum = np.abs(np.fft.fft2(sinc(21, np.pi / 2), (64, 64)))
        assert spectrum[0, 0] == pytest.approx(1)
        assert spectrum[0, :12].min() > 0.8  # up to 0.375π
        assert spectrum[0, 20:33].max() < 0.1  # from 0.625π on

    def test_blurring_keeps_constants_and_spreads_a_point(self) -> None:
        kernel = gaussian(9, 1.5)
        torch.testing.assert_close(blurred(torch.full((3, 20, 20), 0.4), kernel), torch.full((3, 20, 20), 0.4))
        point = torch.zeros(1, 21, 21)
        point[0, 10, 10] = 1
        torch.testing.assert_close(blurred(point, kernel)[0, 6:15, 6:15], torch.from_numpy(kernel).float())


class TestNoise:
    def test_gaussian(self) -> None:
        grey = torch.full((3, 100, 100), 0.5)
        noise = gaussian_noise(grey, 0.05, np.random.default_rng(0)) - 0.5
        assert float(noise.std()) == pytest.approx(0.05, rel=0.03)
        assert not torch.equal(noise[0], noise[1])
        same = gaussian_noise(grey, 0.05, np.random.default_rng(0), grey=True) - 0.5
        assert torch.equal(same[0], same[1])

    def test_poisson_is_stronger_where_it_is_bright(self) -> None:
        halves = torch.cat([torch.full((3, 100, 100), 0.1), torch.full((3, 100, 100), 0.8)], dim=2)
        halves = halves + torch.arange(200).remainder(16) / 2550  # so many levels
        noise = poisson_noise(halves, 0.5, np.random.default_rng(0)) - halves
        dark, bright = float(noise[..., :100].std()), float(noise[..., 100:].std())
        assert bright > 1.5 * dark > 0
        grey = poisson_noise(halves, 0.2, np.random.default_rng(0), grey=True) - halves
        torch.testing.assert_close(grey[0], grey[1], rtol=0, atol=1e-6)

    def test_poisson_is_of_the_published_strength(self) -> None:
        """Variance x/v of the image, v the levels in it up to a power of two."""
        x = torch.linspace(0.2, 0.6, 5).repeat_interleave(20000).reshape(1, 100, 1000).expand(3, 100, 1000)
        octets = (x * 255).round() / 255
        noise = poisson_noise(octets, 0.1, np.random.default_rng(0)) - octets
        assert float(noise.square().mean()) == pytest.approx(0.01 * float(octets.mean()) / 8, rel=0.03)

    def test_jpeg(self) -> None:
        image = smooth()
        fine, coarse = jpeg(image, 95), jpeg(image, 10)
        assert float((fine - image).abs().mean()) < 0.01 < float((coarse - image).abs().mean())
        assert jpeg(torch.rand(3, 5, 3), 50).shape == (3, 5, 3)
