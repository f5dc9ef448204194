"""Which image is compared with which."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import pytest

from opsin.errors import ChoiceError, ImageError, InputError
from opsin.scoring.pairing import name_methods, pair_folders, pair_manifest
from opsin.scoring.places import inside, list_images, read_bytes
from opsin.scoring.results import Pair

pa = pytest.importorskip("pyarrow", reason="extra 'score'")


def table(path: Path, rows: list[dict[str, str]]) -> str:
    """A manifest, as its ending says."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


def test_names_pair_whatever_their_endings(tmp_path, write):
    write("ref/cat.png")
    write("ref/more/dog.jpg")
    write("ref/alone.png")
    write("out/cat.webp")
    write("out/more/dog.png")
    write("out/else.png")
    found = pair_folders(str(tmp_path / "ref"), {"out": str(tmp_path / "out")})
    assert found.pairs == (
        Pair("cat", str(tmp_path / "ref/cat.png"), {"out": str(tmp_path / "out/cat.webp")}),
        Pair("more/dog", str(tmp_path / "ref/more/dog.jpg"), {"out": str(tmp_path / "out/more/dog.png")}),
    )
    assert found.missing == {"out": ("alone",)}
    assert found.extra == {"out": ("else.png",)}


def test_a_method_may_lack_a_pair_that_another_has(tmp_path, write):
    for name in ("ref/1.png", "ref/2.png", "a/1.png", "a/2.png", "b/2.png"):
        write(name)
    found = pair_folders(str(tmp_path / "ref"), {m: str(tmp_path / m) for m in "ab"})
    assert [sorted(pair.distorted) for pair in found.pairs] == [["a"], ["a", "b"]]
    assert found.missing == {"a": (), "b": ("1",)}


def test_patterns(tmp_path, write):
    for name in ("ref/x/1.png", "ref/2.png", "sr/x/im-1_x4.png", "sr/im-2_x4.webp", "sr/2_x4.png"):
        write(name)
    found = pair_folders(str(tmp_path / "ref"), {"sr": str(tmp_path / "sr")}, pattern="im-{name}_x4")
    assert [Path(pair.distorted["sr"]).name for pair in found.pairs] == ["im-2_x4.webp", "im-1_x4.png"]
    assert found.extra == {"sr": ("2_x4.png",)}


def test_one_folder_may_hold_both(tmp_path, write):
    for name in ("all/1.png", "all/1_sr.png", "all/2.png", "all/2_sr.png"):
        write(name)
    folder = str(tmp_path / "all")
    found = pair_folders(folder, {"sr": folder}, pattern="{name}_sr")
    assert [pair.name for pair in found.pairs] == ["1", "2"]
    assert found.missing == {"sr": ()}


def test_folders_in_folders_hold_no_references(tmp_path, write):
    for name in ("data/1.png", "data/out/1.png"):
        write(name)
    found = pair_folders(str(tmp_path / "data"), {"out": str(tmp_path / "data/out")})
    assert [pair.name for pair in found.pairs] == ["1"]
    assert found.missing == {"out": ()}


def test_the_order_pairs(tmp_path, write):
    for name in ("ref/a.png", "ref/b.png", "out/x.png", "out/y.png"):
        write(name)
    found = pair_folders(str(tmp_path / "ref"), {"out": str(tmp_path / "out")}, by="order")
    assert [(pair.name, Path(pair.distorted["out"]).name) for pair in found.pairs] == [("a", "x.png"), ("b", "y.png")]
    write("out/z.png")
    with pytest.raises(InputError, match=r"got 2 in .* and 3 in"):
        pair_folders(str(tmp_path / "ref"), {"out": str(tmp_path / "out")}, by="order")
    with pytest.raises(InputError, match="pattern must be left out"):
        pair_folders(str(tmp_path / "ref"), {"out": str(tmp_path / "out")}, by="order", pattern="{name}_sr")


def test_what_cannot_be_paired(tmp_path, write):
    write("ref/cat.png")
    write("out/dog.png")
    ref, out = str(tmp_path / "ref"), {"out": str(tmp_path / "out")}
    with pytest.raises(InputError, match=r"names in common, got cat in .* and dog in .*--pattern"):
        pair_folders(ref, out)
    with pytest.raises(InputError, match="none that fits the pattern"):
        pair_folders(ref, out, pattern="{name}_sr")
    with pytest.raises(InputError, match=r"got '\{name\}\{name\}'"):
        pair_folders(ref, out, pattern="{name}{name}")
    with pytest.raises(ChoiceError, match="unknown way to pair 'nam'; did you mean 'name'"):
        pair_folders(ref, out, by="nam")
    with pytest.raises(InputError, match="must be a folder of images, got 'nowhere'"):
        pair_folders("nowhere", out)
    write("ref/cat.jpg")
    with pytest.raises(InputError, match=r"got 'cat\.jpg' and 'cat\.png' in"):
        pair_folders(ref, out)


def test_one_method_without_a_name_in_common_is_told(tmp_path, write):
    for name in ("ref/1.png", "a/1.png", "b/2.png"):
        write(name)
    with pytest.raises(InputError, match=r"and 2 in '.*b'"):
        pair_folders(str(tmp_path / "ref"), {m: str(tmp_path / m) for m in "ab"})


