"""What only a process of its own shows: how fast it answers, signals, and streams that are closed or full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("opsin"))
posix = pytest.mark.skipif(os.name != "posix", reason="signals and streams as POSIX has them")


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["info", "--help"]])
def test_help_is_quick(opsin, arguments):
    seconds = []
    for _ in range(5):  # the machine may be busy with something else once or twice
        start = time.perf_counter()
        text = opsin(*arguments).succeeds()
        seconds.append(time.perf_counter() - start)
        assert "Usage: opsin" in text
        if len(seconds) >= 2 and min(seconds) < 0.7:
            break
    assert min(seconds) < 0.7


def test_help_and_lists_need_no_torch(tmp_path):
    code = """if True:
        import sys
        from opsin.cli.main import run

        good = "", "--help", "-h", "--version", "compare --help", "info --help", "weights --help", "weights list"
        good += "train --help", "train style --help"
        bad = "compare", "comapre", "compare a b --netz", "compare a b --per-layer", "weights fetch vgg99"
        bad += "train", "train style"
        for status, lines in ((0, good), (2, bad)):
            for line in lines:
                assert run(line.split()) == status, line
                assert "torch" not in sys.modules, line
        """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_help_names_every_option(opsin):
    text = opsin("compare", "--help", COLUMNS="200").succeeds()
    for option in ("--net", "--layers", "--distance", "--weights", "--resize", "--background", "--device", "--json"):
        assert f"{option} " in text
    for option in ("--heatmap", "--per-layer", "--overwrite"):
        assert f"{option} " in text
    assert "relu2_2=1,relu3_3=0.5" in text
    text = opsin("--help").succeeds()
    for command in ("compare", "demo", "info", "weights"):
        assert f"  {command} " in text
    assert opsin().succeeds() == text


def test_version(opsin):
    import opsin as package

    assert opsin("--version").succeeds() == f"opsin {package.__version__}\n"


@posix
def test_ctrl_c(tmp_path, noise, _surroundings):
    """In the middle of a comparison that would take a quarter of a minute."""
    noise(1200, 1200, 0).save(tmp_path / "a.png")
    noise(1200, 1200, 1).save(tmp_path / "b.png")
    # A shell's background jobs ignore the signal, and what they start inherits that.
    attentive = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", attentive, COMMAND, "compare", "a.png", "b.png", "--heatmap", "heat.png"],
        cwd=tmp_path,
        env=_surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        time.sleep(4)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err == "opsin: interrupted\n"
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "b.png"}


@posix
@pytest.mark.parametrize(
    "arguments", [["weights", "list"], ["--help"], ["compare", "a.png", "a.png", "--net", "image"]]
)
def test_a_reader_that_has_seen_enough(tmp_path, noise, _surroundings, arguments):
    noise(8, 8).save(tmp_path / "a.png")
    with subprocess.Popen(
        [COMMAND, *arguments], cwd=tmp_path, env=_surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert err == b""
    assert process.returncode in (1, 128 + signal.SIGPIPE, -signal.SIGPIPE)


def redirected(redirection: str, tmp_path: Path, env: dict[str, str], *arguments: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", COMMAND, *arguments],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_to_a_full_disk(tmp_path, _surroundings):
    code, _, err = redirected(">/dev/full", tmp_path, _surroundings, "weights", "list", "--json")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert err.startswith(b"opsin: ")
    assert b"No space left on device" in err


@posix
def test_closed_stdout(tmp_path, _surroundings):
    """As some schedulers start programs: there is nowhere to print to, which is no reason for a traceback."""
    code, _, err = redirected(">&-", tmp_path, _surroundings, "weights", "list", "--json")
    assert b"Traceback" not in err
    assert len(err.splitlines()) <= 1
    assert code in (0, 2)


@posix
def test_closed_stderr(tmp_path, noise, _surroundings):
    noise(8, 8).save(tmp_path / "a.png")
    code, out, _ = redirected("2>&-", tmp_path, _surroundings, "compare", "a.png", "a.png", "--net", "image", "--json")
    assert code == 0
    assert out.startswith(b'{"total": 0.0')
    code, out, _ = redirected("2>&-", tmp_path, _surroundings, "comapre")
    assert (code, out) == (2, b"")
