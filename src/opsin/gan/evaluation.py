"""How good a generator is: distances of its images' features from the data's, and whether it copies or repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin._version import __version__
from opsin.checks import whole
from opsin.errors import InputError
from opsin.extractors import Extractor, make_extractor
from opsin.functional.populations import frechet_distance, kernel_distance, nearest, precision_recall, spread

COLLAPSED_BELOW = 0.4
"""The part of the data's spread below which a generator is said to have collapsed."""

_DEFAULTS: Mapping[str, str] = {"vgg19": "relu5_1", "vgg16": "relu5_1", "efficientnet_lite0": "stage7"}


@dataclass(frozen=True)
class Quality:
    """What `Evaluator.compare` found. Lower distances are better; all depends on the signature.

    Attributes:
        frechet: Fréchet distance.
        kernel: kernel distance, 1000 times, as it is usually given.
        kernel_error: its standard error.
        precision: how much of the generated looks like data.
        recall: how much of the data the generated covers.
        spread: of the generated, as a part of that of the data.
        copies: the part of the generated that is nearer to a training image than that is to any other one; data of
            the same kind have about a half.
        collapsed: whether the spread is so small that the generator must repeat itself.
        generated: number of generated images.
        real: number of real ones.
    """

    frechet: float
    kernel: float
    kernel_error: float
    precision: float
    recall: float
    spread: float
    copies: float
    collapsed: bool
    generated: int
    real: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


class Evaluator:
    """Features of images, and comparisons of sets of them.

    An image is brought to `size` pixels (bilinear, antialiased where it becomes smaller), and its vector is the mean
    over space of the feature at a tap, divided by a constant so that the numbers of networks are of one order: the root
    mean square of the real images' vectors.

    Args:
        network: see `opsin.make_extractor`, or an extractor.
        weights: of it; None for its own default.
        tap: of it; None for its deepest usual one.
        size: side of the images that it sees.
        device: to compute on.
        batch: images at a time.

    Raises:
        OpsinError: a network, weights or a tap that are not there.

    Differs from the papers: it is no FID and no KID, which are on features of one network, Inception; numbers of two
    networks, taps, sizes or sample sizes cannot be compared, and `signature` says which they are.

    Example:
        >>> evaluator = Evaluator("vgg11", "random", "pool3", size=32)
        >>> evaluator.vectors([torch.rand(4, 3, 16, 16)]).shape
        torch.Size([4, 256])
    """

    def __init__(
        self,
        network: str | Extractor = "vgg19",
        weights: str | None = None,
        tap: str | None = None,
        *,
        size: int = 64,
        device: torch.device | str = "cpu",
        batch: int = 64,
    ) -> None:
        self.extractor = network if isinstance(network, Extractor) else make_extractor(network, weights)
        self.tap = tap or _DEFAULTS.get(self.extractor.spec.network, "")
        if not self.tap:
            raise InputError(f"tap must be given for {self.extractor.spec.network}, got none. Name a deep one.")
        self.extractor.check_taps([self.tap])
        self.extractor.to(device)
        self.device = torch.device(device)
        self.size, self.batch = whole("size", size, 8), whole("batch", batch)

    @property
    def label(self) -> str:
        """What the distances are called, e.g. "vgg19 relu5_1 at 64"."""
        return f"{self.extractor.spec.network} {self.tap} at {self.size}"

    @property
    def signature(self) -> dict[str, Any]:
        """What decides the numbers."""
        seen = self.extractor.spec.describe()
        return {
            "opsin": __version__,
            "extractor": seen,
            "tap": self.tap,
            "pooled": "mean over space",
            "size": self.size,
        }

    @torch.no_grad()
    def vectors(self, batches: Iterable[Tensor]) -> Tensor:
        """The feature vectors (N,C) of images (n,3,H,W) in [0,1], in float32.

        Raises:
            InputError: no images.
        """
        return gather(batches, self.batch, self._vectors)

    def _vectors(self, images: Tensor) -> Tensor:
        feature = self.extractor(self._sized(images.to(self.device)), [self.tap])[self.tap]
        return feature.float().mean(dim=(2, 3))

    def _sized(self, images: Tensor) -> Tensor:
        if images.shape[-2:] == (self.size, self.size):
            return images
        smaller = max(images.shape[-2:]) > self.size
        return F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=smaller)

    def compare(self, generated: Tensor, real: Tensor) -> Quality:
        """All measures of vectors of generated and of real images.

        Raises:
            InputError: fewer than five of either.
        """
        if min(len(generated), len(real)) < 5:
            raise InputError(
                f"at least 5 images of each must be given, got {len(generated)} generated and {len(real)} real."
            )
        scale = real.double().square().mean().sqrt().clamp_min(1e-12)
        x, y = generated.double() / scale, real.double() / scale
        kernel = kernel_distance(x, y)
        coverage = precision_recall(x, y)
        of_data = spread(y)
        part = spread(x) / of_data if of_data else float("nan")
        return Quality(
            frechet=frechet_distance(x, y),
            kernel=1000 * kernel.value,
            kernel_error=1000 * kernel.error,
            precision=coverage.precision,
            recall=coverage.recall,
            spread=part,
            copies=_copies(x, y),
            collapsed=part < COLLAPSED_BELOW,
            generated=len(x),
            real=len(y),
        )


def gather(batches: Iterable[Tensor], size: int, see: Callable[[Tensor], Tensor]) -> Tensor:
    """What `see` gives of at most `size` images at a time, for all images of all batches, on the CPU.

    Raises:
        InputError: no images.
    """
    found = [see(part).cpu() for images in batches for part in images.split(size)]
    if not found:
        raise InputError("images must be given to be measured, got none.")
    return torch.cat(found)


def _copies(x: Tensor, y: Tensor) -> float:
    """The part of x that is nearer to its nearest y than that y is to any other."""
    distances, indices = nearest(x, y, 1)
    among = nearest(y, y, 2)[0][:, 1]
    return float((distances[:, 0] < among[indices[:, 0]]).double().mean())
