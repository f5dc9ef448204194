"""Places in a plot of points: round ticks, and labels that can be read."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsin.report.scatter import axis_of, leader, overlap, place_labels

FRAME = (0.0, 0.0, 1000.0, 640.0)
RADIUS = 9.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.integers(4, 9))
def test_an_axis_has_all_values_and_round_ticks(values: list[float], wanted: int) -> None:
    axis = axis_of(values, wanted=wanted)
    assert all(0 < axis.place(value) < 1 for value in values)
    assert 2 <= len(axis.ticks) <= 2 * wanted
    assert all(axis.low <= tick <= axis.high or tick == pytest.approx(axis.low) for tick in axis.ticks)
    labels = [axis.label(tick) for tick in axis.ticks]
    assert len(set(labels)) == len(labels)
    assert [float(label) for label in labels] == pytest.approx(list(axis.ticks), rel=1e-9, abs=1e-12)


def test_ticks_that_are_known() -> None:
    assert axis_of([0.1, 0.3], wanted=5).ticks == pytest.approx((0.10, 0.15, 0.20, 0.25, 0.30))
    assert axis_of([20, 30], wanted=6).ticks == (20, 22, 24, 26, 28, 30)
    assert axis_of([0.0]).place(0.0) == 0.5


def spread(number: int, seed: int) -> list[tuple[float, float]]:
    """Points of which some lie close together."""
    return [(60 + (seed * 397 + i * i * 131) % 880, 60 + (seed * 211 + i * 173) % 520) for i in range(number)]


@pytest.mark.parametrize("number", [1, 3, 8, 14])
@pytest.mark.parametrize("seed", range(6))
def test_labels_lie_on_nothing(number: int, seed: int) -> None:
    points = spread(number, seed)
    # Two that lie on each other.
    points[-1] = (points[0][0] + 2, points[0][1] - 1)
    sizes = [(60.0 + 20 * (i % 4), 24.0) for i in range(number)]
    taken = [(880.0, 570.0, 980.0, 630.0)]
    boxes = place_labels(points, sizes, FRAME, radius=RADIUS, taken=taken)
    for box, size in zip(boxes, sizes, strict=True):
        assert (box[2] - box[0], box[3] - box[1]) == pytest.approx(size)
        assert overlap(box, FRAME) == pytest.approx(size[0] * size[1])
        assert overlap(box, taken[0]) == 0
        for x, y in points:
            assert overlap(box, (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)) == 0
    assert all(overlap(a, b) == 0 for a, b in itertools.combinations(boxes, 2))


def test_a_label_alone_is_on_the_right_and_in_the_corner_on_the_left() -> None:
    (right,) = place_labels([(500, 300)], [(80, 24)], FRAME, radius=RADIUS)
    (left,) = place_labels([(990, 300)], [(80, 24)], FRAME, radius=RADIUS)
    assert right[0] > 509 and right[1] < 300 < right[3]
    assert left[2] < 981
    assert leader((500, 300), right, RADIUS) is None
    assert leader((500, 300), (700, 290, 780, 314), RADIUS) == (700, 300)


def test_more_than_there_is_room_for_stays_in_the_frame() -> None:
    points = [(50.0, 20.0)] * 12
    frame = (0.0, 0.0, 100.0, 40.0)
    for box in place_labels(points, [(80.0, 24.0)] * 12, frame, radius=RADIUS):
        assert overlap(box, frame) == pytest.approx(80 * 24)
