"""What recipes with a discriminator and a perceptual loss do alike in a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from opsin.loss import PerceptualLoss
from opsin.tiling import tile_for


@contextmanager
def judged_by(judge: nn.Module) -> Iterator[None]:
    """For a generator's loss: within, the discriminator's own weights get no gradient, what it sees does.

    Give it the bare discriminator, not the one of `Updates`: in several processes nothing of this is to be shared.
    """
    judge.requires_grad_(False)
    try:
        yield
    finally:
        judge.requires_grad_(True)


def distance_from(original: Tensor, made: Tensor, loss: PerceptualLoss) -> Tensor:
    """The mean of a published loss over the images of a batch (N,3,H,W), a scalar.

    Args:
        original: what was wanted.
        made: what has become of it.
        loss: with one reference, see `opsin.published.listing.compares_with_original`.
    """
    (reference,) = loss.references  # some call it style
    references: dict[str, Any] = {reference: original}
    return loss.evaluate(made, **references, tile=tile_for(loss.terms, *original.shape[-2:])).total.mean()
