"""What generators and discriminators are trained with, against binary cross-entropy written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.errors import ChoiceError, InputError
from opsin.functional.adversarial import GAN_LOSSES, discriminator_loss, generator_loss

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
