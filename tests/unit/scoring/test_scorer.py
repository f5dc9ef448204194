"""What is measured of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import opsin
from opsin.errors import ChoiceError, InputError, MissingExtraError, WeightsError
from opsin.published.listing import LOSSES, make_loss
from opsin.scoring.results import Metric
from opsin.scoring.scorer import Scorer


@pytest.fixture
def yaml(tmp_path) -> str:
    """A loss of a network that is small."""
    path = tmp_path / "mine.yaml"
    opsin.build("squeezenet1_1", ["fire2"], "l1", weights="random").to_yaml(path)
    return str(path)


def images(n: int = 3, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.rand(2, n, 3, size, size, generator=torch.Generator().manual_seed(0))
    return x, y


def test_values_are_those_of_the_losses(yaml):
    pytest.importorskip("torchmetrics", reason="extra 'score'")
    scorer = Scorer(["focal-frequency", yaml], ["psnr", "ssim"])
    assert scorer.metrics == (
        Metric("focal-frequency"),
        Metric("mine"),
        Metric("psnr", higher=True),
        Metric("ssim", higher=True),
    )
    x, y = images()
    got = scorer.score(x, y)
    assert got.shape == (3, 4)
    assert got.dtype == torch.float64
    for i in range(3):
        a, b = x[i : i + 1], y[i : i + 1]
        expected = [
            float(make_loss("focal-frequency")(a, b)),
            float(opsin.load(yaml)(a, b)),
            10 * np.log10(1 / float((a - b).double().square().mean())),
        ]
        assert got[i, :3].tolist() == pytest.approx(expected, rel=1e-6)
    assert got[:, 2].tolist() != pytest.approx(got[:, 2].flip(0).tolist(), rel=1e-6)  # what would pass for anything


def test_kept_targets_give_the_same(yaml):
    scorer = Scorer([yaml, "focal-frequency"])
    x, y = images()
    torch.testing.assert_close(scorer.score(x, None, scorer.targets(y)), scorer.score(x, y), rtol=1e-7, atol=0)


def test_one_pass_serves_all_losses(monkeypatch, tmp_path):
    for distance in ("l1", "l2"):
        opsin.build("squeezenet1_1", ["fire2"], distance, weights="random").to_yaml(tmp_path / f"{distance}.yaml")
    scorer = Scorer([str(tmp_path / "l1.yaml"), str(tmp_path / "l2.yaml")])
    assert scorer.loss is not None
    (extractor,) = scorer.loss.extractors
    passes = []
    forward = type(extractor).forward
    monkeypatch.setattr(type(extractor), "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
    x, y = images()
    targets = scorer.targets(y)
    scorer.score(x, None, targets)
    scorer.score(y, None, targets)
    assert len(passes) == 3


@pytest.mark.parametrize("name", [n for n, listed in LOSSES.items() if listed.network == "vgg19"])
def test_values_depend_on_the_two_images_alone(name):
    """Some draw positions or directions; a batch, its order and what was drawn before have no influence."""
    scorer = Scorer([name])
    x, y = images(2, 80 if name == "fdl" else 48)
    batch = scorer.score(x, y)
    torch.rand(7)
    scorer = Scorer([name])  # as in another run
    alone = scorer.score(x[1:], None, scorer.targets(y[1:]))
    torch.testing.assert_close(batch[1:], alone, rtol=1e-5, atol=1e-9)


def test_what_draws_nothing_leaves_the_generator_alone(yaml, monkeypatch):
    """All threads share it: two at a time would take each other's state for the one to come back to."""
    scorer = Scorer([yaml])
    x, y = images()

    def refuse(_):
        raise AssertionError

    monkeypatch.setattr(torch, "manual_seed", refuse)
    state = torch.random.get_rng_state()
    scorer.score(x, None, scorer.targets(y))
    assert not scorer.draws and torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(AssertionError):  # as others do
        Scorer(["contextual"]).score(x, y)


def test_random_numbers_elsewhere_go_on():
    scorer = Scorer(["contextual"])
    x, y = images(1, 48)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    scorer.score(x, y)
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)


def test_names_of_networks_and_distances():
    scorer = Scorer(["vgg19-l2", "vgg19-cosine"])
    x, y = images(1, 48)
    got = scorer.score(x, y)[0].tolist()
    for value, distance in zip(got, ("l2", "cosine"), strict=True):
        assert value == pytest.approx(float(opsin.build("vgg19", None, distance, weights="bundled")(x, y)), rel=1e-5)


def test_the_signature_tells_what_produced_the_numbers(yaml):
    pytest.importorskip("torchmetrics", reason="extra 'score'")
    signature = Scorer([yaml], ["psnr"]).signature({"resize": "match"})
    assert signature["metrics"] == ["mine", "psnr"]
    assert signature["networks"]["squeezenet1_1"]["sha256"] == "seed:0"
    assert signature["resize"] == "match"
    assert "torchmetrics" in signature["also"]["psnr"]
    assert {"opsin", "torch", "dtype", "input_range", "pillow"} <= set(signature)
    assert signature.id != Scorer([yaml], ["psnr"]).signature().id
    assert str(Scorer([], ["psnr"]).signature())


def test_what_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ChoiceError, match="unknown loss 'lpips-alx'; did you mean 'lpips-alex'"):
        Scorer(["lpips-alx"])
    with pytest.raises(ChoiceError, match="unknown metric 'sim'; did you mean 'ssim'"):
        Scorer(["focal-frequency"], ["sim"])
    with pytest.raises(InputError, match="must be one at least"):
        Scorer([])
    with pytest.raises(InputError, match="named once, got focal-frequency, focal-frequency"):
        Scorer(["focal-frequency"] * 2)
    with pytest.raises(InputError, match="device must be one of this machine"):
        Scorer(["focal-frequency"], device="cuda:99")
    with pytest.raises(WeightsError, match="must"):
        Scorer(["pieapp"])
    with pytest.raises(InputError, match="at least 11x11 for ssim, got 9x9"):
        Scorer([], ["ssim"]).score(*images(1, 9))
    with pytest.raises(InputError, match="NaN of focal-frequency"):
        monkeypatch.setattr("opsin.scoring.scorer.totals", lambda *_: {"focal-frequency": torch.tensor([torch.nan])})
        Scorer(["focal-frequency"]).score(*images(1))
    monkeypatch.setitem(__import__("sys").modules, "torchmetrics.functional.image", None)
    with pytest.raises(MissingExtraError, match=r"opsin\[score\]"):
        Scorer(["focal-frequency"], ["psnr"])


@pytest.mark.parametrize("name", [n for n, listed in LOSSES.items() if listed.network in ("vgg19", "image")])
def test_what_draws_is_known(name):
    """Batches of other losses may be computed side by side."""
    scorer = Scorer([name])
    x, y = images(1, 80 if name == "fdl" else 48)
    assert scorer.loss is not None
    before = torch.get_rng_state()
    scorer.loss.evaluate(x, **dict.fromkeys(scorer.loss.references, y))
    assert scorer.draws or torch.equal(torch.get_rng_state(), before)


def test_ssim_in_single_precision():
    pytest.importorskip("torchmetrics", reason="extra 'score'")
    from opsin.classical import ssim

    for low, high in ((0.0, 1.0), (0.9, 0.902)):
        x, y = (low + (high - low) * image for image in images(2, 64))
        torch.testing.assert_close(ssim(x, y).double(), ssim(x.double(), y.double()), rtol=0, atol=1e-4)
