"""What training an autoencoder is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from opsin.checks import choice, from_zero, whole
from opsin.errors import InputError
from opsin.networks.autoencoders import AUTOENCODERS, MULTIPLIERS, SIZES
from opsin.published.listing import LOSSES, compares_with_original
from opsin.training.settings import HeldOutSettings

NONE, PERCEPTUAL = "none", "real-esrgan"

MODELS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "vae": {"penalty_weight": 1e-6, "disc_weight": 0.5},
        "vq": {"penalty_weight": 1.0, "disc_weight": 0.8},
    }
)
"""What each model sets, as latent diffusion and VQGAN have it; all of it can be set otherwise."""

_SCALES: Mapping[str, float] = MappingProxyType({PERCEPTUAL: 0.2})


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(HeldOutSettings):
    """What training an autoencoder takes besides `HeldOutSettings`.

    Attributes:
        model: "vae", whose codes are numbers, or "vq", whose codes are entries of a codebook.
        size: of the network, see `opsin.networks.autoencoders.SIZES`.
        downsampling: how many times smaller codes are than images: 4 or 8.
        width: channels of the first level; None for those of the size.
        blocks: residual blocks of a level; None for those of the size.
        channels: of the codes.
        attention: self-attention in the middle; None for that of the size.
        entries: of the codebook, for "vq" alone; None for those of the size.
        pixel_weight: of the mean of |x - y|; 2 is the papers' 1, whose images are in [-1,1].
        perceptual: a published loss, see `opsin losses`; "none" for none.
        perceptual_weight: its weight; by default 1, but 0.2 for "real-esrgan", which brings it to the size of LPIPS.
        weights: of the perceptual loss's network; None for the loss's own default.
        penalty_weight: of what codes cost, see `opsin.networks.VAE` and `VQ`.
        disc_start: the step that the discriminator begins at; by default after half of all.
        disc_weight: of the adversarial loss, beside the adaptive weight; 0 for no discriminator.
        discriminator_width: channels of its first layer.
    """

    kind: ClassVar[str] = "autoencoder"

    steps: int = 20_000
    batch: int = 8
    crop: int = 128
    lr: float = 2e-4
    model: str = "vae"
    size: str = "small"
    downsampling: int = 4
    width: int | None = None
    blocks: int | None = None
    channels: int = 4
    attention: bool | None = None
    entries: int | None = None
    pixel_weight: float = 2.0
    perceptual: str = PERCEPTUAL
    perceptual_weight: float = 0.2
    weights: str | None = None
    penalty_weight: float = 1e-6
    disc_start: int = 10_000
    disc_weight: float = 0.5
    discriminator_width: int = 64

    def __post_init__(self) -> None:
        """Check what values can be wrong in.

        Raises:
            InputError: a value out of range, or values that do not go together.
            ChoiceError: a name that does not exist.
        """
        super().__post_init__()
        choice("model", self.model, AUTOENCODERS)
        choice("size", self.size, SIZES)
        if self.downsampling not in MULTIPLIERS:
            raise InputError(f"downsampling must be 4 or 8, got {self.downsampling}. Leave it out for 4.")
        if self.crop % self.downsampling:
            raise InputError(
                f"crop must be a multiple of the downsampling {self.downsampling}, got {self.crop}. "
                f"E.g. {self.crop // self.downsampling * self.downsampling}."
            )
        whole("disc_start", self.disc_start, 0)
        whole("discriminator_width", self.discriminator_width)
        for name in ("pixel_weight", "perceptual_weight", "penalty_weight", "disc_weight"):
            from_zero(name, getattr(self, name))
        choice("perceptual", self.perceptual, (NONE, *LOSSES))
        if self.perceptual != NONE and not compares_with_original(self.perceptual):
            raise InputError(
                f"perceptual must be a loss that says how a picture differs from its original, got "
                f"'{self.perceptual}'. E.g. lpips-vgg."
            )
        if not self.pixel_weight and (self.perceptual == NONE or not self.perceptual_weight):
            raise InputError("one of pixel_weight and perceptual_weight must be more than 0, got neither.")

    @classmethod
    def presets(cls, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the model sets, and what follows from the loss and from the number of steps."""
        values = dict(MODELS[choice("model", chosen.get("model", cls.model), MODELS)])
        values["perceptual_weight"] = _SCALES.get(chosen.get("perceptual", cls.perceptual), 1.0)
        values["disc_start"] = chosen.get("steps", cls.steps) // 2
        return values
