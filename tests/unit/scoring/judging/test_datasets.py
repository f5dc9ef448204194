"""The datasets as their authors publish them: what belongs to which judgement, and what is damaged or missing."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from opsin.errors import ChoiceError, InputError, MissingExtraError
from opsin.scoring.judging import kadid10k, live, pipal, tid2013
from opsin.scoring.judging.base import Folder, child
from opsin.scoring.judging.datasets import DATASETS, read_dataset, recognise

LIVE_COUNTS = {"jp2k": 4, "jpeg": 4, "wn": 3, "gblur": 3, "fastfading": 3}
PARTS = {"traditional": [(0.1, 0.5, 0.2), (0.6, 0.2, 0.8)], "frameinterp": [(0.3, 0.1, 1.0)]}


@pytest.fixture
def small_live(monkeypatch):
    monkeypatch.setattr(live, "COUNTS", MappingProxyType(LIVE_COUNTS))
    return LIVE_COUNTS


@pytest.fixture
def every(make, small_live):
    """Write a dataset by its name."""

    def write(name: str) -> Path:
        return {
            "bapps-2afc": lambda: make.bapps_2afc(PARTS),
            "bapps-jnd": lambda: make.bapps_jnd({"cnn": [(0.1, 1.0), (0.7, 0.0)]}),
            "live": lambda: make.live(small_live),
        }.get(name, getattr(make, name, None))()

    return write


@pytest.mark.parametrize("name", DATASETS)
def test_each_is_recognised_and_all_its_files_are_there(every, name):
    folder = every(name)
    assert recognise(folder) == name
    dataset = read_dataset(folder)
    assert dataset.name == name
    assert dataset.judgements and not dataset.complete
    for one in dataset.judgements:
        assert one.kind in dataset.kinds and one.lacking == ()
        for path in (one.reference, *one.images):
            assert Path(path).is_file() and folder in Path(path).parents
    assert len({one.name for one in dataset.judgements}) == len(dataset.judgements)


class TestBapps:
    def test_files_of_one_name_belong_together(self, make):
        folder = make.bapps_2afc(PARTS)
        dataset = read_dataset(folder)
        assert dataset.kinds == ("traditional", "frameinterp")  # in the paper's order
        first, second, third = dataset.judgements
        home = folder / "2afc" / "val" / "traditional"
        assert first.reference == str(home / "ref" / "000000.png")
        assert first.images == (str(home / "p0" / "000000.png"), str(home / "p1" / "000000.png"))
        assert [one.value for one in (first, second, third)] == pytest.approx([0.2, 0.8, 1.0])
        assert third.name == "frameinterp/000000"

    def test_the_folder_of_a_task_is_taken_too(self, make):
        folder = make.bapps_2afc(PARTS)
        assert read_dataset(folder / "2afc").judgements == read_dataset(folder).judgements

    def test_both_tasks_are_told_apart_by_name_alone(self, make):
        make.bapps_2afc(PARTS)
        folder = make.bapps_jnd({"cnn": [(0.1, 1.0)]})
        with pytest.raises(InputError, match=r"got bapps-2afc and bapps-jnd in .*--dataset bapps-2afc"):
            read_dataset(folder)
        (one,) = read_dataset(folder, "bapps-jnd").judgements
        assert one.reference == str(folder / "jnd" / "val" / "cnn" / "p0" / "000000.png")
        assert one.images == (str(folder / "jnd" / "val" / "cnn" / "p1" / "000000.png"),)
        assert len(read_dataset(folder / "jnd").judgements) == 1

    def test_splits_and_subsets(self, make):
        make.bapps_2afc({"mix": [(0.1, 0.2, 0.5)], "cnn": [(0.1, 0.2, 0.5)]}, split="train")
        folder = make.bapps_2afc(PARTS)
        assert read_dataset(folder, split="train").kinds == ("cnn", "mix")
        chosen = read_dataset(folder, subsets=["frameinterp"])
        assert (chosen.kinds, len(chosen.judgements)) == (("frameinterp",), 1)
        with pytest.raises(ChoiceError, match="did you mean 'frameinterp'"):
            read_dataset(folder, subsets=["frame-interp"])
        with pytest.raises(ChoiceError, match="unknown split 'test' for BAPPS 2AFC"):
            read_dataset(folder, split="test")

    @pytest.mark.parametrize("file", ["ref/000001.png", "p0/000001.png", "p1/000001.png", "judge/000001.npy"])
    def test_a_missing_file_is_named(self, make, file):
        folder = make.bapps_2afc(PARTS)
        (folder / "2afc" / "val" / "traditional" / file).unlink()
        with pytest.raises(InputError, match=f"got none for 1: traditional/{file.rpartition('.')[0]}"):
            read_dataset(folder)

    def test_a_part_without_a_folder_is_missing(self, make):
        folder = make.bapps_2afc(PARTS)
        (folder / "2afc" / "val" / "frameinterp" / "p1").rename(folder / "elsewhere")
        with pytest.raises(InputError, match="frameinterp/p1/000000"):
            read_dataset(folder)
        assert len(read_dataset(folder, subsets=["traditional"]).judgements) == 2

    @pytest.mark.parametrize(
        "content",
        [
            np.array([1.5]),
            np.array([-0.1]),
            np.array([np.nan]),
            np.array([0.2, 0.3]),
            np.array([]),
            np.array(["yes"]),
            np.array([{}], dtype=object),
            np.zeros(10_000),
            b"",
            b"no NumPy file",
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }" + b" " * 50,
        ],
    )
    def test_a_judgement_that_is_no_fraction(self, make, content):
        folder = make.bapps_2afc(PARTS)
        path = folder / "2afc" / "val" / "traditional" / "judge" / "000000.npy"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content, allow_pickle=True)
        with pytest.raises(InputError, match=r"000000\.npy' must be the dataset's own table"):
            read_dataset(folder)

    def test_an_archive_of_arrays_is_none(self, make):
        folder = make.bapps_2afc(PARTS)
        path = folder / "2afc" / "val" / "traditional" / "judge" / "000000.npy"
        with path.open("wb") as file:
            np.savez(file, a=np.array([0.5]))
        with pytest.raises(InputError, match="must be the dataset's own table"):
            read_dataset(folder)


class TestTid2013:
    def test_names_of_any_case(self, make):
        folder = make.tid2013()
        dataset = read_dataset(folder)
        last = dataset.judgements[-1]
        assert last.name == "I03_02_3"
        assert last.images == (str(folder / "distorted_images" / "i03_02_3.bmp"),)
        assert last.reference == str(folder / "reference_images" / "i03.bmp")
        assert dataset.kinds == ("gaussian-noise", "color-noise")
        assert dataset.higher and len(dataset.judgements) == 18

    def test_names_whose_case_differs_from_the_tables(self, make):
        folder = make.tid2013()
        (folder / "reference_images" / "i03.bmp").rename(folder / "reference_images" / "I03.BMP")
        (folder / "distorted_images" / "I01_01_1.bmp").rename(folder / "distorted_images" / "i01_01_1.BMP")
        dataset = read_dataset(folder)
        assert Path(dataset.judgements[0].images[0]).name == "i01_01_1.BMP"
        assert Path(dataset.judgements[-1].reference).name == "I03.BMP"

    def test_missing_images_are_named_and_may_be_left_out(self, make):
        folder = make.tid2013()
        for level in (1, 2, 3):
            (folder / "distorted_images" / f"I01_02_{level}.BMP").unlink(missing_ok=True)
            (folder / "distorted_images" / f"I01_02_{level}.bmp").unlink(missing_ok=True)
        (folder / "distorted_images" / "i03_02_1.bmp").unlink()
        with pytest.raises(InputError, match=r"got none for 4: distorted_images/I01_02_1\.\w+, .* …"):
            read_dataset(folder)
        assert len(read_dataset(folder, subsets=["gaussian-noise"]).judgements) == 9

    def test_a_missing_reference_is_named_once(self, make):
        folder = make.tid2013()
        (folder / "reference_images" / "i03.bmp").unlink()
        with pytest.raises(InputError, match=r"got none for 1: reference_images/i03\.bmp"):
            read_dataset(folder)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("five I01_01_1.bmp", "'five' in row 1"),
            ("nan I01_01_1.bmp", "'nan' in row 1"),
            ("inf I01_01_1.bmp", "'inf' in row 1"),
            ("5.5", "by their names alone, got ''"),
            ("5.5 I01.bmp", "in row 1, where"),
            ("5.5 ../I01_01_1.bmp", "by their names alone, got '../I01_01_1.bmp'"),
            ("5.5 ..\\I01_01_1.bmp", "by their names alone"),
            ("5.5 /etc/I01_01_1.bmp", "by their names alone"),
            ("5.5 C:I01_01_1.bmp", "by their names alone"),
            ("5.5 I01_01_\x001.bmp", "by their names alone"),
        ],
    )
    def test_a_damaged_line(self, make, line, said):
        folder = make.tid2013()
        (folder / "mos_with_names.txt").write_text(line + "\n")
        with pytest.raises(InputError) as caught:
            read_dataset(folder)
        assert said in str(caught.value)

    def test_twice_the_same_image(self, make):
        folder = make.tid2013()
        table = folder / "mos_with_names.txt"
        table.write_text(table.read_text() + table.read_text())
        with pytest.raises(InputError, match="each image once, got 'I01_01_1' twice"):
            read_dataset(folder)

    def test_no_text_and_no_line(self, make):
        folder = make.tid2013()
        (folder / "mos_with_names.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match="must be the dataset's own table"):
            read_dataset(folder)
        (folder / "mos_with_names.txt").write_bytes(b"\n")
        with pytest.raises(InputError, match="must have a judgement at least"):
            read_dataset(folder)

    def test_a_missing_folder(self, make):
        folder = make.tid2013()
        (folder / "reference_images").rename(folder / "references")
        with pytest.raises(InputError, match="must have 'reference_images' in its folder"):
            read_dataset(folder)

    def test_kinds_are_as_many_as_published(self):
        assert len(set(tid2013.KINDS)) == 24
        assert tid2013.WHOLE == 25 * 24 * 5


class TestKadid10k:
    def test_rows(self, make):
        folder = make.kadid10k()
        dataset = read_dataset(folder)
        first = dataset.judgements[0]
        assert (first.name, first.group, first.kind) == ("I01_01_01", "I01", "gaussian-blur")
        assert first.images == (str(folder / "images" / "I01_01_01.png"),)
        assert first.value == pytest.approx(5 - 4 * (1 / 8 + 0.011), abs=0.01)
        assert dataset.higher

    def test_kinds_are_as_many_as_published(self):
        assert len(set(kadid10k.KINDS)) == 25
        assert kadid10k.WHOLE == 81 * 25 * 5

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "no column dist_img, ref_img, dmos among none"),
            ("dist_img,ref_img,var\n", "no column dmos among dist_img, ref_img, var"),
            ("dist_img,ref_img,dmos\nI01_01_01.png,I01.png\n", "got None in row 2"),
            ("dist_img,ref_img,dmos\nI01_01_01.png,I01.png,?\n", "'?' in row 2"),
            ("dist_img,ref_img,dmos\nI01.png,I01.png,3\n", "in row 2, where"),
            ("dist_img,ref_img,dmos\nI01_01_01.png,../I01.png,3\n", "by their names alone, got '../I01.png'"),
            ("dist_img,ref_img,dmos\nI01_01_01.png,/I01.png,3\n", "by their names alone, got '/I01.png'"),
        ],
    )
    def test_a_damaged_table(self, make, text, said):
        folder = make.kadid10k()
        (folder / "dmos.csv").write_text(text)
        with pytest.raises(InputError) as caught:
            read_dataset(folder)
        assert said in str(caught.value)

    def test_a_missing_image(self, make):
        folder = make.kadid10k()
        (folder / "images" / "I02.png").unlink()
        with pytest.raises(InputError, match=r"got none for 1: images/I02\.png"):
            read_dataset(folder)


class TestCsiq:
    @pytest.mark.parametrize("table", ["xlsx", "csv"])
    def test_rows(self, make, table):
        folder = make.csiq(table=table)
        dataset = read_dataset(folder)
        assert dataset.kinds == ("awgn", "blur", "jpeg2000")
        assert not dataset.higher
        assert len(dataset.judgements) == 12  # and not the one that nobody judged
        first = dataset.judgements[0]
        assert (first.name, first.group, first.value) == ("awgn/1600.AWGN.1", "1600", pytest.approx(0.25))
        assert first.images == (str(folder / "dst_imgs" / "awgn" / "1600.AWGN.1.png"),)
        assert dataset.judgements[-1].reference == str(folder / "src_imgs" / "lady.png")

    def test_numbers_that_became_floats(self, make):
        folder = make.csiq(table="csv")
        text = (folder / "csiq.DMOS.csv").read_text()
        (folder / "csiq.DMOS.csv").write_text(text.replace(",noise,1,", ",noise,1.0,").replace("1600", "1600.0"))
        assert read_dataset(folder).judgements[0].name == "awgn/1600.AWGN.1"

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (",noise,", ",moise,", "the kind 'moise' in row 4"),
            (",1600,1,noise,1,0.1,0.25", ",1600,1,noise,1,0.1,", "'' in row 4"),
            (",1600,1,", ",../1600,1,", "by their names alone"),
            ("dst_lev", "level", "no row with the headings image, dst_type, dst_lev, dmos"),
        ],
    )
    def test_a_damaged_table(self, make, old, new, said):
        folder = make.csiq(table="csv")
        text = (folder / "csiq.DMOS.csv").read_text()
        assert old in text
        (folder / "csiq.DMOS.csv").write_text(text.replace(old, new))
        with pytest.raises(InputError) as caught:
            read_dataset(folder)
        assert said in str(caught.value)

    def test_no_excel_file_and_none_of_the_sheet(self, make):
        openpyxl = pytest.importorskip("openpyxl", reason="extra 'judge'")
        folder = make.csiq()
        (folder / "csiq.DMOS.xlsx").write_bytes(b"PK\x03\x04 no Excel file")
        with pytest.raises(InputError, match=r"csiq\.DMOS\.xlsx' must be the dataset's own table"):
            read_dataset(folder)
        book = openpyxl.Workbook()
        book.save(folder / "csiq.DMOS.xlsx")
        with pytest.raises(InputError, match="all_by_image"):
            read_dataset(folder)

    def test_a_missing_image(self, make):
        folder = make.csiq(table="csv")
        (folder / "dst_imgs" / "blur" / "lady.BLUR.2.png").unlink()
        with pytest.raises(InputError, match=r"got none for 1: dst_imgs/blur/lady\.BLUR\.2\.png"):
            read_dataset(folder)

    def test_without_openpyxl(self, make, monkeypatch):
        folder = make.csiq()
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'opsin\[judge\]'"):
            read_dataset(folder)


class TestLive:
    def test_originals_are_left_out(self, make, small_live):
        folder = make.live(small_live)
        dataset = read_dataset(folder)
        assert len(dataset.judgements) == sum(small_live.values()) - 5
        first = dataset.judgements[0]
        assert (first.name, first.kind, first.group) == ("jp2k/img2", "jp2k", "bikes")
        assert first.value == pytest.approx(25)
        assert first.images == (str(folder / "jp2k" / "img2.bmp"),)
        assert first.reference == str(folder / "refimgs" / "bikes.bmp")
        assert not dataset.higher
        # Folders are in the order of the table: what follows jp2k's four is jpeg's second.
        assert [one.name for one in dataset.judgements[2:4]] == ["jp2k/img4", "jpeg/img2"]

    def test_realigned_scores_come_first(self, make, small_live):
        dataset = read_dataset(make.live(small_live, realigned=True))
        assert dataset.scores == "realigned DMOS"
        assert dataset.judgements[0].value == pytest.approx(26)

    def test_counts_are_as_published(self):
        assert sum(live.COUNTS.values()) == 982
        assert live.WHOLE == 982 - 203

    def test_tables_of_another_length(self, make):
        with pytest.raises(InputError, match="17 values of 'dmos', where 982 should be"):
            read_dataset(make.live(LIVE_COUNTS))

    def test_damaged_tables(self, make, small_live):
        io = pytest.importorskip("scipy.io", reason="extra 'judge'")
        folder = make.live(small_live)
        whole = (folder / "dmos.mat").read_bytes()
        (folder / "dmos.mat").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=r"dmos\.mat' must be the dataset's own table"):
            read_dataset(folder)
        io.savemat(folder / "dmos.mat", {"dmos": np.zeros((1, 17))})
        with pytest.raises(InputError, match="no array 'orgs'"):
            read_dataset(folder)
        io.savemat(folder / "dmos.mat", {"dmos": np.full((1, 17), math.nan), "orgs": np.zeros((1, 17))})
        with pytest.raises(InputError, match="in row 1, where a score should be"):
            read_dataset(folder)

    def test_names_that_lead_elsewhere(self, make, small_live):
        io = pytest.importorskip("scipy.io", reason="extra 'judge'")
        folder = make.live(small_live)
        cells = np.empty((1, 17), dtype=object)
        cells[0] = ["../refimgs/bikes.bmp"] * 17
        io.savemat(folder / "refnames_all.mat", {"refnames_all": cells})
        with pytest.raises(InputError, match=r"by their names alone, got '\.\./refimgs/bikes\.bmp'"):
            read_dataset(folder)
        (folder / "refnames_all.mat").unlink()
        with pytest.raises(InputError, match=r"must have 'refnames_all\.mat'"):
            read_dataset(folder)

    def test_missing_images(self, make, small_live):
        folder = make.live(small_live)
        (folder / "wn" / "img3.bmp").unlink()
        with pytest.raises(InputError, match=r"got none for 1: wn/img3\.bmp"):
            read_dataset(folder)

    def test_without_scipy(self, make, small_live, monkeypatch):
        folder = make.live(small_live)
        monkeypatch.setitem(sys.modules, "scipy", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'opsin\[judge\]'"):
            read_dataset(folder)


class TestPipal:
    @pytest.mark.parametrize("archives", [False, True])
    def test_one_folder_or_four_archives(self, make, archives):
        folder = make.pipal(archives=archives)
        dataset = read_dataset(folder)
        assert dataset.kinds == ("00", "06")
        assert len(dataset.judgements) == 12
        first = dataset.judgements[0]
        assert (first.name, first.group) == ("A0001_00_00", "A0001")
        assert first.value == pytest.approx(1600 - 400 * 0.251)
        assert Path(first.reference).name == "A0001.bmp"
        assert Path(first.images[0]).name == "A0001_00_00.bmp"

    def test_labels_that_were_unpacked_once_more(self, make):
        folder = make.pipal()
        (folder / "Train_Label").rename(folder / "labels")
        (folder / "Train_Label").mkdir()
        (folder / "labels").rename(folder / "Train_Label" / "Train_Label")
        assert len(read_dataset(folder).judgements) == 12

    def test_without_distorted_images(self, make):
        folder = make.pipal()
        (folder / "Train_Dist").rename(folder / "images")
        with pytest.raises(InputError, match="'Distortion_1' to 'Distortion_4'"):
            read_dataset(folder)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("A0001_00_00.bmp", "'' in row 1"),
            ("A0001.bmp,1500", "in row 1, where"),
            ("../A0001_00_00.bmp,1500", "by their names alone"),
        ],
    )
    def test_a_damaged_line(self, make, line, said):
        folder = make.pipal()
        (folder / "Train_Label" / "A0001.txt").write_text(line)
        with pytest.raises(InputError) as caught:
            read_dataset(folder)
        assert said in str(caught.value)

    def test_a_missing_image(self, make):
        folder = make.pipal()
        (folder / "Train_Dist" / "A0002_06_01.bmp").unlink()
        with pytest.raises(InputError, match=r"got none for 1: A0002_06_01\.bmp"):
            read_dataset(folder)
        assert pipal.WHOLE == 200 * 116


class TestFolders:
    def test_no_dataset(self, tmp_path):
        with pytest.raises(InputError, match=r"got none in .*Looked for: 2afc/val.*mos_with_names\.txt \(tid2013\)"):
            recognise(tmp_path)
        with pytest.raises(InputError, match="which is nothing"):
            recognise(tmp_path / "none")
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="which is a file"):
            read_dataset(tmp_path / "file", "tid2013")

    @pytest.mark.parametrize("name", DATASETS)
    def test_another_than_was_said(self, tmp_path, name):
        with pytest.raises(InputError, match="must have '"):
            read_dataset(tmp_path, name)

    def test_unknown_names(self, make):
        folder = make.tid2013()
        with pytest.raises(ChoiceError, match="did you mean 'tid2013'"):
            read_dataset(folder, "tid2012")
        with pytest.raises(ChoiceError, match="did you mean 'color-noise'"):
            read_dataset(folder, subsets=["colour-noise"])
        with pytest.raises(InputError, match="--split must go with BAPPS"):
            read_dataset(folder, split="val")

    def test_two_datasets_in_one_folder(self, make):
        make.tid2013()
        folder = make.kadid10k()
        with pytest.raises(InputError, match="got tid2013 and kadid10k"):
            read_dataset(folder)
        assert read_dataset(folder, "kadid10k").title == "KADID-10k"

    def test_the_exact_name_comes_first(self, make):
        for name in ("a.png", "A.PNG"):
            make.image(make.root / name, 0)
        if len(list(make.root.iterdir())) < 2:
            pytest.skip("this file system knows no case")
        files = Folder(make.root)
        assert files.find("a.png") == str(make.root / "a.png")
        assert files.find("A.PNG") == str(make.root / "A.PNG")
        assert files.find("b.png") is None
        assert child(make.root, "nothing", "below") is None
