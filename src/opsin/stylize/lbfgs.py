"""L-BFGS for an image whose values have bounds, an evaluation a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

# Pairs whose curvature is so small, beside their lengths, say nothing but rounding.
_FLAT = 1e-8


class BoundedLbfgs:
    """Steps x <- clamp(x - H g, 0, 1), where H is what L-BFGS takes for the inverse of the second derivative.

    Values that lie at a bound and would leave it are kept out of the step, and what is remembered is how far the image
    has really moved. `torch.optim.LBFGS` knows no bounds: an image that is clipped behind it loses a good part of what
    was gained, and a long run gets worse. It takes whole steps too, and each is one evaluation, as style transfer is
    used to; the first is short.

    Args:
        x: the image; it is changed in place.
        lr: a factor of each step.
        history: how many steps it remembers, two images each.

    Reference: "Updating quasi-Newton matrices with limited storage", Nocedal, 1980; bounds: "Projected Newton methods
    for optimization problems with simple constraints", Bertsekas, 1982
    """

    def __init__(self, x: Tensor, *, lr: float = 1.0, history: int = 10) -> None:
        self._x, self._lr = x, lr
        # Allocated once: what is freed and allocated anew in each step leaves holes among larger things.
        self._moves = x.new_zeros((history, x.numel()))
        self._changes = x.new_zeros((history, x.numel()))
        self._curvatures: list[float] = []  # move · change, of the oldest first
        self._next = 0
        self._before: tuple[Tensor, Tensor] | None = None

    def step(self, gradient: Tensor) -> None:
        """Move the image, given the gradient where it is."""
        x, g = self._x.detach().flatten(), gradient.detach().flatten()
        if self._before is None:
            length = self._lr / max(1.0, float(g.abs().sum()))
        else:
            self._remember(x - self._before[0], g - self._before[1])
            length = self._lr
        free = ~((x <= 0) & (g > 0) | (x >= 1) & (g < 0))
        direction = self._direction(g * free).mul_(free)
        self._before = x.clone(), g.clone()
        self._x.detach().view(-1).sub_(direction, alpha=length).clamp_(0, 1)

    def _remember(self, move: Tensor, change: Tensor) -> None:
        curvature = float(move @ change)
        if curvature <= _FLAT * float(move.norm() * change.norm()):
            return
        self._moves[self._next] = move
        self._changes[self._next] = change
        self._curvatures = [*self._curvatures, curvature][-len(self._moves) :]
        self._next = (self._next + 1) % len(self._moves)

    def _direction(self, g: Tensor) -> Tensor:
        """H g, by the recursion of two loops; g is changed."""
        places = [(self._next - k - 1) % len(self._moves) for k in range(len(self._curvatures))]  # the latest first
        newest_first = list(zip(places, reversed(self._curvatures), strict=True))
        shares = []
        for i, curvature in newest_first:
            share = float(self._moves[i] @ g) / curvature
            g.sub_(self._changes[i], alpha=share)
            shares.append(share)
        if newest_first:
            latest, curvature = newest_first[0]
            g.mul_(curvature / float(self._changes[latest] @ self._changes[latest]))
        for (i, curvature), share in zip(reversed(newest_first), reversed(shares), strict=True):
            g.add_(self._moves[i], alpha=share - float(self._changes[i] @ g) / curvature)
        return g

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {
            "moves": self._moves,
            "changes": self._changes,
            "curvatures": self._curvatures,
            "next": self._next,
            "before": self._before,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._moves.copy_(state["moves"])
        self._changes.copy_(state["changes"])
        self._curvatures, self._next = list(state["curvatures"]), state["next"]
        there = self._x.device
        self._before = None if state["before"] is None else tuple(t.to(there) for t in state["before"])
