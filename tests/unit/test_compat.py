"""The drop-in classes as modules: frozen, nothing in a state dict, clear errors for what they do not do."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import opsin
from opsin import compat
from opsin.compat.differences import ChannelSum, Frobenius, GramDifference, UnitGramDifference

MAKERS: dict[str, Callable[..., nn.Module]] = {
    "lpips": lambda **o: compat.LPIPS(weights="random", **o),
    "piq content": lambda **o: compat.ContentLoss(layers=["relu1_2"], network_weights="random", **o),
    "piq style": lambda **o: compat.StyleLoss(layers=["relu1_2"], network_weights="random", **o),
    "piq lpips": lambda **o: compat.piq.LPIPS(network_weights="random", **o),
    "piq dists": lambda **o: compat.DISTS(network_weights="random", **o),
    "basicsr": lambda **o: compat.PerceptualLoss({"conv1_2": 1.0}, style_weight=1.0, weights="random", **o),
}


def images(n: int = 1, size: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x, y = torch.rand(2, n, 3, size, size, generator=generator)
    return x, y


def value(loss: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    got = loss(x, y)
    return sum(got) if isinstance(got, tuple) else got


@pytest.fixture(scope="module", params=list(MAKERS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def loss(kind: str) -> nn.Module:
    return MAKERS[kind]()


@pytest.fixture(scope="module")
def metric() -> Any:
    return compat.LearnedPerceptualImagePatchSimilarity(normalize=True, weights="random")


class Host(nn.Module):
    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.conv, self.loss = nn.Conv2d(3, 3, 1), loss


def test_it_adds_nothing_to_its_host(loss: nn.Module) -> None:
    host = Host(loss).train()
    assert set(host.state_dict()) == {"conv.weight", "conv.bias"}
    assert len(list(host.parameters())) == 2
    assert not list(loss.buffers())
    assert not any(m.training for m in loss.modules())


def test_checkpoints_with_a_peer_in_them_load(loss: nn.Module) -> None:
    host = Host(loss)
    state = {**host.state_dict(), "loss.lin0.model.1.weight": torch.ones(1), "loss.net.slice1.0.weight": torch.ones(1)}
    host.load_state_dict(state)
    with pytest.raises(RuntimeError, match="lin0"):  # handed to the loss itself, it is meant
        loss.load_state_dict({"lin0.model.1.weight": torch.ones(1)})


def test_copies_and_pickles(loss: nn.Module) -> None:
    x, y = images()
    expected = value(loss, x, y)
    for again in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(value(again, x, y), expected, rtol=0, atol=0)


def test_dtype_moves_and_prints_nothing(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = images()
    loss = MAKERS[kind]()
    expected = value(loss, x, y)
    double = value(loss.double(), x.double(), y.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(value(loss.float(), x, y), expected, rtol=0, atol=0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("case", ["equal", "black", "black and photo"])
def test_gradients_are_finite(loss: nn.Module, case: str) -> None:
    x, y = images()
    x = y.clone() if case == "equal" else torch.zeros_like(x)
    y = torch.zeros_like(y) if case == "black" else y
    value(loss, x.requires_grad_(), y).sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())
    assert case == "black and photo" or float(x.grad.abs().max()) == 0


def test_the_same_under_autocast(kind: str, loss: nn.Module) -> None:
    x, y = images()
    with torch.autocast("cpu", torch.bfloat16):
        got = value(loss, x, y)
    torch.testing.assert_close(got, value(loss, x, y), rtol=0.05, atol=0)


def test_values_are_checked_on_the_first_call(kind: str) -> None:
    x, y = images()
    with pytest.raises(opsin.InputError, match="divide by 255"):
        MAKERS[kind]()(255 * x, y)
    assert bool(torch.isfinite(value(MAKERS[kind](validate="never"), 255 * x, y)).all())


@pytest.mark.parametrize(
    "options",
    [
        {"mean": [0.0] * 3, "std": [1.0] * 3, "network_weights": "random"},
        {"use_input_norm": False, "weights": "random"},
    ],
)
def test_values_of_a_range_that_is_not_known_are_not_checked(options: dict[str, Any]) -> None:
    x, y = images()
    if "mean" in options:
        assert float(compat.ContentLoss(**options)(9 * x, y)) > 0
    else:
        assert float(compat.PerceptualLoss({"conv1_1": 1}, **options)(9 * x, y)[0]) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pnet_tune": True}, "pnet_tune must be False, got True"),
        ({"eval_mode": False}, "eval_mode must be True, got False"),
        ({"pretrained": False}, "pretrained must be True, got False"),
        ({"version": "0.2"}, "unknown version"),
        ({"net": "resnet"}, "unknown network"),
        ({"model_path": "nowhere.pth"}, "no such file"),
    ],
)
def test_lpips_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(opsin.OpsinError, match=message):
        compat.LPIPS(**{"weights": "random", **options})


def test_lpips_ranges() -> None:
    x, y = images()
    loss = compat.LPIPS(weights="random")
    torch.testing.assert_close(loss(2 * x - 1, 2 * y - 1), loss(x, y, normalize=True), rtol=1e-5, atol=0)
    torch.testing.assert_close(compat.LPIPS(pnet_rand=True)(x, y), loss(x, y), rtol=0, atol=0)
    with pytest.raises(opsin.InputError, match=r"\[0,1\]"):
        loss = compat.LPIPS(weights="random")
        loss(2 * x - 1, y, normalize=True)
    with pytest.raises(opsin.InputError, match=r"shape \(N,3,H,W\)"):
        loss(x[0], y)


def test_heads_of_a_file(tmp_path: Path) -> None:
    x, y = images()
    counts = (64, 192, 384, 256, 256)
    path = tmp_path / "heads.pth"
    torch.save({f"lin{i}.model.1.weight": torch.ones(1, c, 1, 1) for i, c in enumerate(counts)}, path)
    got = compat.LPIPS(weights="random", model_path=path)(x, y)
    torch.testing.assert_close(got, compat.LPIPS(weights="random", lpips=False)(x, y), rtol=1e-6, atol=0)
    # Without dropout the package's layers are counted from 0.
    torch.save({f"lin{i}.model.0.weight": torch.ones(1, c, 1, 1) for i, c in enumerate(counts)}, path)
    assert torch.equal(compat.LPIPS(weights="random", model_path=path, use_dropout=False)(x, y), got)
    for wrong, message in (
        ({"lin0.model.1.weight": torch.ones(1, 3, 1, 1)}, r"shape \(1, 64, 1, 1\), got \(1, 3, 1, 1\)"),
        ({"a": torch.ones(1)}, "got nothing of that name"),
        ({"net.slice1.0.weight": torch.ones(1)}, "heads alone"),
    ):
        torch.save(wrong, path)
        with pytest.raises(opsin.WeightsError, match=message):
            compat.LPIPS(weights="random", model_path=path)


def test_piq_goes_where_the_images_are() -> None:
    x, y = images()
    loss = compat.ContentLoss(layers=["relu1_1"], network_weights="random")
    assert loss(x.double(), y.double()).dtype == torch.float64
    assert loss(x, y).dtype == torch.float32
    loss.double()
    assert loss(x, y).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(x.bfloat16(), y.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["relu1_9"]}, "did you mean"),
        ({"layers": "relu1_1"}, "list of names"),
        ({"layers": ["relu1_1", "relu1_2"]}, "one per layer, 2 here, got 1"),
        ({"feature_extractor": "vgg11"}, "unknown feature_extractor"),
        ({"feature_extractor": nn.Sequential(nn.ReLU())}, "unknown layer 'relu3_3' for Sequential"),
        ({"distance": "l2"}, "unknown distance"),
        ({"reduction": "max"}, "unknown reduction"),
        ({"weights": [torch.ones(2, 2)]}, r"\(1,C,1,1\)"),
        ({"weights": [torch.ones(1, requires_grad=True)]}, "constants"),
        ({"std": [0.0, 1.0, 1.0]}, "positive deviations"),
    ],
)
def test_piq_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(opsin.OpsinError, match=message):
        compat.ContentLoss(**{"network_weights": "random", **options})


def test_piq_refuses_weights_that_do_not_fit() -> None:
    weights = [torch.ones(1, 3, 1, 1)]
    with pytest.raises(opsin.InputError, match="numbers for Gram"):
        compat.StyleLoss(weights=weights, network_weights="random")
    with pytest.raises(opsin.InputError, match="one per channel, 64 here, got 3"):
        compat.ContentLoss(layers=["relu1_1"], weights=weights, network_weights="random")(*images())


def test_a_module_of_the_users_stays_as_it_is() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    before = repr(net)
    loss = compat.ContentLoss(net, ["2"], replace_pooling=True)
    assert float(loss(*images())) > 0
    assert repr(net) == before
    assert all(p.requires_grad for p in net.parameters())


def test_basicsr_gives_none_for_what_has_no_weight() -> None:
    x, y = images()
    percep, style = compat.PerceptualLoss({"conv1_1": 1.0}, weights="random")(x, y)
    assert percep is not None
    assert style is None
    percep, style = compat.PerceptualLoss({"conv1_1": 1.0}, perceptual_weight=0, style_weight=1, weights="random")(x, y)
    assert percep is None
    assert style is not None
    nothing = compat.PerceptualLoss({"conv1_1": 1.0}, perceptual_weight=0, weights="random")
    assert nothing(x, y) == (None, None)


def test_basicsr_sends_no_gradient_to_the_target() -> None:
    x, y = images()
    percep, _ = compat.PerceptualLoss({"bn1_1": 1.0}, "vgg11_bn", weights="random")(
        x.requires_grad_(), y.requires_grad_()
    )
    percep.backward()
    assert x.grad is not None
    assert y.grad is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_weights": {}}, "dict of layers"),
        ({"layer_weights": ["conv1_1"]}, "dict of layers"),
        ({"layer_weights": {"conv1_9": 1.0}}, "unknown tap"),
        ({"criterion": "cos"}, "unknown criterion"),
        ({"vgg_type": "vgg12"}, "unknown network"),
    ],
)
def test_basicsr_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(opsin.OpsinError, match=message):
        compat.PerceptualLoss(**{"layer_weights": {"conv1_1": 1.0}, "weights": "random", **options})


def test_metric_life(metric: Any) -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    x, y = images(3)
    assert isinstance(metric, torchmetrics.Metric)
    metric = copy.deepcopy(metric)
    metric.update(x[:2], y[:2])
    metric.update(x[2:], y[2:])
    whole = metric.compute()
    expected = compat.LPIPS(weights="random")(x, y, normalize=True).mean()
    torch.testing.assert_close(whole, expected, rtol=1e-5, atol=0)
    again = pickle.loads(pickle.dumps(metric))
    assert torch.equal(again.compute(), whole)
    again.reset()
    assert again.all_scores == []
    assert torch.equal(again(x, y), again.compute())
    assert not metric.state_dict()
    assert not list(metric.parameters())
    assert not metric.train().net.training


def test_metric_in_a_collection_and_merged(metric: Any) -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    x, y = images(3)
    collection = torchmetrics.MetricCollection({"a": copy.deepcopy(metric), "mse": torchmetrics.MeanSquaredError()})
    collection.update(x, y)
    result = collection.compute()
    assert set(result) == {"a", "mse"}
    first, second = copy.deepcopy(metric), copy.deepcopy(metric)
    first.update(x[:2], y[:2])
    second.update(x[2:], y[2:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), result["a"], rtol=1e-5, atol=0)
    first.update(x, y)
    assert bool(torch.isfinite(first.compute()))


def test_metric_after_a_synchronisation(metric: Any) -> None:
    """Two processes, one with two batches and one with one."""
    x, y = images(3)
    metric = copy.deepcopy(metric)
    metric.update(x[:2], y[:2])
    metric.update(x[2:], y[2:])
    whole = metric.compute()
    metric._computed = None

    def gather(tensor: Tensor, group: object) -> list[Tensor]:
        return [tensor, tensor[:1]]

    metric.sync(dist_sync_fn=gather, distributed_available=lambda: True)
    assert isinstance(metric.all_scores, Tensor)
    assert len(metric.all_scores) == 4
    metric.unsync()
    assert torch.equal(metric.compute(), whole)


def test_metric_checks_values(metric: Any) -> None:
    x, y = images()
    signed = compat.LearnedPerceptualImagePatchSimilarity(weights="random")
    for wrong, which in ((-1.01, signed), (-0.01, metric), (1.01, metric), (float("nan"), metric)):
        bad = x.clone()
        bad[0, 0, 0, 0] = wrong
        with pytest.raises(opsin.InputError, match="must be in"):
            copy.deepcopy(which).update(bad, y)
        with pytest.raises(ValueError, match="img2"):
            copy.deepcopy(which).update(y, bad)
    with pytest.raises(opsin.InputError, match="see images"), pytest.warns(UserWarning, match="before"):
        copy.deepcopy(metric).compute()
    for options in ({"net_type": "vgg19"}, {"reduction": "max"}, {"normalize": 1}):
        with pytest.raises(ValueError, match=r"normalize|unknown"):
            compat.LearnedPerceptualImagePatchSimilarity(**options, weights="random")


def test_metric_without_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    home = compat.torchmetrics.__file__
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    spec = importlib.util.spec_from_file_location("without_torchmetrics", home)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(opsin.MissingExtraError, match="pip install"):
        module.LearnedPerceptualImagePatchSimilarity(weights="random")


def test_torchmetrics_is_imported_when_it_is_needed() -> None:
    code = (
        "import sys, opsin.compat; from opsin.compat import lpips; from opsin.compat.piq import DISTS; lpips.LPIPS\n"
        "assert not {'torchmetrics', 'lpips', 'piq', 'torchvision'} & set(sys.modules), sorted(sys.modules)\n"
        "opsin.compat.LearnedPerceptualImagePatchSimilarity; assert 'torchmetrics' in sys.modules\n"
    )
    pytest.importorskip("torchmetrics")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names() -> None:
    for name in compat.__all__:
        assert getattr(compat, name) is not None
    assert set(dir(compat)) == set(compat.__all__)
    assert compat.LPIPS is compat.lpips.LPIPS
    assert compat.LPIPS is not compat.piq.LPIPS
    with pytest.raises(AttributeError, match="no attribute 'SSIM'"):
        compat.SSIM  # noqa: B018


def test_differences_against_their_formulas() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 2, 3, 4, 5, generator=generator, dtype=torch.float64)
    weights = torch.rand(3, generator=generator, dtype=torch.float64)
    for n in range(2):
        sums = {1: 0.0, 2: 0.0}
        for c in range(3):
            for h in range(4):
                for w in range(5):
                    for p in (1, 2):
                        sums[p] += float(weights[c]) * abs(float(x[n, c, h, w] - y[n, c, h, w])) ** p / 20
        for p in (1, 2):
            assert float(ChannelSum(p, channel_weights=weights)(x, y)[n]) == pytest.approx(sums[p], rel=1e-12)
        assert float(Frobenius()(x, y)[n]) == pytest.approx(float(((x - y)[n] ** 2).sum()) ** 0.5, rel=1e-12)
        a, b = (t[n].flatten(1) for t in (x, y))
        difference = (a @ a.T - b @ b.T) / 60
        assert float(GramDifference("fro")(x, y)[n]) == pytest.approx(float((difference**2).sum()) ** 0.5, rel=1e-10)
    unit = x / torch.linalg.vector_norm(x, dim=1, keepdim=True)
    assert float(UnitGramDifference("l1", "none")(x, unit).max()) < 1e-8
    assert ChannelSum(unit=True).statistic_key == opsin.distances.NearestFeature().statistic_key
    assert "sha256" in ChannelSum(channel_weights=weights).describe()["channel_weights"]
    assert ChannelSum().config() == {"power": 2, "unit": False, "channel_weights": None}
    assert GramDifference("l1", "hw").config() == {"kind": "l1", "normalize": "hw"}
    for distance in (ChannelSum(1), ChannelSum(2, True), Frobenius(), GramDifference("l2"), UnitGramDifference("fro")):
        torch.autograd.gradcheck(lambda t, d=distance: d(t, y), x.clone().requires_grad_())
        assert torch.equal(distance(x, x), torch.zeros(2, dtype=torch.float64))
        torch.testing.assert_close(distance(x, y[:1]), distance(x, y[:1].expand_as(x)), rtol=1e-12, atol=0)
        assert not distance.state_dict()
