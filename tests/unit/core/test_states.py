"""States in files: what comes back, and what is refused."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import opsin
from opsin import states


def test_what_is_saved_comes_back(tmp_path: Path):
    state: dict[str, Any] = {
        "tensors": [torch.rand(3, 4), torch.arange(5, dtype=torch.uint8), torch.tensor(2.5)],
        "numbers": {"a": 1, 2: 0.1, "inf": math.inf, "none": None, "true": True},
        "tuple": (1, ("x", [])),
        "shared": [(t := torch.rand(2, 2)), t, t[0]],
        "turned": torch.rand(2, 3).T,
    }
    states.save_state(tmp_path / "s", state, kind="test")
    back = states.load_state(tmp_path / "s", kind="test")
    assert list(back) == list(state) and back["numbers"] == state["numbers"] and back["tuple"] == state["tuple"]
    for name in ("tensors", "shared"):
        for a, b in zip(back[name], state[name], strict=True):
            assert torch.equal(a, b) and a.dtype == b.dtype
    assert torch.equal(back["turned"], state["turned"])


def test_what_cannot_be_saved(tmp_path: Path):
    with pytest.raises(opsin.InputError, match="must be made of tensors and plain values, got object"):
        states.save_state(tmp_path / "s", {"x": object()}, kind="test")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "s"
    states.save_state(path, {"x": 1}, kind="test")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(states, "save_file", full)
    with pytest.raises(opsin.OpsinError, match=r"No space left on device.*make room and go on"):
        states.save_state(path, {"x": 2}, kind="test")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_files_that_are_no_states(tmp_path: Path):
    with pytest.raises(opsin.OpsinError, match=r"must exist, got .*missing"):
        states.load_state(tmp_path / "missing", kind="test")
    for name, content in {"text": b"hello", "empty": b"", "pickle": pickle.dumps({"x": 1})}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(opsin.OpsinError, match="must be a state that opsin wrote"):
            states.load_state(tmp_path / name, kind="test")
    states.save_state(tmp_path / "s", {"x": torch.rand(100)}, kind="test")
    (tmp_path / "cut").write_bytes((tmp_path / "s").read_bytes()[:-10])
    with pytest.raises(opsin.OpsinError, match="must be a state that opsin wrote"):
        states.load_state(tmp_path / "cut", kind="test")
    with pytest.raises(opsin.OpsinError, match="must be the state of a run, got that of test"):
        states.load_state(tmp_path / "s", kind="a run")
