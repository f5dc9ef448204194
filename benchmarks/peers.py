"""What the benchmarks share of the losses they compare: random weights, and LPIPS of opsin and of its peers."""

from __future__ import annotations

import warnings
from unittest import mock

import torch
from measuring import Step

import opsin
from opsin.published.lpips import TAPS, linear_heads

warnings.filterwarnings("ignore", module="torchvision")  # peers ask it in ways that it deprecates


def trunk(network: str = "vgg16") -> dict[str, torch.Tensor]:
    """A network's convolutions, random, the same for all."""
    made = opsin.make_extractor(network, "random").__dict__["_network"]
    return {k: v.contiguous() for k, v in made.state_dict().items()}


def load_trunk(module: torch.nn.Module, network: str = "vgg16") -> None:
    """Put the common weights into a peer's convolutions, which are in the order in which they run."""
    convolutions = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d) and m.weight.shape[2] > 1]
    tensors = list(trunk(network).values())[: 2 * len(convolutions)]
    for conv, weight, bias in zip(convolutions, tensors[::2], tensors[1::2], strict=True):
        conv.weight.data.copy_(weight)
        conv.bias.data.copy_(bias)


def lpips_of_opsin() -> opsin.PerceptualLoss:
    return opsin.published.lpips("vgg", weights="random")


def lpips_of_its_authors() -> torch.nn.Module:
    import lpips

    loss = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    load_trunk(loss.net)
    return loss


def lpips(y: torch.Tensor) -> Step:
    loss = lpips_of_its_authors()
    return lambda x: loss(x, y, normalize=True).mean()


def piq(y: torch.Tensor) -> Step:
    import piq
    from torchvision.models import vgg16

    heads = [head.reshape(1, -1, 1, 1) for head in linear_heads("vgg16")]
    with mock.patch("piq.perceptual.vgg16", lambda **_: vgg16(weights=None)):
        loss = piq.ContentLoss("vgg16", layers=TAPS["vgg16"], weights=heads, normalize_features=True)
    load_trunk(loss.model)
    return lambda x: loss(x, y)


def torchmetrics(y: torch.Tensor) -> Step:
    from torchmetrics.functional.image.lpips import _LPIPS

    loss = _LPIPS(pretrained=True, net="vgg", pnet_rand=True)
    load_trunk(loss.net)
    return lambda x: loss(x, y, normalize=True).mean()


LPIPS = {"lpips": lpips, "piq": piq, "torchmetrics": torchmetrics}


def seeded_vgg19() -> torch.nn.Module:
    """torchvision's VGG-19 with weights from a seed, small enough for features to stay of one size."""
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.vgg19(weights=None)
