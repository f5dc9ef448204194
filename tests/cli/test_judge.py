"""`opsin judge`: its tables, its files, and what it says of folders that are no datasets or not whole."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FAST = ("--loss", "image-l2", "--workers", "0")
PARTS = {
    "traditional": [(0.1, 0.5, 0.2), (0.6, 0.2, 0.8), (0.3, 0.4, 0.6)],
    "cnn": [(0.3, 0.1, 1.0), (0.2, 0.2, 0.4)],
}


def picture(path: Path, seed: int, amount: float = 0.0) -> None:
    """Noise, changed by an amount from 0 to 1."""
    plain, other = np.random.default_rng(seed).random((2, 16, 16, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(255 * ((1 - amount) * plain + amount * other)).astype(np.uint8)).save(path)


@pytest.fixture
def bapps(tmp_path: Path) -> Callable[..., Path]:
    """Write triplets: how far p0 is changed, how far p1 is, the fraction that found p1 closer."""

    def write(parts: Mapping[str, Sequence[tuple[float, float, float]]] = PARTS) -> Path:
        seed = 0
        for part, triplets in parts.items():
            for number, (p0, p1, judge) in enumerate(triplets):
                seed += 1
                home = tmp_path / "dataset" / "2afc" / "val" / part
                for folder, amount in {"ref": 0.0, "p0": p0, "p1": p1}.items():
                    picture(home / folder / f"{number:06d}.png", seed, amount)
                (home / "judge").mkdir(exist_ok=True)
                np.save(home / "judge" / f"{number:06d}.npy", np.array([judge], dtype=np.float32))
        return tmp_path / "dataset"

    return write


@pytest.fixture
def jnd(tmp_path: Path) -> Path:
    home = tmp_path / "dataset" / "jnd" / "val" / "cnn"
    for number, (amount, same) in enumerate([(0.1, 1.0), (0.2, 1 / 3), (0.7, 0.0)]):
        picture(home / "p0" / f"{number}.png", number)
        picture(home / "p1" / f"{number}.png", number, amount)
        (home / "same").mkdir(exist_ok=True)
        np.save(home / "same" / f"{number}.npy", np.array([same]))
    return tmp_path / "dataset"


@pytest.fixture
def tid2013(tmp_path: Path) -> Path:
    folder, lines = tmp_path / "tid2013", []
    for i in (1, 2, 3):
        picture(folder / "reference_images" / f"I{i:02d}.BMP", i)
        for kind in (1, 8):
            for level in (1, 2, 3):
                amount = level / 8 + kind / 100 + i / 1000
                picture(folder / "distorted_images" / f"i{i:02d}_{kind:02d}_{level}.bmp", i, amount)
                lines.append(f"{9 * (1 - amount):.5f} I{i:02d}_{kind:02d}_{level}.bmp")
    (folder / "mos_with_names.txt").write_text("\n".join(lines))
    return folder


def test_2afc(call, bapps):
    out = call("judge", bapps(), *FAST).succeeds()
    head, columns, people, loss, notes, signature = out.splitlines()
    assert head.startswith("BAPPS 2AFC, val, 5 triplets of the 36300 that there are, shorter side 64 pixels: % of")
    assert columns.split() == ["traditional", "cnn", "all"]
    assert [cell for cell in people.split() if "±" not in cell] == ["people", "62.7", "76.0", "69.3"]
    assert [cell for cell in loss.split() if "±" not in cell] == ["image-l2", "66.7", "75.0", "70.8"]
    assert "all is the mean over the 2 parts, without the authors' superres, deblur, color, frameinterp" in notes
    assert signature.startswith("opsin ") and " id " in signature


def test_published_numbers_stand_beside_those_of_the_whole_set(call, bapps, monkeypatch):
    from opsin.scoring.judging import bapps as layout

    folder = bapps(dict.fromkeys(layout.SUBSETS, PARTS["cnn"]))
    monkeypatch.setitem(layout._HUNDREDS, ("2afc", "val"), dict.fromkeys(layout.SUBSETS, 0))
    _, columns, people, loss, notes, source, _ = call("judge", folder, *FAST).succeeds().splitlines()
    assert columns.split()[-1] == "published"
    assert people.split()[-1] == "73.9" and loss.split()[-1] == "63.2"
    assert "over the 6 parts, as in the paper" in notes
    assert source == "published: human, L2: Zhang et al., 2018, https://arxiv.org/abs/1801.03924"
    other = call("judge", folder, *FAST, "--load-size", "0").succeeds()
    assert "published" not in other and "shorter side" not in other


def test_jnd(call, jnd):
    out = call("judge", jnd, *FAST).succeeds()
    head, columns, loss, notes, _ = out.splitlines()
    assert head.startswith("BAPPS JND, val, 3 pairs of the 9600 that there are")
    assert columns.split() == ["cnn"]
    assert loss.split()[:2] == ["image-l2", "91.7"]  # 3/4 · 1 + 1/4 · 2/3
    assert "mean over" not in notes


def test_json_is_alone_on_stdout(call, bapps):
    found = json.loads(call("judge", bapps(), *FAST, "--json").succeeds())
    assert found["dataset"] == "bapps-2afc" and found["unit"] == "%" and found["load_size"] == 64
    assert found["rows"]["image-l2"]["all"]["value"] == pytest.approx(70.83, abs=0.01)
    assert found["rows"]["image-l2"]["all"]["judgements"] == found["judgements"] == found["measured"] == 5
    assert found["published"] == {} and found["errors"] == {}
    assert found["signature"]["filter"] == "pillow-bilinear"


def test_correlations(call, tid2013):
    pytest.importorskip("scipy", reason="extra 'judge'")
    out = call("judge", tid2013, *FAST).succeeds()
    head, columns, loss, notes, _ = out.splitlines()
    assert head.startswith("TID2013, 18 images of the 3000 that there are: correlations of closeness with quality")
    assert columns.split() == ["SRCC", "PLCC", "KRCC"]
    assert float(loss.split()[1]) > 0.9
    assert "quality is the dataset's MOS, as it is; PLCC after a logistic fit" in notes
    lines = call("judge", tid2013, *FAST, "--per-type").succeeds().splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["SRCC", "gaussian-noise", "gaussian-blur"]
    chosen = json.loads(call("judge", tid2013, *FAST, "--subset", "gaussian-blur", "--json", "--per-type").succeeds())
    assert chosen["judgements"] == 9 and chosen["load_size"] == 0
    assert list(chosen["kinds"]["image-l2"]) == ["gaussian-blur"]


def test_several_losses_and_metrics(call, tid2013):
    pytest.importorskip("scipy", reason="extra 'judge'")
    pytest.importorskip("torchmetrics", reason="extra 'score'")
    arguments = ("--loss", "image-l2, focal-frequency", "--also", "psnr,ssim", "--workers", "0", "--json")
    found = json.loads(call("judge", tid2013, *arguments).succeeds())
    assert list(found["rows"]) == ["image-l2", "focal-frequency", "psnr", "ssim"]
    assert all(row["SRCC"]["value"] > 0.7 for row in found["rows"].values())


def test_batch_and_workers_change_nothing(call, tid2013):
    pytest.importorskip("scipy", reason="extra 'judge'")

    def of(*options):
        return json.loads(call("judge", tid2013, "--loss", "image-l2", "--json", *options).succeeds())

    assert of("--workers", "0") == of("--workers", "2", "--batch", "1")


def test_csv_of_triplets(call, bapps, tmp_path):
    table = tmp_path / "rows.csv"
    out = call("judge", bapps(), *FAST, "--csv", table).succeeds()
    assert out.splitlines()[-1] == f"wrote {table}"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows[:2]] == ["traditional/000000", "traditional/000001"]
    assert rows[0]["judge"] == str(np.float32(0.2).astype(float)) and rows[0]["subset"] == "traditional"
    assert float(rows[0]["image-l2 p0"]) < float(rows[0]["image-l2 p1"])
    assert Path(rows[0]["p1"]).is_file() and len(rows[0]["signature"]) == 8
    call("judge", bapps(), *FAST, "--csv", table).refuses("which exists")
    call("judge", bapps(), *FAST, "--csv", table, "--overwrite").succeeds()
    call("judge", bapps(), *FAST, "--csv", tmp_path / "no" / "rows.csv").refuses("output folder must exist")


def test_csv_of_scores(call, tid2013, tmp_path):
    pytest.importorskip("scipy", reason="extra 'judge'")
    found = call("judge", tid2013, *FAST, "--csv", tmp_path / "rows.csv", "--json").succeeds()
    assert json.loads(found)["judgements"] == 18
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert set(rows[0]) == {"name", "subset", "reference", "distorted", "score", "image-l2", "error", "signature"}


def test_what_cannot_be_measured_is_said_and_the_rest_is_done(call, bapps, tmp_path):
    folder = bapps()
    for number in (0, 2):
        (folder / "2afc" / "val" / "traditional" / "p1" / f"{number:06d}.png").write_bytes(b"\x89PNG")
    done = call("judge", folder, *FAST, "--csv", tmp_path / "rows.csv")
    assert done.code == 1
    assert done.out.startswith("BAPPS 2AFC")
    first, second = done.err.splitlines()
    assert first.startswith("opsin: traditional/000000: image must be") and "p1" in first
    assert second.startswith("opsin: traditional/000002: ")
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["error"]) for row in rows] == [True, False, True, False, False]
    assert rows[0]["image-l2 p1"] == "" and rows[0]["image-l2 p0"] != ""


def test_many_errors_are_counted(call, bapps):
    folder = bapps({"cnn": [(0.1, 0.2, 0.5)] * 9})
    for path in sorted((folder / "2afc" / "val" / "cnn" / "ref").iterdir())[:8]:
        path.write_bytes(b"")
    lines = call("judge", folder, *FAST).err.splitlines()
    assert len(lines) == 6 and lines[-1] == "opsin: and 3 more that could not be measured"
    for path in (folder / "2afc" / "val" / "cnn" / "ref").iterdir():
        path.write_bytes(b"")
    call("judge", folder, *FAST).refuses("one judgement at least must be measured, got none of 9")


def test_a_missing_file_is_refused_before_the_work(call, bapps, tid2013):
    folder = bapps()
    (folder / "2afc" / "val" / "cnn" / "p0" / "000001.png").unlink()
    call("judge", folder, *FAST).refuses("BAPPS 2AFC must have all of its files", "cnn/p0/000001", "--subset")
    call("judge", folder, *FAST, "--subset", "traditional").succeeds()
    (tid2013 / "distorted_images" / "i02_01_1.bmp").unlink()
    call("judge", tid2013, *FAST).refuses("got none for 1: distorted_images/I02_01_1.bmp")


def test_folders(call, bapps, jnd, tmp_path):
    call("judge", tmp_path / "none", *FAST).refuses("must be the folder of a dataset", "which is nothing")
    (tmp_path / "empty").mkdir()
    call("judge", tmp_path / "empty", *FAST).refuses("Looked for: 2afc/val", "(bapps-2afc)", "Train_Label (pipal)")
    folder = bapps()
    call("judge", folder, *FAST).refuses("got bapps-2afc and bapps-jnd", "--dataset bapps-2afc")
    call("judge", folder, *FAST, "--dataset", "bapps-jnd").succeeds()
    call("judge", jnd / "jnd", *FAST).succeeds()
    call("judge", folder, *FAST, "--dataset", "tid2013").refuses("must have 'mos_with_names.txt' in its folder")
    call("judge", folder, *FAST, "--dataset", "bapps").refuses("unknown dataset 'bapps'", "bapps-jnd")


def test_what_is_refused(call, bapps, tid2013):
    folder = bapps()
    call("judge", folder, "--loss", "lpips-alexa").refuses("did you mean 'lpips-alex'?")
    call("judge", folder, "--loss", "").refuses("losses must be one at least")
    call("judge", folder, *FAST, "--also", "psnrr").refuses("did you mean 'psnr'?")
    call("judge", folder, *FAST, "--subset", "cnnn").refuses("did you mean 'cnn'?")
    call("judge", folder, *FAST, "--split", "test").refuses("unknown split 'test' for BAPPS 2AFC")
    call("judge", folder, *FAST, "--per-type").refuses("--per-type must go with scores of quality")
    call("judge", tid2013, *FAST, "--split", "val").refuses("--split must go with BAPPS")
    call("judge", folder, *FAST, "--load-size", "-1").refuses("load size", "-1")
    call("judge", folder, *FAST, "--batch", "0").refuses("batch", "got 0")
    call("judge", folder, "--workers", "-2").refuses("workers", "-2")
    call("judge", folder, *FAST, "--device", "cpuu").refuses("cpuu")
    (tid2013 / "mos_with_names.txt").write_text("5 ../../I01_01_1.bmp\n")
    call("judge", tid2013, *FAST).refuses("by their names alone, got '../../I01_01_1.bmp'")


def test_missing_packages_are_said_before_the_work(call, tid2013, bapps, monkeypatch):
    from opsin.scoring.judging import run

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(run, "measure", never)
    monkeypatch.setitem(sys.modules, "scipy", None)
    call("judge", tid2013, *FAST).refuses("scipy", "pip install 'opsin[judge]'")


def test_2afc_needs_no_scipy(call, bapps, monkeypatch):
    folder = bapps()
    monkeypatch.setitem(sys.modules, "scipy", None)
    call("judge", folder, *FAST).succeeds()


def test_as_a_process(opsin, bapps):
    """With processes that read, and without a word on stderr."""
    out = opsin("judge", bapps(), "--loss", "image-l2").succeeds()
    assert "image-l2" in out and "66.7" in out
    opsin("judge", "nothing").refuses("which is nothing")
