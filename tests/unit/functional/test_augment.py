"""Random changes that gradients pass through."""

from __future__ import annotations

import pytest
import torch

from opsin.errors import ChoiceError, InputError
from opsin.functional.augment import POLICIES, diff_augment


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("policy", POLICIES)
def test_each_changes_each_image_in_its_own_way(images: torch.Tensor, policy: str) -> None:
    torch.manual_seed(0)
    same = images[:1].expand(6, -1, -1, -1)
    made = diff_augment(same, (policy,))
    assert made.shape == same.shape
    assert len({tuple(x.flatten().tolist()) for x in made}) > 3
    torch.manual_seed(0)
    torch.testing.assert_close(diff_augment(same, (policy,)), made, rtol=0, atol=0)


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_pass(images: torch.Tensor, policy: str) -> None:
    images = images.double().requires_grad_(True)

    def fixed(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return diff_augment(x, (policy,))

    small = images[:2, :, :5, :4].detach().requires_grad_(True)
    assert torch.autograd.gradcheck(fixed, small)


def test_a_shift_is_a_shift_and_grey_comes_in() -> None:
    image = torch.zeros(64, 3, 16, 16)
    image[:, :, 8, 8] = 1
    torch.manual_seed(0)
    made = diff_augment(image, ("translation",))
    places = {tuple((x[0] == 1).nonzero()[0].tolist()) for x in made}
    assert all(abs(row - 8) <= 2 and abs(column - 8) <= 2 for row, column in places)
    assert len(places) > 15  # of 25
    assert set(made.unique().tolist()) == {0.0, 0.5, 1.0}


def test_a_cut_is_grey_and_at_most_a_quarter() -> None:
    torch.manual_seed(0)
    made = diff_augment(torch.ones(64, 3, 16, 16), ("cutout",))
    grey = (made[:, 0] == 0.5).flatten(1).sum(1)
    assert grey.max() == 64
    assert (made[:, 0] == made[:, 1]).all()
    assert grey.min() >= 16  # no more than half of each side is outside


def test_colours_move_within_their_ranges() -> None:
    torch.manual_seed(0)
    plain = torch.full((200, 3, 4, 4), 0.5)
    made = diff_augment(plain, ("colour",))[:, 0, 0, 0]
    assert 0.24 < made.min() < 0.28
    assert 0.72 < made.max() < 0.76


def test_nothing_and_what_it_does_not_know(images: torch.Tensor) -> None:
    assert diff_augment(images, ()) is images
    with pytest.raises(ChoiceError, match="did you mean 'colour'"):
        diff_augment(images, ("color",))
    with pytest.raises(InputError, match=r"\(N,3,H,W\)"):
        diff_augment(images[:, :1])
