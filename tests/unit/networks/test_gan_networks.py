"""Generators from noise, and discriminators that look through a frozen network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from opsin.errors import ChoiceError, InputError
from opsin.networks import (
    GENERATOR_SIZES,
    FastGAN,
    ImageDiscriminator,
    ProjectedDiscriminator,
    load_network,
    make_generator,
    save_network,
)

SEEN = {"network": "efficientnet_lite0", "weights": "random"}
TAPS = ["stage2", "stage3", "stage5", "stage7"]


def test_sizes_and_ranges() -> None:
    for size in GENERATOR_SIZES[:4]:
        made = FastGAN(size, width=4, latent=8)(torch.randn(2, 8))
        assert made.shape == (2, 3, size, size)
        assert made.min() >= 0
        assert made.max() <= 1


def test_channels_halve_with_each_doubling() -> None:
    """The table of the paper, for a width of 64: 1024 at 4 pixels, 32 at 256."""
    network = make_generator("full", 256)
    assert network.width == 128
    convs = [network.blocks[str(side)][0] for side in (8, 16, 32, 64, 128, 256)]
    assert [(c.in_channels, c.out_channels // 2) for c in convs] == [
        (2048, 1024), (1024, 512), (512, 256), (256, 256), (256, 128), (128, 64)
    ]  # fmt: skip


def test_an_image_depends_on_its_noise_alone_when_it_is_used() -> None:
    torch.manual_seed(0)
    network = make_generator("tiny", 64).eval()
    z = torch.randn(3, network.latent)
    torch.testing.assert_close(network(z)[1:2], network(z[1:2]), rtol=0, atol=1e-5)


def test_what_a_generator_refuses() -> None:
    with pytest.raises(InputError, match=r"size must be 32, 64, 128, 256 or 512, got 48\."):
        FastGAN(48)
    with pytest.raises(InputError, match=r"noise must be \(N,16\)"):
        make_generator("tiny", 32)(torch.randn(2, 3))
    with pytest.raises(ChoiceError, match="did you mean 'small'"):
        make_generator("smal", 32)


@pytest.fixture
def judge() -> ProjectedDiscriminator:
    torch.manual_seed(0)
    return ProjectedDiscriminator(SEEN, TAPS, 64, width=4)


def test_logits_of_every_scale(judge: ProjectedDiscriminator) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 32, 32)
    one, other = judge(x, torch.rand(3, 3, 80, 48))
    assert one.shape == (2, 4 * 25)
    assert other.shape == (3, 4 * 25)
    assert [tuple(f.shape[1:]) for f in judge.features(x)] == [(4, 32, 32), (4, 16, 16), (8, 8, 8), (16, 4, 4)]


def test_gradients_reach_the_images_through_the_frozen_network(judge: ProjectedDiscriminator) -> None:
    x = torch.rand(2, 3, 64, 64, requires_grad=True)
    judge(x)[0].sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().flatten(1).sum(1) > 0).all()
    assert all(p.grad is None for p in judge.extractor._network.parameters())


def test_what_is_frozen_stays_and_is_in_no_checkpoint(judge: ProjectedDiscriminator) -> None:
    before = judge.digest
    optimizer = torch.optim.SGD(judge.parameters(), lr=1.0)
    judge.train()(torch.rand(2, 3, 64, 64))[0].mean().backward()
    old = [p.detach().clone() for p in judge.parameters()]
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(old, judge.parameters(), strict=True))
    assert judge.digest == before
    assert all(name.startswith("judges.") for name in judge.state_dict())
    assert ProjectedDiscriminator(SEEN, TAPS, 64, width=4, seed=1).digest != before
    assert ProjectedDiscriminator({**SEEN, "seed": 1}, TAPS, 64, width=4).digest != before


def test_features_are_of_one_size_whatever_the_network() -> None:
    x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for network, taps in (("vgg19", ["relu2_2", "relu3_4", "relu4_4"]), ("efficientnet_lite0", TAPS[:3])):
        options = {"network": network} if network == "vgg19" else SEEN
        judge = ProjectedDiscriminator(options, taps, 64, width=8)
        with torch.no_grad():
            size = [float(f.square().mean().sqrt()) for f in judge.features(x)]
        assert all(0.1 < s < 10 for s in size), (network, size)


def test_a_projection_before_the_enlargement_is_one_behind_it(judge: ProjectedDiscriminator) -> None:
    """The paper has it behind; the deepest scale shows it."""
    x = torch.rand(1, 3, 64, 64)
    f = judge.extractor(x, TAPS[-1:])[TAPS[-1]]
    mixed = torch.nn.functional.conv2d(f, judge.get_buffer("_channels_3"))
    large = torch.nn.functional.interpolate(mixed, scale_factor=2, mode="bilinear")
    expected = torch.nn.functional.conv2d(large, judge.get_buffer("_scales_3"))
    torch.testing.assert_close(judge.features(x)[-1], expected, rtol=1e-5, atol=1e-5)


def test_files(judge: ProjectedDiscriminator, tmp_path: Path) -> None:
    x = torch.rand(2, 3, 32, 32)
    for number, network in enumerate((judge, ImageDiscriminator(32, 2))):
        save_network(tmp_path / f"{number}.safetensors", network, {})
        again, _ = load_network(tmp_path / f"{number}.safetensors", network.architecture)
        torch.testing.assert_close(again(x)[0], network.eval()(x)[0])


def test_what_a_discriminator_refuses() -> None:
    with pytest.raises(InputError, match="from shallow to deep"):
        ProjectedDiscriminator(SEEN, TAPS[::-1])
    with pytest.raises(InputError, match="at least 2x2 at 32 pixels"):
        ProjectedDiscriminator(SEEN, TAPS, 32)
    with pytest.raises(InputError, match="width must be a whole number of at least 2"):
        ProjectedDiscriminator(SEEN, TAPS, width=1)
    with pytest.raises(InputError, match="power of two"):
        ImageDiscriminator(48)
    with pytest.raises(InputError, match="must be 32x32, got 64x64"):
        ImageDiscriminator(32, 2)(torch.rand(2, 3, 64, 64))
