"""The benchmarks: the page and the picture say what was measured, and all scripts run."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the benchmarks, which are scripts and import each other by their bare names."""
    monkeypatch.syspath_prepend(FOLDER)
    names = ("measuring", "page", "picture", "revision", "import_time", "run_all", "superres", "curves", "emoji", "gan")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        del sys.modules[name]


@pytest.fixture
def results(bench: SimpleNamespace, tmp_path: Path) -> list[dict[str, Any]]:
    """What two benchmarks might have measured: a step with a goal reached, one missed and a peer left out; imports."""
    row, goal = bench.measuring.Row, bench.measuring.Goal
    steps = [
        row("opsin, fast", [1.0, 1.25, 2.0], 100 * 2**20, 1.0),
        row("opsin, slow", [4.0, 5.0, 8.0], 400 * 2**20, 1.0),
        row("peer", [4.0, 5.0, 7.0], 800 * 2**20, 1.0),
        row("large", skipped="takes about 99 GiB, 3 are free"),
        row("a part", [9.0, 9.0, 9.0], None, 1.0, competes=False),
    ]
    goals = [goal("opsin, fast", "speed", 3.5), goal("opsin, fast", "memory", 10.0), goal("large", "speed", 2.0)]
    imports = [row("opsin", [0.01, 0.02, 0.03]), row("peer", [1.0, 1.0, 1.0])]
    measured = []
    for name, rows, asked in (("step", steps, goals), ("import", imports, [goal("opsin", "seconds", 0.1)])):
        file = tmp_path / f"{name}.json"
        args = argparse.Namespace(rounds=3, json=file, no_memory=True)
        bench.measuring.report(f"{name}.py", f"The {name}", "on 2×2", args, rows, asked, (), compared=name == "step")
        measured.append(json.loads(file.read_text(encoding="utf-8")))
    return measured


def test_page_tells_medians_ratios_and_verdicts(bench: SimpleNamespace, results: list[dict[str, Any]]) -> None:
    page = bench.page.page(results)
    # The ratio is the median of 4, 4 and 3.5, not the ratio of the medians.
    asked = "3.5 times as fast, 1/10 of the peak | reached, **missed**"
    assert f"| opsin, fast | 1.25 | 4.00 | 100 | 0.12 | {asked} |" in page
    assert "| opsin, slow | 5 | 1.00 | 400 | 0.50 |  |  |" in page
    assert "| peer | 5 | 1.00 | 800 | 1.00 |  |  |" in page
    assert "| large | not measured: takes about 99 GiB, 3 are free |  |  |  | 2 times as fast | not measured |" in page
    assert "| a part | 9 |  |  |  |  |  |" in page
    assert "| opsin | 0.02 |  |  |  | at most 0.1 s | reached |" in page
    assert "`python benchmarks/step.py --rounds 3 --no-memory`" in page
    assert torch.__version__.partition("+")[0] in page
    assert torch.backends.cpu.get_cpu_capability() in page


def test_a_verdict_on_the_loss_tells_it(bench: SimpleNamespace) -> None:
    row, goal = bench.measuring.Row, bench.measuring.Goal
    rows = [row("opsin", [1.0], None, 0.5), row("peer", [1.0], None, 2.0)]
    for asked, words in ((1.0, "reached: 0.25"), (0.2, "**missed**: 0.25")):
        judged = bench.measuring._judged(goal("opsin", "value", asked), bench.measuring._compared(*rows))
        assert bench.page.verdict(judged) == words


def test_table_tells_verdicts(bench: SimpleNamespace, results: list[dict[str, Any]]) -> None:
    text = bench.measuring.table(results[0])
    assert "\nasked of opsin, fast: memory 10, got 8: missed\n" in text
    assert text.endswith("\nasked of large: speed 2: not measured")


def test_page_has_no_numbers_of_its_own(bench: SimpleNamespace) -> None:
    assert not any(c.isdigit() for c in bench.page._TEMPLATE)


def test_results_of_two_machines_are_not_put_side_by_side(
    bench: SimpleNamespace, results: list[dict[str, Any]]
) -> None:
    results[1]["machine"]["cpu"] = "another"
    with pytest.raises(ValueError, match="import was measured on another machine"):
        bench.page.page(results)


def test_results_of_two_states_of_the_code_are_not_put_side_by_side(
    bench: SimpleNamespace, results: list[dict[str, Any]]
) -> None:
    for result in results:
        result["revision"] = {"commit": "abc12345", "changes": None}
    assert "measured at commit abc1234, on this machine" in bench.page.page(results)
    results[1]["revision"]["changes"] = "1"
    with pytest.raises(ValueError, match=r"^import must .* it is of commit abc1234 with changes that were not"):
        bench.picture.picture(results)
    results[0]["revision"]["changes"] = "1"
    assert "measured at commit abc1234 with changes that were not committed" in bench.page.page(results)
    results[0]["revision"]["changes"] = "2"
    with pytest.raises(ValueError, match="same state of the code"):
        bench.page.page(results)
    for result in results:
        result["revision"] = {"commit": None, "changes": None}
    assert "measured at a version whose commit is not known" in bench.page.page(results)


