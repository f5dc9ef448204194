"""Losses as programs of torch.export and as ONNX files, run by onnxruntime."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import opsin
from opsin import export

if not hasattr(torch.export.Dim, "DYNAMIC"):
    pytest.skip("needs torch 2.6", allow_module_level=True)
onnx = pytest.importorskip("onnx", reason="extra 'onnx'")
onnxruntime = pytest.importorskip("onnxruntime")

SIZE = 32


def small(distance: str = "l2", **options: Any) -> opsin.PerceptualLoss:
    return opsin.build("vgg11", ["relu1_1", "relu2_1"], distance, "random", **options)


def images(n: int, height: int = SIZE, width: int = SIZE, count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(n)
    return list(torch.rand(count, n, 3, height, width, generator=generator).unbind())


def expected(loss: opsin.PerceptualLoss, x: Tensor, *references: Tensor) -> Tensor:
    with torch.no_grad():
        return loss.evaluate(x, **dict(zip(loss.references, references, strict=True))).total


def run(path: Path, loss: opsin.PerceptualLoss, x: Tensor, *references: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    named = {"x": x.numpy()} | {k: v.numpy() for k, v in zip(loss.references, references, strict=True)}
    (distance,) = session.run(["distance"], named)
    assert isinstance(distance, np.ndarray)
    return torch.from_numpy(distance)


def shapes(path: Path) -> list[list[str | int]]:
    graph = onnx.load(str(path)).graph
    return [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)]


def test_a_program_of_torchs_own_operators() -> None:
    loss = small(reduction="sum")
    program = export.to_exported_program(loss, 64)
    assert not [node for node in program.graph.nodes if "opsin" in str(node.target)]
    for n in (1, 3):
        pair = images(n, 64, 64)
        got = program.module()(*pair)
        assert got.shape == (n,)
        torch.testing.assert_close(got, expected(loss, *pair), rtol=1e-4, atol=0)


def test_the_loss_stays_as_it_was() -> None:
    loss = small().double()
    export.to_exported_program(loss, SIZE)
    x, y = (image.double() for image in images(1))
    with pytest.raises(opsin.InputError, match=r"0\.\.255"):  # nothing has been checked so far
        loss(255 * x, y)
    assert loss(x, y).dtype == torch.float64


@pytest.mark.parametrize("distance", ["l2", "cosine", "gram"])
def test_onnx_gives_the_same_numbers(tmp_path: Path, distance: str) -> None:
    loss = small(distance)
    export.to_onnx(loss, tmp_path / "a.onnx", SIZE)
    assert shapes(tmp_path / "a.onnx") == [["batch", 3, SIZE, SIZE]] * 2 + [["batch"]]
    pair = images(3)
    got = run(tmp_path / "a.onnx", loss, *pair)
    torch.testing.assert_close(got, expected(loss, *pair), rtol=1e-4, atol=0)
    assert not torch.allclose(got, expected(loss, pair[0], pair[1].flip(0)), rtol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_any_size_several_references_and_another_range(tmp_path: Path) -> None:
    loss = small("l1", input_range=(-1, 1)) + 0.5 * small("gram", reference="style", input_range=(-1, 1))
    export.to_onnx(loss, tmp_path / "a.onnx", (SIZE, 40), dynamic_size=True)
    same = ["batch", 3, "height", "width"]
    assert shapes(tmp_path / "a.onnx") == [same, same, ["batch", 3, "style_height", "style_width"], ["batch"]]
    pair = [2 * image - 1 for image in images(2, 45, 36)]
    style = 2 * images(2, 24, 64)[0] - 1
    got = run(tmp_path / "a.onnx", loss, *pair, style)
    torch.testing.assert_close(got, expected(loss, *pair, style), rtol=1e-4, atol=0)


def test_everything_fixed(tmp_path: Path) -> None:
    loss = small()
    export.to_onnx(loss, tmp_path / "a.onnx", SIZE, batch=1, dynamic_batch=False)
    assert shapes(tmp_path / "a.onnx") == [[1, 3, SIZE, SIZE]] * 2 + [[1]]


def test_the_signature_goes_with_the_file(tmp_path: Path) -> None:
    loss = small()
    export.to_onnx(loss, tmp_path / "a.onnx", SIZE)
    (entry,) = (p for p in onnx.load(str(tmp_path / "a.onnx")).metadata_props if p.key == "opsin")
    assert json.loads(entry.value) == loss.signature


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"mine")
    with pytest.raises(opsin.OpsinError, match=r"exists\. Choose another name or overwrite it"):
        export.to_onnx(small(), path, SIZE)
    assert path.read_bytes() == b"mine"
    export.to_onnx(small(), path, SIZE, overwrite=True)
    assert len(path.read_bytes()) > 1000


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(opsin.MissingExtraError, match=r"pip install 'opsin\[onnx\]'"):
        export.to_onnx(small(), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_old_torch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.export.Dim, "DYNAMIC")
    with pytest.raises(opsin.MissingExtraError, match=r"must have torch 2\.6, got"):
        export.to_exported_program(small())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": 3}, "loss must be an opsin.PerceptualLoss, got int"),
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"size": (1, 2, 3)}, r"size must be a number or \(height, width\), got \(1, 2, 3\)"),
        ({"batch": 1}, "batch must be at least 2 with dynamic_batch, got 1"),
        ({"batch": 0, "dynamic_batch": False}, "batch must be a whole number of at least 1, got 0"),
        ({"size": 1}, "images must be at least 2×2 for relu2_1 of vgg11"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(opsin.InputError, match=message):
        export.to_exported_program(**({"loss": small(), "size": SIZE} | options))


def ratio(x: Tensor, y: Tensor) -> Tensor:
    difference = (x - y).abs()
    return difference / (difference + 1e-12)


def test_what_keeps_fractions_finite_stays(tmp_path: Path) -> None:
    loss = opsin.PerceptualLoss([opsin.Term(opsin.ImageExtractor(), "image", ratio)])
    export.to_onnx(loss, tmp_path / "a.onnx", SIZE)
    x, y = images(2)
    torch.testing.assert_close(run(tmp_path / "a.onnx", loss, x, x), torch.zeros(2))
    torch.testing.assert_close(run(tmp_path / "a.onnx", loss, x, y), torch.ones(2))


def undecided(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs() if bool(x.mean() > y.mean()) else (x - y).square()


def sorted_values(x: Tensor, y: Tensor) -> Tensor:
    return torch.searchsorted(x.flatten(1).sort().values, y.flatten(1)).float()


def test_a_loss_that_cannot_be_traced(capfd: pytest.CaptureFixture[str]) -> None:
    loss = opsin.PerceptualLoss([opsin.Term(opsin.ImageExtractor(), "image", undecided)])
    with pytest.raises(
        opsin.InputError, match=r"loss must be one that torch\.export can trace, got callable: "
    ) as caught:
        export.to_exported_program(loss, SIZE)
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


def test_an_operation_that_onnx_does_not_have(tmp_path: Path) -> None:
    loss = opsin.PerceptualLoss([opsin.Term(opsin.ImageExtractor(), "image", sorted_values)])
    with pytest.raises(opsin.InputError, match="loss must be of operations that ONNX has, got callable: ") as caught:
        export.to_onnx(loss, tmp_path / "a.onnx", SIZE)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
