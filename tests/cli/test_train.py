"""`opsin train`, and a trained network as an ONNX file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from opsin.networks import ImageTransformNet, load_network, save_network

pytest.importorskip("accelerate", reason="extra 'train'")

SMALL = (
    *("--net", "vgg16", "--weights", "random", "--width", "2", "--blocks", "1", "--crop", "32", "--style-size", "32"),
    *("--steps", "2", "--batch", "1", "--device", "cpu", "--workers", "0"),
)


@pytest.fixture
def studio(tmp_path: Path, noise) -> Path:
    """A folder with a painting and photos."""
    (tmp_path / "photos").mkdir()
    for i in range(3):
        noise(40, 36, i).save(tmp_path / "photos" / f"{i}.png")
    noise(32, 32, 7).save(tmp_path / "painting.png")
    return tmp_path


def places(run: str = "run") -> tuple[str, ...]:
    return ("--style", "painting.png", "--data", "photos", "-o", run)


def test_a_run(opsin, studio):
    text = opsin("train", "style", *places(), *SMALL).succeeds()
    assert text.splitlines()[-1] == "wrote run/model.safetensors"
    names = {"model.safetensors", "config.yaml", "metrics.jsonl", "samples", "checkpoints", "tensorboard"}
    assert {path.name for path in (studio / "run").iterdir()} == names
    config = (studio / "run" / "config.yaml").read_text()
    assert config.startswith("kind: style\n")
    assert "width: 2\n" in config
    rows = [json.loads(line) for line in (studio / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert {"loss", "content", "style", "smoothness", "lr"} < rows[0].keys()
    about = load_network(studio / "run" / "model.safetensors").about
    assert about["style"] == "painting.png"
    assert "networks" in about["signature"]


def test_a_config_file_and_going_on(call, studio):
    (studio / "my.yaml").write_text("style: painting.png\ndata: photos\nsteps: 5\nwidth: 3\n")
    call("train", "style", "-o", "run", "--config", "my.yaml", *SMALL).succeeds()
    assert load_network(studio / "run" / "model.safetensors").about["arguments"]["width"] == 2
    call("train", "style", "-o", "run", "--resume", "--steps", "3").succeeds()
    assert load_network(studio / "run" / "model.safetensors").about["step"] == 3
    call("train", "style", "-o", "run", "--resume", "--steps", "4", "--batch", "2").refuses("batch must stay 1")
    call("train", "style", "-o", "run", "--resume").refuses("steps must be more than the 3 that are done")
    call("train", "style", *places(), *SMALL).refuses("the run's folder must be new or empty", "--resume")


def test_unreadable_images_are_told_and_counted(call, studio):
    (studio / "photos" / "0.png").write_bytes(b"no picture")
    outcome = call("train", "style", *places(), *SMALL, "--steps", "4")
    assert outcome.code == 0
    assert outcome.err.startswith("opsin: skipped an image: image must be a PNG, JPEG")
    assert len(outcome.err.splitlines()) == 1
    arguments = (*places("strict"), *SMALL, "--max-unreadable", "0")
    call("train", "style", *arguments, "--steps", "4").refuses("data must have at most 0 images that cannot be read")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["-o", "run", "--data", "photos"], ["style must be given, got none. Pass --style."]),
        (["-o", "run", "--style", "painting.png"], ["data must be given, got none. Pass --data."]),
        (["--style", "painting.png", "--data", "photos"], ["--output"]),
        ([*places(), "--steps", "0"], ["steps must be at least 1, got 0"]),
        ([*places(), "--steps", "many"], ["--steps"]),
        ([*places(), "--stepz", "3"], ["--stepz"]),
        ([*places(), "--upsampling", "resise"], ["did you mean 'resize'"]),
        ([*places(), "--config", "bad.yaml"], ["unknown setting 'stepz' for style training", "did you mean 'steps'"]),
        ([*places(), "--config", "none.yaml"], ["config must be a file that can be read"]),
        ([*places(), "--resume"], ["the run to resume must have a config.yaml"]),
        ([*places(), "--device", "cuda:77"], ["device must be one of this machine, got 'cuda:77'"]),
        ([*places(), "--net", "vgg99"], ["unknown network 'vgg99'"]),
        (["-o", "run", "--style", "painting.png", "--data", "nowhere"], ["data must be a folder of images"]),
        (["-o", "run", "--style", "none.png", "--data", "photos"], ["image must be a file that exists"]),
    ],
)
def test_bad_arguments(call, studio, snapshot, arguments, fragments):
    (studio / "bad.yaml").write_text("stepz: 3\n")
    before = snapshot()
    small = () if "--net" in arguments else SMALL
    call("train", "style", *small, *arguments).refuses(*fragments)
    assert snapshot() == before


def test_a_missing_extra(call, studio, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    call("train", "style", *places(), *SMALL).refuses("pip install 'opsin[train]'")
    assert not (studio / "run").exists()


def test_help_names_every_option(call):
    text = call("train", "style", "--help").succeeds()
    shared = "data output steps batch crop lr seed device workers sample-every config resume"
    for option in shared.split():
        assert f"--{option} " in text


class TestOnnx:
    """A trained network in onnxruntime."""

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        torch.manual_seed(0)
        save_network(tmp_path / "model.safetensors", ImageTransformNet(width=4, blocks=2), {"kind": "style"})
        return tmp_path / "model.safetensors"

    @pytest.mark.parametrize("upsampling", ["resize", "transposed"])
    @pytest.mark.parametrize("dynamic", [True, False])
    def test_the_same_numbers(self, call, tmp_path, upsampling, dynamic):
        onnxruntime = pytest.importorskip("onnxruntime")
        torch.manual_seed(0)
        network = ImageTransformNet(width=4, blocks=2, upsampling=upsampling).eval()
        save_network(tmp_path / "m.safetensors", network, {"kind": "style"})
        options = ("--size", "40x34", *(("--dynamic-size",) if dynamic else ()))
        text = call("export", "m.safetensors", "m.onnx", *options).succeeds()
        assert text == "wrote m.onnx: image -> result\n"
        session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
        shape = ["batch", 3, "height", "width"] if dynamic else ["batch", 3, 34, 40]
        assert [put.shape for put in (*session.get_inputs(), *session.get_outputs())] == [shape, shape]
        for size in ((34, 40), (33, 57), (64, 16)) if dynamic else ((34, 40),):
            x = torch.rand(3, 3, *size)
            (got,) = session.run(["result"], {"image": x.numpy()})
            with torch.no_grad():
                np.testing.assert_allclose(got, network(x).numpy(), rtol=0, atol=1e-4)
        about = json.loads(session.get_modelmeta().custom_metadata_map["opsin"])
        assert (about["kind"], about["arguments"]["width"]) == ("style", 4)

    def test_what_is_no_model(self, call, model, snapshot):
        pytest.importorskip("onnx")
        (model.parent / "p.safetensors").write_bytes(b"\x80\x04 pickled")
        before = snapshot()
        call("export", "p.safetensors", "m.onnx").refuses("a pickle, which may run code")
        call("export", "none.safetensors", "m.onnx").refuses("no file")
        call("export", "model.safetensors", "m.onnx", "--size", "8").refuses("images must be at least 16x16")
        call("export", "model.safetensors", "m.onnx", "--batch", "2").refuses("--batch must be left out")
        assert snapshot() == before
