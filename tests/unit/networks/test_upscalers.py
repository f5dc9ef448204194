"""Networks that enlarge images: ours, and those that spandrel has."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opsin.errors import ChoiceError, InputError
from opsin.networks import EDSR, UPSCALERS, MSRResNet, SRResNet, Upscaler, make_upscaler
from opsin.networks.transform import ImageTransformNet

OURS = ("srresnet", "msrresnet", "edsr")
NAMES = tuple(UPSCALERS)
REFUSED = {("rrdb", 3), ("rcan", 1)}
MADE = [(name, scale) for name in NAMES for scale in (1, 2, 3, 4, 8) if (name, scale) not in REFUSED]


@pytest.fixture(autouse=True)
def _needed(request: pytest.FixtureRequest) -> None:
    """Spandrel, for its networks."""
    values = getattr(getattr(request.node, "callspec", None), "params", {})
    if values.get("name") in UPSCALERS and values["name"] not in OURS:
        pytest.importorskip("spandrel", reason="needs the extra sr")


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (SRResNet, 1_549_462),
        (MSRResNet, 1_517_571),
        (EDSR, 1_517_571),
        (lambda: EDSR(4, 32, 8), 232_963),
        (lambda: EDSR(4, 16, 4), 40_323),
    ],
)
def test_the_published_numbers(network: Callable[[], nn.Module], parameters: int) -> None:
    assert _parameters(network()) == parameters


@pytest.mark.parametrize(
    ("name", "width", "blocks", "parameters"),
    [
        ("rrdb", None, None, 16_697_987),
        ("compact", 32, 8, 89_040),
        ("compact", None, None, 621_424),
    ],
)
def test_the_published_numbers_of_others(name: str, width: int | None, blocks: int | None, parameters: int) -> None:
    assert _parameters(make_upscaler(name, 4, width=width, blocks=blocks)) == parameters


@pytest.mark.parametrize(("name", "scale"), MADE)
def test_any_size(tiny: Callable[..., Upscaler], name: str, scale: int) -> None:
    network = tiny(name, scale).eval()
    assert (network.name, network.scale) == (name, scale)
    with torch.no_grad():
        for height, width in ((1, 1), (5, 7), (17, 9)):
            image = torch.rand(2, 3, height, width)
            before = image.clone()
            assert network(image).shape == (2, 3, scale * height, scale * width)
            assert torch.equal(image, before)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_batch_do_not_meet(tiny: Callable[..., Upscaler], name: str) -> None:
    network = tiny(name).eval()
    x = torch.rand(2, 3, 9, 8)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:], network(x[1:]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["srresnet", "msrresnet", "edsr", "rrdb", "compact", "span"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_the_radius_is_exact(tiny: Callable[..., Upscaler], name: str, scale: int) -> None:
    """With positive weights nothing cancels: what a pixel's results depend on is where their gradient is."""
    if (name, scale) in REFUSED:
        return
    network = tiny(name, scale).double().eval()
    radius = network.radius
    assert radius is not None
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().clamp_(min=1e-3)
    side = 2 * radius + 5
    middle = side // 2
    image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    pixels = slice(middle * scale, (middle + 1) * scale)
    network(image)[..., pixels, pixels].sum().backward()
    assert image.grad is not None
    reached = image.grad[0].abs().sum(0).nonzero() - middle
    assert (int(reached.min()), int(reached.max())) == (-radius, radius)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_all_that_is_trained(tiny: Callable[..., Upscaler], name: str) -> None:
    """Over several processes one parameter without a gradient would stop the training."""
    network = tiny(name).train()
    network(torch.rand(2, 3, 9, 9)).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
    assert any(bool(p.grad.any()) for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns(tiny: Callable[..., Upscaler], name: str) -> None:
    network = tiny(name).train()
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, 3, 12, 12, generator=generator)
    target = F.interpolate(image, scale_factor=2, mode="bicubic")
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 2e-3)
    losses: list[float] = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = F.l1_loss(network(image), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides(tiny: Callable[..., Upscaler], name: str) -> None:
    """And what is drawn is as much as the network needs: nobody's numbers are drawn when it is copied."""
    first, second = tiny(name), tiny(name)
    state = torch.get_rng_state()
    copied = copy.deepcopy(first)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    for own, other, third in zip(_states(first), _states(second), _states(copied), strict=True):
        assert torch.equal(own, other)
        assert torch.equal(own, third)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_equal_and_apart(tiny: Callable[..., Upscaler], name: str) -> None:
    network = tiny(name).eval()
    parameter = next(p for p in network.parameters() if p.requires_grad)
    parameter.requires_grad_(False)
    x = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        expected = network(x)  # some keep what they computed
        copied = copy.deepcopy(network)
        assert torch.equal(copied(x), expected)
        assert (copied.name, copied.scale, copied.radius, copied.training) == (name, 2, network.radius, False)
        flags = [p.requires_grad for p in network.parameters()]
        assert [p.requires_grad for p in copied.parameters()] == flags
        for own in copied.parameters():
            own.add_(1)
        assert torch.equal(network(x), expected)


@pytest.mark.parametrize(("name", "scale"), sorted(REFUSED))
def test_scales_that_a_network_cannot_have(name: str, scale: int) -> None:
    with pytest.raises(InputError, match=rf"^scale must be one of [\d, ]+ for {name}, got {scale}\. .*\.$"):
        make_upscaler(name, scale)


def test_what_cannot_be() -> None:
    with pytest.raises(ChoiceError, match="unknown network 'edsrr'; did you mean 'edsr'"):
        make_upscaler("edsrr")
    for name in NAMES:
        with pytest.raises(InputError, match=f"scale must be one of .* for {name}, got 5"):
            make_upscaler(name, 5)
        with pytest.raises(InputError, match="width must be a whole number of at least 1, got 0"):
            make_upscaler(name, width=0)
    with pytest.raises(InputError, match="blocks must be a whole number of at least 1, got -1"):
        make_upscaler("edsr", blocks=-1)
    with pytest.raises(InputError, match="blocks must be left out for span"):
        make_upscaler("span", blocks=3)
    with pytest.raises(InputError, match="multiple of the 6 heads of swinir, got 20"):
        make_upscaler("swinir", width=20)
    with pytest.raises(InputError, match="at least 16 for rcan"):
        make_upscaler("rcan", width=8)
    with pytest.raises(InputError, match="scale must be one of 1, 2, 3, 4, 8 for edsr, got 6"):
        EDSR(6)
    assert not isinstance(ImageTransformNet(2, 1), Upscaler)


def test_edsr_takes_no_colour_for_granted() -> None:
    """Without weights, what is left is the mean that it takes off and puts back, at every range of values."""
    for img_range in (1.0, 255.0):
        network = EDSR(2, 4, 1, img_range=img_range)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
        made = network(torch.rand(1, 3, 4, 4)).mean(dim=(0, 2, 3))
        torch.testing.assert_close(made, torch.tensor([0.4488, 0.4371, 0.4040]))


def test_edsr_scales_its_blocks() -> None:
    torch.manual_seed(0)
    large = EDSR(2, 4, 2, res_scale=0.1)
    other = EDSR(2, 4, 2)
    other.load_state_dict(large.state_dict())
    x = torch.rand(1, 3, 6, 6)
    assert not torch.allclose(large(x), other(x), atol=1e-4)
    with torch.no_grad():
        for name, parameter in other.body.named_parameters():
            if "conv2" in name:
                parameter.mul_(0.1)
    torch.testing.assert_close(large(x), other(x), rtol=1e-5, atol=1e-6)


def test_msrresnet_begins_as_a_bilinear_filter() -> None:
    """What it adds is small at the beginning, so that training starts from an enlarged image."""
    torch.manual_seed(0)
    image = torch.rand(1, 3, 16, 16)
    bilinear = F.interpolate(image, scale_factor=4, mode="bilinear")
    assert (MSRResNet()(image) - bilinear).abs().mean().item() < 0.2


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _states(network: Upscaler) -> list[Tensor]:
    return list(network.weights().values())