def git(folder: Path, *command: str) -> str:
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", folder, *author, *command], check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not there")
def test_revision(bench: SimpleNamespace, tmp_path: Path) -> None:
    """Changes count where the code is, not where the page is; two states of the same commit are told apart."""
    package = tmp_path / "src" / "opsin" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text("a = 1")
    assert bench.revision.revision(tmp_path, package) == bench.revision.Revision()
    git(tmp_path, "init")
    assert bench.revision.revision(tmp_path, package) == bench.revision.Revision()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "benchmarks.md").write_text("a page")
    clean = bench.revision.revision(tmp_path, package)
    assert clean == bench.revision.Revision(commit)
    assert str(clean) == f"commit {commit[:7]}"
    package.write_text("a = 2")
    one = bench.revision.revision(tmp_path, package)
    assert one.commit == commit
    assert one.changes is not None
    assert one == bench.revision.revision(tmp_path, package)
    package.write_text("a = 3")
    two = bench.revision.revision(tmp_path, package)
    assert two != one
    package.with_name("new.py").write_text("")
    assert bench.revision.revision(tmp_path, package) != two
    # An opsin that is installed elsewhere is not what the repository holds.
    assert bench.revision.revision(tmp_path, Path(bench.revision.__file__)) == bench.revision.Revision()


