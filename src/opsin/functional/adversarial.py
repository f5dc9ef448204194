"""What a generator and a discriminator are trained with against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.checks import choice
from opsin.errors import InputError

_SCALE = 2.0**12


class _Pair(NamedTuple):
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]


def generator_loss(kind: str, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """What the generator lowers, of the discriminator's logits f of its images, and r of real ones where they count.

    - "vanilla": mean softplus(-f), the form that does not saturate.
    - "relativistic": ½ [mean softplus(r - mean f) + mean softplus(-(f - mean r))].
    - "lsgan": mean (f - 1)².
    - "hinge" and "wgan": -mean f.

    Shape: logits of any shape -> ().

    Args:
        kind: one of `GAN_LOSSES`.
        fake: f.
        real: r, for "relativistic" alone; a gradient flows through it unless it is detached.

    Raises:
        ChoiceError: an unknown kind.
        InputError: "relativistic" without `real`.

    Differs from the paper: the ½ of the relativistic average loss is that of ESRGAN's released code.

    Reference: "Generative adversarial networks", Goodfellow et al., 2014, https://arxiv.org/abs/1406.2661; "The
    relativistic discriminator", Jolicoeur-Martineau, 2018, https://arxiv.org/abs/1807.00734; "Least squares generative
    adversarial networks", Mao et al., 2017, https://arxiv.org/abs/1611.04076; "Geometric GAN", Lim and Ye, 2017,
    https://arxiv.org/abs/1705.02894; "Wasserstein GAN", Arjovsky et al., 2017, https://arxiv.org/abs/1701.07875

    Example:
        >>> generator_loss("hinge", torch.tensor([0.5, 1.5])).item()
        -1.0
    """
    chosen = GAN_LOSSES[choice("gan", kind, GAN_LOSSES)]
    return chosen.generator(_single(fake), None if real is None else _single(real))


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator lowers, of its logits r of real images and f of generated ones.

    - "vanilla": mean softplus(-r) + mean softplus(f).
    - "relativistic": ½ [mean softplus(-(r - mean f)) + mean softplus(f - mean r)].
    - "lsgan": ½ [mean (r - 1)² + mean f²].
    - "hinge": mean max(0, 1 - r) + mean max(0, 1 + f).
    - "wgan": mean f - mean r; the discriminator has to be Lipschitz by other means.

    Shape: logits of any shape -> ().

    Args:
        kind: one of `GAN_LOSSES`.
        real: r.
        fake: f, of images that are detached from the generator.

    Raises:
        ChoiceError: an unknown kind.

    Reference: see `generator_loss`.

    Example:
        >>> discriminator_loss("hinge", torch.tensor([2.0]), torch.tensor([0.0])).item()
        1.0
    """
    return GAN_LOSSES[choice("gan", kind, GAN_LOSSES)].discriminator(_single(real), _single(fake))


def adaptive_weight(
    reconstruction: Tensor,
    adversarial: Tensor,
    last_layer: Tensor,
    *,
    largest: float = 1e4,
    epsilon: float = 1e-4,
) -> Tensor:
    """VQGAN's weight of the generator's adversarial loss: its gradient as long as that of the reconstruction loss.

    λ = min(‖∇R‖ / (‖∇A‖ + ε), largest), the gradients with respect to the generator's last layer. No gradient flows
    through λ, and no `.grad` changes; the graphs of both losses are kept for the step to come.

    Shape: (), (), any -> ().

    Range: [0, largest].

    Args:
        reconstruction: R.
        adversarial: A.
        last_layer: weights that both depend on.
        largest: the largest λ.
        epsilon: ε.

    Raises:
        InputError: a loss that does not depend on `last_layer`.

    Reference: "Taming transformers for high-resolution image synthesis", Esser et al., 2021,
    https://arxiv.org/abs/2012.09841; ε and the largest value are those of its released code

    Example:
        >>> w = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> adaptive_weight(w.square().sum(), 5 * w[0], w, epsilon=0).item()
        2.0
    """
    lengths: list[Tensor] = []
    for what, loss in (("reconstruction", reconstruction), ("adversarial", adversarial)):
        # Outside of autocast, as any backward pass. Scaled, because gradients of means over pixels are too small for
        # float16; a power of two changes nothing in other precisions.
        with torch.autocast(loss.device.type, enabled=False):
            found = None
            if loss.requires_grad:
                (found,) = torch.autograd.grad(loss * _SCALE, last_layer, retain_graph=True, allow_unused=True)
        if found is None:
            raise InputError(
                f"the {what} loss must depend on last_layer, got one that does not. Pass a loss of what the network "
                "made, and the weights that it made it with."
            )
        lengths.append(torch.linalg.vector_norm(found) / _SCALE)
    return (lengths[0] / (lengths[1] + epsilon)).clamp(0, largest).detach()


def _single(logits: Tensor) -> Tensor:
    """Half precision has too few digits for a mean; what is more precise stays."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _relativistic_generator(f: Tensor, r: Tensor | None) -> Tensor:
    if r is None:
        raise InputError("real must be given for the relativistic loss, got none. Pass the logits of real images.")
    return _relativistic(f, r)


def _relativistic(larger: Tensor, smaller: Tensor) -> Tensor:
    """½ [those that should be larger than the others' mean, and those that should be smaller]."""
    return (F.softplus(smaller.mean() - larger).mean() + F.softplus(smaller - larger.mean()).mean()) / 2


def _minus_mean(f: Tensor, _: Tensor | None) -> Tensor:
    return -f.mean()


GAN_LOSSES: Mapping[str, _Pair] = MappingProxyType(
    {
        "vanilla": _Pair(
            lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(),
            lambda f, _: F.softplus(-f).mean(),
        ),
        "relativistic": _Pair(_relativistic, _relativistic_generator),
        "lsgan": _Pair(
            lambda r, f: ((r - 1).square().mean() + f.square().mean()) / 2,
            lambda f, _: (f - 1).square().mean(),
        ),
        "hinge": _Pair(lambda r, f: torch.relu(1 - r).mean() + torch.relu(1 + f).mean(), _minus_mean),
        "wgan": _Pair(lambda r, f: f.mean() - r.mean(), _minus_mean),
    }
)
"""The losses by name."""
