"""Finished frames in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from opsin.errors import InputError, OpsinError
from opsin.stylize.video.store import FrameStore

IDENTITY = {"settings": {"size": 64, "lr": None}, "size": (48, 64)}


def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    store = FrameStore(tmp_path / "frames", IDENTITY)
    images = torch.rand(2, 1, 3, 20, 24, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    returned = [store.save(image) for image in images]
    again = FrameStore(tmp_path / "frames", IDENTITY, resume=True)
    assert again.count == 2
    for i, image in enumerate(returned):
        assert torch.equal(again.load(i), image)
        assert (image - images[i].clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6


def test_a_run_that_was_left_is_not_lost_unasked(tmp_path: Path) -> None:
    FrameStore(tmp_path / "frames", IDENTITY).save(torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match="has left 1"):
        FrameStore(tmp_path / "frames", IDENTITY)
    assert FrameStore(tmp_path / "frames", IDENTITY, resume=True).count == 1
    assert FrameStore(tmp_path / "frames", IDENTITY, overwrite=True).count == 0


def test_resuming_wants_the_same_run(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    with pytest.raises(OpsinError, match="an interrupted run"):
        FrameStore(folder, IDENTITY, resume=True)
    FrameStore(folder, IDENTITY)
    with pytest.raises(OpsinError, match="the same size, got another"):
        FrameStore(folder, {**IDENTITY, "size": (64, 64)}, resume=True)
    for text in ("[]", "{", "null"):
        (folder / "run.json").write_text(text)
        with pytest.raises(OpsinError):
            FrameStore(folder, IDENTITY, resume=True)


def test_other_peoples_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "000000.png").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OpsinError, match="something else"):
            FrameStore(folder, IDENTITY, overwrite=overwrite)
    assert (folder / "000000.png").read_text() == "mine"

    store = FrameStore(tmp_path / "ours", IDENTITY)
    store.save(torch.zeros(1, 3, 8, 8))
    (tmp_path / "ours" / "notes.txt").write_text("mine")
    store.remove()
    assert [path.name for path in (tmp_path / "ours").iterdir()] == ["notes.txt"]
    FrameStore(tmp_path / "more", IDENTITY)
    (tmp_path / "more" / ".000000-killed.png").write_bytes(b"\x89PNG")
    FrameStore(tmp_path / "more", IDENTITY, resume=True).remove()
    assert not (tmp_path / "more").exists()
