"""L-BFGS between bounds: torch's where none is in the way, and at them where the minimum lies beyond."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from opsin.stylize.lbfgs import BoundedLbfgs

GENERATOR = torch.Generator().manual_seed(0)
MIXED = torch.randn(20, 12, generator=GENERATOR, dtype=torch.float64)
INSIDE = torch.linspace(0.3, 0.7, 12, dtype=torch.float64)


def loss(x: Tensor, goal: Tensor) -> Tensor:
    return (MIXED @ (x.flatten() - goal)).square().mean()


def descend(goal: Tensor, steps: int, history: int = 10) -> list[Tensor]:
    x = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer, seen = BoundedLbfgs(x, history=history), []
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(loss(x, goal), x)
        optimizer.step(gradient)
        seen.append(x.detach().clone().flatten())
    return seen


@pytest.mark.parametrize("history", [2, 10])
def test_within_the_bounds_it_takes_the_steps_of_torch(history: int) -> None:
    x = torch.full((12,), 0.5, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.LBFGS([x], max_iter=1, history_size=history, tolerance_grad=0, tolerance_change=0)

    def closure() -> Tensor:
        theirs.zero_grad()
        value = loss(x, INSIDE)
        value.backward()
        return value

    for mine in descend(INSIDE, 12, history):
        theirs.step(closure)
        torch.testing.assert_close(mine, x.detach(), rtol=1e-9, atol=1e-12)
        assert float(mine.min()) > 0 and float(mine.max()) < 1


def test_a_minimum_beyond_the_bounds_is_found_at_them() -> None:
    goal = torch.linspace(-0.8, 1.8, 12, dtype=torch.float64)
    seen = descend(goal, 200)
    assert all(float(x.min()) >= 0 and float(x.max()) <= 1 for x in seen)
    # Of a convex function between bounds: a value may only want to leave.
    x = seen[-1].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x, goal), x)
    inner = (x > 0) & (x < 1)
    assert float(gradient[inner].abs().max()) < 1e-6
    assert bool((gradient[x == 0] > 0).all()) and bool((gradient[x == 1] < 0).all())
    assert 0 < int((~inner).sum()) < 12
    # Clipping what a search without bounds finds is worse.
    assert float(loss(x.detach(), goal)) < 0.9 * float(loss(goal.clamp(0, 1), goal))


def test_nothing_moves_where_there_is_no_slope() -> None:
    assert all(bool((x == 0.5).all()) for x in descend(torch.full((12,), 0.5, dtype=torch.float64), 3))


def test_one_that_is_restored_goes_on_to_the_bit() -> None:
    goal = torch.linspace(-0.8, 1.8, 12, dtype=torch.float64)
    straight = descend(goal, 9, history=3)[-1]
    x = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = BoundedLbfgs(x, history=3)
    for i in range(9):
        if i == 5:
            other = BoundedLbfgs(x, history=3)
            other.load_state_dict(optimizer.state_dict())
            optimizer = other
        optimizer.step(torch.autograd.grad(loss(x, goal), x)[0])
    assert torch.equal(x.detach().flatten(), straight)
