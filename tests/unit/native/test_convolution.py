"""The native convolution against torch's, what goes past it, and what it does to autograd and torch.compile."""

from __future__ import annotations

import gc
import weakref
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import opsin
from opsin import _native
from opsin._native import convolution, library
from opsin._native.convolution import conv3x3_relu, conv3x3_relu_backward

native = pytest.mark.skipif(not _native.available(), reason=f"{_native.why_not()}")


def layer(c_in: int, c_out: int, seed: int = 0, **options: object) -> nn.Conv2d:
    made = nn.Conv2d(c_in, c_out, 3, **{"padding": 1, **options}).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        parameter.normal_(generator=generator)
    return made


def rand(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def exact(conv: nn.Conv2d, x: Tensor, relu: bool) -> Tensor:
    y = F.conv2d(x.double(), conv.weight.double(), None if conv.bias is None else conv.bias.double(), padding=1)
    return y.relu() if relu else y


def error(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).abs().max() / expected.abs().max())


@native
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 8),
    c_in=st.integers(1, 70),
    c_out=st.integers(1, 70),
    h=st.integers(1, 21),
    w=st.integers(1, 21),
    relu=st.booleans(),
    bias=st.booleans(),
)
def test_value_and_gradient_are_those_of_float64(
    n: int, c_in: int, c_out: int, h: int, w: int, relu: bool, bias: bool
) -> None:
    conv = layer(c_in, c_out, bias=bias)
    x = rand(n, c_in, h, w).requires_grad_(True)
    y = _native.convolve(conv, x, relu=relu, algorithm="winograd")
    expected = exact(conv, x, relu=False).detach()
    scale = float(expected.abs().max())
    # A sum that all but cancels may fall on either side of the ReLU: there is no gradient there to compare.
    g = rand(*y.shape, seed=2) * (expected.abs() > 1e-4)
    (gx,) = torch.autograd.grad(y, x, g)
    assert y.is_contiguous(memory_format=torch.channels_last)
    if relu:
        expected, g = expected.relu(), g * (expected > 0)
    (wanted,) = torch.autograd.grad(exact(conv, x, relu=False), x, g.double())
    assert (y - expected).abs().max() <= 1e-5 * scale
    assert (gx - wanted).abs().max() <= 1e-5 * max(float(wanted.abs().max()), 1e-3)


@native
def test_a_wrong_filter_is_noticed() -> None:
    x, conv = rand(1, 8, 9, 9), layer(8, 8)
    y = _native.convolve(conv, x, algorithm="winograd")
    conv.weight[3, 2, 1, 1] += 0.01
    assert error(y, exact(conv, x, relu=False)) > 1e-5


