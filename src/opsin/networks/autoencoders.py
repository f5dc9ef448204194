"""Autoencoders: networks that make an image small, as numbers or as entries of a codebook, and large again."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opsin.checks import choice, whole
from opsin.distances import at_least_float32
from opsin.errors import InputError
from opsin.networks.autoencoder_blocks import decoder, encoder
from opsin.networks.base import Network


class Coded(NamedTuple):
    """What a forward pass gives: images (N,3,H,W), and what their codes cost, a scalar."""

    images: Tensor
    penalty: Tensor


class Autoencoder(Network):
    """Latent diffusion's convolutional trunk, which makes images f = 2^(levels - 1) times smaller and larger again.

    Each level has `blocks` residual blocks (GroupNorm, SiLU, 3×3, twice) on the way down and one more on the way up;
    two more are in the middle, with self-attention between them if it is wanted. A 1×1 convolution goes to the codes
    and one comes from them. Inside, images are in [-1,1].

    Attributes:
        downsampling: f; sides of images must be multiples of it.
        channels: of the codes.
        last_layer: the weights that images come from, where losses are weighed against each other.
    """

    def __init__(
        self, width: int, multipliers: Sequence[int], blocks: int, channels: int, encoded: int, attention: bool
    ) -> None:
        super().__init__()
        whole("width", width)
        if width % 4:
            raise InputError(f"width must be a multiple of 4, got {width}. E.g. {max(width // 4, 1) * 4}.")
        if not multipliers:
            raise InputError("multipliers must be one number for each level, got none. E.g. (1, 2, 4).")
        for multiplier in multipliers:
            whole("each of the multipliers", multiplier)
        self.width, self.multipliers, self.attention = width, tuple(multipliers), attention
        self.blocks, self.channels = whole("blocks", blocks), whole("channels", channels)
        self.downsampling = 2 ** (len(self.multipliers) - 1)
        widths = [width * multiplier for multiplier in self.multipliers]
        self.encoder = encoder(widths, blocks, encoded, attention)
        self.to_codes = nn.Conv2d(encoded, encoded, 1)
        self.from_codes = nn.Conv2d(channels, channels, 1)
        self.decoder = decoder(widths, blocks, channels, attention)
        self._last = nn.Conv2d(width, 3, 3, padding=1)

    @property
    def last_layer(self) -> Tensor:
        """The weights of the last convolution."""
        return self._last.weight

    @abstractmethod
    def forward(self, images: Tensor) -> Coded:
        """Images (N,3,H,W) in [0,1] there and back, not clamped, and the penalty of their codes."""

    @abstractmethod
    def reconstruct(self, images: Tensor) -> Tensor:
        """Images there and back with nothing drawn at random, clamped to [0,1]."""

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {
            "width": self.width,
            "multipliers": list(self.multipliers),
            "blocks": self.blocks,
            "channels": self.channels,
            "attention": self.attention,
        }

    def _features(self, images: Tensor) -> Tensor:
        """What the encoder makes of images, in float32 under autocast.

        Raises:
            InputError: images of another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"images must be of shape (N,3,H,W), got {tuple(images.shape)}.")
        height, width = images.shape[-2:]
        f = self.downsampling
        if height % f or width % f or not min(height, width):
            raise InputError(
                f"images must have sides that are multiples of {f}, got {width}x{height}. Cut or pad them, e.g. to "
                f"{max(width // f, 1) * f}x{max(height // f, 1) * f}."
            )
        return at_least_float32(self.to_codes(self.encoder(2 * images - 1)))

    def _images(self, codes: Tensor) -> Tensor:
        features = self.decoder(self.from_codes(codes))
        # Three channels are all that this computes: in float32 it costs nothing, and the gradients of its weights are
        # sums over all pixels, which half precision has no room for.
        with torch.autocast(features.device.type, enabled=False):
            return (self._last(features.to(self._last.weight.dtype)) + 1) / 2


