"""`opsin score` and `opsin score merge`: tables, files, and what is said of what is wrong."""

from __future__ import annotations

import csv
import errno
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="extra 'score'")

FAST = ("--loss", "focal-frequency", "--workers", 0)


def smooth(seed: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four references, and two methods: `near` and `far`."""
    for i in range(4):
        picture = smooth(i)
        noise = np.random.default_rng(i).normal(0, 1, (36, 40, 3))
        for name, strength in (("ref", 0), ("near", 4), ("far", 30)):
            (tmp_path / name / "more").mkdir(parents=True, exist_ok=True)
            octets = (np.asarray(picture) + strength * noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(octets).save(tmp_path / name / ("more" if i == 3 else "") / f"{i}.png")
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table(call, data):
    out = call("score", "ref", "near", "far", *FAST).succeeds()
    head, columns, near, far, comparison, signature = out.splitlines()
    assert head == "4 pairs, means and their 95 % intervals; * is the best"
    assert columns.split() == ["focal-frequency", "↓"]
    assert near.split()[0] == "near"
    assert near.split()[1].startswith("*")
    assert not far.split()[1].startswith("*")
    assert comparison.startswith("focal-frequency: near is closer than far by ")
    assert comparison.endswith("in 4 of 4 pairs, p = 0.12")
    assert signature.startswith("opsin 0.1.0 | ")


def test_json_alone(call, data):
    found = json.loads(call("score", "ref", "near", "x=far", *FAST, "--json").succeeds())
    assert found["methods"] == ["near", "x"]
    assert found["pairs"] == 4
    assert found["summary"]["near"]["focal-frequency"]["count"] == 4
    assert found["signature"]["metrics"] == ["focal-frequency"]
    assert found["comparisons"][0]["better"] == "near"


def test_files(call, data, snapshot):
    call("score", "ref", "near", *FAST, "--csv", "o.csv", "--jsonl", "o.jsonl", "--parquet", "p.parquet").succeeds()
    assert [row["name"] for row in rows(data / "o.csv")] == ["0", "1", "2", "more/3"]
    assert {p for p in snapshot() if "/" not in p} == {
        "ref", "near", "far", "o.csv", "o.jsonl", "o.signature.json", "p.parquet", "p.signature.json",
    }  # fmt: skip
    before = snapshot()
    call("score", "ref", "near", *FAST, "--csv", "o.csv").refuses("must be a new file, got 'o.csv', which exists")
    assert snapshot() == before
    call("score", "ref", "near", "far", *FAST, "--csv", "o.csv", "--overwrite").succeeds()
    assert len(rows(data / "o.csv")) == 8


def test_values_are_those_of_compare(call, data):
    call("score", "ref", "near", "--loss", "vgg19-cosine,focal-frequency", "--csv", "o.csv").succeeds()
    row = rows(data / "o.csv")[2]
    for loss in ("vgg19-cosine", "focal-frequency"):
        compared = json.loads(call("compare", "ref/2.png", "near/2.png", "--loss", loss, "--json").succeeds())
        assert float(row[loss]) == pytest.approx(compared["total"], rel=1e-6, abs=1e-6)


def test_psnr_and_ssim(call, data):
    pytest.importorskip("torchmetrics", reason="extra 'score'")
    call("score", "ref", "near", *FAST, "--also", "psnr, ssim", "--csv", "o.csv").succeeds()
    row = rows(data / "o.csv")[0]
    a, b = (np.asarray(Image.open(data / name / "0.png")).astype(float) for name in ("ref", "near"))
    assert float(row["psnr"]) == pytest.approx(10 * np.log10(255**2 / ((a - b) ** 2).mean()), abs=1e-4)
    assert 0 < float(row["ssim"]) < 1
    out = call("score", "ref", "ref", *FAST, "--also", "psnr").succeeds()
    assert "∞" in out


def test_missing_and_extra_files_are_listed(call, data):
    (data / "near/1.png").unlink()
    (data / "near/new.png").write_bytes((data / "near/0.png").read_bytes())
    done = call("score", "ref", "near", "far", *FAST, "--csv", "o.csv")
    assert done.code == 0
    assert done.err.splitlines() == ["missing in near: 1: 1", "without a reference in near: 1: new.png"]
    assert done.out.splitlines()[1].split()[-1] == "pairs"
    assert [line.split()[-1] for line in done.out.splitlines()[2:4]] == ["3", "4"]
    assert json.loads((data / "o.signature.json").read_text())["missing"] == {"near": ["1"], "far": []}
    call("score", "ref", "near", "far", *FAST, "--strict").refuses("got 1 missing in near: 1.", "--strict")


def test_a_damaged_image_is_a_row(call, data):
    (data / "near/1.png").write_bytes(b"")
    whole = (data / "far/2.png").read_bytes()
    (data / "far/2.png").write_bytes(whole[:-60])
    done = call("score", "ref", "near", "far", *FAST, "--csv", "o.csv")
    assert done.code == 1
    assert [line.split(":")[1] for line in done.err.splitlines()] == [" 1, near", " 2, far"]
    found = {(row["name"], row["method"]): row for row in rows(data / "o.csv")}
    assert "is empty" in found["1", "near"]["error"]
    assert found["1", "near"]["focal-frequency"] == ""
    assert "cut short" in found["2", "far"]["error"]
    assert sum(row["error"] == "" for row in found.values()) == 6


def test_strict_stops_at_once(call, data, snapshot):
    (data / "near/1.png").write_bytes(b"")
    call("score", "ref", "near", *FAST, "--strict", "--batch", 1, "--csv", "o.csv").refuses("'1' of near cannot be")
    assert not (data / "o.csv").exists()


def test_many_errors_are_counted(call, data):
    for i in range(3):
        for name in ("near", "far"):
            (data / name / f"{i}.png").write_bytes(b"")
    done = call("score", "ref", "near", "far", *FAST, "--jsonl", "o.jsonl")
    assert done.code == 1
    assert len(done.err.splitlines()) == 6
    assert done.err.splitlines()[-1] == "opsin: and 1 more that could not be measured, all of them in o.jsonl"


def test_nothing_that_can_be_measured(call, data):
    for path in (data / "near").rglob("*.png"):
        path.write_bytes(b"")
    done = call("score", "ref", "near", *FAST)
    assert done.code == 2
    assert done.err.splitlines()[-1] == "opsin: one pair at least must be measured, got none; see above."


def test_odd_files_are_read(call, data):
    """CMYK, 16 bits, an animation (its first picture), transparency."""
    Image.open(data / "near/0.png").convert("CMYK").save(data / "near/0.jpg")
    (data / "near/0.png").unlink()
    deep = np.asarray(Image.open(data / "near/1.png").convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(data / "near/1.png")
    frames = [smooth(2), smooth(9)]
    frames[0].save(data / "near/2.gif", save_all=True, append_images=frames[1:])
    (data / "near/2.png").unlink()
    Image.open(data / "near/more/3.png").convert("RGBA").save(data / "near/more/3.png")
    call("score", "ref", "near", *FAST, "--csv", "o.csv").succeeds()
    values = [float(row["focal-frequency"]) for row in rows(data / "o.csv")]
    assert all(0 <= value < 0.1 for value in values)


def test_sizes_that_differ(call, data):
    smooth(1, (80, 72)).save(data / "near/1.png")
    done = call("score", "ref", "near", *FAST)
    assert done.code == 1
    assert "got 40x36 for the reference and 80x72. Use --resize match or --crop match" in done.err
    call("score", "ref", "near", *FAST, "--resize", "match").succeeds()
    call("score", "ref", "near", *FAST, "--crop", "match").succeeds()
    call("score", "ref", "near", *FAST, "--crop", "32").succeeds()
    call("score", "ref", "near", *FAST, "--resize", "big").refuses("size must be")


def test_patterns_order_and_manifests(call, data):
    for i in range(3):
        (data / f"near/{i}.png").rename(data / f"near/{i}_x4.png")
    done = call("score", "ref", "near", *FAST, "--pattern", "{name}_x4", "--json")
    assert json.loads(done.out)["pairs"] == 3
    assert done.err.splitlines()[0] == "missing in near: 1: more/3"
    assert json.loads(call("score", "ref", "near", *FAST, "--pair-by", "order", "--json").succeeds())["pairs"] == 4
    (data / "pairs.csv").write_text("reference,distorted\n0.png,0_x4.png\nmore/3.png,more/3.png\n")
    assert json.loads(call("score", "ref", "near", *FAST, "--pair-by", "pairs.csv", "--json").succeeds())["pairs"] == 2
    (data / "alone.csv").write_text("reference,distorted,method\nref/0.png,near/0_x4.png,a\nref/0.png,far/0.png,b\n")
    found = json.loads(call("score", "alone.csv", *FAST, "--json").succeeds())
    assert (found["pairs"], found["methods"]) == (1, ["a", "b"])


def test_the_cache(call, data):
    options = ("--loss", "focal-frequency,vgg19-cosine", "--workers", 0, "--cache", "kept")
    call("score", "ref", "near", *options, "--csv", "1.csv").succeeds()
    files = sorted((data / "kept").rglob("*.safetensors"))
    assert len(files) == 4
    written = [path.stat().st_ino for path in files]
    call("score", "ref", "near", "far", *options, "--csv", "2.csv").succeeds()
    assert [path.stat().st_ino for path in sorted((data / "kept").rglob("*.safetensors"))] == written
    call("score", "ref", "near", "far", *options[:4], "--csv", "3.csv").succeeds()
    for kept, new in zip(rows(data / "2.csv"), rows(data / "3.csv"), strict=True):
        assert float(kept["vgg19-cosine"]) == pytest.approx(float(new["vgg19-cosine"]), rel=1e-6, abs=1e-6)
    call("score", "ref", "near", *FAST, "--cache", "kept", "--cache-size", "much").refuses("500MB or 20GB")
    call("score", "ref", "near", *FAST, "--cache", "near/0.png/x").refuses("a folder that can be written")


def test_a_report(call, data):
    out = call("score", "ref", "near", "far", *FAST, "--report", "report.html").succeeds()
    assert out.endswith("wrote report.html\n")
    page = (data / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "near, far: 4 pairs" in page
    assert page.count("data:image/webp") > 8
    assert "vgg19-cosine" in page  # focal-frequency has no map
    assert not list(data.glob("*.partial"))


def test_parts_are_merged(call, data):
    for i in (1, 2, 3):
        call("score", "ref", "near", "far", *FAST, "--shard", f"{i}/3", "--jsonl", f"{i}.jsonl").succeeds()
    call("score", "merge", "1.jsonl", "3.jsonl", "2.jsonl", "--csv", "merged.csv").succeeds()
    call("score", "ref", "near", "far", *FAST, "--csv", "whole.csv").succeeds()
    for merged, whole in zip(rows(data / "merged.csv"), rows(data / "whole.csv"), strict=True):
        # The batches were others.
        assert float(merged.pop("focal-frequency")) == pytest.approx(float(whole.pop("focal-frequency")), rel=1e-6)
        assert merged == whole
    call("score", "merge", "1.jsonl", "2.jsonl").refuses("1/3 to 3/3, each once, got 1/3, 2/3")
    call("score", "ref", "near", *FAST, "--shard", "4/3", "--jsonl", "x.jsonl").refuses("i from 1 to n, got '4/3'")
    call("score", "ref", "near", *FAST, "--shard", "1/3").refuses("--shard must go with --jsonl or --parquet")


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("ref", "nowhere"), "must be a folder of images, got 'nowhere', which is nothing"),
        (("ref",), "DIST must be a folder at least"),
        (("ref", "empty"), "got none in 'empty'"),
        (("ref", "else"), "names in common, got 0, 1, 2 … in 'ref' and x in 'else'"),
        (("ref", "near", "--loss", "lpipz"), "unknown loss 'lpipz'"),
        (("ref", "near", "--also", "mse"), "unknown metric 'mse'"),
        (("ref", "near", "a/near"), "must be called differently"),
        (("ref", "near", "--pair-by", "size"), "unknown way to pair 'size'"),
        (("ref", "near", "--pair-by", "no.csv"), "a file that can be read, got 'no.csv'"),
        (("ref", "near", "--csv", "no/such/o.csv"), "output folder must exist"),
        (("ref", "near", "--csv", "o.txt"), "--csv must name a file that ends in .csv"),
        (("ref", "near", "--report", "ref"), "--report must name a file that ends in .html"),
        (("ref", "near", "--batch", "0"), "--batch must be a whole number of at least 1"),
        (("ref", "near", "--device", "cuda:77"), "device must be one of this machine"),
        (("ref", "near", "--engine", "spark"), "unknown engine 'spark'"),
        (("ref", "near", "--address", "auto"), "--address must go with --engine ray"),
        (("ref", "near", "--background", "clear"), "background must be an opaque colour"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(call, data, snapshot, arguments, fragment):
    (data / "empty").mkdir()
    (data / "else").mkdir()
    smooth(0).save(data / "else/x.png")
    before = snapshot()
    call("score", *arguments).refuses(fragment)
    assert snapshot() == before


def test_weights_that_are_not_at_hand_are_told_before_any_work(call, data, monkeypatch, snapshot):
    monkeypatch.setattr("opsin.scoring.reading.read_bytes", lambda *_: pytest.fail("an image was read"))
    before = snapshot()
    call("score", "ref", "near", "--loss", "pieapp", "--csv", "o.csv").refuses("must")
    assert snapshot() == before


def test_a_folder_that_cannot_be_written(call, data, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "o.csv.partial")

    monkeypatch.setattr("opsin.scoring.journal.Journal._write", full)
    call("score", "ref", "near", *FAST, "--csv", "o.csv").refuses("cannot read or write 'o.csv.partial': No space")
    assert not (data / "o.csv").exists()


def test_interrupted_and_gone_on_with(start, call, data):
    for name in ("ref", "near"):
        for i in range(10, 200):
            smooth(i).save(data / name / f"{i}.png")
    arguments = ("score", "ref", "near", "--loss", "focal-frequency", "--batch", 1, "--csv", "o.csv")
    with start(*arguments) as process:
        journal = data / "o.csv.partial"
        end = time.monotonic() + 60
        while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(2)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "stopped early" in err
    assert "the same command goes on from 'o.csv.partial'" in err
    assert not (data / "o.csv").exists()
    call(*arguments).succeeds()
    call(*arguments[:-1], "other.csv").succeeds()
    assert (data / "o.csv").read_text() == (data / "other.csv").read_text()
    assert not journal.exists()
    assert not list(data.glob(".*"))


def test_folders_in_an_archive(call, data):
    """Places that fsspec opens."""
    with zipfile.ZipFile(data / "all.zip", "w") as archive:
        for path in sorted(data.rglob("*.png")):
            archive.write(path, path.relative_to(data))
    call("score", "zip://ref::all.zip", "zip://near::all.zip", *FAST, "--csv", "zip.csv").succeeds()
    call("score", "ref", "near", *FAST, "--csv", "plain.csv").succeeds()
    for zipped, plain in zip(rows(data / "zip.csv"), rows(data / "plain.csv"), strict=True):
        assert (zipped["name"], zipped["focal-frequency"]) == (plain["name"], plain["focal-frequency"])
    call("score", "nosuch://a", "near", *FAST).refuses("one that fsspec can read, got 'nosuch://a'")
