"""Upscalers as ONNX files: equal to torch on images of any size, and foreign files taken or refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opsin import export
from opsin.errors import InputError, MissingExtraError, WeightsError
from opsin.networks import Upscaler
from opsin.superres.onnx import OnnxUpscaler
from opsin.superres.upscaling import plan, upscale

if not hasattr(torch.export.Dim, "DYNAMIC"):
    pytest.skip("needs torch 2.6", allow_module_level=True)
onnx = pytest.importorskip("onnx", reason="extra 'onnx'")
pytest.importorskip("onnxruntime")


class Convolutions(Upscaler):
    architecture = "test-convolutions"
    name, radius = "convolutions", 4

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 3 * scale**2, 5, padding=2))
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1

    def config(self) -> dict[str, Any]:
        return {"scale": self.scale}

    def forward(self, image: Tensor) -> Tensor:
        return F.pixel_shuffle(self.layers(image), self.scale) + F.interpolate(image, scale_factor=self.scale)


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "ours.onnx"
    export.network_to_onnx(Convolutions(3), path, (24, 20), dynamic_size=True, about={"version": "1"})
    return path


def foreign(path: Path, network: nn.Module, size: tuple[int, int] = (16, 16), *, fixed: bool = False) -> Path:
    """A file of torch's own exporter, as others write them."""
    axes = None if fixed else ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    made = torch.onnx.export(
        network.eval(), (torch.rand(1, 3, *size),), dynamo=True, dynamic_shapes=axes, verbose=False
    )
    made.save(path, external_data=False)
    return path


def test_equal_to_torch_at_any_size(ours, capfd):
    model, other = Convolutions(3), OnnxUpscaler(ours)
    assert (other.name, other.scale, other.radius, other.tileable) == ("convolutions", 3, 4, True)
    assert other.about["version"] == "1" and other.about["architecture"] == "test-convolutions"
    for height, width in ((1, 1), (24, 20), (37, 5), (64, 90)):
        image = picture(height, width)
        torch.testing.assert_close(upscale(other, image), upscale(model, image), atol=1e-5, rtol=0)
    both = torch.cat([picture(8, 9), picture(8, 9).flip(-1)])
    torch.testing.assert_close(other(both), model(both).detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        upscale(other, picture(50, 60), tile=16), upscale(model, picture(50, 60), tile=0), atol=1e-5, rtol=0
    )
    assert capfd.readouterr() == ("", "")


def test_axes_are_called_apart(ours):
    graph = onnx.load(str(ours)).graph
    sides = [[d.dim_param for d in v.type.tensor_type.shape.dim][2:] for v in (*graph.input, *graph.output)]
    assert sides == [["height", "width"], ["result_height", "result_width"]]


def test_what_memory_it_takes_is_not_known(ours):
    assert plan(OnnxUpscaler(ours), 300, 300).tile == 0
    assert plan(OnnxUpscaler(ours), 1000, 1000).tile == 512


class Bilinear(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.interpolate(image, scale_factor=self.factor, mode="nearest")


def test_a_foreign_file(tmp_path):
    model = OnnxUpscaler(foreign(tmp_path / "double.onnx", Bilinear(2)))
    assert (model.name, model.scale, model.radius, model.about) == ("double", 2, None, {})
    image = picture(10, 7)
    torch.testing.assert_close(upscale(model, image), Bilinear(2)(image), atol=1e-6, rtol=0)


class Two(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return image, image * 2


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (Bilinear(2), {"fixed": True}, "got one for 16x16 pixels alone"),
        (Bilinear(0.5), {}, r"got \(1, 3, 32, 32\) of \(1, 3, 64, 64\)"),
        (Two(), {}, "got 1 inputs and 2 outputs"),
        (nn.Sequential(nn.Flatten(2), nn.Softmax(-1)), {}, r"got \(1, 3, 4096\) of"),
    ],
)
def test_foreign_files_that_are_refused(tmp_path, network, options, message):
    path = foreign(tmp_path / "a.onnx", network, **options)
    with pytest.raises(WeightsError, match=message) as caught:
        OnnxUpscaler(path)
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_are_none(tmp_path, capfd):
    (tmp_path / "a.onnx").write_bytes(b"nothing of that kind")
    for name, message in (("a.onnx", "must be a whole ONNX file"), ("b.onnx", "no file"), (".", "a folder")):
        with pytest.raises(WeightsError, match=message):
            OnnxUpscaler(tmp_path / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("header", "kind"),
    [('{"architecture": "image-transform"}', "image-transform"), ('{"terms": 3}', "a loss"), ("[]", "nothing known")],
)
def test_our_files_of_other_kinds(ours, tmp_path, header, kind):
    model = onnx.load(str(ours))
    (said,) = (entry for entry in model.metadata_props if entry.key == "opsin")
    said.value = header
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(WeightsError, match=rf"must be one that enlarges images, got .*other\.onnx', of {kind}"):
        OnnxUpscaler(tmp_path / "other.onnx")


def test_a_device_it_does_not_compute_on(ours):
    with pytest.raises(InputError, match=r"got 'mps'\. Use --device cpu"):
        OnnxUpscaler(ours, "mps")


def test_a_missing_extra(ours, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'opsin\[onnx\]'"):
        OnnxUpscaler(ours)


class Undecided(Convolutions):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image if bool(image.mean() > 0.5) else -image)


def test_a_network_that_cannot_be_traced(tmp_path, capfd):
    with pytest.raises(InputError, match=r"network must be one that torch\.export can trace") as caught:
        export.network_to_onnx(Undecided(), tmp_path / "a.onnx")
    assert len(str(caught.value).splitlines()) == 1 and not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