class VAE(Autoencoder):
    """A convolutional variational autoencoder, as in latent diffusion: codes are normal distributions.

    x̂ = D(μ + σ·ε), (μ, log σ²) = E(x), ε ~ N(0, 1); the penalty is ½ Σ (μ² + σ² - 1 - log σ²) over a code, the mean
    over the batch, divided by the 3·H·W values of an image: what the distance between images, a mean too, goes with.

    Shape: (N,3,H,W) -> (N,3,H,W), (); codes (N,C,H/f,W/f).

    Range: images about [0,1], not clamped; penalty [0, ∞).

    Args:
        width: channels of the first level, a multiple of 4.
        multipliers: how many times as many each level has; each but the last halves the sides.
        blocks: residual blocks of a level.
        channels: C, of the codes.
        attention: self-attention in the middle.

    Raises:
        InputError: a number out of range.

    Differs from the paper: none in the network, that of Stable Diffusion with the default values (83,653,863
    parameters), but for groups of at least four channels where there are fewer than 128.

    Reference: "High-resolution image synthesis with latent diffusion models", Rombach et al., 2022,
    https://arxiv.org/abs/2112.10752; "Auto-encoding variational Bayes", Kingma and Welling, 2014,
    https://arxiv.org/abs/1312.6114

    Example:
        >>> network = VAE(width=8, multipliers=(1, 2, 2), blocks=1)
        >>> mean, logvar = network.encode(torch.rand(2, 3, 32, 48))
        >>> mean.shape, network.decode(mean).shape
        (torch.Size([2, 4, 8, 12]), torch.Size([2, 3, 32, 48]))
    """

    architecture = "vae"

    def __init__(
        self,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 4, 4),
        blocks: int = 2,
        channels: int = 4,
        attention: bool = True,
    ) -> None:
        super().__init__(width, multipliers, blocks, channels, 2 * channels, attention)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the codes.

        Shape: (N,3,H,W) in [0,1] -> twice (N,C,H/f,W/f).

        Raises:
            InputError: sides that are no multiples of f.
        """
        mean, logvar = self._features(images).chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def decode(self, codes: Tensor) -> Tensor:
        """The images of codes.

        Shape: (N,C,h,w) -> (N,3,f·h,f·w).

        Range: about [0,1], not clamped.

        Raises:
            InputError: codes of another shape.
        """
        if codes.ndim != 4 or codes.shape[1] != self.channels:
            raise InputError(f"codes must be of shape (N,{self.channels},h,w), got {tuple(codes.shape)}.")
        return self._images(codes)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Coded:
        """Images by way of codes drawn at random.

        Args:
            images: (N,3,H,W) in [0,1].
            generator: what they are drawn from; None for torch's global one.

        Raises:
            InputError: sides that are no multiples of f.
        """
        mean, logvar = self.encode(images)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        divergence = (mean.square() + logvar.exp() - 1 - logvar).sum() / 2
        return Coded(self._images(mean + (logvar / 2).exp() * noise), divergence / images.numel())

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images by way of the means of their codes, clamped to [0,1].

        Raises:
            InputError: sides that are no multiples of f.
        """
        return self.decode(self.encode(images)[0]).clamp(0, 1)


