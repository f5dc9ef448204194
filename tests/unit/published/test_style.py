"""Feature and style losses against slow, obvious second implementations, and at the inputs where gradients break."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import opsin
from opsin.distances import Distance, SpatialDistance, make_distance
from opsin.distances.style import MMD, Coral, GaussianWasserstein, HalfSquaredError, Histogram, SlicedWasserstein
from opsin.errors import ChoiceError
from opsin.functional import kernels, transport
from opsin.published.adain import adain_style
from opsin.published.coral import coral
from opsin.published.gatys import gatys, gatys_content, gatys_style
from opsin.published.histogram import histogram
from opsin.published.johnson import johnson_feature, johnson_style
from opsin.published.mmd import mmd_style
from opsin.published.scales import CAFFE_SCALES
from opsin.published.sliced_wasserstein import sliced_wasserstein
from opsin.published.wasserstein import wasserstein_style


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


KINDS: dict[str, Callable[[], Distance]] = {
    "half_squared_error": HalfSquaredError,
    "gaussian_wasserstein": GaussianWasserstein,
    "coral": Coral,
    "mmd linear": lambda: MMD("linear"),
    "mmd polynomial": lambda: MMD("polynomial", offset=0.5),
    "mmd gaussian": lambda: MMD("gaussian"),
    "mmd gaussian sigma": lambda: MMD("gaussian", sigma=2.0),
    "sliced_wasserstein": SlicedWasserstein,
    "histogram": Histogram,
}
STYLES = [name for name in KINDS if name != "half_squared_error"]


def directions(channels: int) -> Tensor:
    """What `SlicedWasserstein` draws after torch.manual_seed(7)."""
    torch.manual_seed(7)
    drawn = torch.randn(channels, channels, dtype=torch.float64)
    return drawn / drawn.square().sum(1, keepdim=True).sqrt()


def slow(name: str, x: Tensor, y: Tensor) -> float:
    """The formula of one pair (C,H,W), position by position."""
    c = x.shape[0]
    a, b = list(x.flatten(1).T), list(y.flatten(1).T)

    def covariance(vectors: list[Tensor], n: int) -> Tensor:
        mean = sum(vectors) / len(vectors)
        return sum(torch.outer(v - mean, v - mean) for v in vectors) / n

    def root(m: Tensor) -> Tensor:
        """Denman-Beavers iteration: another way to the same root."""
        p, q = m, torch.eye(c, dtype=m.dtype)
        for _ in range(40):
            p, q = (p + torch.linalg.inv(q)) / 2, (q + torch.linalg.inv(p)) / 2
        return p

    def mmd(kernel: Callable[[Tensor, Tensor], float]) -> float:
        def mean(us: list[Tensor], vs: list[Tensor]) -> float:
            return sum(kernel(u, v) for u in us for v in vs) / (len(us) * len(vs))

        return mean(a, a) + mean(b, b) - 2 * mean(a, b)

    def sorted_difference(p: list[float], q: list[float]) -> float:
        return sum((s - t) ** 2 for s, t in zip(sorted(p), sorted(q), strict=True)) / len(p)

    if name == "half_squared_error":
        return 0.5 * sum(v * v for v in (x - y).flatten().tolist())
    if name == "gaussian_wasserstein":
        eye = 1e-4 * torch.eye(c, dtype=x.dtype)
        p, q = covariance(a, len(a)) + eye, covariance(b, len(b)) + eye
        r = root(p)
        spread = (p + q - 2 * root(r @ q @ r)).diagonal().mean()
        return float((sum(a) / len(a) - sum(b) / len(b)).square().mean() + spread)
    if name == "coral":
        d = covariance(a, len(a) - 1) - covariance(b, len(b) - 1)
        return float(d.square().sum()) / (4 * c * c)
    if name == "mmd linear":
        return mmd(lambda u, v: float(u @ v) / c)
    if name == "mmd polynomial":
        return mmd(lambda u, v: (float(u @ v) / c + 0.5) ** 2)
    if name.startswith("mmd gaussian"):
        square = 4.0
        if name == "mmd gaussian":
            square = sum(float((u - v).square().sum()) for u in b for v in b) / len(b) ** 2
        return mmd(lambda u, v: math.exp(-float((u - v).square().sum()) / (2 * square)))
    if name == "histogram":
        return sum(sorted_difference(x[i].flatten().tolist(), y[i].flatten().tolist()) for i in range(c)) / c
    if name == "sliced_wasserstein":
        projected = [([float(d @ v) for v in a], [float(d @ v) for v in b]) for d in directions(c)]
        return sum(sorted_difference(p, q) for p, q in projected) / c
    raise ValueError(name)


def features(n: int = 3, c: int = 3, h: int = 5, w: int = 3) -> tuple[Tensor, Tensor]:
    x, y = torch.randn(2, n, c, h, w, generator=seeded(1), dtype=torch.float64) * 2
    return x, y + 0.5


def distance_of(name: str, x: Tensor, y: Tensor) -> Tensor:
    torch.manual_seed(7)
    return KINDS[name]()(x, y)


@pytest.mark.parametrize("name", list(KINDS))
def test_against_the_formula(name: str) -> None:
    x, y = features()
    expected = torch.tensor([slow(name, a, b) for a, b in zip(x, y, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(distance_of(name, x, y), expected, rtol=1e-8, atol=1e-12)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(distance_of(name, x, y), expected.flip(0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", list(KINDS))
def test_zero_at_equality_symmetry_and_batches(name: str) -> None:
    x, y = features()
    value = distance_of(name, x, y)
    assert (value > 0).all()
    torch.testing.assert_close(distance_of(name, x, x), torch.zeros(3, dtype=x.dtype), rtol=0, atol=1e-6)
    if name != "mmd gaussian":  # its bandwidth is the reference's
        torch.testing.assert_close(distance_of(name, y, x), value)
    torch.testing.assert_close(distance_of(name, x[1:2], y[1:2]), value[1:2])
    torch.testing.assert_close(distance_of(name, x, y[:1]), distance_of(name, x, y[:1].expand_as(y)))


@pytest.mark.parametrize("name", STYLES)
def test_positions_and_sizes_do_not_matter(name: str) -> None:
    x, y = features()
    value = distance_of(name, x, y)
    shuffled = x.flatten(2)[:, :, torch.randperm(15, generator=seeded())].reshape(x.shape)
    torch.testing.assert_close(distance_of(name, shuffled, y), value)
    assert distance_of(name, x, y[:, :, :2, :2]).isfinite().all()
    if name != "coral":  # every vector twice is the same distribution (CORAL divides by M - 1)
        if name not in ("sliced_wasserstein", "histogram"):
            torch.testing.assert_close(distance_of(name, x, y.repeat(1, 1, 2, 1)), value)
        else:
            expected = distance_of(name, x.repeat(1, 1, 2, 1), y.repeat(1, 1, 2, 1))
            torch.testing.assert_close(expected, value)


def test_sorted_values_of_different_number_are_interpolated() -> None:
    values = torch.tensor([[[0.0, 4.0]]])
    torch.testing.assert_close(
        transport.resample_quantiles(values, 4), torch.tensor([[[0.0, 1.0, 3.0, 4.0]]]), rtol=0, atol=1e-6
    )
    x = torch.tensor([0.0, 1.0, 3.0, 4.0]).reshape(1, 1, 2, 2)
    assert float(Histogram()(x, torch.tensor([4.0, 0.0]).reshape(1, 1, 1, 2))) < 1e-12


@pytest.mark.parametrize("name", list(KINDS))
def test_gradcheck(name: str) -> None:
    x, y = features(2, 3, 3, 2)
    assert torch.autograd.gradcheck(lambda a: distance_of(name, a, y), x.requires_grad_(True))


def test_gradcheck_of_the_reference_and_of_the_root() -> None:
    x, y = features(1, 3, 3, 2)
    assert torch.autograd.gradcheck(GaussianWasserstein(), (x, y.requires_grad_(True)))
    m = torch.randn(2, 3, 3, generator=seeded(), dtype=torch.float64)
    m = (m @ m.mT + torch.eye(3)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda a: transport.matrix_sqrt(0.5 * (a + a.mT)), m)
    repeated = torch.eye(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: transport.matrix_sqrt(0.5 * (a + a.mT)), repeated)
    torch.testing.assert_close(transport.matrix_sqrt(m) @ transport.matrix_sqrt(m), m)


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "case", ["equal", "x zero", "y zero", "both zero", "constant", "one position", "few positions"]
)
def test_gradients_are_finite_where_they_usually_break(name: str, dtype: torch.dtype, case: str) -> None:
    x, y = (t.to(dtype) for t in features())
    if case == "equal":
        y = x.clone()
    if case in ("x zero", "both zero"):
        x = torch.zeros_like(x)
    if case in ("y zero", "both zero"):
        y = torch.zeros_like(y)
    if case == "constant":
        x, y = torch.full_like(x, 0.5), torch.full_like(x, 0.5)
    if case == "one position":
        x, y = x[:, :, :1, :1], y[:, :, :1, :1]
    if case == "few positions":  # fewer than channels: covariances of a rank below C
        x, y = x[:, :, :1, :2].repeat(1, 2, 1, 1), y[:, :, :1, :2].repeat(1, 2, 1, 1)
    x = x.clone().requires_grad_(True)
    value = distance_of(name, x, y)
    value.sum().backward()
    assert value.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() < 1e4
    if case in ("equal", "both zero", "constant"):
        torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-5)
        assert x.grad.abs().max() < 1e-2


@pytest.mark.parametrize("name", list(KINDS))
def test_autocast_computes_in_float32(name: str) -> None:
    x, y = (100 * t.float() for t in features(2, 4, 8, 8))
    x, y = x.bfloat16(), y.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = distance_of(name, x, y)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, distance_of(name, x.float(), y.float()), rtol=0, atol=0)
    assert got.isfinite().all()


def test_float32_agrees_with_float64_on_features_of_caffe_size() -> None:
    """Few positions and many channels: most eigenvalues are rounding."""
    x, y = (200 * t.relu() for t in features(1, 48, 4, 4))
    expected = GaussianWasserstein()(x, y)
    torch.testing.assert_close(GaussianWasserstein()(x.float(), y.float()).double(), expected, rtol=1e-3, atol=0)


def test_polynomial_mmd_is_the_gram_loss_and_linear_the_means() -> None:
    x, y = features()
    torch.testing.assert_close(MMD()(x, y), make_distance("gram", normalize="hw")(x, y))
    torch.testing.assert_close(MMD("linear")(x, y), (x.mean((2, 3)) - y.mean((2, 3))).square().mean(1))


def test_points_are_drawn_and_bounded() -> None:
    x, y = features(2, 3, 8, 8)
    every = MMD("gaussian")(x, y)
    few = MMD("gaussian", points=16, generator=seeded())
    assert few.statistic(x).shape == (2, 3, 16)
    few.generator = seeded()
    first = few(x, y)
    assert not torch.equal(first, few(x, y))
    torch.testing.assert_close(MMD("gaussian", points=16, generator=seeded())(x, y), first)
    torch.testing.assert_close(first, every, rtol=1.0, atol=0.1)
    assert few.statistic_key != MMD("gaussian", points=16).statistic_key
    torch.testing.assert_close(kernels.gaussian_bandwidth(torch.zeros(1, 2, 3)), torch.ones(1))


def test_directions_are_drawn_anew_from_the_generator() -> None:
    x, y = features()
    distance = SlicedWasserstein(8, generator=seeded())
    first = distance(x, y)
    assert not torch.equal(first, distance(x, y))
    torch.testing.assert_close(SlicedWasserstein(8, generator=seeded())(x, y), first, rtol=0, atol=0)
    drawn = transport.random_directions(8, 5, like=x, generator=seeded())
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(8, dtype=torch.float64))


def test_the_histogram_gradient_is_that_of_a_constant_match() -> None:
    x, y = features(1)
    x.requires_grad_(True)
    Histogram()(x, y).sum().backward()
    matched = torch.empty_like(x).flatten(2)
    matched.scatter_(2, x.detach().flatten(2).argsort(2), y.flatten(2).sort(2).values)
    expected = 2 * (x.detach() - matched.reshape(x.shape)) / x.numel()
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("name", list(KINDS))
def test_options_make_the_distance_anew_and_copies_work(name: str) -> None:
    distance = KINDS[name]()
    again = type(distance)(**distance.config())
    assert again.config() == distance.config()
    x, y = features()
    for other in (again, copy.deepcopy(distance), pickle.loads(pickle.dumps(distance))):
        torch.manual_seed(7)
        torch.testing.assert_close(other(x, y), distance_of(name, x, y))


def test_equal_statistics_are_kept_once_and_subclasses_have_their_own() -> None:
    class Other(Coral):
        def statistic(self, feature: Tensor) -> Tensor:
            return 2 * super().statistic(feature)

    assert Coral().statistic_key == Coral().statistic_key != Other().statistic_key
    assert GaussianWasserstein(1e-3).statistic_key == GaussianWasserstein().statistic_key
    assert SlicedWasserstein().statistic_key == HalfSquaredError().statistic_key == make_distance("l2").statistic_key
    assert issubclass(HalfSquaredError, SpatialDistance)


def test_bad_options() -> None:
    with pytest.raises(opsin.InputError, match="eps must be a positive number"):
        GaussianWasserstein(0.0)
    with pytest.raises(ChoiceError, match="did you mean 'gaussian'"):
        MMD("gausian")
    with pytest.raises(opsin.InputError, match="offset must be 0 or a positive number, got -1"):
        MMD(offset=-1)
    with pytest.raises(opsin.InputError, match="sigma must be a positive number"):
        MMD("gaussian", sigma=0.0)
    with pytest.raises(opsin.InputError, match="points must be a whole number of at least 1, got 0"):
        MMD("gaussian", points=0)
    with pytest.raises(opsin.InputError, match="directions must be a whole number"):
        SlicedWasserstein(2.5)  # type: ignore[arg-type]


# The losses. Small taps keep them quick; the published ones are checked by name below.
TAPS = {"relu1_1": 1.0, "relu2_1": 0.5}
LOSSES: dict[str, Callable[..., opsin.PerceptualLoss]] = {
    "johnson_feature": johnson_feature,
    "johnson_style": johnson_style,
    "gatys_content": gatys_content,
    "gatys_style": gatys_style,
    "wasserstein_style": wasserstein_style,
    "adain_style": adain_style,
    "coral": coral,
    "mmd_style": mmd_style,
    "mmd_style gaussian": lambda *a, **k: mmd_style(*a, kernel="gaussian", **k),
    "sliced_wasserstein": sliced_wasserstein,
    "histogram": histogram,
}
SLOW = {"coral": "coral", "histogram": "histogram", "wasserstein_style": "gaussian_wasserstein"}


@pytest.mark.parametrize("name", list(LOSSES))
def test_losses_on_a_small_network(name: str, vgg: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = (t[..., :16, :16] for t in pair)
    loss = LOSSES[name](vgg, layers=TAPS, reduction="none")
    assert loss.name == name.split(maxsplit=1)[0]
    assert loss.weights == TAPS
    images = {loss.references[0]: y}

    def value(a: Tensor, *b: object, **c: Tensor) -> Tensor:
        torch.manual_seed(7)
        return loss(a, *b, **c)

    expected = value(x, **images)
    assert expected.shape == (2,)
    assert (expected > 0).all()
    torch.testing.assert_close(value(x, loss.targets(**images)), expected)
    torch.testing.assert_close(value(x[:1], y[:1]), expected[:1], rtol=1e-4, atol=1e-6)
    assert (value(y, y) < 1e-3 * expected + 1e-5).all()
    if name in SLOW:  # the first pair, in float64
        f, g = (vgg(t[:1], list(TAPS)) for t in (x, y))
        distance = LOSSES_DISTANCES[SLOW[name]]
        both = sum(w * distance(f[t].double(), g[t].double()) for t, w in TAPS.items())
        torch.testing.assert_close(expected[:1].double(), both, rtol=1e-3, atol=1e-8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(value(x, y), expected, rtol=0.1, atol=1e-3)
    for given, b in ((y, y), (torch.zeros_like(x), y), (x, torch.zeros_like(y)), (torch.full_like(x, 0.5), y)):
        a = given.clone().requires_grad_(True)
        value(a, b).sum().backward()
        assert a.grad is not None
        assert a.grad.isfinite().all()


LOSSES_DISTANCES = {k: KINDS[k]() for k in SLOW.values()}


@pytest.fixture(scope="module")
def vgg16() -> opsin.VGG:
    return opsin.VGG("vgg16", weights="random")


@pytest.fixture(scope="module")
def vgg19() -> opsin.VGG:
    return opsin.VGG("vgg19", weights="random")


def gram_of(f: Tensor, z: float) -> Tensor:
    return torch.einsum("ncm,ndm->ncd", f.flatten(2), f.flatten(2)) / z


def test_johnson_by_hand(vgg16: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = (t[:1] for t in pair)
    f, g = (vgg16(t, ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]) for t in (x, y))
    for variant, tap in (("code", "relu3_3"), ("paper", "relu2_2")):
        expected = (f[tap] - g[tap]).square().sum() / f[tap].numel()
        torch.testing.assert_close(johnson_feature(vgg16, variant=variant)(x, y), expected)
        style = johnson_style(vgg16, variant=variant)
        total = torch.zeros(())
        for a, b in zip(f.values(), g.values(), strict=True):
            square = (gram_of(a, a.numel()) - gram_of(b, b.numel())).square()
            total = total + 5 * (square.mean() if variant == "code" else square.sum())
        torch.testing.assert_close(style(x, y), total, rtol=1e-4, atol=0)
    assert list(style.weights.items()) == [(t, 5.0) for t in ("relu1_2", "relu2_2", "relu3_3", "relu4_3")]
    assert (johnson_feature(vgg16).references, style.references) == (("target",), ("style",))


def test_gatys_by_hand(vgg19: opsin.VGG, pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    x, content, style = x[:1], y[:1], y[1:]
    taps = [f"relu{i}_1" for i in range(1, 6)]
    f, g = vgg19(x, [*taps, "relu4_2"]), vgg19(style, taps)
    p = vgg19(content, ["relu4_2"])["relu4_2"]
    code, paper = (f["relu4_2"] - p).square().mean(), 0.5 * (f["relu4_2"] - p).square().sum()
    code_style = paper_style = torch.zeros(())
    for tap in taps:
        c, m = f[tap].shape[1], f[tap][0, 0].numel()
        mse = (gram_of(f[tap], m) - gram_of(g[tap], m)).square().mean()
        code_style = code_style + 1e3 / c**2 * mse
        square = (gram_of(f[tap], 1) - gram_of(g[tap], 1)).square().sum()
        paper_style = paper_style + square / (4 * c**2 * m**2) / 5
    for variant, a, b, beta in (("code", code, code_style, 1.0), ("paper", paper, paper_style, 1e3)):
        torch.testing.assert_close(gatys_content(vgg19, variant=variant)(x, content), a, rtol=1e-4, atol=0)
        torch.testing.assert_close(gatys_style(vgg19, variant=variant)(x, style), b, rtol=1e-4, atol=0)
        both = gatys(vgg19, variant=variant)
        torch.testing.assert_close(both(x, content, style=style), a + beta * b, rtol=1e-4, atol=0)
    assert both.references == ("target", "style")
    assert list(both.terms) == ["content/relu4_2", *(f"style/{tap}" for tap in taps)]
    assert list((both + johnson_feature(vgg19, layers={"relu1_1": 1.0})).terms)[-1] == "johnson_feature/relu1_1"
    half = gatys(vgg19, content_weight=0.5, style_weight=2.0)
    torch.testing.assert_close(half(x, content, style=style), 0.5 * code + 2 * code_style, rtol=1e-4, atol=0)
    assert torch.isfinite(both(x, content, style=style[..., :16, :24]))
    with pytest.raises(ChoiceError, match="unknown variant 'papers'"):
        gatys(vgg19, variant="papers")


def test_published_taps_and_weights(bundled: opsin.VGG) -> None:
    five = [f"relu{i}_1" for i in range(1, 6)]
    sizes = {tap: CAFFE_SCALES[tap] for tap in five}
    shares = dict(zip(five, (256, 64, 16, 4, 1), strict=True))
    assert wasserstein_style(bundled).weights == pytest.approx({t: v / 341 / sizes[t] ** 2 for t, v in shares.items()})
    assert adain_style(bundled).weights == pytest.approx({t: 1 / sizes[t] ** 2 for t in five[:4]})
    assert coral(bundled).weights == pytest.approx({t: 1 / sizes[t] ** 4 for t in five})
    assert mmd_style(bundled).weights == pytest.approx({t: 1 / sizes[t] ** 4 for t in five})
    assert mmd_style(bundled, kernel="linear").weights == pytest.approx({t: 1 / sizes[t] ** 2 for t in five})
    assert mmd_style(bundled, kernel="gaussian").weights == dict.fromkeys(five, 1.0)
    assert list(histogram(bundled).weights) == ["relu1_1", "relu4_1"]
    twelve = ["1_1", "1_2", "2_1", "2_2", *(f"{b}_{i}" for b in (3, 4) for i in range(1, 5))]
    assert list(sliced_wasserstein(bundled).weights) == [f"relu{t}" for t in twelve]
    for loss in (wasserstein_style, adain_style, coral, mmd_style, histogram, sliced_wasserstein):
        assert loss(bundled).references == ("style",)


def test_sliced_wasserstein_network_options() -> None:
    spec = sliced_wasserstein(weights="random").extractors[0].spec
    assert (spec.network, spec.pooling, spec.padding) == ("vgg19", "avg", "reflect")
    assert sliced_wasserstein("vgg11", "random", pooling="max", layers=TAPS).extractors[0].spec.pooling == "max"


@pytest.mark.parametrize("name", list(LOSSES))
def test_unknown_taps(name: str, vgg: opsin.VGG) -> None:
    with pytest.raises(ChoiceError, match="unknown tap 'relu9_9' for vgg11"):
        LOSSES[name](vgg, layers={"relu9_9": 1.0})
