"""Generators and discriminators that no library has, and their files."""

from __future__ import annotations

from opsin.networks.base import Network
from opsin.networks.files import ARCHITECTURES, load_network, save_network
from opsin.networks.transform import ImageTransformNet

__all__ = ["ARCHITECTURES", "ImageTransformNet", "Network", "load_network", "save_network"]
