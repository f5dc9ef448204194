from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

import opsin.weights
from opsin.weights.catalog import BUNDLED, OFFICIAL


@pytest.mark.parametrize("network", OFFICIAL)
def test_an_entry_is_torchvisions(network: str) -> None:
    models = pytest.importorskip("torchvision.models")
    entry = OFFICIAL[network]

    url = models.get_model_weights(network)["IMAGENET1K_V1"].url

    assert entry.network == network
    assert entry.url == url
    assert entry.filename == url.rsplit("/", 1)[-1]
    published = re.search(r"-([0-9a-f]{8})\.pth$", url)
    assert published is not None
    assert entry.sha256.startswith(published[1])
    assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", entry.sha256)
    assert entry.normalization == "inet"
    assert "BSD-3-Clause" in entry.licence


def test_all_networks_are_there() -> None:
    vgg = {f"vgg{n}{bn}" for n in (11, 13, 16, 19) for bn in ("", "_bn")}
    assert set(OFFICIAL) == vgg | {"alexnet", "squeezenet1_1"}


def test_the_bundled_package_is_the_installed_one() -> None:
    assert version(BUNDLED.package) == BUNDLED.package_version
    assert BUNDLED.network in OFFICIAL


@pytest.mark.parametrize(
    "program",
    [
        "import opsin.weights.catalog",
        "import opsin.weights; opsin.weights.OFFICIAL",
        "import opsin.weights; opsin.weights.status()",
        "import opsin.weights; opsin.weights.find_official('vgg16')",
    ],
)
def test_listing_needs_no_torch(program: str) -> None:
    check = f"{program}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False, timeout=60).returncode == 0


def test_every_public_name_is_found() -> None:
    for name in opsin.weights.__all__:
        assert getattr(opsin.weights, name) is not None
        assert name in dir(opsin.weights)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = opsin.weights.nothing
