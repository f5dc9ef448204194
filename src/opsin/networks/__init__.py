"""Generators and discriminators that no library has, and their files."""

from __future__ import annotations

from opsin.networks.base import Network
from opsin.networks.files import ARCHITECTURES, load_network, save_network
from opsin.networks.transform import ImageTransformNet
from opsin.networks.upscaler import Upscaler

__all__ = ["ARCHITECTURES", "ImageTransformNet", "Network", "Upscaler", "load_network", "save_network"]
