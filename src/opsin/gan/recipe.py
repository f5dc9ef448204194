"""How a generator of images from noise is trained: against features of a frozen network, or the images themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import update_bn

from opsin.distances import at_least_float32
from opsin.errors import InputError
from opsin.extractors import Extractor, make_extractor
from opsin.functional.adversarial import discriminator_loss, generator_loss
from opsin.functional.augment import diff_augment
from opsin.gan.data import SquareFolder, tell_of_grey
from opsin.gan.matching import match_populations, pooled
from opsin.gan.sampling import decode, grid, latents
from opsin.gan.settings import NONE, GanSettings
from opsin.networks import Network
from opsin.networks.discriminators import ImageDiscriminator
from opsin.networks.fastgan import FastGAN, make_generator
from opsin.networks.projected import ProjectedDiscriminator
from opsin.training import Recipe, Settings, Updates
from opsin.training.adversarial import judged_by

_SHOWN = 64
_SETTLING = 1024  # images that statistics are taken of


class GanRecipe(Recipe):
    """A generator learns to make images that a discriminator takes for the data's.

    L_G = gan_G(D(T(x))) + w · matching(x, y), L_D = gan_D(D(T(y)), D(T(x))), x = G(z), z standard normal, y of the
    data, T random changes that are drawn anew for each batch; one step of Adam each.

    Args:
        settings: see `GanSettings`.

    Raises:
        OpsinError: a network or weights that are not there, or taps that do not fit.

    Differs from the paper: one batch of images a step serves both losses.

    Reference: "Projected GANs converge faster", Sauer, Chitta, Müller and Geiger, 2021,
    https://arxiv.org/abs/2111.01007; "Differentiable augmentation for data-efficient GAN training", Zhao et al., 2020,
    https://arxiv.org/abs/2006.10738

    Example:
        >>> recipe = GanRecipe(GanSettings.collect({"data": "photos", "output": "run"}))  # doctest: +SKIP
    """

    product = "generator"

    def __init__(self, settings: GanSettings) -> None:
        self.settings = settings
        self.extractor: Extractor | None = None
        if settings.network != NONE and (settings.recipe == "projected" or settings.matching != NONE):
            self.extractor = make_extractor(settings.network, settings.weights)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.generator = make_generator(settings.generator, settings.crop)
            self.discriminator = self._make_discriminator()
        self.networks: Mapping[str, Network] = {self.product: self.generator, "discriminator": self.discriminator}

    def _make_discriminator(self) -> ProjectedDiscriminator | ImageDiscriminator:
        settings = self.settings
        if settings.recipe == "baseline":
            return ImageDiscriminator(settings.crop, settings.discriminator_width)
        if self.extractor is None:
            raise InputError("recipe 'projected' must have a network to look through, got 'none'. Take 'baseline'.")
        return ProjectedDiscriminator(
            self.extractor,
            settings.tap_names,
            settings.feature_size,
            settings.discriminator_width,
            settings.seed,
        )

    def folder(self, settings: Settings) -> SquareFolder:
        """Squares of the images.

        Raises:
            InputError: there is no such folder, or fewer than two images in it.
        """
        folder = SquareFolder(
            settings.data,
            settings.crop,
            mirror=self.settings.mirror,
            seed=settings.seed,
            cache=settings.cache * 2**20,
        )
        tell_of_grey(folder.paths)
        return folder

    def to(self, device: torch.device) -> None:
        """Move the frozen network."""
        if self.extractor is not None:
            self.extractor.to(device)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """Adam for each network."""
        betas = (self.settings.beta1, self.settings.beta2)
        return {name: Adam(network.parameters(), lr=lr, betas=betas) for name, network in self.networks.items()}

    def step(self, images: tuple[Tensor, ...], update: Updates) -> dict[str, Tensor]:
        """The losses of a batch, by their names."""
        (real,) = images
        settings = self.settings
        z = torch.randn(len(real), self.generator.latent, device=real.device)
        made = at_least_float32(update.networks[self.product](z))
        fooled = generator_loss(settings.gan, *self._judged(made, real))
        logged = {"gan": fooled}
        total = fooled
        if settings.matching != NONE:
            logged["matching"] = self._match(made, real)
            total = total + settings.matching_weight * logged["matching"]
        update(self.product, total)
        both = (diff_augment(real, settings.policy), diff_augment(made.detach(), settings.policy))
        of_real, of_made = (at_least_float32(t) for t in update.networks["discriminator"](*both))
        logged["discriminator"] = discriminator_loss(settings.gan, of_real, of_made)
        update("discriminator", logged["discriminator"])
        return {"loss": total, **logged, "real": of_real.mean(), "fake": of_made.mean()}

    def _judged(self, made: Tensor, real: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits for the generator's loss, without a gradient of the discriminator's own weights."""
        judge, policy = self.discriminator, self.settings.policy
        with judged_by(judge):
            if self.settings.gan != "relativistic":
                (fake,) = judge(diff_augment(made, policy))
                return at_least_float32(fake), None
            fake, true = judge(diff_augment(made, policy), diff_augment(real, policy))
        return at_least_float32(fake), at_least_float32(true).detach()

    def _match(self, made: Tensor, real: Tensor) -> Tensor:
        if self.extractor is None:
            raise InputError("matching must have a network, got 'none'.")
        taps = self.settings.tap_names
        with torch.no_grad():
            theirs = pooled(self.extractor(self._sized(real), taps))
        return match_populations(self.settings.matching, pooled(self.extractor(self._sized(made), taps)), theirs)

    def _sized(self, images: Tensor) -> Tensor:
        side = self.settings.feature_size
        if images.shape[-1] == side:
            return images
        return nn.functional.interpolate(images, (side, side), mode="bilinear", antialias=images.shape[-1] > side)

    def settle(self, network: nn.Module) -> None:
        """Take the statistics of batch normalisation anew, of the averaged weights on noise.

        Reference: "Averaging weights leads to wider optima and better generalization", Izmailov et al., 2018,
        https://arxiv.org/abs/1803.05407
        """
        if not isinstance(network, FastGAN):
            raise TypeError(type(network).__name__)
        device = next(network.parameters()).device
        z = latents(_SETTLING, network.latent, seed=self.settings.seed).to(device)
        update_bn(z.split(_SETTLING // 16), network)

    def sample(self, network: nn.Module, images: tuple[Tensor, ...]) -> Tensor:
        """The same 64 of the generator's images each time, in a square."""
        if not isinstance(network, FastGAN):
            raise TypeError(type(network).__name__)
        del images
        return grid(decode(network, latents(_SHOWN, network.latent, seed=self.settings.seed)))

    def about(self) -> dict[str, Any]:
        """The recipe and what it looked through."""
        settings = self.settings
        names = ("recipe", "generator", "gan", "augment", "matching", "matching_weight", "batch")
        seen = None if self.extractor is None else self.extractor.spec.describe()
        return {"kind": "gan", **{name: getattr(settings, name) for name in names}, "network": seen}
