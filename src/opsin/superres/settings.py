"""What training a super-resolution network is asked to do, and the recipes of the papers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from opsin.checks import choice, whole
from opsin.errors import InputError
from opsin.functional.adversarial import GAN_LOSSES
from opsin.functional.resample import KINDS
from opsin.networks import DISCRIMINATORS
from opsin.published.listing import LOSSES, compares_with_original
from opsin.superres.degradations import DEGRADATIONS
from opsin.training.settings import HeldOutSettings

NONE, JOHNSON = "none", "johnson-feature"
PIXEL_LOSSES = ("l1", "l2", "charbonnier")

_ALONE: Mapping[str, Any] = MappingProxyType(
    {"pixel_weight": 0.0, "perceptual_weight": 0.0, "tv": 0.0, "gan_weight": 0.0, "perceptual": NONE, "gan": NONE}
)
RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "psnr": {**_ALONE, "pixel_loss": "l1", "pixel_weight": 1.0, "lr": 2e-4},
        "perceptual": {
            **_ALONE,
            "pixel_loss": "l1",
            "pixel_weight": 1.0,
            "perceptual": "real-esrgan",
            "perceptual_weight": 1.0,
            "lr": 2e-4,
        },
        "johnson": {
            **_ALONE,
            "pixel_loss": "l2",
            "perceptual": JOHNSON,
            "perceptual_weight": 1.0,
            "lr": 1e-3,
        },
        "srgan": {
            **_ALONE,
            "pixel_loss": "l2",
            "perceptual": "srgan",
            "perceptual_weight": 1.0,
            "gan": "vanilla",
            "gan_weight": 1e-3,
            "discriminator": "vgg",
            "lr": 1e-4,
        },
        "esrgan": {
            **_ALONE,
            "pixel_loss": "l1",
            "pixel_weight": 1e-2,
            "perceptual": "esrgan",
            "perceptual_weight": 1.0,
            "gan": "relativistic",
            "gan_weight": 5e-3,
            "discriminator": "vgg",
            "lr": 1e-4,
        },
        "real-esrgan": {
            **_ALONE,
            "pixel_loss": "l1",
            "pixel_weight": 1.0,
            "perceptual": "real-esrgan",
            "perceptual_weight": 1.0,
            "gan": "vanilla",
            "gan_weight": 0.1,
            "discriminator": "unet",
            "degradation": "real-esrgan",
            "lr": 1e-4,
        },
    }
)
"""What each recipe sets; all of it can be set otherwise."""


@dataclass(frozen=True, kw_only=True)
class SrSettings(HeldOutSettings):
    """What training a super-resolution network takes besides `HeldOutSettings`.

    A recipe sets the loss; each of its values may be set otherwise. The values of the papers:

    | recipe | pixels | perceptual | adversarial |
    |---|---|---|---|
    | psnr | L1, 1 | | |
    | perceptual | L1, 1 | Real-ESRGAN's five VGG-19 maps, 1 | |
    | johnson | | relu2_2 of VGG-19, 1 | |
    | srgan | | relu5_4 of VGG-19, 1 | vanilla, 1e-3 |
    | esrgan | L1, 1e-2 | conv5_4 of VGG-19, 1 | relativistic average, 5e-3 |
    | real-esrgan | L1, 1 | five maps, 1 | vanilla with a U-Net, 0.1 |

    Those with a discriminator begin with `pretrain_steps` on pixels alone.

    Attributes:
        recipe: "psnr", "perceptual", "johnson", "srgan", "esrgan" or "real-esrgan".
        scale: how many times larger.
        network: see `opsin.networks.UPSCALERS`; "compact" unless `init` is given.
        width: of the network; None for the published one.
        blocks: of the network; None for the published number.
        init: a checkpoint to begin with, which also says what network it is.
        pixel_loss: "l1", "l2" or "charbonnier".
        pixel_weight: its weight.
        perceptual: a published loss, see `opsin losses`; "none" for none.
        perceptual_weight: its weight.
        weights: of the perceptual loss's network; None for the loss's own default.
        tv: weight of the total variation, which smooths.
        gan: see `opsin.functional.GAN_LOSSES`; "none" for none.
        gan_weight: its weight.
        discriminator: see `opsin.networks.DISCRIMINATORS`.
        discriminator_width: channels of its first layer.
        pretrain_steps: steps on pixels alone, before all else; a half of all where there is a discriminator and no
            `init`.
        pretrain_lr: learning rate of these.
        degradation: how the small images are made, see `opsin.superres.degradations`.
        downscale: whose bicubic makes them smaller: "matlab" or "pillow".
    """

    kind: ClassVar[str] = "sr"
    changeable: ClassVar[frozenset[str]] = HeldOutSettings.changeable | {"init"}

    steps: int = 10_000
    batch: int = 8
    crop: int = 128
    lr: float = 2e-4
    recipe: str = "psnr"
    scale: int = 4
    network: str | None = None
    width: int | None = None
    blocks: int | None = None
    init: Path | None = None
    pixel_loss: str = "l1"
    pixel_weight: float = 1.0
    perceptual: str = NONE
    perceptual_weight: float = 0.0
    weights: str | None = None
    tv: float = 0.0
    gan: str = NONE
    gan_weight: float = 0.0
    discriminator: str = "vgg"
    discriminator_width: int = 64
    pretrain_steps: int = 0
    pretrain_lr: float = 2e-4
    degradation: str = "bicubic"
    downscale: str = "matlab"

    def __post_init__(self) -> None:
        """Check what values can be wrong in.

        Raises:
            InputError: a value out of range, or values that do not go together.
            ChoiceError: a name that does not exist.
        """
        super().__post_init__()
        choice("recipe", self.recipe, RECIPES)
        whole("scale", self.scale)
        for name in ("pixel_weight", "perceptual_weight", "tv", "gan_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be 0 or a positive number, got {getattr(self, name)}. Leave it out.")
        if not 0 < self.pretrain_lr < math.inf:
            raise InputError(f"pretrain_lr must be a positive number, got {self.pretrain_lr}. E.g. 0.0002.")
        whole("discriminator_width", self.discriminator_width)
        whole("pretrain_steps", self.pretrain_steps, 0)
        if self.crop % self.scale:
            raise InputError(
                f"crop must be a multiple of the scale {self.scale}, got {self.crop}. "
                f"E.g. {max(self.crop // self.scale, 1) * self.scale}."
            )
        choice("pixel_loss", self.pixel_loss, PIXEL_LOSSES)
        choice("gan", self.gan, (NONE, *GAN_LOSSES))
        choice("discriminator", self.discriminator, DISCRIMINATORS)
        choice("degradation", self.degradation, DEGRADATIONS)
        choice("downscale", self.downscale, KINDS)
        self._check_perceptual()
        if self.init is not None and (self.network, self.width, self.blocks) != (None, None, None):
            raise InputError(
                "network, width and blocks must be left out where --init names a checkpoint, which says them, "
                f"got {self.network or self.width or self.blocks}."
            )
        if not self.pretrain_steps and not any((self.pixel_weight, self.perceptual_weight, self.gan_weight)):
            raise InputError("one of pixel_weight, perceptual_weight and gan_weight must be more than 0, got none.")

    def _check_perceptual(self) -> None:
        choice("perceptual", self.perceptual, (NONE, *LOSSES))
        if self.perceptual == NONE:
            if self.perceptual_weight:
                raise InputError(
                    f"perceptual must name a loss for its weight {self.perceptual_weight}, got none. E.g. esrgan."
                )
        elif not compares_with_original(self.perceptual):
            raise InputError(
                f"perceptual must be a loss that says how a picture differs from its original, got "
                f"'{self.perceptual}'. E.g. esrgan or lpips-vgg."
            )
        if (self.gan == NONE) != (not self.gan_weight):
            raise InputError(
                f"gan and gan_weight must go together, got '{self.gan}' and {self.gan_weight}. Set both, or none."
            )

    @classmethod
    def presets(cls, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the recipe sets, and what follows from what was chosen."""
        recipe = choice("recipe", chosen.get("recipe", "psnr"), RECIPES)
        values = dict(RECIPES[recipe])
        merged = {**values, **chosen}
        if chosen.get("perceptual") and not chosen.get("perceptual_weight"):
            # A loss that is named is wanted; taken out by name, its weight goes too.
            values["perceptual_weight"] = 0.0 if chosen["perceptual"] == NONE else values["perceptual_weight"] or 1.0
        if chosen.get("gan") == NONE:
            values["gan_weight"] = 0.0
        begins_anew = merged.get("init") is None
        if begins_anew and merged.get("network") is None:
            values["network"] = "compact"
        if begins_anew and merged["gan"] != NONE:
            values["pretrain_steps"] = merged.get("steps", cls.steps) // 2
        if merged["perceptual"] == JOHNSON:
            values["weights"] = "bundled"  # as for the others, which have them by default
        return values