class VQ(Autoencoder):
    """VQGAN's autoencoder: each place of a code is the entry of a codebook that is nearest.

    x̂ = D(e), e = argmin ‖E(x) - eᵢ‖ at each place; the gradient at e goes straight through to E(x). The penalty is
    mean (sg[E(x)] - e)² + β · mean (E(x) - sg[e])², sg what no gradient flows through.

    Shape: (N,3,H,W) -> (N,3,H,W), (); codes are whole numbers (N,H/f,W/f).

    Range: images about [0,1], not clamped; penalty [0, ∞).

    Args:
        width: see `VAE`.
        multipliers: see `VAE`.
        blocks: see `VAE`.
        channels: of each entry.
        attention: see `VAE`.
        entries: of the codebook.
        commitment: β.

    Raises:
        InputError: a number out of range.

    Differs from the paper: β stands where the paper has it; the released code has it at the other term. The trunk is
    that of latent diffusion, which has attention in the middle alone.

    Reference: "Taming transformers for high-resolution image synthesis", Esser et al., 2021,
    https://arxiv.org/abs/2012.09841; "Neural discrete representation learning", van den Oord et al., 2017,
    https://arxiv.org/abs/1711.00937

    Example:
        >>> network = VQ(width=8, multipliers=(1, 2, 2), blocks=1, entries=16)
        >>> codes = network.encode(torch.rand(2, 3, 32, 48))
        >>> codes.shape, network.decode(codes).shape
        (torch.Size([2, 8, 12]), torch.Size([2, 3, 32, 48]))
    """

    architecture = "vq"

    def __init__(
        self,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 4),
        blocks: int = 2,
        channels: int = 4,
        attention: bool = True,
        entries: int = 8192,
        commitment: float = 0.25,
    ) -> None:
        super().__init__(width, multipliers, blocks, channels, channels, attention)
        if not 0 <= commitment < math.inf:
            raise InputError(f"commitment must be 0 or a positive number, got {commitment}. E.g. 0.25.")
        self.entries, self.commitment = whole("entries", entries), commitment
        self.codebook = nn.Embedding(entries, channels)
        nn.init.uniform_(self.codebook.weight, -1 / entries, 1 / entries)

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {**super().config(), "entries": self.entries, "commitment": self.commitment}

    def encode(self, images: Tensor) -> Tensor:
        """The numbers of the entries.

        Shape: (N,3,H,W) in [0,1] -> (N,H/f,W/f).

        Raises:
            InputError: sides that are no multiples of f.
        """
        return self.nearest(self._features(images))

    def begin(self, images: Tensor) -> None:
        """Set the entries to what the encoder makes of places of images, drawn at random.

        Before training: where all entries begin near 0, a few of them take all places and the others are never used.

        Shape: (N,3,H,W) in [0,1].

        Raises:
            InputError: sides that are no multiples of f.
        """
        with torch.no_grad():
            places = torch.cat([self._features(image[None]).movedim(1, -1).flatten(0, -2) for image in images])
            chosen = torch.cat([torch.randperm(len(places)) for _ in range(-(-self.entries // len(places)))])
            self.codebook.weight.copy_(places[chosen[: self.entries].to(places.device)])

    def nearest(self, features: Tensor) -> Tensor:
        """The entry that is nearest to each place, the first of several.

        Shape: (N,C,h,w) -> (N,h,w).
        """
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            places = features.movedim(1, -1).flatten(0, -2)
            entries = self.codebook.weight.to(places.dtype)
            # ‖z - e‖² without ‖z‖², which is the same for all entries.
            distances = entries.square().sum(1) - 2 * places @ entries.T
            return distances.argmin(1).view(features.shape[0], *features.shape[-2:])

    def lookup(self, codes: Tensor) -> Tensor:
        """The entries of numbers.

        Shape: (N,h,w) -> (N,C,h,w).

        Raises:
            InputError: codes of another shape, or no whole numbers.
        """
        if codes.ndim != 3 or codes.is_floating_point():
            raise InputError(f"codes must be whole numbers of shape (N,h,w), got {codes.dtype} {tuple(codes.shape)}.")
        return self.codebook(codes).movedim(-1, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """The images of numbers of entries.

        Shape: (N,h,w) -> (N,3,f·h,f·w).

        Range: about [0,1], not clamped.

        Raises:
            InputError: codes of another shape, or no whole numbers.
        """
        return self._images(self.lookup(codes))

    def forward(self, images: Tensor) -> Coded:
        """Images by way of the codebook; the gradient goes straight through it.

        Raises:
            InputError: sides that are no multiples of f.
        """
        features = self._features(images)
        entries = self.lookup(self.nearest(features))
        penalty = F.mse_loss(entries, features.detach()) + self.commitment * F.mse_loss(features, entries.detach())
        return Coded(self._images(features + (entries - features).detach()), penalty)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images by way of their codes, clamped to [0,1].

        Raises:
            InputError: sides that are no multiples of f.
        """
        return self.decode(self.encode(images)).clamp(0, 1)


MULTIPLIERS: Mapping[int, tuple[int, ...]] = MappingProxyType({4: (1, 2, 4), 8: (1, 2, 4, 4)})
"""Downsampling factors of `make_autoencoder`, and latent diffusion's widths of the levels."""

SIZES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "small": MappingProxyType({"width": 32, "blocks": 1, "attention": False, "entries": 1024}),
        "published": MappingProxyType({"width": 128, "blocks": 2, "attention": True, "entries": 8192}),
    }
)
"""Sizes of `make_autoencoder`: for two cores, and latent diffusion's."""

AUTOENCODERS: Mapping[str, type[Autoencoder]] = MappingProxyType({"vae": VAE, "vq": VQ})
"""Names of `make_autoencoder`."""


def make_autoencoder(
    name: str,
    downsampling: int = 4,
    size: str = "small",
    *,
    width: int | None = None,
    blocks: int | None = None,
    channels: int = 4,
    attention: bool | None = None,
    entries: int | None = None,
) -> Autoencoder:
    """A new autoencoder.

    Args:
        name: one of `AUTOENCODERS`.
        downsampling: one of `MULTIPLIERS`.
        size: one of `SIZES`, which the values below are of where they are None.
        width: channels of the first level.
        blocks: residual blocks of a level.
        channels: of the codes.
        attention: self-attention in the middle.
        entries: of the codebook, for "vq" alone.

    Raises:
        ChoiceError: an unknown name or size.
        InputError: another factor, or a number out of range.
    """
    kind = AUTOENCODERS[choice("model", name, AUTOENCODERS)]
    values = dict(SIZES[choice("size", size, SIZES)])
    if downsampling not in MULTIPLIERS:
        raise InputError(f"downsampling must be one of {', '.join(map(str, MULTIPLIERS))}, got {downsampling}. E.g. 4.")
    chosen = {"width": width, "blocks": blocks, "attention": attention, "entries": entries}
    values |= {key: value for key, value in chosen.items() if value is not None}
    if kind is not VQ:
        del values["entries"]
        if entries is not None:
            raise InputError(f"entries must be left out for '{name}', which has no codebook, got {entries}.")
    return kind(multipliers=MULTIPLIERS[downsampling], channels=channels, **values)
