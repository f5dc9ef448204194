"""PerceptualLoss, terms, targets and evaluations."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

import opsin
from opsin.distances import L1, UnitL2


class Counting:
    """Counts the passes of extractors."""

    def __init__(self, *extractors: opsin.Extractor) -> None:
        self.passes: Counter[str] = Counter()
        self.handles = [
            e.register_forward_hook(lambda _m, args, kwargs, _o, e=e: self.passes.update([id(e)]), with_kwargs=True)
            for e in extractors
        ]

    def __enter__(self) -> Counter[str]:
        return self.passes

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def test_total_is_the_weighted_sum_of_distances_of_features(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    loss = opsin.build(vgg, {"conv1_1": 2.0, "relu2_1": 0.5, "pool3": 1.0}, "l1")
    fx, fy = vgg(x, vgg.taps), vgg(y, vgg.taps)
    expected = {tap: (fx[tap] - fy[tap]).abs().mean((1, 2, 3)) for tap in ("conv1_1", "relu2_1", "pool3")}
    result = loss.evaluate(x, target=y)
    assert list(result.terms) == list(expected)
    for tap, value in expected.items():
        torch.testing.assert_close(result.terms[tap], value)
    total = 2 * expected["conv1_1"] + 0.5 * expected["relu2_1"] + expected["pool3"]
    torch.testing.assert_close(result.total, total)
    torch.testing.assert_close(loss(x, y), total.mean())
    assert opsin.build(vgg, ["relu1_1"], reduction="none")(x, y).shape == (2,)
    sums = opsin.build(vgg, {"relu1_1": 1.0}, "l1", reduction="sum")
    torch.testing.assert_close(sums(x, y), sums.evaluate(x, target=y).total.sum())


def test_each_distinct_network_runs_once(pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    a, b = opsin.VGG("vgg11", "random"), opsin.VGG("vgg11", "random")
    other = opsin.VGG("vgg11", "random", pooling="avg")
    loss = (
        opsin.build(a, ["relu1_1", "relu3_1"], "l1")
        + 0.1 * opsin.build(b, {"relu2_1": 1.0}, "gram", reference="style")
        + opsin.build(other, ["relu2_1"], "l2")
    )
    assert len(loss.extractors) == 2
    with Counting(a, b, other) as passes:
        targets = loss.targets(target=y, style=y)
        assert sorted(passes.values()) == [1, 2]  # `a` for target and style, `other` for target
        passes.clear()
        loss.evaluate(x, targets)
        assert passes == {id(a): 1, id(other): 1}  # `b` is `a`
        passes.clear()
        loss(x, targets)
        assert passes == {id(a): 1, id(other): 1}


def test_targets_are_kept_by_the_caller(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    loss = opsin.build(vgg, ["relu1_1", "relu2_1"], "gram") + opsin.build(vgg, ["relu2_1"], "l1")
    y = y.requires_grad_(True)
    targets = loss.targets(target=y)
    assert not any(value.requires_grad for value in targets.values())
    torch.testing.assert_close(loss.evaluate(x, targets).total, loss.evaluate(x, target=y).total, rtol=0, atol=0)
    assert targets.sizes == {"target": (2, 32, 32)}
    assert len(targets) == 3
    assert targets.nbytes == 4 * 2 * (64 * 64 + 128 * 128 + 128 * 16 * 16)
    with pytest.raises(TypeError):
        targets["x"] = y  # type: ignore[index]
    # they outlive copies, scaling, pickling and moves
    again = pickle.loads(pickle.dumps(targets))
    torch.testing.assert_close((2 * loss).evaluate(x, again).total, 2 * loss.evaluate(x, targets).total)
    torch.testing.assert_close(copy.deepcopy(loss)(x, targets), loss(x, targets))
    double = copy.deepcopy(loss).double()
    assert double(x.double(), targets.to(torch.float64)).dtype == torch.float64


def test_equal_statistics_are_kept_once(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    both = (
        opsin.build(vgg, ["relu2_1"], "l1")
        + opsin.build(vgg, ["relu2_1"], "l2")
        + opsin.build(vgg, ["relu2_1"], "huber")
    )
    assert len(both.targets(target=pair[1])) == 1


def test_kept_and_new_references_mix(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    style = torch.rand(1, 3, 40, 24)  # a painting has a size of its own
    loss = opsin.build(vgg, ["relu2_1"], "l1") + opsin.build(vgg, ["relu1_1"], "gram", reference="style")
    assert loss.references == ("target", "style")
    expected = loss.evaluate(x, target=y, style=style).total
    kept = loss.targets(style=style)
    torch.testing.assert_close(loss.evaluate(x, kept, target=y).total, expected)
    torch.testing.assert_close(loss(x, kept, target=y), expected.mean())
    torch.testing.assert_close(loss(x, y, style=style), expected.mean())
    newer = loss.evaluate(x, loss.targets(target=x, style=style), target=y)  # the new one wins
    torch.testing.assert_close(newer.total, expected)


def test_gradients_reach_x_alone(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = (t.requires_grad_(True) for t in pair)
    opsin.build(vgg, ["relu1_1", "relu3_1"], "cosine")(x, y).backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert y.grad is None


def test_training_lowers_it(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    loss = opsin.build(vgg, ["relu1_1", "relu2_1"], "l1")
    targets = loss.targets(target=y)
    x = x.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], lr=0.01)
    first = loss(x, targets).item()
    for _ in range(15):
        optimizer.zero_grad()
        value = loss(x, targets)
        value.backward()
        optimizer.step()
    assert value.item() < 0.5 * first


def test_a_term_of_weight_zero_is_logged_without_a_graph(pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    vgg = opsin.VGG("vgg11", "random")
    loss = opsin.build(vgg, {"relu1_1": 1.0, "relu2_1": 0.0, "pool4": 0.0}, "l1")
    graphs = {}
    vgg.register_forward_hook(lambda _m, _a, out: graphs.update({k: v.requires_grad for k, v in out.items()}))
    x.requires_grad_(True)
    result = loss.evaluate(x, target=y)
    assert graphs == {"relu1_1": True, "relu2_1": False, "pool4": False}
    assert not result.terms["pool4"].requires_grad
    assert result.terms["pool4"].min() > 0
    result.total.sum().backward()
    only = opsin.build(vgg, {"relu1_1": 1.0}, "l1")
    z = x.detach().clone().requires_grad_(True)
    only.evaluate(z, target=y).total.sum().backward()
    torch.testing.assert_close(x.grad, z.grad, rtol=0, atol=0)
    nothing = (0 * loss).evaluate(x, target=y)
    assert not nothing.total.requires_grad
    assert nothing.total.tolist() == [0.0, 0.0]


def test_names_of_terms(vgg: opsin.VGG) -> None:
    a = opsin.build(vgg, ["relu1_1", "relu2_1"], "l1")
    b = opsin.build(vgg, ["relu1_1"], "gram", name="style", reference="style")
    assert list(a.terms) == ["relu1_1", "relu2_1"]
    assert list((a + 0.1 * b).terms) == ["l1/relu1_1", "l1/relu2_1", "style/relu1_1"]
    assert list((a + a).terms) == ["relu1_1", "relu2_1", "relu1_1#2", "relu2_1#2"]
    assert list((a + b + b).terms) == ["l1/relu1_1", "l1/relu2_1", "style/relu1_1", "style/relu1_1#2"]
    total = sum([a, b, a])
    assert isinstance(total, opsin.PerceptualLoss)
    assert total.weights["l1/relu1_1#2"] == 1.0


def test_losses_scale_and_add(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    a, b = opsin.build(vgg, ["relu1_1"], "l1"), opsin.build(vgg, ["relu2_1"], "l2")
    torch.testing.assert_close((a + 0.25 * b)(x, y), a(x, y) + 0.25 * b(x, y))
    torch.testing.assert_close((b * 3)(x, y), 3 * b(x, y))
    torch.testing.assert_close(a.reweighted({"relu1_1": 7.0})(x, y), 7 * a(x, y))
    assert a.weights == {"relu1_1": 1.0}  # no setter has touched it
    with pytest.raises(opsin.ChoiceError, match="unknown term 'relu1_2' for this loss; did you mean 'relu1_1'"):
        a.reweighted({"relu1_2": 1.0})
    with pytest.raises(TypeError):
        a + 1
    with pytest.raises(TypeError):
        a * "2"
    with pytest.raises(opsin.InputError, match="reduction must be the same"):
        a + opsin.build(vgg, ["relu1_1"], reduction="sum")


def test_the_host_gains_nothing_and_the_loss_moves_with_it(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    loss = opsin.PerceptualLoss(
        [
            opsin.Term(copy.deepcopy(vgg), "relu1_1", UnitL2(torch.ones(64))),
            opsin.Term(vgg, "relu2_1", torch.nn.L1Loss()),
        ]
    )
    host = torch.nn.Module()
    host.net, host.loss = torch.nn.Conv2d(3, 3, 1), copy.deepcopy(loss)
    host.train()
    assert set(host.state_dict()) == {"net.weight", "net.bias"}
    assert len(list(host.parameters())) == 2
    assert list(host.buffers()) == []
    host.double()
    assert host.loss(x.double(), y.double()).dtype == torch.float64
    assert host.loss.terms["relu1_1"].distance.channel_weights.dtype == torch.float64
    again = pickle.loads(pickle.dumps(loss))
    torch.testing.assert_close(again(x, y), loss(x, y), rtol=0, atol=0)
    assert dict(again.weights) == loss.weights


def test_clips_are_scored_frame_by_frame(vgg: opsin.VGG) -> None:
    x, y = torch.rand(2, 2, 3, 3, 32, 32)
    loss = opsin.build(vgg, ["relu1_1"], "l1") + opsin.build(vgg, ["relu2_1"], "gram", reference="style")
    style = torch.rand(1, 3, 16, 16)
    result = loss.evaluate(x, target=y, style=style, maps=True)
    assert result.total.shape == (2, 3)
    assert result.terms["l1/relu1_1"].shape == (2, 3)
    assert result.map.shape == (2, 3, 1, 32, 32)
    frames = [
        [loss.evaluate(x[b, t, None], target=y[b, t, None], style=style).total for t in range(3)] for b in range(2)
    ]
    torch.testing.assert_close(result.total, torch.tensor(frames))
    torch.testing.assert_close(loss(x, y, style=style), result.total.mean())
    masked = opsin.build(vgg, ["relu1_1"], "l1").evaluate(x, target=y, mask=torch.ones(2, 3, 1, 32, 32))
    torch.testing.assert_close(masked.total, result.terms["l1/relu1_1"])


def test_images_of_another_range(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    expected = opsin.build(vgg, ["relu1_1"], "l1")(x, y)
    signed = opsin.build(vgg, ["relu1_1"], "l1", input_range=(-1, 1))
    torch.testing.assert_close(signed(2 * x - 1, 2 * y - 1), expected)
    bytes_ = opsin.build(vgg, ["relu1_1"], "l1", input_range=(0, 255))
    torch.testing.assert_close(bytes_(255 * x, 255 * y), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: 255 * t, "look like 0..255: divide by 255"),
        (lambda t: 2 * t - 1, r"look like \[-1,1\]: pass input_range=\(-1, 1\)"),
        (lambda t: t * float("nan"), "must be finite"),
        (lambda t: t / 0, "must be finite"),
        (lambda t: t - 5, r"must be in \[0,1\], got values from"),
    ],
)
def test_the_range_is_checked(vgg: opsin.VGG, pair: tuple[Tensor, Tensor], change: object, message: str) -> None:
    x, y = pair
    with pytest.raises(opsin.InputError, match=message):
        opsin.build(vgg, ["relu1_1"])(change(x), y)  # type: ignore[operator]
    with pytest.raises(opsin.InputError, match=message.replace("x must", "target must")):
        opsin.build(vgg, ["relu1_1"])(x, change(y))  # type: ignore[operator]


def test_when_the_range_is_checked(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    first = opsin.build(vgg, ["relu1_1"])
    first(x, y)
    assert first(255 * x, y) > 0  # the second call trusts
    always = opsin.build(vgg, ["relu1_1"], validate="always")
    always(x, y)
    with pytest.raises(opsin.InputError):
        always(255 * x, y)
    assert opsin.build(vgg, ["relu1_1"], validate="never")(255 * x, y) > 0
    overshoot = (1.1 * x - 0.05).detach()  # what bicubic resampling or a network without a clamp does
    assert opsin.build(vgg, ["relu1_1"])(overshoot, y) > 0


def test_a_callable_is_a_distance(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    loss = opsin.PerceptualLoss([opsin.Term(vgg, "relu2_1", torch.nn.functional.l1_loss)])
    torch.testing.assert_close(loss(x, y), opsin.build(vgg, ["relu2_1"], "l1")(x, y))
    assert loss.signature["terms"]["relu2_1"]["options"] == {"function": "l1_loss"}


class TotalVariation(opsin.Regularizer):
    """A regularizer as a user writes one."""

    def forward(self, feature: Tensor) -> Tensor:
        return feature.diff(dim=2).abs().mean((1, 2, 3)) + feature.diff(dim=3).abs().mean((1, 2, 3))


def test_regularizers_read_x_alone(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    tv = opsin.PerceptualLoss([opsin.Term(opsin.ImageExtractor(), "image", TotalVariation(), 0.5)], name="tv")
    assert tv.references == ()
    expected = 0.5 * (x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean())
    torch.testing.assert_close(tv(x), expected)
    both = opsin.build(vgg, ["relu1_1"], "l1") + tv
    torch.testing.assert_close(both(x, y), opsin.build(vgg, ["relu1_1"], "l1")(x, y) + expected)


class Hypercolumn(opsin.Distance):
    """A distance on several taps at once."""

    name = "hypercolumn"
    several_taps = True

    def statistic(self, feature: tuple[Tensor, ...]) -> Tensor:  # type: ignore[override]
        return torch.cat([f.mean((2, 3)) for f in feature], dim=1)

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean(1)


def test_a_term_of_several_taps(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    loss = opsin.PerceptualLoss([opsin.Term(vgg, ("image", "relu1_1", "relu2_1"), Hypercolumn())])
    result = loss.evaluate(x, target=y)
    assert list(result.terms) == ["image+relu1_1+relu2_1"]
    assert loss.signature["terms"]["image+relu1_1+relu2_1"]["taps"] == ["image", "relu1_1", "relu2_1"]
    fx, fy = (vgg(t, ["image", "relu1_1", "relu2_1"]) for t in pair)
    d = torch.cat([fx[k].mean((2, 3)) - fy[k].mean((2, 3)) for k in fx], 1).abs().mean(1)
    torch.testing.assert_close(result.total, d)


def test_pixels_are_a_network_too(pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    pixels = opsin.build("image", ["image"], "l1")
    torch.testing.assert_close(pixels(x, y), (x - y).abs().mean())
    assert pixels(x.double(), y.double()).dtype == torch.float64


def test_autocast(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    for distance in opsin.distances.DISTANCES:
        loss = opsin.build(vgg, ["relu1_1", "relu3_1"], distance)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = x.clone().requires_grad_(True)
            value = loss(z, y)
            kept = loss(z, loss.targets(target=y))
        value.backward()
        assert value.dtype == torch.float32
        torch.testing.assert_close(kept, value)
        assert z.grad is not None
        assert z.grad.isfinite().all()
        torch.testing.assert_close(value.detach(), loss(x, y), rtol=0.05, atol=1e-5)


def test_inference_mode_and_no_grad(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    loss = opsin.build(vgg, ["relu1_1"])
    with torch.inference_mode():
        assert not loss(x, y).requires_grad
    with torch.no_grad():
        assert not loss(x.requires_grad_(True), y).requires_grad


class TestSignature:
    """What produced a number."""

    def test_content(self, bundled: opsin.VGG) -> None:
        loss = opsin.build(bundled, {"relu1_2": 0.5}, "huber")
        result = loss.evaluate(torch.rand(1, 3, 32, 32), target=torch.rand(1, 3, 32, 32))
        signature = result.signature
        assert signature["networks"]["vgg19"]["sha256"].startswith("c34748d2")
        assert signature["networks"]["vgg19"]["normalization"] == "caffe"
        assert signature["dtype"] == "float32"
        assert signature["terms"]["relu1_2"]["weight"] == 0.5
        assert signature["opsin"] == opsin.__version__
        text = str(signature)
        assert "\n" not in text
        for part in ("vgg19 bundled c34748d2", "0.5·huber(relu1_2)", "float32", "torch"):
            assert part in text

    def test_it_tells_losses_apart_and_is_the_same_from_run_to_run(self, vgg: opsin.VGG) -> None:
        ids = [opsin.build(vgg, {"relu1_1": w}, d).signature.id for w, d in ((1, "l1"), (2, "l1"), (1, "l2"))]
        assert len(set(ids)) == 3
        again = opsin.build(opsin.VGG("vgg11", "random"), {"relu1_1": 1}, "l1").signature.id
        assert again == ids[0]

    def test_an_evaluation_pickles_with_it(self, vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
        loss = opsin.build(vgg, {"relu1_1": 1}, UnitL2(torch.rand(64)))
        result = loss.evaluate(pair[0], target=pair[1], maps=True)
        again = pickle.loads(pickle.dumps(result))
        assert torch.equal(again.total, result.total)
        assert torch.equal(again.map, result.map)
        assert again.signature == result.signature
        assert again.signature.id == result.signature.id
        assert len(pickle.dumps(result)) < 100_000  # no network in it
        assert "sha256:" in result.signature["terms"]["relu1_1"]["options"]["channel_weights"]

    def test_two_variants_of_a_network_have_two_labels(self, vgg: opsin.VGG) -> None:
        other = opsin.VGG("vgg11", "random", pooling="avg")
        signature = (opsin.build(vgg, ["relu1_1"]) + opsin.build(other, ["relu1_1"])).signature
        assert list(signature["networks"]) == ["vgg11", "vgg11#2"]
        assert [t["network"] for t in signature["terms"].values()] == ["vgg11", "vgg11#2"]


def _loss(vgg: opsin.VGG) -> opsin.PerceptualLoss:
    return opsin.build(vgg, ["relu1_1"], "l1") + opsin.build(vgg, ["relu2_1"], "gram", reference="style")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, x: f(x), "reference 'target' must be given for term 'l1/relu1_1', got none"),
        (lambda f, x: f(x, x), r"reference 'style' must be given.*got \['target'\]"),
        (lambda f, x: f(x, x, styl=x), "unknown reference 'styl' for this loss; did you mean 'style'"),
        (
            lambda f, x: f(x, x[:, :, :16], style=x),
            r"target must have the size of x, 32×32 \(height×width\), got 16×32",
        ),
        (lambda f, x: f(x[:1], x, style=x), "must be a batch of 1 like x"),
        (lambda f, x: f(x, x.expand(1, 2, 3, 32, 32)[0, :1].repeat(3, 1, 1, 1), style=x), "batch of 2 like x"),
        (lambda f, x: f(x, x, target=x), "got it twice"),
        (lambda f, x: f(x, {"target": x}, style=x), "must be a torch.Tensor of shape"),
        (lambda f, x: f.evaluate(x, x), "what loss.targets"),
        (lambda f, x: f(x.numpy(), x, style=x), "got ndarray"),
        (lambda f, x: f(x.double(), x, style=x), "dtype of the network"),
        (lambda f, x: f(x, x.double(), style=x), "dtype of the network"),
        (lambda f, x: f(x, x, style=x, mask=torch.ones(2, 1, 32, 32)), "must be for terms that have a map"),
        (lambda f, x: f.evaluate(x, target=x, style=x).map, "maps=True"),
        (lambda f, x: f(x, x, style=x, shrink_mask=True), "must go with a mask"),
    ],
)
def test_bad_calls(vgg: opsin.VGG, pair: tuple[Tensor, Tensor], call: object, message: str) -> None:
    with pytest.raises(opsin.OpsinError, match=message):
        call(_loss(vgg), pair[0])  # type: ignore[operator]


def test_targets_on_another_device(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    loss = opsin.build(vgg, ["relu1_1"], "l1")
    with pytest.raises(opsin.InputError, match=r"got meta\. Move them: targets\.to\('cpu'\)"):
        loss(x, loss.targets(target=y).to("meta"))


def test_a_distributed_host_broadcasts_nothing_of_it(vgg: opsin.VGG, tmp_path: Path) -> None:
    class Host(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Conv2d(3, 3, 1)
            self.loss = opsin.build(vgg, ["relu1_1"], UnitL2(torch.ones(64)))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.loss(self.net(x).sigmoid(), y)

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        host = torch.nn.parallel.DistributedDataParallel(Host())
        assert list(host.modules_buffers) == []
        assert sum(p.numel() for p in host.parameters()) == 12
        x = torch.rand(1, 3, 16, 16)
        host(x, x).backward()
        assert host.module.net.weight.grad is not None
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.skipif(torch.__version__ < "2.5", reason="torch.compile of 2.4 cannot trace dict.setdefault")
def test_a_graph_captures_it_whole(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    loss = opsin.build(vgg, ["relu1_1", "relu2_1"], "cosine") + opsin.build(vgg, ["relu1_1"], "gram", reference="style")
    targets = loss.targets(target=y, style=y)
    compiled = torch.compile(lambda z: loss(z, targets), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), loss(x, targets))


class Own(opsin.Distance):
    """A distance that says nothing of its options, as a user may write one."""

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def statistic(self, feature: Tensor) -> Tensor:
        return feature.abs().pow(self.power).mean((2, 3))

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean(1)


class Blurred(L1):
    """A subclass of a distance that changes its statistic."""

    def statistic(self, feature: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(feature, 2)


def test_distances_of_the_users_own_never_share_a_statistic(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    distances = [Own(1), Own(2), L1(), Blurred()]
    joint = opsin.PerceptualLoss([opsin.Term(vgg, "relu1_1", d) for d in distances]).evaluate(x, target=y)
    for value, distance in zip(joint.terms.values(), distances, strict=True):
        alone = opsin.PerceptualLoss([opsin.Term(vgg, "relu1_1", distance)]).evaluate(x, target=y)
        torch.testing.assert_close(value, alone.total)
    kept = opsin.build(vgg, ["relu1_1"], Own(1)).targets(target=y)
    with pytest.raises(opsin.InputError, match="same statistics"):
        opsin.build(vgg, ["relu1_1"], Own(2))(x, kept)


def test_merged_targets_never_mix_two_sets_of_images(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    shallow, deep = opsin.build(vgg, ["relu1_1"], "l1"), opsin.build(vgg, ["relu2_1"], "l1")
    merged = shallow.targets(target=x).merged(deep.targets(target=y))
    assert len(merged) == 1
    with pytest.raises(opsin.InputError, match="same statistics"):
        (shallow + deep)(x, merged)


def test_a_callable_of_several_taps_sees_tuples(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    taps = ("relu1_1", "relu2_1")
    loss = opsin.PerceptualLoss(
        [opsin.Term(vgg, taps, lambda a, b: sum((p - q).abs().mean() for p, q in zip(a, b, strict=True)))]
    )
    torch.testing.assert_close(loss(x, y), opsin.build(vgg, list(taps), "l1")(x, y))
    torch.testing.assert_close(loss(x, y[:1]), opsin.build(vgg, list(taps), "l1")(x, y[:1]))


def test_a_networks_first_output_is_told_how_to_pass(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    with pytest.raises(opsin.InputError, match=r"got values from .*\. If a network that is not yet trained"):
        opsin.build(vgg, ["relu1_1"])(x.requires_grad_(True) * 3 - 1, y)


def test_targets_of_another_loss(vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    targets = opsin.build(vgg, ["relu1_1"], "gram").targets(target=y)
    with pytest.raises(opsin.InputError, match="made by a loss with the same statistics"):
        opsin.build(vgg, ["relu1_1"], "l1")(x, targets)
    assert "1 statistics of target: 2×32×32" in repr(targets)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v: opsin.PerceptualLoss([]), "one opsin.Term or more"),
        (lambda v: opsin.Term(v, 3), "a name or a tuple of names, got 3"),
        (lambda v: opsin.Term(v, ()), "a name or a tuple of names"),
        (lambda v: opsin.Term(v, ("relu1_1", "relu2_1"), "l1"), "takes a tuple of them, got 'l1'"),
        (lambda v: opsin.Term(v, "relu1_1", "l1", reference="mask"), "other than maps, mask"),
        (lambda v: opsin.Term(v, "relu1_1", "l1", reference=""), "can be a keyword"),
        (lambda v: opsin.PerceptualLoss([v]), "one opsin.Term or more"),
        (lambda v: opsin.Term(v, "relu9_1"), "unknown tap"),
        (lambda v: opsin.Term("vgg11", "relu1_1"), "must be an opsin.Extractor, got str"),
        (lambda v: opsin.Term(v, "relu1_1", "l9"), "unknown distance"),
        (lambda v: opsin.Term(v, "relu1_1", weight=float("nan")), "weight must be a finite number"),
        (lambda v: opsin.Term(v, "relu1_1", L1(), reference=None), "must have a Regularizer"),
        (lambda v: opsin.build(v, ["relu1_1"], reduction="avg"), "unknown reduction"),
        (lambda v: opsin.build(v, ["relu1_1"], input_range=(1, 0)), "low < high"),
        (lambda v: opsin.build(v, ["relu1_1"], validate="once"), "unknown validate"),
        (lambda v: opsin.build(v, ["relu1_1"], pooling="avg"), "options must go to the extractor"),
    ],
)
def test_bad_definitions(vgg: opsin.VGG, make: object, message: str) -> None:
    with pytest.raises(opsin.OpsinError, match=message):
        make(vgg)  # type: ignore[operator]
