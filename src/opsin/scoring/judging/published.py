"""Numbers that papers give, beside which ours are printed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from opsin.scoring.judging.bapps import LOAD_SIZE
from opsin.scoring.judging.base import Dataset


class Published(NamedTuple):
    """A number of a paper.

    Attributes:
        value: the number, in the unit of the table.
        called: what the paper calls it.
        source: which paper.
    """

    value: float
    called: str
    source: str


_ZHANG = "Zhang et al., 2018, https://arxiv.org/abs/1801.03924"
_GHILDYAL = "Ghildyal and Liu, 2022, https://arxiv.org/abs/2207.13686"

PEOPLE = "people"
"""The row of what people themselves score."""

_bapps = {
    PEOPLE: Published(73.9, "human", _ZHANG),
    "image-l2": Published(63.2, "L2", _ZHANG),
    "psnr": Published(63.2, "L2", _ZHANG),
    "ssim": Published(63.1, "SSIM", _ZHANG),
    "alexnet-unit_l2": Published(68.9, "alex, unweighted", _ZHANG),
    "squeezenet1_1-unit_l2": Published(68.6, "squeeze, unweighted", _ZHANG),
    "vgg16-unit_l2": Published(67.0, "vgg, unweighted", _ZHANG),
    "lpips-alex": Published(69.8, "alex, linear", _ZHANG),
    "lpips-squeeze": Published(70.0, "squeeze, linear", _ZHANG),
    "lpips-vgg": Published(69.2, "vgg, linear", _ZHANG),
    "st-lpips-alex": Published(69.8, "ST-LPIPS alex", _GHILDYAL),
    "st-lpips-vgg": Published(70.4, "ST-LPIPS vgg", _GHILDYAL),
}
BAPPS_2AFC: Mapping[str, Published] = MappingProxyType(_bapps)
"""2AFC scores in %, the mean over the six parts of BAPPS' validation set, of patches of 64 pixels."""


def published(dataset: Dataset, load_size: int) -> Mapping[str, Published]:
    """What papers give for a dataset, by the name of the loss; nothing where what is measured is something else.

    Args:
        dataset: what is measured.
        load_size: the side that its images are brought to, 0 for none.
    """
    same = (
        dataset.name == "bapps-2afc"
        and dataset.split == "val"
        and set(dataset.kinds) == set(dataset.published_kinds)
        and dataset.complete
        and load_size == LOAD_SIZE
    )
    return BAPPS_2AFC if same else MappingProxyType({})
