"""What training a network that makes images of images is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from opsin.checks import choice, from_zero, whole
from opsin.errors import InputError
from opsin.functional.adversarial import GAN_LOSSES
from opsin.networks.pix2pixhd import TRANSLATORS
from opsin.published.listing import LOSSES, compares_with_original
from opsin.training.settings import HeldOutSettings

NONE = "none"

RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "pix2pixhd": {"gan": "lsgan", "matching_weight": 10.0, "perceptual": "pix2pixhd-vgg", "pixel_weight": 0.0},
        "pix2pix": {"gan": "vanilla", "matching_weight": 0.0, "perceptual": NONE, "pixel_weight": 100.0},
    }
)
"""What each recipe sets; all of it can be set otherwise."""


@dataclass(frozen=True, kw_only=True)
class TranslateSettings(HeldOutSettings):
    """What training a network that makes images of images takes besides `HeldOutSettings`.

    Attributes:
        data: a folder with two folders of images of equal names, or, side by side, of images that hold both.
        inputs: the folder in it of what is given.
        targets: the folder in it of what is to be made.
        side_by_side: each image holds what is given at its left and what is to be made at its right.
        reverse: give what is to be made, and make what is given.
        recipe: "pix2pixhd", feature matching and a perceptual loss, or "pix2pix", L1 on pixels.
        generator: see `opsin.networks.TRANSLATORS`.
        discriminator_width: channels of its first layer.
        discriminator_scales: at how many scales it judges.
        gan: see `opsin.functional.GAN_LOSSES`; "relativistic" is none of them here.
        matching_weight: of the discriminator's features' matching.
        perceptual: a published loss, see `opsin losses`; "none" for none.
        perceptual_weight: its weight.
        weights: of its network; None for the loss's own default.
        pixel_weight: of the mean of |x - y|.
        mirror: mirror pairs at random; not where left and right mean something.
    """

    kind: ClassVar[str] = "translate"

    steps: int = 20_000
    batch: int = 1
    crop: int = 256
    lr: float = 2e-4
    inputs: str = "input"
    targets: str = "target"
    side_by_side: bool = False
    reverse: bool = False
    recipe: str = "pix2pixhd"
    generator: str = "small"
    discriminator_width: int = 32
    discriminator_scales: int = 2
    gan: str = "lsgan"
    matching_weight: float = 10.0
    perceptual: str = "pix2pixhd-vgg"
    perceptual_weight: float = 1.0
    weights: str | None = None
    pixel_weight: float = 0.0
    mirror: bool = True

    def __post_init__(self) -> None:
        """Check what a single value can be wrong in.

        Raises:
            InputError: a value out of range.
            ChoiceError: a name that does not exist.
        """
        super().__post_init__()
        choice("recipe", self.recipe, RECIPES)
        choice("generator", self.generator, TRANSLATORS)
        choice("gan", self.gan, [name for name in GAN_LOSSES if name != "relativistic"])
        choice("perceptual", self.perceptual, (NONE, *LOSSES))
        if self.perceptual != NONE and not compares_with_original(self.perceptual):
            raise InputError(
                f"perceptual must be a loss that says how a picture differs from its original, got "
                f"'{self.perceptual}'. E.g. pix2pixhd-vgg or lpips-vgg."
            )
        whole("discriminator_width", self.discriminator_width)
        whole("discriminator_scales", self.discriminator_scales)
        for name in ("matching_weight", "perceptual_weight", "pixel_weight"):
            from_zero(name, getattr(self, name))
        if not self.side_by_side and self.inputs == self.targets:
            raise InputError(f"inputs and targets must be two folders, got '{self.inputs}' for both. Name another.")

    @classmethod
    def presets(cls, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the recipe sets."""
        return RECIPES[choice("recipe", chosen.get("recipe", cls.recipe), RECIPES)]
