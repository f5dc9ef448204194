"""What a run has found so far, in a file."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsin.errors import OpsinError
from opsin.results import Signature
from opsin.scoring.journal import Journal
from opsin.scoring.results import Metric, Pair, Scored, Scores


def empty(count: int = 6, **signature: str) -> Scores:
    pairs = [Pair(f"{i}", f"ref/{i}.png", {"a": f"a/{i}.png", "b": f"b/{i}.png"}) for i in range(count)]
    return Scores(pairs, ["a", "b"], [Metric("l2"), Metric("psnr", higher=True)], Signature(opsin="0", **signature))


def found(number: int) -> Scored:
    return Scored(number, {"a": [0.1 * number, math.inf]}, {"b": "damaged"})


def fill(path: Path, numbers) -> Scores:
    scores = empty()
    with Journal(path, scores, range(6), anew=False) as journal:
        for number in numbers:
            journal.add(found(number))
    return scores


def test_a_run_goes_on(tmp_path):
    path = tmp_path / "out.csv.partial"
    fill(path, [0, 3])
    scores = empty()
    with Journal(path, scores, range(6), anew=False) as journal:
        assert journal.left == [1, 2, 4, 5]
        for number in journal.left:
            journal.add(found(number))
    expected = fill(tmp_path / "other", range(6))
    assert list(scores.rows()) == list(expected.rows())
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()[1:]] == [0, 3, 1, 2, 4, 5]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out.csv.partial"]


def test_a_file_cut_anywhere_loses_one_pair_at_most(tmp_path):
    path = tmp_path / "journal"
    fill(path, range(6))
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        scores = empty()
        with Journal(path, scores, range(6), anew=False) as journal:
            done = max(0, sum(end <= cut for end in ends) - 1)
            assert journal.left == list(range(done, 6))
            for number in journal.left:
                journal.add(found(number))
        assert path.read_bytes() == whole


def test_damage_in_the_middle_keeps_what_is_before(tmp_path):
    path = tmp_path / "journal"
    fill(path, range(6))
    lines = path.read_bytes().splitlines(keepends=True)
    for bad in (
        b"{}\n",
        b"nonsense\n",
        b'{"number": 99, "values": {}, "errors": {}}\n',
        b"[1]\n",
        b'{"number": null}\n',
    ):
        path.write_bytes(b"".join([*lines[:3], bad, *lines[4:]]))
        with Journal(path, empty(), range(6), anew=False) as journal:
            assert journal.left == [2, 3, 4, 5]


@pytest.mark.parametrize("other", [empty(5), empty(loss="another")])
def test_a_file_of_another_job(tmp_path, other):
    path = tmp_path / "journal"
    fill(path, [0])
    kept = path.read_bytes()
    with pytest.raises(OpsinError, match=r"of this job.*give --overwrite"), Journal(path, other, range(5), anew=False):
        pass
    assert path.read_bytes() == kept
    with Journal(path, other, range(5), anew=True) as journal:
        assert journal.left == list(range(5))
    assert path.read_bytes() != kept
    with Journal(path, other, [1, 3], anew=True) as journal:  # another part of it is another job, too
        assert journal.left == [1, 3]


def test_one_run_at_a_time(tmp_path):
    path = tmp_path / "journal"
    with (
        Journal(path, empty(), range(6), anew=False),
        pytest.raises(OpsinError, match="another one at work"),
        Journal(path, empty(), range(6), anew=False),
    ):
        pass
    with Journal(path, empty(), range(6), anew=False) as journal:
        assert journal.left == list(range(6))
    assert [p.name for p in tmp_path.iterdir()] == ["journal"]


def test_without_a_file(tmp_path):
    scores = empty()
    with Journal(None, scores, range(6), anew=False) as journal:
        journal.add(found(2))
    assert scores.errors == {(2, "b"): "damaged"}


def test_killed_at_random(tmp_path):
    """Lines are added whole; whatever moment a process is killed at, the next goes on."""
    program = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_journal import empty, found
from opsin.scoring.journal import Journal
with Journal(Path("journal"), empty(), range(6), anew=False) as journal:
    print(len(journal.left), flush=True)
    for number in journal.left:
        journal.add(found(number))
        time.sleep(0.02)
"""
    rng = random.Random(0)
    left = 6
    for _ in range(20):
        command = [sys.executable, "-c", program, str(Path(__file__).parent)]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            now = int(process.stdout.readline())
            assert now <= left
            left = now
            if left:
                time.sleep(rng.uniform(0, 0.06))
                process.kill()
        if not left:
            break
    assert left == 0
    numbers = [json.loads(line)["number"] for line in (tmp_path / "journal").read_text().splitlines()[1:]]
    assert sorted(numbers) == list(range(6))