@native
@pytest.mark.parametrize("level", ["avx512", "avx2", "default"])
def test_every_level_of_instructions(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order, pool = ["default", "avx2", "avx512"], nn.MaxPool2d(2, 2)
    if order.index(level) > order.index(library.level()):
        pytest.skip("not on this processor")
    monkeypatch.setattr(library, "level", lambda: level)
    library._load.cache_clear()
    try:
        for conv, x in ((layer(37, 41), rand(3, 37, 30, 27)), (layer(3, 41), rand(3, 3, 30, 27))):
            outcomes = []
            for network in (
                lambda x, conv=conv: _native.pool(pool, _native.convolve(conv, x, relu=True, algorithm="winograd")),
                lambda x, conv=conv: pool(exact(conv, x, relu=True)),
            ):
                leaf = x.clone().requires_grad_(True)
                y = network(leaf)
                outcomes.append((y.detach(), torch.autograd.grad(y.square().sum(), leaf)[0]))
            for value, expected in zip(*outcomes, strict=True):
                assert error(value, expected) < 1e-5
    finally:
        library._load.cache_clear()


@native
@pytest.mark.parametrize("channels", [3, 40])
def test_the_same_from_run_to_run_in_any_batch_and_with_any_threads(channels: int) -> None:
    conv, x = layer(channels, 24), rand(5, channels, 35, 34)

    def values(images: Tensor) -> tuple[Tensor, Tensor]:
        leaf = images.clone().requires_grad_(True)
        y = _native.convolve(conv, leaf, relu=True, algorithm="winograd")
        return y.detach(), torch.autograd.grad(y.square().sum(), leaf)[0]

    first, threads = values(x), torch.get_num_threads()
    assert all(map(torch.equal, first, values(x)))
    assert all(torch.equal(a[3:4], b) for a, b in zip(first, values(x[3:4]), strict=True))
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert all(map(torch.equal, first, values(x)))
    finally:
        torch.set_num_threads(threads)


@native
@pytest.mark.parametrize("relu", [True, False])
def test_nan_is_not_hidden(relu: bool) -> None:
    x = rand(1, 8, 12, 12)
    x[0, 2, 5, 5] = torch.nan
    y = _native.convolve(layer(8, 8), x, relu=relu, algorithm="winograd")
    assert y[:, :, 4:7, 4:7].isnan().all()


@native
@pytest.mark.parametrize("channels", [3, 40])
def test_a_bit_is_all_that_is_kept_of_a_value(channels: int) -> None:
    conv, pool, kept = layer(channels, 32), nn.MaxPool2d(2, 2), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = _native.convolve(conv, rand(2, channels, 20, 20).requires_grad_(True), relu=True, algorithm="winograd")
        _native.pool(pool, y)
    bits = [t.nbytes for t in kept if t is not conv.weight]
    assert bits == [y.numel() // 8, 2 * y.numel() // 4 // 8]


@native
def test_second_order_gradients() -> None:
    for channels, relu in product((3, 6), (True, False)):
        conv = layer(channels, 9)
        x, g = rand(2, channels, 7, 10).requires_grad_(True), rand(2, 9, 7, 10).requires_grad_(True)
        second = []
        for algorithm in ("winograd", "direct"):
            y = _native.convolve(conv, x, relu=relu, algorithm=algorithm)
            (gx,) = torch.autograd.grad(y, x, g, create_graph=True)
            second.append(torch.autograd.grad(gx.square().sum(), g)[0])
        assert error(*second) < 1e-5


@native
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck's own
def test_the_operators_keep_the_rules_of_torch() -> None:
    weight, bias = layer(5, 7).weight.data, rand(7)
    x, g = rand(2, 5, 9, 6).requires_grad_(True), rand(2, 7, 9, 6).requires_grad_(True)
    for arguments in ((x, weight, bias, True), (x, weight, None, False)):
        torch.library.opcheck(conv3x3_relu, arguments)
    clipped = torch.randint(256, (2, 9, 6, 1), dtype=torch.uint8)
    for arguments in ((g, clipped, weight), (g, None, weight)):
        torch.library.opcheck(conv3x3_relu_backward, arguments)


@native
@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_features_of_a_whole_network(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taps = ["relu1_2", "conv2_2", "relu3_3", "conv4_2", "relu4_3", "conv5_3"]
    x = torch.rand(2, 3, 75, 50, generator=torch.Generator().manual_seed(0))
    features, gradients = [], []
    for algorithm in ("winograd", "direct"):
        monkeypatch.setenv("OPSIN_CONV", algorithm)
        net = opsin.VGG(network, "random", pooling="avg")
        leaf = x.clone().requires_grad_(True)
        features.append(net(leaf, taps))
        gradients.append(torch.autograd.grad(sum(f.square().mean() for f in features[-1].values()), leaf)[0])
    for tap in taps:
        a, b = (f[tap] for f in features)
        assert (a - b).norm() / b.norm() < 1e-5, tap
    # A ReLU that is all but 0 is on in one of them and off in the other: its gradient is there or isn't.
    assert (gradients[0] - gradients[1]).norm() / gradients[1].norm() < 1e-2


@native
def test_a_tap_is_the_same_whatever_else_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSIN_CONV", "winograd")
    net = opsin.VGG("vgg11", "random")
    x = torch.rand(1, 3, 40, 40)
    together = net(x, net.taps)
    for tap in net.taps:
        assert torch.equal(net(x, [tap])[tap], together[tap]), tap


def not_native(*_: object) -> Tensor:
    raise AssertionError("the native convolution was called")


@pytest.mark.parametrize(
    ("conv", "x"),
    [
        (layer(64, 64).double(), rand(1, 64, 16, 16).double()),
        (layer(64, 64).requires_grad_(True), rand(1, 64, 16, 16)),
        (layer(64, 64, stride=2), rand(1, 64, 16, 16)),
        (layer(64, 64, padding=0), rand(1, 64, 16, 16)),
        (layer(64, 64, padding=2, dilation=2), rand(1, 64, 16, 16)),
        (layer(64, 64, padding="same"), rand(1, 64, 16, 16)),
        (layer(64, 64, padding_mode="reflect"), rand(1, 64, 16, 16)),
        (layer(64, 64, groups=2), rand(1, 64, 16, 16)),
        (nn.Conv2d(64, 64, 1).requires_grad_(False), rand(1, 64, 16, 16)),
    ],
)
def test_what_it_is_not_made_for_goes_directly(conv: nn.Conv2d, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "conv3x3_relu", not_native)
    y = _native.convolve(conv, x, relu=True, algorithm="winograd")
    torch.testing.assert_close(y, conv(x).relu(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")  # jvp's own
def test_who_takes_the_network_apart_finds_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "conv3x3_relu", not_native)
    conv, x = layer(64, 64), rand(2, 64, 16, 16)

    def convolve(x: Tensor) -> Tensor:
        return _native.convolve(conv, x, relu=True)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert convolve(x).dtype == torch.bfloat16
    torch.func.vmap(convolve)(x[:, None])
    torch.func.jvp(convolve, (x,), (x,))
    ran = []
    handle = conv.register_forward_hook(lambda *_: ran.append(1))
    convolve(x)
    handle.remove()
    assert ran == [1]


@native
def test_export_holds_no_operator_of_ours() -> None:
    net = opsin.VGG("vgg11", "random")

    class Features(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return net(x, ["relu2_1"])["relu2_1"]

    program = torch.export.export(Features(), (torch.rand(1, 3, 64, 64),), strict=False)
    assert not [n for n in program.graph.nodes if "opsin" in str(n.target)]


@native
def test_compiled_in_one_graph() -> None:
    loss = opsin.published.lpips("vgg", weights="random")
    x, y = torch.rand(1, 3, 64, 64, requires_grad=True), torch.rand(1, 3, 64, 64)
    targets = loss.targets(target=y)
    plain = loss(x, targets)
    (expected,) = torch.autograd.grad(plain, x)
    calls = []
    compiled = torch.compile(loss, fullgraph=True, backend=_counting(calls))(x, targets)
    (gradient,) = torch.autograd.grad(compiled, x)
    assert any("conv3x3_relu" in name for name in calls)
    torch.testing.assert_close(compiled, plain)
    torch.testing.assert_close(gradient, expected)


def _counting(calls: list[str]) -> object:
    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        calls.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    return backend


@native
def test_changed_weights_are_seen_and_those_that_are_gone_are_forgotten() -> None:
    conv, x = layer(16, 16), rand(1, 16, 9, 9)
    before = _native.convolve(conv, x, algorithm="winograd")
    conv.weight.copy_(conv.weight * 2)
    assert error(_native.convolve(conv, x, algorithm="winograd"), exact(conv, x, relu=False)) < 1e-5
    conv.weight.data = conv.weight.data.flip(0)
    after = _native.convolve(conv, x, algorithm="winograd")
    assert error(after, exact(conv, x, relu=False)) < 1e-5
    assert not torch.equal(before, after)
    packed = weakref.ref(convolution._packed[conv.weight][False][1])
    del conv
    gc.collect()
    assert packed() is None


@native
def test_weights_made_under_inference_mode() -> None:
    with torch.inference_mode():
        conv = layer(16, 16)
        x = rand(1, 16, 9, 9)
        assert error(_native.convolve(conv, x, algorithm="winograd"), exact(conv, x, relu=False)) < 1e-5


@native
def test_there_is_one_openmp_library() -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux tells")
    _native.convolve(layer(16, 16), rand(1, 16, 9, 9), algorithm="winograd")
    loaded = {line.split()[-1] for line in maps.read_text().splitlines() if "/" in line}
    assert len({path for path in loaded if "libgomp" in path or "libiomp" in path or "libomp" in path}) == 1


@pytest.mark.parametrize("value", [None, "", "auto", "direct"])
def test_the_environment_names_the_algorithm(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPSIN_CONV", raising=False)
    if value is not None:
        monkeypatch.setenv("OPSIN_CONV", value)
    assert _native.algorithm() == (value or "auto")


def test_an_unknown_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSIN_CONV", "winogard")
    with pytest.raises(opsin.ChoiceError, match="unknown algorithm 'winogard' for OPSIN_CONV; did you mean 'winograd'"):
        opsin.VGG("vgg11", "random")


@native
def test_direct_is_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSIN_CONV", "direct")
    monkeypatch.setattr(convolution, "conv3x3_relu", not_native)
    opsin.VGG("vgg11", "random")(torch.rand(1, 3, 64, 64), ["relu3_1"])


@native
def test_auto_takes_it_where_it_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    if library.level() == "default":
        pytest.skip("the table is for AVX2 and AVX-512")
    x = rand(1, 64, 16, 16)
    direct = layer(64, 64)(x)
    assert not torch.equal(_native.convolve(layer(64, 64), x), direct)
    monkeypatch.setattr(convolution, "conv3x3_relu", not_native)
    torch.testing.assert_close(_native.convolve(layer(64, 64), x[..., :15]), layer(64, 64)(x[..., :15]))
    _native.convolve(layer(3, 64), rand(1, 3, 64, 64))
    for wins in ((3, 64, 256), (32, 32, 24)):
        with pytest.raises(AssertionError, match="native convolution"):
            _native.convolve(layer(*wins[:2]), rand(1, wins[0], wins[2], wins[2]))
