"""FID and KID: distances on features of Inception, by torch-fidelity (Obukhov et al., 2020; extra `fidelity`)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opsin.checks import whole
from opsin.errors import MissingExtraError, WeightsError
from opsin.functional.populations import frechet_distance
from opsin.gan.evaluation import gather
from opsin.weights import sources
from opsin.weights.download import sha256_of

FILES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
"""The names under which torch-fidelity and pytorch-fid keep the official weights."""

URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILES[0]}"

OFFICIAL = "6726825d"
"""What the sha256 of the official weights begins with, by their authors' file name."""

FEATURES = 2048
_SUBSETS, _SUBSET = 100, 1000


@dataclass(frozen=True)
class Fidelity:
    """What `Inception.compare` found. Lower is better.

    Attributes:
        fid: Fréchet distance of the features.
        kid: kernel distance of the features, the mean over subsets.
        kid_std: its standard deviation over the subsets.
        kid_subsets: how many.
        kid_subset_size: images in each; 1000, as is usual, or all where there are fewer.
        official: whether the weights are the official ones: else the numbers are no FID and no KID.
        weights: their sha256.
        library: what computed the features.
    """

    fid: float
    kid: float
    kid_std: float
    kid_subsets: int
    kid_subset_size: int
    official: bool
    weights: str
    library: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @property
    def names(self) -> tuple[str, str]:
        """What the two numbers may be called."""
        if self.official:
            return "FID", "KID"
        mark = f"(Inception, weights {self.weights[:8]})"
        return f"frechet {mark}", f"kernel {mark}"


class Inception:
    """The Inception network of FID, as torch-fidelity has it.

    Images are rounded to 8 bits, as files have them, resized to 299 pixels as TensorFlow 1 did it, and become 2048
    numbers each, the mean over space of the last feature.

    Args:
        weights: a file of its weights; None looks for the official one by its names, in `OPSIN_WEIGHTS_DIR` and in
            torch hub's cache. It is not downloaded.
        device: to compute on.
        batch: images at a time.

    Raises:
        MissingExtraError: torch-fidelity is not installed.
        WeightsError: no weights, or others than the official ones under their name, or damaged ones.

    Reference: "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", Heusel et al., 2017,
    https://arxiv.org/abs/1706.08500; "Demystifying MMD GANs", Bińkowski et al., 2018, https://arxiv.org/abs/1801.01401
    """

    def __init__(
        self, weights: str | os.PathLike[str] | None = None, *, device: torch.device | str = "cpu", batch: int = 32
    ) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise MissingExtraError(
                "FID must have torch-fidelity installed, got no such package. pip install 'opsin[fidelity]'"
            ) from error
        path = find_weights() if weights is None else sources.existing_file(weights)
        self.sha256 = sha256_of(path)
        self.official = self.sha256.startswith(OFFICIAL)
        if path.name in FILES and not self.official:
            raise WeightsError(
                f"weights file '{path}' must have a sha256 that begins with {OFFICIAL}, got {self.sha256}. Delete it "
                "and fetch it again."
            )
        # torch-fidelity would unpickle the file, and with it run what is in it. It gets bytes that were made here.
        made = io.BytesIO()
        torch.save(sources.read_state(path), made)
        made.seek(0)
        try:
            network = FeatureExtractorInceptionV3("opsin", [str(FEATURES)], feature_extractor_weights_path=made)
        except RuntimeError as error:
            raise WeightsError(
                f"weights file '{path}' must be that of FID's Inception, got other tensors. Fetch {URL}."
            ) from error
        self.device = torch.device(device)
        self.network = network.to(self.device)
        self.batch = whole("batch", batch)

    @torch.no_grad()
    def vectors(self, batches: Iterable[Tensor]) -> Tensor:
        """The feature vectors (N,2048) of images (n,3,H,W) in [0,1].

        Raises:
            InputError: no images.
        """
        return gather(batches, self.batch, self._vectors)

    def _vectors(self, images: Tensor) -> Tensor:
        seen = images.clamp(0, 1).mul(255).round().to(torch.uint8)
        return self.network(seen.to(self.device))[0]

    def compare(self, generated: Tensor, real: Tensor, *, seed: int = 0) -> Fidelity:
        """FID and KID of vectors of generated and of real images; `seed` draws KID's subsets."""
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

        size = min(_SUBSET, len(generated), len(real))
        kid = kid_features_to_metric(
            generated, real, kid_subsets=_SUBSETS, kid_subset_size=size, rng_seed=seed, verbose=False
        )
        return Fidelity(
            # The same number as torch-fidelity's without the root of a matrix that few images leave without full rank.
            fid=frechet_distance(generated.double(), real.double()),
            kid=kid[KEY_METRIC_KID_MEAN],
            kid_std=kid[KEY_METRIC_KID_STD],
            kid_subsets=_SUBSETS,
            kid_subset_size=size,
            official=self.official,
            weights=self.sha256,
            library=f"torch-fidelity {version('torch-fidelity')}",
        )


def find_weights() -> Path:
    """The file of the official weights, in `OPSIN_WEIGHTS_DIR` or torch hub's cache.

    Raises:
        WeightsError: it is in neither.
    """
    folders = [folder for folder in (sources.weights_dir(), sources.hub_checkpoints()) if folder is not None]
    for folder in folders:
        for name in FILES:
            if (folder / name).is_file():
                return folder / name
    raise WeightsError(
        f"FID must have the official weights of Inception, got none in {' or '.join(map(repr, map(str, folders)))}. "
        f"Fetch {URL} into one of them, or name the file with --fid-weights."
    )
