"""Files are written whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsin import OpsinError
from opsin.files import atomic_path, check_writable


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "whole"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_path(path, overwrite=True) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import sys, time; from opsin.files import atomic_path\n"
        "with atomic_path(sys.argv[1], overwrite=True) as t:\n"
        "    t.write_text('half'); print('writing', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "message"),
    [(".", "got the folder"), ("missing/a.txt", "output folder must exist"), ("there.txt", "which exists")],
)
def test_where_a_file_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "there.txt").touch()
    with pytest.raises(OpsinError, match=message):
        check_writable(tmp_path / name)
    start = time.monotonic()
    with pytest.raises(OpsinError, match=message), atomic_path(tmp_path / name):
        pytest.fail("the block must not run")
    assert time.monotonic() - start < 1
