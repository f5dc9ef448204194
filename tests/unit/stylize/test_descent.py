"""Moving an image downhill: both optimizers, saved and restored, and what isn't finite."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import opsin
from opsin import states
from opsin.stylize.descent import Descent, combined, descend
from opsin.stylize.objective import Value

GOAL = torch.linspace(0.1, 0.9, 48).reshape(1, 3, 4, 4)


def bowl(x: Tensor) -> Value:
    total = ((x - GOAL) * torch.linspace(1, 5, 48).reshape(1, 3, 4, 4)).square().sum()
    return Value(total, {"bowl": total.detach()})


@pytest.mark.parametrize(("optimizer", "steps", "tolerance"), [("lbfgs", 40, 1e-4), ("adam", 400, 1e-2)])
def test_both_optimizers_come_down(optimizer: str, steps: int, tolerance: float):
    seen = []
    got = descend(torch.zeros_like(GOAL), bowl, steps, seen.append, optimizer=optimizer)
    torch.testing.assert_close(got, GOAL, atol=tolerance, rtol=0)
    assert [s.number for s in seen] == list(range(1, steps + 1))
    assert seen[-1].total < 1e-2 * seen[0].total and set(seen[0].terms) == {"bowl"}


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("size", [1e-9, 1e9])
def test_the_size_of_the_loss_does_not_matter(optimizer: str, size: float):
    def scaled(x: Tensor) -> Value:
        value = bowl(x)
        return Value(size * value.total, value.terms)

    plain, other = (descend(torch.zeros_like(GOAL), f, 10, optimizer=optimizer) for f in (bowl, scaled))
    torch.testing.assert_close(plain, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_restored_descent_goes_on_to_the_bit(optimizer: str, tmp_path: Path):
    straight = Descent(torch.zeros_like(GOAL), bowl, optimizer=optimizer)
    for _ in range(9):
        straight.step()
    half = Descent(torch.zeros_like(GOAL), bowl, optimizer=optimizer)
    for _ in range(4):
        half.step()
    states.save_state(tmp_path / "state", half.state(), kind="test")
    resumed = Descent(torch.ones_like(GOAL), bowl, optimizer=optimizer)
    resumed.restore(states.load_state(tmp_path / "state", kind="test"))
    for _ in range(5):
        resumed.step()
    assert torch.equal(resumed.finish(), straight.finish()) and resumed.steps == 9


def test_the_best_image_is_kept_when_it_diverges():
    descent = Descent(torch.zeros_like(GOAL), bowl, lr=3.0)
    totals = [descent.step().total for _ in range(12)]
    assert totals[-1] > min(totals)
    assert float(bowl(descent.finish()).total) == pytest.approx(min(totals), rel=1e-4)


def test_a_total_that_is_not_finite_leaves_the_best():
    calls = 0

    def breaks(x: Tensor) -> Value:
        nonlocal calls
        calls += 1
        value = bowl(x)
        return value if calls < 4 else Value(value.total * math.nan, value.terms)

    descent = Descent(torch.zeros_like(GOAL), breaks)
    totals = [descent.step().total for _ in range(4)]
    assert math.isnan(totals[-1]) and bool(descent.best.isfinite().all())
    assert float(bowl(descent.best).total) == pytest.approx(min(totals[:3]))


def test_objectives_add():
    both = combined(bowl, lambda x: Value(x.sum(), {"sum": x.sum().detach()}))(GOAL)
    assert set(both.terms) == {"bowl", "sum"} and float(both.total) == pytest.approx(float(GOAL.sum()))


def test_an_unknown_optimizer():
    with pytest.raises(opsin.ChoiceError, match="unknown optimizer 'sgd'"):
        Descent(GOAL, bowl, optimizer="sgd")
