"""Images of a generator: by number, with truncation, and on the way from one to the next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from opsin.checks import whole
from opsin.errors import InputError
from opsin.networks import load_network
from opsin.networks.fastgan import FastGAN


def latents(count: int, size: int, *, seed: int = 0, truncation: float | None = None, first: int = 0) -> Tensor:
    """Standard normal noise (count, size), each row drawn from (seed, its number) alone.

    With truncation t, each value is of the normal distribution between -t and t: images become more alike and, as a
    rule, more like the data.

    Args:
        count: rows.
        size: of a row.
        seed: of all rows.
        truncation: t; None for none.
        first: number of the first row.

    Raises:
        InputError: a truncation that is no positive number, or a negative count.

    Reference: the truncation trick of "Large scale GAN training for high fidelity natural image synthesis", Brock,
    Donahue and Simonyan, 2019, https://arxiv.org/abs/1809.11096

    Example:
        >>> torch.equal(latents(3, 8)[2:], latents(1, 8, first=2))
        True
    """
    whole("count", count, 0)
    whole("seed", seed, 0)
    if truncation is not None and not 0 < truncation < float("inf"):
        raise InputError(f"truncation must be a positive number, got {truncation}. E.g. 0.7; leave it out for none.")
    rows = np.empty((count, size))
    for row in range(count):
        rows[row] = np.random.default_rng((seed, first + row)).random(size)
    uniform = torch.from_numpy(rows)
    edge = 1.0 if truncation is None else float(torch.special.ndtr(torch.tensor(truncation, dtype=torch.float64)))
    low = 1 - edge
    # The inverse of the distribution function; its argument stays away from 0 and 1, where it is infinite.
    inside = (low + (edge - low) * uniform).clamp(1e-12, 1 - 1e-12)
    return torch.special.ndtri(inside).float()


def images_of(
    model: FastGAN | str | os.PathLike[str],
    count: int,
    *,
    seed: int = 0,
    truncation: float | None = None,
    batch: int = 64,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """Images 0 to count - 1 of a generator, some at a time: (n,3,S,S) in [0,1]; image i depends on (seed, i) alone.

    Args:
        model: a generator, or the file of one.
        count: how many.
        seed: of the noise.
        truncation: see `latents`.
        batch: how many at a time.
        device: of a generator that is read from a file.

    Raises:
        WeightsError: the file is missing, damaged, or of another kind of network.
        InputError: see `latents`.
    """
    network = model if isinstance(model, FastGAN) else load_generator(model).to(device)
    for first in range(0, count, batch):
        z = latents(min(batch, count - first), network.latent, seed=seed, truncation=truncation, first=first)
        yield decode(network, z)


def load_generator(path: str | os.PathLike[str]) -> FastGAN:
    """The generator of a run's file.

    Raises:
        WeightsError: the file is missing, damaged, or of another kind of network.
    """
    network, _ = load_network(path, FastGAN.architecture)
    if not isinstance(network, FastGAN):  # the architecture's name says so
        raise TypeError(type(network).__name__)
    return network


@torch.no_grad()
def decode(network: FastGAN, z: Tensor) -> Tensor:
    """The images of noise, with the network as it is used: nothing of one image depends on the others."""
    training = network.training
    network.eval()
    try:
        return network(z.to(next(network.parameters()).device)).float().clamp(0, 1)
    finally:
        network.train(training)


def path_between(z: Tensor, frames: int, *, closed: bool = False) -> Tensor:
    """Noise on the way along given points: great circles between them, `frames` from each to the next.

    slerp(a, b, t) = (sin((1-t)ω) a + sin(tω) b) / sin ω, ω the angle between a and b, so that what lies between is as
    long as normal noise is, which a straight line's middle is not.

    Shape: (K,Z) -> (frames · (K-1) + 1, Z), or (frames · K, Z) if closed.

    Args:
        z: the points.
        frames: steps from each to the next.
        closed: go back to the first one in the end, whose repetition is left out.

    Raises:
        InputError: fewer than two points.

    Reference: "Sampling generative networks", White, 2016, https://arxiv.org/abs/1609.04468

    Example:
        >>> path_between(torch.eye(2), 2)[1]
        tensor([0.7071, 0.7071])
    """
    whole("frames", frames)
    if z.ndim != 2 or len(z) < 2:
        raise InputError(f"a path must have at least 2 points (K,Z), got {tuple(z.shape)}.")
    points = torch.cat([z, z[:1]]) if closed else z
    parts = []
    for a, b in pairwise(points):
        cosine = (a @ b / (a.norm() * b.norm()).clamp_min(1e-12)).clamp(-1, 1)
        angle = torch.acos(cosine)
        t = torch.arange(frames, dtype=z.dtype, device=z.device)[:, None] / frames
        if float(torch.sin(angle)) < 1e-4:  # nearly on one line
            parts.append((1 - t) * a + t * b)
        else:
            parts.append((torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle))
    if not closed:
        parts.append(points[-1:])
    return torch.cat(parts)


def grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Images (N,3,S,S) as one picture (3,H,W), in rows without gaps; what is left of the last row is white."""
    count, _, height, width = images.shape
    columns = columns or max(1, round(count**0.5))
    rows = -(-count // columns)
    missing = images.new_ones(rows * columns - count, 3, height, width)
    whole_grid = torch.cat([images, missing]).reshape(rows, columns, 3, height, width)
    return whole_grid.permute(2, 0, 3, 1, 4).reshape(3, rows * height, columns * width)
