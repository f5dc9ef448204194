"""Tables of results, and parts of a job put together."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from opsin.errors import InputError, MissingExtraError, OpsinError
from opsin.results import Signature
from opsin.scoring.merging import merge
from opsin.scoring.outputs import beside, check_tables, write_tables
from opsin.scoring.results import Metric, Pair, Scored, Scores
from opsin.scoring.statistics import summarize

pq = pytest.importorskip("pyarrow.parquet", reason="extra 'score'")

SIGNATURE = Signature(opsin="0.1.0", torch="2", networks={}, terms={}, metrics=["l2", "psnr"])


def job(numbers=range(7), count: int = 7) -> Scores:
    pairs = [
        Pair(f"a,{i}", f"ref/{i}.png", {m: f"{m}/{i}.png" for m in ("x", "y") if (i, m) != (4, "y")})
        for i in range(count)
    ]
    scores = Scores(
        pairs, ["x", "y"], [Metric("l2"), Metric("psnr", higher=True)], SIGNATURE, {"y": ("a,4",)}, {"y": ("z.png",)}
    )
    for i in numbers:
        values = {m: [i / 7, math.inf if i == 2 else 20.0 + i] for m in pairs[i].distorted if i != 1}
        scores.add(Scored(i, values, {"x": "damaged: ü", "y": "gone"} if i == 1 else {}))
    return scores


def write(path: Path, scores: Scores, **options) -> Path:
    write_tables([path], scores, summarize(scores), **options)
    return path


def test_csv(tmp_path):
    path = write(tmp_path / "t.csv", job())
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "method", "l2", "psnr", "error", "reference", "distorted", "signature"]
    assert len(rows) == 13  # a pair that a method lacks is no row
    assert float(rows[0]["psnr"]) == 20
    assert rows[2]["l2"] == ""
    assert rows[2]["error"] == "damaged: ü"
    assert rows[4]["psnr"] == "inf"
    assert {row["signature"] for row in rows} == {SIGNATURE.id}


def test_jsonl_is_json(tmp_path):
    path = write(tmp_path / "t.jsonl", job())

    def fail(value):
        raise AssertionError(value)

    rows = [json.loads(line, parse_constant=fail) for line in path.read_text().splitlines()]
    assert rows[4] | {"name": "", "reference": "", "distorted": ""} == {
        "name": "", "method": "x", "l2": 2 / 7, "psnr": None, "error": None,
        "reference": "", "distorted": "", "signature": SIGNATURE.id,
    }  # fmt: skip


def test_parquet_carries_the_signature(tmp_path):
    path = write(tmp_path / "t.parquet", job())
    table = pq.read_table(path)
    assert table.num_rows == 13
    assert table.column("psnr").to_pylist()[4] == math.inf
    assert table.column("l2").to_pylist()[2] is None
    assert json.loads(table.schema.metadata[b"opsin"])["signature"] == dict(SIGNATURE)


def test_names_that_are_no_unicode(tmp_path):
    name = "caf\udce9"
    scores = Scores([Pair(name, f"{name}.png", {"x": "x.png"})], ["x"], [Metric("l2")], SIGNATURE)
    scores.add(Scored(0, {"x": [1.0]}, {}))
    for ending in ("csv", "jsonl", "parquet"):
        path = write(tmp_path / f"t.{ending}", scores, overwrite=True)
        assert path.stat().st_size
    assert pq.read_table(tmp_path / "t.parquet").column("name").to_pylist() == ["caf\\udce9"]


def test_what_goes_with_a_table(tmp_path):
    path = write(tmp_path / "t.csv", job(), shard=None)
    content = json.loads(beside(path).read_text())
    assert content["signature"] == dict(SIGNATURE)
    assert content["missing"] == {"y": ["a,4"]}
    assert content["extra"] == {"y": ["z.png"]}
    assert content["errors"] == 2
    assert content["methods"] == ["x", "y"]
    assert content["summary"]["x"]["l2"]["count"] == 6
    assert content["summary"]["x"]["psnr"]["mean"] is None  # infinite


def test_nothing_is_written_over(tmp_path):
    path = write(tmp_path / "t.csv", job())
    with pytest.raises(OpsinError, match="must be a new file"):
        check_tables([path], overwrite=False)
    path.unlink()
    with pytest.raises(OpsinError, match=r"t\.signature\.json', which exists"):
        check_tables([path], overwrite=False)
    check_tables([path], overwrite=True)
    with pytest.raises(OpsinError, match="folder must exist"):
        check_tables([tmp_path / "no" / "t.csv"], overwrite=False)
    with pytest.raises(InputError, match="different files"):
        check_tables([tmp_path / "u.csv", tmp_path / "u.csv"], overwrite=False)


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"opsin\[score\]"):
        check_tables([tmp_path / "t.parquet"], overwrite=False)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_are_the_whole(tmp_path, ending, count):
    parts = [write(tmp_path / f"{i}.{ending}", _part(i, count), shard=(i, count)) for i in range(1, count + 1)]
    merged = merge(parts[::-1])
    assert list(merged.rows()) == list(job().rows())
    assert merged.pairs == job().pairs
    assert merged.signature == SIGNATURE
    assert merged.missing == {"y": ["a,4"]}
    assert summarize(merged) == summarize(job()) or summarize(merged).as_dict() == summarize(job()).as_dict()


def _part(i: int, count: int) -> Scores:
    return job(range(i - 1, 7, count))


def test_parts_that_do_not_fit(tmp_path):
    one, two = (write(tmp_path / f"{i}.jsonl", _part(i, 2), shard=(i, 2)) for i in (1, 2))
    with pytest.raises(OpsinError, match=r"1/2 to 2/2, each once, got 1/2\. Name all"):
        merge([one])
    with pytest.raises(OpsinError, match="got 2/2, 2/2"):
        merge([two, two])
    other = _part(2, 2)
    other.signature["opsin"] = "another"
    strange = write(tmp_path / "strange.jsonl", other, shard=(2, 2))
    other.signature["opsin"] = "0.1.0"
    with pytest.raises(OpsinError, match=r"strange\.jsonl', whose id differ"):
        merge([one, strange])
    (tmp_path / "2.signature.json").unlink()
    with pytest.raises(OpsinError, match=r"with their \.signature\.json beside them"):
        merge([one, two])
    lines = one.read_text().splitlines(keepends=True)
    one.write_text("".join(lines[:-1]) + lines[-1][:10])
    with pytest.raises(OpsinError, match=r"parts must be .*got '.*1\.jsonl'"):
        merge([one])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(OpsinError, match=r"cut\.parquet"):
        merge([tmp_path / "cut.parquet"])