def test_methods_have_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x=y").mkdir()
    assert name_methods(["out/ours/", "b=out/run3", "x=y", "s3://bucket/esrgan", "zip://dist::all.zip"]) == {
        "ours": "out/ours/",
        "b": "out/run3",
        "x=y": "x=y",
        "esrgan": "s3://bucket/esrgan",
        "dist": "zip://dist::all.zip",
    }
    with pytest.raises(InputError, match=r"'a/out' and 'b/out', both 'out'\. Give one another name: NAME=b/out"):
        name_methods(["a/out", "b/out"])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_manifests(tmp_path, ending):
    rows = [
        {"reference": "r/1.png", "distorted": "d/1.png", "method": "a", "note": "x"},
        {"reference": "r/1.png", "distorted": "e/1.png", "method": "b", "note": "y"},
        {"reference": "r/2.png", "distorted": "/elsewhere/2.png", "method": "a", "note": ""},
    ]
    found = pair_manifest(table(tmp_path / f"pairs.{ending}", rows))
    home = str(tmp_path)
    assert found.methods == ("a", "b")
    assert found.pairs == (
        Pair("r/1", f"{home}/r/1.png", {"a": f"{home}/d/1.png", "b": f"{home}/e/1.png"}),
        Pair("r/2", f"{home}/r/2.png", {"a": "/elsewhere/2.png"}),
    )
    assert found.missing == {"a": (), "b": ("r/2",)}


def test_a_manifest_of_one_reference_for_many(tmp_path):
    rows = [{"reference": "r.png", "distorted": f"d/{i}.png"} for i in range(3)]
    found = pair_manifest(table(tmp_path / "pairs.csv", rows))
    assert [pair.name for pair in found.pairs] == ["d/0", "d/1", "d/2"]
    assert found.methods == ("distorted",)


def test_a_manifest_of_files_in_folders(tmp_path):
    rows = [{"reference": "1.png", "distorted": "x/1.png", "name": "first"}]
    manifest = table(tmp_path / "pairs.csv", rows)
    found = pair_manifest(manifest, reference="ref", distorted={"a": "out/a", "b": "out/b"})
    assert found.pairs == (Pair("first", "ref/1.png", {"a": "out/a/x/1.png", "b": "out/b/x/1.png"}),)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"reference": "a", "mos": "1"}], r"got reference, mos in .*\. Add distorted\."),
        ([{"reference": "a", "distorted": ""}], "must name a distorted in each row, got none in row 1"),
        (
            [{"reference": "a", "distorted": "b", "name": "n"}, {"reference": "c", "distorted": "d", "name": "n"}],
            "got 'n' twice",
        ),
    ],
)
def test_manifests_that_are_wrong(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        pair_manifest(table(tmp_path / "pairs.csv", rows))


@pytest.mark.parametrize("path", ["../1.png", "/etc/1.png", "http://127.0.0.1/1.png"])
def test_a_manifest_stays_in_its_folders(tmp_path, path):
    manifest = table(tmp_path / "pairs.csv", [{"reference": "1.png", "distorted": path}])
    with pytest.raises(InputError, match="which is elsewhere"):
        pair_manifest(manifest, reference="ref", distorted={"a": "out"})


def test_manifests_that_are_damaged(tmp_path):
    (tmp_path / "empty.csv").write_text("reference,distorted\n")
    with pytest.raises(InputError, match="a row at least"):
        pair_manifest(str(tmp_path / "empty.csv"))
    (tmp_path / "void.csv").write_bytes(b"")
    with pytest.raises(InputError, match="got none in"):
        pair_manifest(str(tmp_path / "void.csv"))
    (tmp_path / "latin.csv").write_bytes("reference,distorted\nä,ö\n".encode("latin-1"))
    with pytest.raises(InputError, match="text in UTF-8"):
        pair_manifest(str(tmp_path / "latin.csv"))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="must be a whole table"):
        pair_manifest(str(tmp_path / "cut.parquet"))
    with pytest.raises(InputError, match=r"a file that can be read, got 'nothing\.csv'"):
        pair_manifest("nothing.csv")


def test_places_that_fsspec_reaches(tmp_path, write):
    picture = write("ref/deep/1.png")
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(picture, "photos/deep/1.png")
        file.write(picture, "photos/.hidden/1.png")
        file.writestr("photos/notes.txt", "none")
    folder = f"zip://photos::{archive}"
    assert list_images(folder) == ["deep/1.png"]
    assert read_bytes(inside(folder, "deep/1.png")) == picture.read_bytes()
    found = pair_folders(str(tmp_path / "ref"), {"zipped": folder})
    assert found.pairs[0].distorted == {"zipped": f"zip://photos/deep/1.png::{archive}"}
    assert list_images(f"file://{tmp_path}/ref") == ["deep/1.png"]
    with pytest.raises(ImageError, match="one that fsspec can read, got 'nosuch://x'"):
        list_images("nosuch://x")
    with pytest.raises(ImageError, match=r"got 'file:///no/such\.png'"):
        read_bytes("file:///no/such.png")
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="got none in 'file:"):
        list_images(f"file://{tmp_path}/bare")
