"""What generators and discriminators are trained with, against binary cross-entropy written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.errors import ChoiceError, InputError
from opsin.functional.adversarial import GAN_LOSSES, adaptive_weight, discriminator_loss, generator_loss

KINDS = list(GAN_LOSSES)


@pytest.fixture
def logits() -> tuple[Tensor, Tensor]:
    """Of real images, and of made ones: as many patches, no more alike than that."""
    generator = torch.Generator().manual_seed(3)
    real = torch.randn(3, 1, 4, 5, generator=generator, dtype=torch.float64) + 0.5
    return real, 2 * torch.randn(3, 1, 4, 5, generator=generator, dtype=torch.float64) - 0.3


def _bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def _expected(kind: str, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The discriminator's loss and the generator's."""
    r, f = real.mean(), fake.mean()
    if kind == "vanilla":
        return _bce(real, 1) + _bce(fake, 0), _bce(fake, 1)
    if kind == "relativistic":
        return (
            0.5 * (_bce(real - f, 1) + _bce(fake - r, 0)),
            0.5 * (_bce(real - f, 0) + _bce(fake - r, 1)),
        )
    if kind == "lsgan":
        ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
        return 0.5 * (F.mse_loss(real, ones) + F.mse_loss(fake, zeros)), F.mse_loss(fake, ones)
    if kind == "hinge":
        return (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(), -f
    return f - r, -f


@pytest.mark.parametrize("kind", KINDS)
def test_as_written_out(kind: str, logits: tuple[Tensor, Tensor]) -> None:
    real, fake = logits
    discriminator, generator = _expected(kind, real, fake)
    torch.testing.assert_close(discriminator_loss(kind, real, fake), discriminator, rtol=1e-12, atol=0)
    torch.testing.assert_close(generator_loss(kind, fake, real), generator, rtol=1e-12, atol=0)
    # The other way round is another loss: the comparison would see it.
    assert not torch.isclose(discriminator_loss(kind, fake, real), discriminator, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_who_pulls_where(kind: str, logits: tuple[Tensor, Tensor]) -> None:
    """The discriminator lifts real logits and lowers made ones; the generator lifts its own."""
    real, fake = (tensor.clamp(-0.9, 0.9).requires_grad_() for tensor in logits)
    up, down = torch.autograd.grad(discriminator_loss(kind, real, fake), (real, fake))
    if kind == "lsgan":  # to 1 and to 0, from both sides
        assert bool((up < 0).all())
        assert bool((down.sign() == fake.sign()).all())
    else:
        assert bool((up < 0).all() and (down > 0).all())
    (lifted,) = torch.autograd.grad(generator_loss(kind, fake, real.detach()), fake)
    assert bool((lifted < 0).all())


def test_the_relativistic_gradient_reaches_what_is_not_detached(logits: tuple[Tensor, Tensor]) -> None:
    real, fake = (tensor.clone().requires_grad_() for tensor in logits)
    generator_loss("relativistic", fake, real).backward()
    assert real.grad is not None
    assert bool((real.grad > 0).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_are_finite(kind: str, dtype: torch.dtype) -> None:
    real, fake = (torch.tensor([-6e4, 6e4, 0.0], dtype=dtype, requires_grad=True) for _ in range(2))
    for loss in (discriminator_loss(kind, real, fake), generator_loss(kind, fake, real)):
        assert loss.dtype == torch.float32
        assert bool(torch.isfinite(loss))
        for gradient in torch.autograd.grad(loss, (real, fake), allow_unused=True):
            assert gradient is None or bool(torch.isfinite(gradient).all())


def test_what_cannot_be(logits: tuple[Tensor, Tensor]) -> None:
    real, fake = logits
    with pytest.raises(ChoiceError, match="unknown gan 'hing'; did you mean 'hinge'"):
        generator_loss("hing", fake)
    with pytest.raises(ChoiceError, match="unknown gan"):
        discriminator_loss("none", real, fake)
    with pytest.raises(InputError, match="real must be given for the relativistic loss"):
        generator_loss("relativistic", fake)


def test_the_adaptive_weight_is_the_ratio_of_the_gradients_at_the_last_layer() -> None:
    """By hand: x = w·h, R = ½ Σ (x - y)², ∇R = (x - y)·h; A = Σ cx, ∇A = c·h."""
    h = torch.tensor(2.0, requires_grad=True)
    w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y, c = torch.tensor([2.0, 1.0, 6.0]), torch.tensor([0.3, 0.0, 0.4])
    x = w * h
    reconstruction, adversarial = (x - y).square().sum() / 2, (c * x).sum()
    # x - y = (0, 3, 0), so ‖∇R‖ = 6; ‖∇A‖ = 2 · 0.5 = 1.
    weight = adaptive_weight(reconstruction, adversarial, w)
    assert weight.item() == pytest.approx(6 / (1 + 1e-4), rel=1e-6)
    assert not weight.requires_grad
    assert w.grad is None
    # The graphs are there still, and the weight is a constant in them.
    (reconstruction + weight * adversarial).backward()
    torch.testing.assert_close(w.grad, torch.tensor([0.0, 6.0, 0.0]) + weight * 2 * c, rtol=1e-6, atol=1e-6)


def test_the_adaptive_weight_has_bounds_and_needs_the_layer() -> None:
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    assert adaptive_weight(w.square().sum(), 0 * w.sum(), w).item() == 1e4
    assert adaptive_weight(w.square().sum(), 0 * w.sum(), w, largest=7).item() == 7
    assert adaptive_weight(0 * w.sum(), w.sum(), w).item() == 0
    other = torch.ones(2, requires_grad=True)
    for unrelated in (other.sum(), torch.tensor(1.0)):
        with pytest.raises(InputError, match="the adversarial loss must depend on last_layer"):
            adaptive_weight(w.sum(), unrelated, w)


def test_the_adaptive_weight_in_half_precision() -> None:
    """Gradients of means over many pixels, which float16 alone would round to 0."""
    w = torch.full((4,), 0.5, requires_grad=True)
    pixels = torch.linspace(0, 1, 4 * 50_000).view(50_000, 4)
    losses = []
    for dtype in (torch.float32, torch.float16):
        x = (w * pixels).to(dtype)
        losses.append(((x.float() ** 2).mean() * 0.01, (x.float() * 0.01).mean()))
    exact, half = (adaptive_weight(*pair, w, epsilon=0).item() for pair in losses)
    assert half == pytest.approx(exact, rel=1e-2)
