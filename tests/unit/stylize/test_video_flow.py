"""Optical flow, what it uncovers, and warping by it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.errors import InputError
from opsin.stylize.video import find_motion, flicker, warp
from opsin.stylize.video.flow import inside, warping_error
from opsin.stylize.video.temporal import temporal_objective

pytest.importorskip("cv2", reason="needs the extra video")


BORDER = 8


@pytest.fixture(scope="module")
def texture() -> Tensor:
    """Smooth noise, in which every place looks different."""
    coarse = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (96, 96), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize(("dx", "dy"), [(3, 1), (-2, 4), (0, 0), (5, -3)])
def test_finds_a_translation(texture: Tensor, dx: int, dy: int) -> None:
    previous = texture[..., 16:80, 16:80]
    current = texture[..., 16 + dy : 80 + dy, 16 + dx : 80 + dx]
    flow = find_motion(previous, current).flow[..., BORDER:-BORDER, BORDER:-BORDER]
    # A tenth of a pixel, the worst in a few places half of one: what DIS does with noise of this kind.
    assert (flow[:, 0] - dx).abs().mean() < 0.1
    assert (flow[:, 1] - dy).abs().mean() < 0.1
    assert (flow - torch.tensor([dx, dy]).reshape(1, 2, 1, 1)).abs().max() < 0.5


def test_a_pan_uncovers_a_strip(texture: Tensor) -> None:
    motion = find_motion(texture[..., 16:80, 16:80], texture[..., 16:80, 22:86])
    assert motion.seen[..., -6:].mean() < 0.1  # the six columns that came in
    assert motion.seen[..., :-8].mean() > 0.98


def test_a_thing_that_moves_away_uncovers_what_was_behind(texture: Tensor) -> None:
    thing = 1 - texture.flip(-1)[..., 30:70, 10:50]
    previous, current = texture.clone(), texture.clone()
    previous[..., 28:68, 20:60] = thing
    current[..., 28:68, 26:66] = thing
    motion = find_motion(previous, current)
    assert motion.seen[..., 32:64, 21:25].mean() < 0.2
    assert motion.seen[..., 32:64, 30:60].mean() > 0.95  # the thing itself
    assert motion.seen[..., :20, :].mean() > 0.95
    assert (motion.trusted <= motion.seen).all()
    assert motion.trusted.sum() < motion.seen.sum()  # its outline moves against what is behind it


def test_warping_the_previous_frame_gives_the_next(texture: Tensor) -> None:
    previous, current = texture[..., 16:80, 16:80], texture[..., 18:82, 19:83]
    motion = find_motion(previous, current)
    assert warping_error(current, previous, motion) < 1e-4
    assert (current - previous).square().mean() > 1e-3


def test_warp_reads_where_flow_points() -> None:
    image = torch.rand(1, 2, 20, 30, dtype=torch.float64)
    flow = torch.zeros(1, 2, 20, 30, dtype=torch.float64)
    flow[:, 0], flow[:, 1] = 4, -2
    torch.testing.assert_close(warp(image, flow)[..., 2:, :-4], image[..., :-2, 4:], rtol=0, atol=1e-12)
    torch.testing.assert_close(warp(image, 0 * flow), image, rtol=0, atol=1e-12)
    assert inside(flow)[..., 2:, :-4].all()
    assert not inside(flow)[..., :2, :].any()
    assert not inside(flow)[..., -4:].any()


def test_flow_is_the_same_whatever_the_threads(texture: Tensor) -> None:
    import cv2

    before = cv2.getNumThreads()
    found = []
    for threads in (1, 3):
        cv2.setNumThreads(threads)
        found.append(find_motion(texture[..., 16:80, 16:80], texture[..., 18:82, 19:83]).flow)
        assert cv2.getNumThreads() == threads
    cv2.setNumThreads(before)
    assert torch.equal(*found)


def test_flicker_is_the_mean_over_pairs(texture: Tensor) -> None:
    frame = texture[..., :32, :32]
    results = [frame, frame + 0.1, frame + 0.1]
    assert flicker(results, [frame] * 3) == pytest.approx(0.01 / 2, rel=1e-4)
    assert flicker(results[:1], [frame]) == 0


def test_frames_that_do_not_fit_are_refused(texture: Tensor) -> None:
    frame = texture[..., :32, :32]
    with pytest.raises(InputError, match="two images"):
        find_motion(frame, texture)
    with pytest.raises(InputError, match="16 pixels a side"):
        find_motion(frame[..., :15, :], frame[..., :15, :])
    with pytest.raises(InputError, match="as many as frames"):
        flicker([frame], [frame, frame])


class TestTemporal:
    def test_is_the_masked_mean(self) -> None:
        x, warped = torch.rand(2, 1, 3, 8, 8, dtype=torch.float64)
        trusted = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
        trusted[..., :4, :] = 1
        x.requires_grad_(True)
        value = temporal_objective(warped, trusted, 3.0)(x)
        expected = 3 * (x[..., :4, :] - warped[..., :4, :]).square().sum() / x.numel()
        torch.testing.assert_close(value.total, expected)
        assert set(value.terms) == {"temporal"}
        (gradient,) = torch.autograd.grad(value.total, x)
        assert not gradient[..., 4:, :].any()
        torch.testing.assert_close(gradient, 6 * trusted * (x - warped).detach() / x.numel())

    def test_brightness_is_compared_with_brightness(self) -> None:
        grey = torch.rand(1, 1, 8, 8)
        value = temporal_objective(grey.expand(-1, 3, -1, -1), torch.ones(1, 1, 8, 8), 1.0)(grey)
        assert float(value.total) == pytest.approx(0, abs=1e-12)
