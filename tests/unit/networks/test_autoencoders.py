"""Networks that make images small and large again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from opsin.errors import ChoiceError, InputError
from opsin.networks import VAE, VQ, Autoencoder, load_network, make_autoencoder, save_network


def small(name: str, downsampling: int = 4) -> Autoencoder:
    torch.manual_seed(0)
    return make_autoencoder(name, downsampling, width=4, blocks=1, attention=True, entries=8 if name == "vq" else None)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def test_the_published_number_of_weights() -> None:
    """That of Stable Diffusion's autoencoder."""
    with torch.device("meta"):
        network = VAE()
    assert sum(p.numel() for p in network.parameters()) == 83_653_863


@pytest.mark.parametrize("downsampling", [4, 8])
def test_shapes(images: Tensor, downsampling: int) -> None:
    height, width = 16 // downsampling, 24 // downsampling
    vae, vq = small("vae", downsampling), small("vq", downsampling)
    assert isinstance(vae, VAE)
    assert isinstance(vq, VQ)
    mean, logvar = vae.encode(images)
    assert mean.shape == logvar.shape == (2, 4, height, width)
    assert vae.decode(mean).shape == images.shape
    codes = vq.encode(images)
    assert codes.shape == (2, height, width)
    assert codes.dtype == torch.int64
    assert vq.lookup(codes).shape == (2, 4, height, width)
    assert vq.decode(codes).shape == images.shape
    for network in (vae, vq):
        assert network(images).images.shape == images.shape
        assert network(images).penalty.ndim == 0


@pytest.mark.parametrize("name", ["vae", "vq"])
def test_one_call_uses_every_weight(name: str, images: Tensor) -> None:
    """So that processes which share gradients do not wait for those of a weight that nobody used."""
    network = small(name)
    made, penalty = network(images)
    (made.square().mean() + penalty).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key
    assert any(parameter is network.last_layer for parameter in network.parameters())


@pytest.mark.parametrize("name", ["vae", "vq"])
def test_files(name: str, images: Tensor, tmp_path: Path) -> None:
    network = small(name)
    save_network(tmp_path / "a.safetensors", network, {})
    loaded = load_network(tmp_path / "a.safetensors", name).network
    assert isinstance(loaded, Autoencoder)
    made = loaded.reconstruct(images).detach()
    assert torch.equal(made, network.eval().reconstruct(images))
    assert 0 <= float(made.min()) <= float(made.max()) <= 1


def test_the_penalty_of_the_vae_is_the_divergence_from_a_normal_distribution(images: Tensor) -> None:
    network = small("vae")
    assert isinstance(network, VAE)
    mean, logvar = network.encode(images)
    given = torch.distributions.Normal(mean, (logvar / 2).exp())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(given, standard).sum() / images.numel()
    torch.testing.assert_close(network(images).penalty, expected, rtol=1e-4, atol=1e-7)


def test_codes_of_the_vae_are_drawn(images: Tensor) -> None:
    network = small("vae")
    one, same, other = (network(images, torch.Generator().manual_seed(seed)).images for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=1e-4)


def test_the_nearest_entry_the_penalty_and_the_gradient_straight_through(images: Tensor) -> None:
    network = small("vq")
    assert isinstance(network, VQ)
    features = network._features(images).detach()
    places = features.movedim(1, -1)
    entries = network.codebook.weight.detach()
    distances = (places[..., None, :] - entries).square().sum(-1)
    assert torch.equal(network.nearest(features), distances.argmin(-1))
    # Each term is the mean over places and channels, and in value both are the same.
    expected = (1 + 0.25) * distances.amin(-1).mean() / 4
    torch.testing.assert_close(network(images).penalty, expected, rtol=1e-4, atol=1e-6)
    # Without the penalty the images' gradient reaches the encoder, and the codebook not at all.
    network(images).images.sum().backward()
    assert network.codebook.weight.grad is None
    first = next(network.encoder.parameters())
    assert first.grad is not None
    assert bool(first.grad.any())


@pytest.mark.parametrize("name", ["vae", "vq"])
def test_autocast(name: str, images: Tensor) -> None:
    network = small(name)
    with torch.no_grad():
        plain = network.reconstruct(images)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network.reconstruct(images)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain, rtol=0, atol=0.05 if name == "vae" else 0.5)  # a code may flip


def test_what_cannot_be(images: Tensor) -> None:
    vae, vq = small("vae"), small("vq")
    assert isinstance(vae, VAE)
    assert isinstance(vq, VQ)
    with pytest.raises(InputError, match=r"sides that are multiples of 4, got 22x16\. .* 20x16"):
        vae(images[..., :22])
    with pytest.raises(InputError, match=r"images must be of shape \(N,3,H,W\), got \(2, 1, 16, 24\)"):
        vq.encode(images[:, :1])
    with pytest.raises(InputError, match=r"codes must be of shape \(N,4,h,w\)"):
        vae.decode(torch.rand(1, 3, 4, 4))
    with pytest.raises(InputError, match=r"codes must be whole numbers .* got torch.float32"):
        vq.decode(torch.rand(1, 4, 4))
    with pytest.raises(InputError, match="width must be a multiple of 4, got 6"):
        make_autoencoder("vae", width=6)
    with pytest.raises(InputError, match="downsampling must be one of 4, 8, got 5"):
        make_autoencoder("vae", 5)
    with pytest.raises(InputError, match="entries must be left out for 'vae', which has no codebook, got 8"):
        make_autoencoder("vae", entries=8)
    with pytest.raises(InputError, match="multipliers must be"):
        VAE(multipliers=())
    with pytest.raises(InputError, match="commitment must be"):
        VQ(width=4, entries=2, commitment=-1)
    with pytest.raises(ChoiceError, match="unknown model 'vqe'"):
        make_autoencoder("vqe")