def test_kept_results_of_another_commit_are_not_mixed_with_new_ones(bench: SimpleNamespace, tmp_path: Path) -> None:
    result = {"benchmark": "training_step", "revision": {"commit": "abc12345", "changes": None}}
    (tmp_path / "training_step.json").write_text(json.dumps(result), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^training_step must .* it is of commit abc1234, the code that is here is"):
        bench.run_all.measure(tmp_path, quick=True, keep=True)
    # What is complete becomes a page later.
    for name in bench.run_all.SCRIPTS:
        (tmp_path / f"{name}.json").write_text(json.dumps({**result, "benchmark": name}), encoding="utf-8")
    kept = bench.run_all.measure(tmp_path, quick=True, keep=True)
    assert [r["benchmark"] for r in kept] == list(bench.run_all.SCRIPTS)


def test_time_of_an_import_is_that_of_compiled_files_after_torch(
    bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("import time; time.sleep(0.5)")
    (tmp_path / "contestant.py").write_text("import time; time.sleep(0.05)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    compiled = tmp_path / "compiled"
    assert 0.05 <= bench.import_time.seconds("import contestant", str(compiled)) < 0.5
    assert len(list(compiled.rglob("contestant.*.pyc"))) == 1


def test_picture(bench: SimpleNamespace, results: list[dict[str, Any]]) -> None:
    drawn = bench.picture.picture(results)
    colours = {colour for _, colour in drawn.getcolors(maxcolors=2**16)}
    assert {bench.picture.ACCENT, bench.picture._PEER} <= colours
    assert drawn.tobytes() == bench.picture.picture(results).tobytes()
    results[0]["rows"][0]["median"] *= 2
    assert drawn.tobytes() != bench.picture.picture(results).tobytes()


def test_panels(bench: SimpleNamespace, results: list[dict[str, Any]]) -> None:
    """Seconds, then memory where it is asked for; parts are left out, and the mark stands where the goal is reached."""
    seconds, memory = bench.picture._panels(results[0])
    assert [bar.name for bar in seconds.bars] == ["opsin, fast", "opsin, slow", "peer", "large"]
    assert seconds.bars[0].asked == pytest.approx(5 / 3.5)
    assert memory.bars[0].asked == pytest.approx(80 * 2**20)
    assert memory.bars[0].praise == "0.12 of the fastest peer's"
    assert (seconds.bars[0].label, seconds.bars[0].praise) == ("1.25 s", "4.0 times as fast")
    assert seconds.bars[3].amount is None


def test_panel_of_memory_that_was_not_measured(bench: SimpleNamespace, results: list[dict[str, Any]]) -> None:
    for row in results[0]["rows"]:
        row["peak_bytes"] = row["memory"] = None
    _, memory = bench.picture._panels(results[0])
    assert [bar.amount for bar in memory.bars] == [None] * 4
    assert memory.bars[0].label == "not measured"
    assert bench.picture.picture(results).width > 0


def test_rounds_begin_with_another_each(bench: SimpleNamespace) -> None:
    assert "".join(bench.measuring.rounds("abc", 4)) == "abcbcacababc"


def test_unequal_losses_are_not_compared(bench: SimpleNamespace) -> None:
    bench.measuring.check_equal({"a": 1.0, "b": 1.000001})
    with pytest.raises(AssertionError, match=r"b is 1\.001, a is 1\.0"):
        bench.measuring.check_equal({"a": 1.0, "b": 1.001})


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux")
def test_memory_of_a_step_is_what_it_takes_beyond_the_process(bench: SimpleNamespace) -> None:
    def contestant(y: torch.Tensor) -> Any:
        def step(x: torch.Tensor) -> torch.Tensor:
            taken = torch.ones(y.numel() * 64)  # 256 bytes for each number of the image
            return (x * taken[0]).sum()

        return step

    row = bench.measuring.run_alone(contestant, 256)
    assert row.peak_bytes == pytest.approx(256 * 3 * 256**2, rel=0.1)


@pytest.mark.slow
def test_all_scripts_run(tmp_path: Path) -> None:
    """A quarter of an hour on a busy machine: many processes, each of which imports torch and a peer."""
    command = [sys.executable, str(FOLDER / "run_all.py"), "--quick", "--docs", str(tmp_path / "docs")]
    subprocess.run([*command, "--results", str(tmp_path / "results")], check=True, stdout=subprocess.PIPE)
    results = [json.loads(file.read_text(encoding="utf-8")) for file in (tmp_path / "results").iterdir()]
    assert len(results) == 8
    assert all(seconds > 0 for result in results for row in result["rows"] for seconds in row["seconds"])
    page = (tmp_path / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for peer in ("lpips", "piq", "torchmetrics", "pastiche", "peers, cut at their taps"):
        assert f"\n| {peer} | " in page
    assert "not measured" not in page
    assert "All of it was measured at " in page
    assert (tmp_path / "docs" / "images" / "benchmarks.png").stat().st_size > 10_000


def test_a_quick_run_does_not_overwrite_the_page() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run_all.py"), "--quick"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--docs" in done.stderr


def test_verdicts_on_what_losses_buy(bench: SimpleNamespace) -> None:
    """Each can fail: by a gain that is too small, by PSNR that is not lost, by a distance that is no less."""
    from opsin.superres.evaluation import Evaluation, Row

    def verdicts(minutes: float = 20.0, **changed: tuple[float, float]) -> list[bool]:
        plain = {"bicubic": (27.0, 0.4), "psnr": (28.0, 0.3), "perceptual": (27.7, 0.2), "esrgan": (27.5, 0.2)}
        rows = [
            Row(image, model, {"psnr": psnr + i, "st-lpips-alex": distance + 0.1 * i})
            for i, image in enumerate(bench.superres.HELD_OUT)
            for model, (psnr, distance) in {**plain, **changed}.items()
        ]
        return [holds for _, holds in bench.superres.verdicts([Evaluation(tuple(rows), {})] * 2, minutes)]

    assert verdicts() == [True] * 7
    assert verdicts(bicubic=(27.6, 0.4)) == [False, *[True] * 6]
    assert verdicts(26.0) == [True, False, *[True] * 5]
    assert verdicts(perceptual=(28.1, 0.35)) == [True, True, True, False, False, True, True]
    assert verdicts(esrgan=(27.5, 0.3)) == [*[True] * 6, False]
    assert bench.superres.text([1.0, 2.0, 3.0]) == "+2.000 ± 0.577"


def test_verdicts_on_what_a_projected_discriminator_buys(bench: SimpleNamespace) -> None:
    """It must win with each seed, and in time."""
    from opsin.gan.evaluation import Quality

    def verdicts(projected: tuple[float, float], minutes: float = 10.0) -> list[bool]:
        runs = []
        for recipe, values in (("projected", projected), ("baseline", (500.0, 600.0))):
            for seed, kernel in enumerate(values):
                quality = Quality(1.0, kernel, 1.0, 0.5, 0.5, 1.0, 0.5, collapsed=False, generated=9, real=9)
                runs.append(bench.gan.Run(recipe, seed, [(16, quality)], minutes))
        return [holds for _, holds in bench.gan.verdicts(runs)]

    assert verdicts((400.0, 500.0)) == [True, True, True]
    assert verdicts((400.0, 700.0)) == [True, False, True]
    assert verdicts((400.0, 500.0), 21.0) == [True, True, False]


def test_curves(bench: SimpleNamespace) -> None:
    """The mean is where the axes say: halfway between the runs, and higher where it is more."""
    blue, red = (0, 0, 255), (255, 0, 0)

    def drawn(*values: float) -> Image.Image:
        lines = {"a": (blue, [[4.0, 2.0], [4.0, 6.0]]), "b": (red, [values])}
        return bench.curves.curves("Title", [10, 20], lines, across="steps", upwards="distance", notes=["A note."])

    def middle(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[float, float]:
        """Of the last point, the right end of a line."""
        array = np.asarray(picture)
        ys, xs = np.nonzero((array[:, : picture.width - 180] == colour).all(-1))
        return float(ys[xs > xs.max() - 8].mean()), float(xs.max())

    low, high = drawn(4.0, 1.0), drawn(4.0, 4.0)
    assert middle(low, blue)[1] == middle(low, red)[1]
    assert middle(high, red)[0] < middle(low, red)[0] - 100
    assert middle(low, blue)[0] == pytest.approx(middle(drawn(4.0, 4.0), red)[0], abs=3)
    with pytest.raises(ValueError, match="no room for the name"):
        bench.curves.curves("", [1], {"a name that is much too long": (blue, [[1.0]])}, across="", upwards="")


def test_emoji_need_their_font(bench: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="apt install fonts-noto-color-emoji"):
        bench.emoji.draw_emoji(tmp_path / "emoji", tmp_path / "no.ttf", 64)
    assert not (tmp_path / "emoji").exists()
