"""How an autoencoder is trained: pixels, a perceptual loss, what codes cost, and a discriminator of patches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from opsin.distances import at_least_float32
from opsin.errors import InputError
from opsin.functional.adversarial import adaptive_weight, discriminator_loss, generator_loss
from opsin.gan.autoencoding.data import CropFolder
from opsin.gan.autoencoding.settings import NONE, AutoencoderSettings
from opsin.loss import PerceptualLoss
from opsin.networks import VQ, Autoencoder, Network, PatchDiscriminator, make_autoencoder
from opsin.published.listing import make_loss
from opsin.training import ImageFolder, Recipe, Settings, Updates
from opsin.training.adversarial import distance_from, judged_by
from opsin.training.recipe import means

_BETAS = (0.5, 0.9)


class AutoencoderRecipe(Recipe):
    """An autoencoder learns to bring images back, and a discriminator to tell their patches from the data's.

    L_G = R + w_penalty · penalty + w_disc · λ · gan_G(D(x)), L_D = ½ gan_D(D(y), D(x)),
    R = w_pixel · mean |x - y| + w_perceptual · perceptual(x, y),

    x what the network makes of y, gan the hinge loss, λ = ‖∇R‖ / ‖∇gan_G‖ at the decoder's last layer, see
    `adaptive_weight`. Before step `disc_start` there is no discriminator. Adam with betas 0.5 and 0.9.

    Args:
        settings: see `AutoencoderSettings`.

    Raises:
        OpsinError: a number that no network has, crops that are too small for the discriminator or the perceptual
            loss, or weights that are not there; for "vq" a folder without images as large as a crop.

    Differs from the paper: the perceptual loss is by default Real-ESRGAN's, which looks through VGG-19 with its
    bundled weights, times 0.2, where it is about as large as LPIPS; the papers' is "lpips-vgg", which needs the
    official weights of VGG-16. Losses are means over the values of an image, as VQGAN's; latent diffusion's released
    code has sums, in the same ratio. A codebook's entries begin as places of the data's codes, see `VQ.begin`, and not
    near 0. The learning rate is given, not 4.5e-6 times the batch. Over several processes each has a λ of its own
    images, as in the released code.

    Reference: "Taming transformers for high-resolution image synthesis", Esser, Rombach and Ommer, 2021,
    https://arxiv.org/abs/2012.09841; "High-resolution image synthesis with latent diffusion models", Rombach,
    Blattmann, Lorenz, Esser and Ommer, 2022, https://arxiv.org/abs/2112.10752

    Example:
        >>> given = {"data": "photos", "output": "run"}
        >>> recipe = AutoencoderRecipe(AutoencoderSettings.collect(given))  # doctest: +SKIP
    """

    product = "autoencoder"

    def __init__(self, settings: AutoencoderSettings) -> None:
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.autoencoder = make_autoencoder(
                settings.model,
                settings.downsampling,
                settings.size,
                width=settings.width,
                blocks=settings.blocks,
                channels=settings.channels,
                attention=settings.attention,
                entries=settings.entries,
            )
            if isinstance(self.autoencoder, VQ):
                self._begin(self.autoencoder)
            networks: dict[str, Network] = {self.product: self.autoencoder}
            if settings.disc_weight:
                judge = PatchDiscriminator(settings.discriminator_width)
                judge.check(settings.crop, settings.crop)
                networks["discriminator"] = judge
        self.networks: Mapping[str, Network] = networks
        wanted = settings.perceptual != NONE and settings.perceptual_weight
        self.perceptual = make_loss(settings.perceptual, settings.weights) if wanted else None
        if self.perceptual is not None:
            self.perceptual.validate = "never"  # what an untrained network makes may be far out of range
            self._check_crop(self.perceptual)
        self.validate_every = settings.val_every if settings.val_fraction else 0

    def _begin(self, network: VQ) -> None:
        """The codebook's entries, of crops with twice as many places or more; the same in all processes."""
        folder, places = self.folder(self.settings), (self.settings.crop // network.downsampling) ** 2
        count = max(4, math.ceil(2 * network.entries / places))
        network.begin(torch.stack([folder[number].images[0] for number in range(count)]))

    def _check_crop(self, loss: PerceptualLoss) -> None:
        """Whether the perceptual loss takes crops: only it knows what its network and its distances need."""
        blank = torch.zeros(1, 3, self.settings.crop, self.settings.crop)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):  # some losses draw at random
                distance_from(blank, blank, loss)
        except InputError as error:
            raise InputError(
                f"crop must be large enough for perceptual '{self.settings.perceptual}', got {self.settings.crop}: "
                f"{str(error).partition('. ')[0]}. Choose a larger crop."
            ) from error

    def folder(self, settings: Settings) -> CropFolder:
        """Crops.

        Raises:
            InputError: there is no such folder, or no image in it.
        """
        return CropFolder(
            settings.data,
            settings.crop,
            seed=settings.seed,
            held_out=self.settings.val_fraction,
            cache=settings.cache * 2**20,
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
        (wanted,) = images
        settings = self.settings
        made, penalty = (at_least_float32(t) for t in update.networks[self.product](wanted))
        logged = {"pixels": F.l1_loss(made, wanted)}
        reconstruction = settings.pixel_weight * logged["pixels"]
        if self.perceptual is not None:
            logged["perceptual"] = distance_from(wanted, made, self.perceptual)
            reconstruction = reconstruction + settings.perceptual_weight * logged["perceptual"]
        logged["kl" if settings.model == "vae" else "codebook"] = penalty
        total = reconstruction + settings.penalty_weight * penalty
        if not settings.disc_weight or update.step < settings.disc_start:
            update(self.product, total)
            return {"loss": total, **logged}
        logged["gan"] = self._deceive(made)
        logged["adaptive"] = adaptive_weight(reconstruction, logged["gan"], self.autoencoder.last_layer)
        total = total + settings.disc_weight * logged["adaptive"] * logged["gan"]
        update(self.product, total)
        real, fake = (at_least_float32(t) for t in update.networks["discriminator"](wanted, made.detach()))
        logged["discriminator"] = discriminator_loss("hinge", real, fake) / 2
        update("discriminator", logged["discriminator"])
        return {"loss": total, **logged, "real": real.mean(), "fake": fake.mean()}

    def _deceive(self, made: Tensor) -> Tensor:
        """The autoencoder's adversarial loss, without a gradient of the discriminator's own weights."""
        judge = self.networks["discriminator"]
        with judged_by(judge):
            (fake,) = judge(made)
        return generator_loss("hinge", at_least_float32(fake))

    def sample(self, network: nn.Module, images: tuple[Tensor, ...]) -> Tensor:
        """Images in a row, below what comes back of them."""
        (wanted,) = images
        rows = (torch.cat(list(batch), dim=2) for batch in (wanted, _trained(network).reconstruct(wanted)))
        return torch.cat(list(rows), dim=1)

    def validate(self, network: nn.Module, data: ImageFolder) -> Mapping[str, float]:
        """PSNR and the perceptual loss of the held-out files, the means over the crops in their middles.

        A file that cannot be read, or is smaller than a crop, is left out.
        """
        device = next(network.parameters()).device
        found: list[dict[str, float]] = []
        for (crop,) in data.held_out():
            wanted = crop[None].to(device)
            made = _trained(network).reconstruct(wanted)
            # Equal images would have an infinite one.
            error = max(float(F.mse_loss(made, wanted)), 1e-10)
            values = {"val_psnr": -10 * math.log10(error)}
            if self.perceptual is not None:
                values["val_perceptual"] = float(distance_from(wanted, made, self.perceptual))
            found.append(values)
        return means(found)

    def about(self) -> dict[str, Any]:
        """The model and its losses."""
        names = ("model", "downsampling", "pixel_weight", "perceptual", "perceptual_weight", "penalty_weight")
        names += ("disc_weight", "disc_start")
        signature = None if self.perceptual is None else dict(self.perceptual.signature)
        return {"kind": "autoencoder", **{n: getattr(self.settings, n) for n in names}, "signature": signature}


def _trained(network: nn.Module) -> Autoencoder:
    if not isinstance(network, Autoencoder):
        raise TypeError(type(network).__name__)
    return network
