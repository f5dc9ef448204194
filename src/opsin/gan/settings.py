"""What training a generator of images from noise is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from opsin.checks import choice, from_zero, whole
from opsin.errors import InputError
from opsin.functional.adversarial import GAN_LOSSES
from opsin.functional.augment import POLICIES
from opsin.gan.matching import MATCHINGS
from opsin.networks.fastgan import GENERATOR_SIZES, GENERATORS
from opsin.training import Settings

NONE = "none"

RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "projected": {"network": "vgg19", "beta1": 0.0, "beta2": 0.99},
        "baseline": {"network": NONE, "beta1": 0.5, "beta2": 0.99},
    }
)
"""What each recipe sets; all of it can be set otherwise."""

TAPS: Mapping[str, str] = MappingProxyType(
    {
        "vgg19": "relu2_2,relu3_4,relu4_4,relu5_4",
        "vgg16": "relu2_2,relu3_3,relu4_3,relu5_3",
        "efficientnet_lite0": "stage2,stage3,stage5,stage7",
    }
)
"""The taps that a projected discriminator looks at by default, by network."""


@dataclass(frozen=True, kw_only=True)
class GanSettings(Settings):
    """What training a generator takes besides `Settings`.

    Attributes:
        crop: side of the images that are made, also called `size`; images are cut to squares of their shorter side and
            brought to it.
        recipe: "projected", a discriminator of features of a frozen network, or "baseline", one of the images.
        generator: see `opsin.networks.GENERATORS`.
        network: the frozen network, see `opsin.make_extractor`; "none" for a discriminator of the images themselves.
        weights: of it; None for its own default.
        taps: of it, with commas, from shallow to deep; None for those of `TAPS`.
        feature_size: side that images are brought to before the network sees them.
        discriminator_width: channels of a discriminator's first layer.
        gan: see `opsin.functional.GAN_LOSSES`.
        augment: changes of `opsin.functional.augment`, with commas; "none" for none.
        beta1: of Adam.
        beta2: of Adam.
        mirror: whether images are mirrored at random.
        matching: see `opsin.gan.matching`; "none" for none.
        matching_weight: its weight.
    """

    kind: ClassVar[str] = "gan"
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({"size": "crop"})

    steps: int = 10_000
    batch: int = 64
    crop: int = 64
    lr: float = 2e-4
    sample_every: int = 250
    checkpoint_every: int = 250
    recipe: str = "projected"
    generator: str = "small"
    network: str = "vgg19"
    weights: str | None = None
    taps: str | None = None
    feature_size: int = 64
    discriminator_width: int = 32
    gan: str = "hinge"
    augment: str = ",".join(POLICIES)
    beta1: float = 0.0
    beta2: float = 0.99
    mirror: bool = True
    matching: str = NONE
    matching_weight: float = 30.0

    def __post_init__(self) -> None:
        """Check what a single value can be wrong in.

        Raises:
            InputError: a value out of range.
            ChoiceError: a name that does not exist.
        """
        super().__post_init__()
        choice("recipe", self.recipe, RECIPES)
        choice("generator", self.generator, GENERATORS)
        choice("gan", self.gan, GAN_LOSSES)
        choice("matching", self.matching, (NONE, *MATCHINGS))
        for name in self.policy:
            choice("augmentation", name, POLICIES)
        if self.crop not in GENERATOR_SIZES:
            sides = ", ".join(map(str, GENERATOR_SIZES[:-1]))
            raise InputError(
                f"size must be one that the generator has, {sides} or {GENERATOR_SIZES[-1]}, got {self.crop}."
            )
        if self.batch < 2 * self.accumulate:
            raise InputError(
                f"batch must be at least 2 images in each of {self.accumulate} parts, since they are normalised "
                f"together, got {self.batch}. Raise it."
            )
        whole("feature_size", self.feature_size, 16)
        whole("discriminator_width", self.discriminator_width, 2)
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}. E.g. 0.99.")
        from_zero("matching_weight", self.matching_weight)
        if self.matching != NONE and self.network == NONE:
            raise InputError(
                "matching must have a network whose features are matched, got network 'none'. Choose --network vgg19."
            )

    @property
    def policy(self) -> tuple[str, ...]:
        """The augmentations."""
        return () if self.augment in (NONE, "") else tuple(part.strip() for part in self.augment.split(","))

    @property
    def tap_names(self) -> list[str]:
        """The taps.

        Raises:
            InputError: none are given, and none are known for the network.
        """
        given = TAPS.get(self.network) if self.taps is None else self.taps
        if given is None:
            raise InputError(
                f"taps must be given for {self.network}, got none. Name about four from shallow to deep, e.g. "
                "--taps blocks.1,blocks.2,blocks.4,blocks.6."
            )
        return [part.strip() for part in given.split(",")]

    @classmethod
    def presets(cls, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the recipe sets."""
        return RECIPES[choice("recipe", chosen.get("recipe", cls.recipe), RECIPES)]
