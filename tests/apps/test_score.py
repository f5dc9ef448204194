"""`opsin score` as a program: killed at random and gone on with, on many pairs, and on Ray when a worker is lost."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.apps

COMMAND = Path(sys.executable).with_name("opsin")


def write_pairs(folder: Path, count: int, side: int) -> None:
    """References and what one method made of them, as files that are quick to write."""
    rng = np.random.default_rng(0)
    for name in ("ref", "out"):
        (folder / name).mkdir()
        for i in range(count):
            small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            small.resize((side, side), Image.Resampling.BICUBIC).save(folder / name / f"{i:05d}.png", compress_level=1)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_same(one: Path, other: Path) -> None:
    """The same rows; values to 1e-6, since batches may have been others."""
    first, second = rows(one), rows(other)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert float(a.pop("focal-frequency")) == pytest.approx(float(b.pop("focal-frequency")), rel=1e-6, abs=1e-9)
        assert a == b


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Begin `opsin score ref out … ` in the test's folder."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        command = [COMMAND, "score", "ref", "out", "--loss", "focal-frequency", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        begun.append(
            subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def succeed(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")


def journal(tmp_path: Path) -> list[int]:
    """The numbers of the pairs that are measured so far."""
    path = tmp_path / "killed.csv.partial"
    lines = path.read_bytes().splitlines(keepends=True)[1:] if path.exists() else []
    return [json.loads(line)["number"] for line in lines if line.endswith(b"\n")]


def test_killed_at_random(tmp_path: Path, start: Start) -> None:
    """Whatever the moment, the same command goes on; nothing is measured twice, nothing is lost."""
    write_pairs(tmp_path, 600, 48)
    succeed(start("--csv", "whole.csv"))
    rng = random.Random(0)
    kills, before = 0, 0
    for _ in range(40):
        process = start("--csv", "killed.csv", "--batch", 1)
        # Some die before they have begun, others in the middle.
        end = time.monotonic() + rng.uniform(0.2, 5)
        goal = rng.choice((0, 30, 90))
        while process.poll() is None and time.monotonic() < end and len(journal(tmp_path)) < before + max(goal, 1):
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        done = journal(tmp_path)
        assert len(set(done)) == len(done)
        assert len(done) >= before
        before = len(done)
        assert not (tmp_path / "killed.csv").exists()
        if before > 450:
            break
    assert kills >= 4
    assert before > 50
    succeed(start("--csv", "killed.csv"))
    check_same(tmp_path / "killed.csv", tmp_path / "whole.csv")
    assert not list(tmp_path.glob("*.partial"))


def test_memory_does_not_grow_with_the_number_of_pairs(tmp_path: Path, start: Start) -> None:
    write_pairs(tmp_path, 5000, 16)
    peaks = []
    for count in (500, 5000):
        (tmp_path / "few.csv").write_text(
            "reference,distorted\n" + "".join(f"{i:05d}.png,{i:05d}.png\n" for i in range(count))
        )
        process = start("--pair-by", "few.csv", "--csv", f"{count}.csv", "--workers", 1)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.read() == ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert len(rows(tmp_path / f"{count}.csv")) == count
        peaks.append(used.ru_maxrss / 1024)
    # Of each pair two names and a value are kept: about a kilobyte.
    assert peaks[1] - peaks[0] < 15, f"{peaks} MiB"


def test_a_ray_cluster_of_two_workers_one_of_which_is_killed(tmp_path: Path, start: Start) -> None:
    pytest.importorskip("ray", reason="extra 'ray'")
    pytest.importorskip("pyarrow", reason="extra 'ray'")
    write_pairs(tmp_path, 300, 192)
    (tmp_path / "out/00007.png").write_bytes(b"no image")
    write_size(tmp_path / "out/00011.png", 64)
    local = start("--csv", "whole.csv")
    local.communicate(timeout=300)
    assert local.returncode == 1
    process = start("--csv", "killed.csv", "--engine", "ray", "--workers", 2, "--batch", 2)
    end = time.monotonic() + 120
    while len(journal(tmp_path)) < 10:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    workers = ray_workers()
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    done = len(journal(tmp_path))
    assert done < 290
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1, (out, err)
    assert [line.split(":")[1] for line in err.splitlines()] == [" 00007, out", " 00011, out"]
    check_rows_of_errors(tmp_path)


def write_size(path: Path, side: int) -> None:
    Image.new("RGB", (side, side), "red").save(path)


def ray_workers() -> list[int]:
    """Processes of Ray that have the network."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::") and b"_Actor" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


def check_rows_of_errors(tmp_path: Path) -> None:
    """Row by row what the local engine finds, errors too."""
    first, second = rows(tmp_path / "killed.csv"), rows(tmp_path / "whole.csv")
    assert len(first) == len(second) == 300
    for a, b in zip(first, second, strict=True):
        values = [row.pop("focal-frequency") for row in (a, b)]
        assert a == b
        if a["error"]:
            assert values == ["", ""]
        else:
            assert float(values[0]) == pytest.approx(float(values[1]), rel=1e-6, abs=1e-9)
