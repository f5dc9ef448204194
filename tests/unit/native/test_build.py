"""Building the native library, and doing without."""

from __future__ import annotations

import ctypes
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import opsin
from opsin import _native
from opsin._native import build, library


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where the library is looked for instead of beside the code; nothing is there."""
    monkeypatch.setattr(build, "HERE", tmp_path)
    library._load.cache_clear()
    yield tmp_path
    library._load.cache_clear()


def test_opsin_works_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _native.available()
    assert "was not built" in (_native.why_not() or "")
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    opsin.VGG("vgg11", "random")(x, ["relu3_1"])["relu3_1"].sum().backward()
    monkeypatch.setenv("OPSIN_CONV", "winograd")
    with pytest.raises(opsin.InputError, match=r"OPSIN_CONV=winograd must have the native library.*was not built"):
        opsin.VGG("vgg11", "random")


def test_a_library_that_cannot_be_loaded(folder: Path) -> None:
    build.library(library.level()).write_text("no library")
    assert "could not be loaded" in (_native.why_not() or "")
    opsin.VGG("vgg11", "random")(torch.rand(1, 3, 64, 64), ["relu3_1"])


@pytest.mark.skipif(not _native.available(), reason="no native library")
def test_a_library_of_other_sources_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "signature", lambda: "of another version")
    library._load.cache_clear()
    try:
        assert "sources of another version" in (_native.why_not() or "")
        assert opsin.VGG("vgg11", "random")(torch.rand(1, 3, 64, 64), ["relu3_1"])["relu3_1"].isfinite().all()
    finally:
        library._load.cache_clear()


def test_a_library_from_before_there_were_signatures() -> None:
    assert library._built_of(ctypes.CDLL(None)) is None


def test_the_signature_is_that_of_every_source() -> None:
    folder = Path(build.__file__).parent
    assert {*build.SOURCES, *build.HEADERS} == {*folder.glob("*.c"), *folder.glob("*.h")}


def test_no_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(folder / "no-such-compiler"))
    with pytest.raises(OSError, match="no-such-compiler"):
        build.build()


def test_a_compiler_that_fails_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "native-default.so").write_text("of an older version")
    monkeypatch.setenv("CC", shlex.join([sys.executable, "-c", "raise SystemExit(1)"]))
    with pytest.raises(subprocess.CalledProcessError):
        build.build()
    assert list(folder.iterdir()) == []
