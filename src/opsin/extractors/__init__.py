"""Frozen networks that give the feature maps asked for by name."""

from opsin.extractors.alexnet import AlexNet
from opsin.extractors.antialiased import ShiftTolerant
from opsin.extractors.base import Extractor, ExtractorSpec, ImageExtractor, ReceptiveField
from opsin.extractors.efficientnet import EfficientNetLite0
from opsin.extractors.factory import NETWORKS, as_extractor, default_layers, make_extractor
from opsin.extractors.module import ModuleExtractor
from opsin.extractors.resized import Resized
from opsin.extractors.squeezenet import SqueezeNet
from opsin.extractors.timm import TimmExtractor
from opsin.extractors.vgg import VGG

__all__ = [
    "NETWORKS",
    "VGG",
    "AlexNet",
    "EfficientNetLite0",
    "Extractor",
    "ExtractorSpec",
    "ImageExtractor",
    "ModuleExtractor",
    "ReceptiveField",
    "Resized",
    "ShiftTolerant",
    "SqueezeNet",
    "TimmExtractor",
    "as_extractor",
    "default_layers",
    "make_extractor",
]
