"""Noise by number, truncation, and the way from one image to the next."""

from __future__ import annotations

import pytest
import torch

from opsin.errors import InputError
from opsin.gan.sampling import decode, grid, images_of, latents, path_between
from opsin.networks import make_generator


def test_noise_is_normal_and_each_row_its_own() -> None:
    z = latents(400, 50)
    assert abs(float(z.mean())) < 0.03
    assert float(z.std()) == pytest.approx(1, abs=0.02)
    assert float(z.abs().max()) > 3
    torch.testing.assert_close(latents(3, 50, first=7), z[7:10], rtol=0, atol=0)
    assert not torch.equal(latents(3, 50, seed=1), z[:3])


def test_truncated_noise_is_the_normal_between() -> None:
    z = latents(400, 50, truncation=0.7)
    assert float(z.abs().max()) <= 0.7
    # Of the normal distribution between -t and t: 1 - 2 t φ(t) / (2 Φ(t) - 1).
    assert float(z.var()) == pytest.approx(0.1514, abs=0.004)
    torch.testing.assert_close(latents(5, 8, truncation=60.0), latents(5, 8), rtol=1e-5, atol=1e-5)


def test_images_do_not_depend_on_batches() -> None:
    torch.manual_seed(0)
    network = make_generator("tiny", 32).train()
    (together,) = images_of(network, 5)
    apart = torch.cat(list(images_of(network, 5, batch=2)))
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-5)
    assert network.training
    assert not together.requires_grad


def test_a_path_keeps_its_length_and_passes_its_points() -> None:
    z = torch.nn.functional.normalize(latents(3, 16), dim=1) * 4
    path = path_between(z, 5)
    assert path.shape == (11, 16)
    torch.testing.assert_close(path[::5], z)
    torch.testing.assert_close(path.norm(dim=1), torch.full((11,), 4.0))
    steps = torch.nn.functional.cosine_similarity(path[:5], path[1:6])
    torch.testing.assert_close(steps, steps[:1].expand(5), rtol=1e-4, atol=1e-5)
    closed = path_between(z, 5, closed=True)
    assert closed.shape == (15, 16)
    torch.testing.assert_close(closed[:10], path[:10])
    same = path_between(z[:1].expand(2, -1), 4)
    torch.testing.assert_close(same, z[:1].expand(5, -1))


def test_a_grid() -> None:
    images = torch.arange(5.0)[:, None, None, None].expand(-1, 3, 2, 2) / 10
    made = grid(images)
    assert made.shape == (3, 6, 4)
    assert made[0, ::2, ::2].flatten().tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 1.0])


def test_what_is_refused() -> None:
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="truncation must be a positive number"):
            latents(1, 4, truncation=wrong)
    with pytest.raises(InputError, match="at least 2 points"):
        path_between(latents(1, 4), 3)
    with pytest.raises(InputError, match="noise must be"):
        decode(make_generator("tiny", 32), latents(1, 4))
