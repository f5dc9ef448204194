"""How super-resolution networks are trained: pixels, perceptual and adversarial losses, in stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from opsin import published
from opsin.classical import functions
from opsin.distances import TotalVariation, at_least_float32
from opsin.errors import ImageError
from opsin.functional.adversarial import discriminator_loss, generator_loss
from opsin.images import read_image
from opsin.loss import PerceptualLoss
from opsin.networks import Network, Upscaler, load_upscaler, make_discriminator, make_upscaler
from opsin.published.listing import make_loss
from opsin.superres.data import PairFolder, cut_to_multiple, rounded
from opsin.superres.degradations import make_degradation
from opsin.superres.evaluation import psnr_y
from opsin.superres.settings import JOHNSON, NONE, SrSettings
from opsin.superres.upscaling import upscale
from opsin.training import ImageFolder, Recipe, Settings, Updates
from opsin.training.adversarial import distance_from, judged_by
from opsin.training.recipe import means, rate_factor

_BETAS = (0.9, 0.99)


class SrRecipe(Recipe):
    """A generator learns to enlarge, and where the recipe has one, a discriminator to tell what it made from photos.

    In the first `pretrain_steps`: L = pixels(x, y), x = G(small), y the photo. Then

    L_G = w_pixel · pixels(x, y) + w_perceptual · perceptual(x, y) + w_tv · TV(x) + w_gan · gan_G(D(x), D(y)),
    L_D = gan_D(D(y), D(x)),

    one step of Adam (betas 0.9 and 0.99) each. pixels is the mean of |x - y|, (x - y)² or ((x - y)² + 1e-6)^½.

    Args:
        settings: see `SrSettings`.

    Raises:
        OpsinError: a network, checkpoint or weights that are not there, or a scale that the network has not.

    Differs from the papers: "johnson" looks through VGG-19 with its bundled weights, the paper through VGG-16; the
    perceptual losses differ as `opsin.published` says of each; "real-esrgan" does not sharpen the photos first.

    Reference: "Photo-realistic single image super-resolution using a generative adversarial network", Ledig et al.,
    2017, https://arxiv.org/abs/1609.04802; "ESRGAN", Wang et al., 2018, https://arxiv.org/abs/1809.00219;
    "Real-ESRGAN", Wang et al., 2021, https://arxiv.org/abs/2107.10833; "Perceptual losses for real-time style transfer
    and super-resolution", Johnson et al., 2016, https://arxiv.org/abs/1603.08155

    Example:
        >>> recipe = SrRecipe(SrSettings.collect({"data": "photos", "output": "run"}))  # doctest: +SKIP
    """

    product = "generator"

    def __init__(self, settings: SrSettings) -> None:
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.generator = _make_generator(settings)
            networks: dict[str, Network] = {self.product: self.generator}
            if settings.gan != NONE:
                networks["discriminator"] = make_discriminator(
                    settings.discriminator, settings.crop, settings.discriminator_width
                )
            self.networks: Mapping[str, Network] = networks
        self.perceptual = _make_perceptual(settings)
        self.variation = TotalVariation() if settings.tv else None
        self.degradation = make_degradation(settings.degradation, settings.scale, kind=settings.downscale)
        self.validate_every = settings.val_every if settings.val_fraction else 0
        if self.validate_every:
            functions()  # what is missing is said before the work begins

    def folder(self, settings: Settings) -> PairFolder:
        """Pairs of crops.

        Raises:
            InputError: there is no such folder, or no image in it.
        """
        mine = self.settings
        return PairFolder(
            settings.data,
            settings.crop,
            mine.scale,
            self.degradation,
            seed=settings.seed,
            held_out=mine.val_fraction,
            cache=settings.cache * 2**20,
        )

    def to(self, device: torch.device) -> None:
        """Move the perceptual loss."""
        if self.perceptual is not None:
            self.perceptual.to(device)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """Adam for each network."""
        return {name: Adam(network.parameters(), lr=lr, betas=_BETAS) for name, network in self.networks.items()}

    def rate(self, settings: Settings, step: int) -> float:
        """The schedule begins anew with the second stage."""
        first = min(self.settings.pretrain_steps, settings.steps)
        if step < first:
            return self.settings.pretrain_lr / settings.lr * rate_factor(settings, step, first)
        return rate_factor(settings, step - first, settings.steps - first)

    def step(self, images: tuple[Tensor, ...], update: Updates) -> dict[str, Tensor]:
        """The losses of a batch, by their names."""
        small, large = images
        settings = self.settings
        made = at_least_float32(update.networks[self.product](small))
        pixels = pixel_loss(settings.pixel_loss, made, large)
        if update.step < settings.pretrain_steps:
            update(self.product, pixels)
            return {"loss": pixels, "pixels": pixels}
        logged = {"pixels": pixels}
        total = settings.pixel_weight * pixels
        if self.perceptual is not None:
            logged["perceptual"] = distance_from(large, made, self.perceptual)
            total = total + settings.perceptual_weight * logged["perceptual"]
        if self.variation is not None:
            logged["variation"] = self.variation(made).mean()
            total = total + settings.tv * logged["variation"]
        if settings.gan == NONE:
            update(self.product, total)
            return {"loss": total, **logged}
        logged["gan"] = self._deceive(made, large)
        total = total + settings.gan_weight * logged["gan"]
        update(self.product, total)
        real, fake = (at_least_float32(t) for t in update.networks["discriminator"](large, made.detach()))
        logged["discriminator"] = discriminator_loss(settings.gan, real, fake)
        update("discriminator", logged["discriminator"])
        means = {"real": real.mean(), "fake": fake.mean()}
        return {"loss": total, **logged, **means}

    def _deceive(self, made: Tensor, large: Tensor) -> Tensor:
        """The generator's adversarial loss, without a gradient of the discriminator's own weights."""
        judge = self.networks["discriminator"]
        with judged_by(judge):
            if self.settings.gan != "relativistic":
                (fake,) = judge(made)
                return generator_loss(self.settings.gan, at_least_float32(fake))
            real, fake = (at_least_float32(t) for t in judge(large, made))
        return generator_loss(self.settings.gan, fake, real.detach())

    def sample(self, network: nn.Module, images: tuple[Tensor, ...]) -> Tensor:
        """The small images, enlarged without more, in a row; below what the network makes of them, and the photos."""
        small, large = images
        plain = F.interpolate(small, scale_factor=self.settings.scale, mode="bicubic").clamp(0, 1)
        rows = (torch.cat(list(batch), dim=2) for batch in (plain, network(small).clamp(0, 1), large))
        return torch.cat(list(rows), dim=1)

    def validate(self, network: Any, data: ImageFolder) -> Mapping[str, float]:
        """PSNR on Y and the perceptual loss of the held-out files, each whole.

        One that cannot be read, or is smaller than a crop, is left out.
        """
        found: list[dict[str, float]] = []
        device = next(network.parameters()).device
        for number, path in enumerate(data.held_out_paths):
            try:
                large = cut_to_multiple(read_image(path), self.settings.scale)
            except ImageError:
                continue
            if min(large.shape[-2:]) < self.settings.crop:
                continue
            small = self.degradation(large[0], np.random.default_rng((self.settings.seed, number, 3)))[None]
            made = upscale(network, rounded(small).to(device)).cpu()
            values = {"val_psnr": float(psnr_y(rounded(made), large, shave=self.settings.scale))}
            if self.perceptual is not None:
                distance = distance_from(large.to(device), made.to(device), self.perceptual)
                values["val_perceptual"] = float(distance)
            found.append(values)
        return means(found)

    def about(self) -> dict[str, Any]:
        """The recipe, its losses and what small images were made with."""
        settings = self.settings
        names = ("recipe", "scale", "pixel_loss", "pixel_weight", "perceptual", "perceptual_weight", "tv", "gan")
        names += ("gan_weight", "degradation", "downscale")
        signature = None if self.perceptual is None else dict(self.perceptual.signature)
        return {"kind": "sr", **{name: getattr(settings, name) for name in names}, "signature": signature}


def pixel_loss(kind: str, x: Tensor, y: Tensor) -> Tensor:
    """The mean over all pixels and channels of |x - y| ("l1"), (x - y)² ("l2") or ((x - y)² + 1e-6)^½ ("charbonnier").

    Shape: (N,C,H,W), (N,C,H,W) -> ().

    Range: [0, ∞).

    Reference: Charbonnier et al., 1994, for the last, as in "Fast and accurate image super-resolution with deep
    Laplacian pyramid networks", Lai et al., 2018, https://arxiv.org/abs/1710.01992
    """
    if kind == "l1":
        return F.l1_loss(x, y)
    if kind == "l2":
        return F.mse_loss(x, y)
    return ((x - y).square() + 1e-6).sqrt().mean()


def _make_generator(settings: SrSettings) -> Upscaler:
    if settings.init is not None:
        return load_upscaler(settings.init, scale=settings.scale).network
    return make_upscaler(settings.network or "compact", settings.scale, width=settings.width, blocks=settings.blocks)


def _make_perceptual(settings: SrSettings) -> PerceptualLoss | None:
    if settings.perceptual == NONE or not settings.perceptual_weight:
        return None
    if settings.perceptual == JOHNSON:
        # The map that the paper takes for super-resolution; the bundled weights are VGG-19's.
        net = "vgg19" if settings.weights == "bundled" else "vgg16"
        return published.johnson_feature(net, settings.weights, layers={"relu2_2": 1.0})
    return make_loss(settings.perceptual, settings.weights)
