"""FID and KID on torch-fidelity's Inception, with random weights in the official file's form."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from opsin.errors import InputError, MissingExtraError, WeightsError
from opsin.gan import fidelity
from opsin.gan.fidelity import FILES, Inception, find_weights
from opsin.images import read_image

pytest.importorskip("torch_fidelity", reason="extra 'fidelity'")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        shapes = theirs.FeatureExtractorInceptionV3("random", ["2048"]).state_dict()
    rng = torch.Generator().manual_seed(0)
    state = {}
    for name, like in shapes.items():
        if like.ndim > 1:  # so that features neither vanish nor grow on their way
            state[name] = torch.randn(like.shape, generator=rng) * (2 / like[0].numel()) ** 0.5
        else:
            state[name] = torch.full(like.shape, float(name.endswith(("var", "bn.weight")))).to(like.dtype)
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def inception(weights: Path) -> Inception:
    return Inception(weights, batch=2)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(0))


def test_features_are_those_of_torch_fidelity_on_files(
    inception: Inception, weights: Path, images: Tensor, tmp_path: Path
) -> None:
    from torch_fidelity.utils import create_feature_extractor, extract_featuresdict_from_input_id

    for i, image in enumerate(images):
        array = (image * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(array).save(tmp_path / f"{i}.png")
    theirs = create_feature_extractor(
        "inception-v3-compat", ["2048"], cuda=False, feature_extractor_weights_path=str(weights), verbose=False
    )
    options = {"input1": str(tmp_path), "batch_size": 3, "cuda": False, "save_cpu_ram": True, "verbose": False}
    expected = extract_featuresdict_from_input_id(1, theirs, **options)["2048"]
    assert expected.shape == (3, 2048)
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(inception.vectors([images]), expected, rtol=1e-5, atol=1e-6)
    # The files themselves, read by opsin.
    read = read_image(tmp_path / "0.png")
    torch.testing.assert_close(inception.vectors([read]), expected[:1], rtol=1e-5, atol=1e-6)


def test_fid_and_kid_are_those_of_torch_fidelity(inception: Inception) -> None:
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    rng = torch.Generator().manual_seed(1)
    # Few features: its root of a matrix takes long for all of them.
    x, y = torch.randn(90, 24, generator=rng), 1.2 * torch.randn(80, 24, generator=rng) + 0.3
    found = inception.compare(x, y)
    statistics = [fid_features_to_statistics(v.double()) for v in (x, y)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert found.fid == pytest.approx(expected, rel=1e-6)
    a, b = x.double(), y.double()
    kernels = [(p @ q.T / 24 + 1) ** 3 for p, q in ((a, a), (b, b), (a, b))]
    unbiased = sum(float(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in kernels[:2])
    assert found.kid == pytest.approx(unbiased - 2 * float(kernels[2].mean()), abs=5 * found.kid_std)
    assert (found.kid_subsets, found.kid_subset_size) == (100, 80)
    assert found.kid_std > 0
    assert inception.compare(x, y) == found


def test_other_weights_give_no_fid(inception: Inception, weights: Path) -> None:
    found = inception.compare(torch.rand(6, 8), torch.rand(6, 8))
    assert not found.official
    assert found.names[0] == f"frechet (Inception, weights {found.weights[:8]})"
    assert found.as_dict()["library"].startswith("torch-fidelity 0.")


def test_where_weights_are_looked_for(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, hub = tmp_path / "mine", tmp_path / "hub"
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(mine))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(hub))
    with pytest.raises(WeightsError, match=rf"official weights of Inception, got none in '{mine}' or .*--fid-weights"):
        Inception()
    (hub / "checkpoints").mkdir(parents=True)
    for name in FILES:
        (hub / "checkpoints" / name).symlink_to(weights)
        assert find_weights().parent == hub / "checkpoints"
        with pytest.raises(WeightsError, match="sha256 that begins with 6726825d, got"):
            Inception()
        (hub / "checkpoints" / name).unlink()
    # Whose hash is the official one is FID's.
    (hub / "checkpoints" / FILES[1]).symlink_to(weights)
    monkeypatch.setattr(fidelity, "sha256_of", lambda _: "6726825d" + "0" * 56)
    assert Inception().compare(torch.rand(6, 8), torch.rand(6, 8)).names == ("FID", "KID")


class Malice:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_files_that_are_no_weights(weights: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pth"
    bad.write_bytes(pickle.dumps({"fc.weight": Malice(tmp_path / "ran")}))
    with pytest.raises(WeightsError, match="No code in it was run"):
        Inception(bad)
    assert not (tmp_path / "ran").exists()
    bad.write_bytes(weights.read_bytes()[:10_000])
    with pytest.raises(WeightsError, match="damaged"):
        Inception(bad)
    torch.save({"fc.weight": torch.zeros(3)}, bad)
    with pytest.raises(WeightsError, match="must be that of FID's Inception, got other tensors"):
        Inception(bad)
    with pytest.raises(WeightsError, match="no such file"):
        Inception(tmp_path / "none.pth")


def test_no_images(inception: Inception) -> None:
    with pytest.raises(InputError, match="got none"):
        inception.vectors([])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'opsin\[fidelity\]'"):
        Inception()


def test_images_count_as_files_would_have_them(inception: Inception) -> None:
    """Within the rounding to 8 bits images are the same."""
    level = torch.full((1, 3, 8, 8), 100 / 255)
    a, b, c = (inception.vectors([level + shift / 255]) for shift in (0.0, 0.4, 1.0))
    assert torch.equal(a, b)
    assert not np.allclose(a, c, atol=1e-9)
