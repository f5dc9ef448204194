"""`opsin export`: a published loss as an ONNX file."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from opsin.published.listing import make_loss

onnxruntime = pytest.importorskip("onnxruntime")


def test_a_file_that_measures_as_the_loss_does(opsin, tmp_path):
    text = opsin("export", "focal-frequency", "a.onnx", "--size", "24x16").succeeds()
    assert text.startswith("wrote a.onnx: x, target -> distance\n")
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    x, y = torch.rand(2, 3, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    (got,) = session.run(["distance"], {"x": x.numpy(), "target": y.numpy()})
    loss = make_loss("focal-frequency")
    np.testing.assert_allclose(got, loss.evaluate(x, target=y).total.numpy(), rtol=1e-4)
    signature = json.loads(session.get_modelmeta().custom_metadata_map["opsin"])
    assert signature == loss.signature


def test_a_fixed_batch_and_any_size(call, tmp_path):
    arguments = ("--size", "64", "--batch", "1", "--dynamic-size", "--weights", "random")
    call("export", "gatys-content", "a.onnx", *arguments).succeeds()
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    assert [put.shape for put in session.get_inputs()] == [[1, 3, "height", "width"]] * 2


def test_nothing_is_overwritten_unasked(call, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"mine")
    call("export", "focal-frequency", "a.onnx").refuses("output must be a new file", "a.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == b"mine"
    call("export", "focal-frequency", "a.onnx", "--size", "16", "--overwrite").succeeds()
    assert (tmp_path / "a.onnx").read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["lpips-alx", "a.onnx"], ["unknown loss 'lpips-alx'", "did you mean 'lpips-alex'"]),
        (["focal-frequency", "no/a.onnx"], ["output folder must exist"]),
        (["focal-frequency", "a.onnx", "--size", "big"], ["--size must be a number of pixels or WIDTHxHEIGHT"]),
        (["focal-frequency", "a.onnx", "--size", "0"], ["--size must be a number of pixels or WIDTHxHEIGHT"]),
        (["focal-frequency", "a.onnx", "--batch", "-1"], ["--batch"]),
        (
            ["e-lpips", "a.onnx", "--size", "64", "--weights", "random"],
            ["loss must be one that torch.export can trace"],
        ),
    ],
)
def test_bad_arguments(call, tmp_path, arguments, fragments):
    call("export", *arguments).refuses(*fragments)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    call("export", "focal-frequency", "a.onnx").refuses("pip install 'opsin[onnx]'")
    assert list(tmp_path.iterdir()) == []
