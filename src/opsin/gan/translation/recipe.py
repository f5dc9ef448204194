"""How a network that makes images of images is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from opsin.distances import at_least_float32
from opsin.errors import InputError
from opsin.feature_matching import FeatureMatching
from opsin.functional.adversarial import discriminator_loss, generator_loss
from opsin.gan.translation.data import TranslationFolder
from opsin.gan.translation.settings import NONE, TranslateSettings
from opsin.networks import MultiScaleDiscriminator, Network, make_translator
from opsin.published.listing import make_loss
from opsin.training import ImageFolder, Recipe, Settings, Updates
from opsin.training.adversarial import distance_from, judged_by
from opsin.training.recipe import means

_BETAS = (0.5, 0.999)

Features = list[list[Tensor]]


class TranslateRecipe(Recipe):
    """A generator learns to make y of what is given, c, and a discriminator to tell (c, G(c)) from (c, y).

    L_G = Σ_s gan_G(D_s(c, x)) + matching(D(c, x), D(c, y)) + w_perceptual · perceptual(x, y) + w_pixel · mean |x - y|,
    L_D = Σ_s gan_D(D_s(c, y), D_s(c, x)), x = G(c), s the scales; one step of Adam (betas 0.5 and 0.999) each.

    Args:
        settings: see `TranslateSettings`.

    Raises:
        OpsinError: weights that are not there, or crops that are too small for the discriminator.

    Differs from the paper: no encoder of instances, and no second, local generator.

    Reference: "High-resolution image synthesis and semantic manipulation with conditional GANs", Wang, Liu, Zhu, Tao,
    Kautz and Catanzaro, 2018, https://arxiv.org/abs/1711.11585; "Image-to-image translation with conditional
    adversarial networks", Isola et al., 2017, https://arxiv.org/abs/1611.07004

    Example:
        >>> recipe = TranslateRecipe(TranslateSettings.collect({"data": "pairs", "output": "run"}))  # doctest: +SKIP
    """

    product = "generator"

    def __init__(self, settings: TranslateSettings) -> None:
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.generator = make_translator(settings.generator)
            self.discriminator = MultiScaleDiscriminator(
                settings.discriminator_width, scales=settings.discriminator_scales
            )
        self.discriminator.check(settings.crop, settings.crop)
        if settings.crop < self.generator.smallest:
            raise InputError(
                f"crop must be at least {self.generator.smallest} for the generator '{settings.generator}', got "
                f"{settings.crop}. Choose a larger one."
            )
        self.networks: Mapping[str, Network] = {self.product: self.generator, "discriminator": self.discriminator}
        self.matching = FeatureMatching(settings.matching_weight) if settings.matching_weight else None
        wanted = settings.perceptual != NONE and settings.perceptual_weight
        self.perceptual = make_loss(settings.perceptual, settings.weights) if wanted else None
        self.validate_every = settings.val_every if settings.val_fraction else 0

    def folder(self, settings: Settings) -> TranslationFolder:
        """Pairs of crops.

        Raises:
            InputError: see `TranslationFolder`.
        """
        mine = self.settings
        return TranslationFolder(
            settings.data,
            settings.crop,
            inputs=None if mine.side_by_side else mine.inputs,
            targets=mine.targets,
            reverse=mine.reverse,
            seed=settings.seed,
            held_out=mine.val_fraction,
            cache=settings.cache * 2**20,
            mirror=mine.mirror,
        )

    def to(self, device: torch.device) -> None:
        """Move the perceptual loss."""
        if self.perceptual is not None:
            self.perceptual.to(device)

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        """Adam for each network."""
        return {name: Adam(network.parameters(), lr=lr, betas=_BETAS) for name, network in self.networks.items()}

    def step(self, images: tuple[Tensor, ...], update: Updates) -> dict[str, Tensor]:
        """The losses of a batch, by their names."""
        given, wanted = images
        settings = self.settings
        made = at_least_float32(update.networks[self.product](given))
        of_made, of_real = self._judged(given, made, wanted)
        logged = {"gan": _sum([generator_loss(settings.gan, scale[-1]) for scale in of_made])}
        total = logged["gan"]
        if self.matching is not None:
            logged["matching"] = self.matching(of_made, of_real)
            total = total + logged["matching"]
        if self.perceptual is not None:
            logged["perceptual"] = distance_from(wanted, made, self.perceptual)
            total = total + settings.perceptual_weight * logged["perceptual"]
        logged["pixels"] = F.l1_loss(made, wanted)
        if settings.pixel_weight:
            total = total + settings.pixel_weight * logged["pixels"]
        update(self.product, total)
        real, fake = update.networks["discriminator"]((given, wanted), (given, made.detach()))
        parts = [
            discriminator_loss(settings.gan, at_least_float32(r[-1]), at_least_float32(f[-1]))
            for r, f in zip(real, fake, strict=True)
        ]
        logged["discriminator"] = _sum(parts)
        update("discriminator", logged["discriminator"])
        means = {"real": real[0][-1].mean(), "fake": fake[0][-1].mean()}
        return {"loss": total, **logged, **means}

    def _judged(self, given: Tensor, made: Tensor, wanted: Tensor) -> tuple[Features, Features]:
        """Features for the generator's losses, without a gradient of the discriminator's own weights."""
        judge = self.discriminator
        with judged_by(judge):
            (of_made,) = judge((given, made))
            with torch.no_grad():
                (of_real,) = judge((given, wanted))
        both = ([[at_least_float32(f) for f in scale] for scale in features] for features in (of_made, of_real))
        first, second = both
        return first, second

    def validate(self, network: nn.Module, data: ImageFolder) -> Mapping[str, float]:
        """The mean difference of pixels and the perceptual loss of the held-out pairs, by the crops in their middles.

        A pair that cannot be read, or is smaller than a crop, is left out.
        """
        device = next(network.parameters()).device
        found: list[dict[str, float]] = []
        for pair in data.held_out():
            given, wanted = (x[None].to(device) for x in pair)
            made = network(given).clamp(0, 1)
            values = {"val_pixels": float(F.l1_loss(made, wanted))}
            if self.perceptual is not None:
                values["val_perceptual"] = float(distance_from(wanted, made, self.perceptual))
            found.append(values)
        return means(found)

    def sample(self, network: nn.Module, images: tuple[Tensor, ...]) -> Tensor:
        """What is given in a row, below what the network makes of it, and what was wanted."""
        given, wanted = images
        rows = (torch.cat(list(batch), dim=2) for batch in (given, network(given).clamp(0, 1), wanted))
        return torch.cat(list(rows), dim=1)

    def about(self) -> dict[str, Any]:
        """The recipe and its losses."""
        names = ("recipe", "generator", "gan", "matching_weight", "perceptual", "perceptual_weight", "pixel_weight")
        signature = None if self.perceptual is None else dict(self.perceptual.signature)
        return {"kind": "translate", **{n: getattr(self.settings, n) for n in names}, "signature": signature}


def _sum(values: list[Tensor]) -> Tensor:
    return torch.stack(values).sum()
