"""Generators and discriminators that no library has, and their files."""

from __future__ import annotations

from opsin.networks.autoencoders import AUTOENCODERS, VAE, VQ, Autoencoder, make_autoencoder
from opsin.networks.base import Network
from opsin.networks.checkpoints import UPSCALERS, LoadedUpscaler, load_upscaler, make_upscaler
from opsin.networks.discriminators import (
    DISCRIMINATORS,
    Discriminator,
    ImageDiscriminator,
    PatchDiscriminator,
    UNetDiscriminator,
    VGGDiscriminator,
    make_discriminator,
)
from opsin.networks.fastgan import GENERATOR_SIZES, GENERATORS, FastGAN, make_generator
from opsin.networks.files import ARCHITECTURES, load_network, save_network
from opsin.networks.pix2pixhd import TRANSLATORS, MultiScaleDiscriminator, Pix2PixHD, make_translator
from opsin.networks.projected import ProjectedDiscriminator
from opsin.networks.residual import EDSR, MSRResNet, SRResNet
from opsin.networks.spandrel import SpandrelUpscaler
from opsin.networks.transform import ImageTransformNet
from opsin.networks.upscaler import Upscaler

__all__ = [
    "ARCHITECTURES",
    "AUTOENCODERS",
    "DISCRIMINATORS",
    "EDSR",
    "GENERATORS",
    "GENERATOR_SIZES",
    "TRANSLATORS",
    "UPSCALERS",
    "VAE",
    "VQ",
    "Autoencoder",
    "Discriminator",
    "FastGAN",
    "ImageDiscriminator",
    "ImageTransformNet",
    "LoadedUpscaler",
    "MSRResNet",
    "MultiScaleDiscriminator",
    "Network",
    "PatchDiscriminator",
    "Pix2PixHD",
    "ProjectedDiscriminator",
    "SRResNet",
    "SpandrelUpscaler",
    "UNetDiscriminator",
    "Upscaler",
    "VGGDiscriminator",
    "load_network",
    "load_upscaler",
    "make_autoencoder",
    "make_discriminator",
    "make_generator",
    "make_translator",
    "make_upscaler",
    "save_network",
]
