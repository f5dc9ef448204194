"""pix2pixHD's networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import opsin
from opsin.errors import ChoiceError, InputError
from opsin.networks import MultiScaleDiscriminator, Pix2PixHD, load_network, make_translator, save_network


def test_layers_as_published() -> None:
    """c7s1-64, d128, d256, d512, d1024, R1024 nine times, u512, u256, u128, u64, c7s1-3; and C64-C128-C256-C512."""
    halving = sum(9 * c * 2 * c + 2 * c for c in (64, 128, 256, 512))
    doubling = sum(9 * 2 * c * c + c for c in (64, 128, 256, 512))
    ends = (3 * 49 * 64 + 64) + (64 * 49 * 3 + 3)
    count = sum(p.numel() for p in make_translator("full").parameters())
    assert count == ends + halving + 9 * 2 * (9 * 1024**2 + 1024) + doubling
    pairs = ((6, 64), (64, 128), (128, 256), (256, 512), (512, 1))
    assert sum(p.numel() for p in MultiScaleDiscriminator().parameters()) == 2 * sum(16 * a * b + b for a, b in pairs)


@pytest.mark.parametrize("size", [(64, 64), (33, 50), (8, 9)])
def test_any_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    made = make_translator("tiny")(torch.rand(2, 3, *size))
    assert made.shape == (2, 3, *size)
    assert made.min() >= 0
    assert made.max() <= 1


def test_features_as_feature_matching_wants_them() -> None:
    torch.manual_seed(0)
    judge = MultiScaleDiscriminator(2)
    given, real, made = (torch.rand(2, 3, 48, 40) for _ in range(3))
    with torch.no_grad():
        of_real, of_made = judge((given, real), (given, made))
    assert [len(scale) for scale in of_real] == [5, 5]
    assert [scale[-1].shape[1] for scale in of_real] == [1, 1]
    matching = opsin.FeatureMatching()
    assert float(matching(of_made, of_made)) == 0
    assert float(matching(of_made, of_real)) > 0
    # What is given beside an image counts.
    (other,) = judge((given.flip(0), real))
    assert not torch.equal(other[0][-1], of_real[0][-1])


def test_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 24, 24)
    network = make_translator("tiny").eval()
    save_network(tmp_path / "model.safetensors", network, {})
    again, _ = load_network(tmp_path / "model.safetensors", "pix2pixhd")
    torch.testing.assert_close(again(x), network(x))
    save_network(tmp_path / "judge.safetensors", MultiScaleDiscriminator(2, 2, 3), {})
    judge, _ = load_network(tmp_path / "judge.safetensors")
    assert judge.config() == {"width": 2, "layers": 2, "scales": 3}


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="sides of at least 8"):
        make_translator("tiny")(torch.rand(1, 3, 7, 9))
    with pytest.raises(InputError, match="down must be a whole number"):
        Pix2PixHD(down=0)
    with pytest.raises(InputError, match="at least 32x32, got 31x40"):
        MultiScaleDiscriminator(2)((torch.rand(1, 3, 40, 31), torch.rand(1, 3, 40, 31)))
    with pytest.raises(ChoiceError, match="did you mean 'small'"):
        make_translator("smal")
