"""What is measured of a dataset: each value at its judgement, whatever the batch, the processes and the chunks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opsin.errors import OpsinError
from opsin.images import read_image
from opsin.scoring.judging import published, run
from opsin.scoring.judging.bapps import SUBSETS
from opsin.scoring.judging.datasets import read_dataset
from opsin.scoring.judging.run import agreement, measure, plan
from opsin.scoring.reading import PILLOW_BILINEAR, Preparation
from opsin.scoring.scorer import Scorer

PARTS = {
    "traditional": [(0.1, 0.5, 0.2), (0.6, 0.2, 0.8), (0.3, 0.4, 0.6)],
    "cnn": [(0.3, 0.1, 1.0), (0.2, 0.2, 0.4)],
}


@pytest.fixture(scope="module")
def scorer():
    return Scorer(["image-l2"])


def l2(a: str, b: str) -> float:
    return float(((read_image(a) - read_image(b)) ** 2).mean())


def test_each_value_is_at_its_judgement(make, scorer):
    dataset = read_dataset(make.bapps_2afc(PARTS))
    found = measure(dataset, scorer, Preparation(), workers=0)
    for number, one in enumerate(dataset.judgements):
        wanted = [l2(one.reference, image) for image in one.images]
        assert found.values[number, :, 0] == pytest.approx(wanted, rel=1e-5)
        assert found.values[number, ::-1, 0] != pytest.approx(wanted, rel=1e-2) or wanted[0] == wanted[1]


def test_images_of_a_reference_go_together_in_chunks(make, scorer, monkeypatch):
    dataset = read_dataset(make.tid2013(references=2, kinds=2, levels=5))
    pairs, places = plan(dataset)
    assert [len(pair.distorted) for pair in pairs] == [8, 2, 8, 2]
    named = [dataset.judgements[n].images[i] for place in places for n, i in place.values()]
    assert named == [path for pair in pairs for path in pair.distorted.values()]
    whole = measure(dataset, scorer, Preparation(), workers=0)
    assert whole.measured == 20
    monkeypatch.setattr(run, "AT_ONCE", 3)
    assert len(plan(dataset)[0]) == 8
    assert np.array_equal(measure(dataset, scorer, Preparation(), workers=0).values, whole.values)
    one = dataset.judgements[13]
    assert whole.values[13, 0, 0] == pytest.approx(l2(one.reference, one.images[0]), rel=1e-5)


@pytest.mark.parametrize(("batch", "workers"), [(1, 0), (3, 0), (None, 2)])
def test_batches_and_processes_change_nothing(make, batch, workers):
    dataset = read_dataset(make.tid2013())
    scorer = Scorer(["image-l2", "focal-frequency"])
    plain = measure(dataset, scorer, Preparation(), workers=0)
    found = measure(dataset, scorer, Preparation(), batch=batch, workers=workers)
    np.testing.assert_allclose(found.values, plain.values, rtol=1e-6)


def test_progress(make, scorer):
    told: list[tuple[int, int]] = []
    measure(
        read_dataset(make.bapps_2afc(PARTS)), scorer, Preparation(), workers=0, progress=lambda *at: told.append(at)
    )
    assert told[-1] == (10, 10)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_patches_are_brought_to_64_pixels_as_the_authors_do(make, scorer):
    """By torchvision's Resize and ToTensor, which their loader is made of."""
    transforms = pytest.importorskip("torchvision.transforms", reason="the authors' way")
    dataset = read_dataset(make.bapps_2afc(PARTS, side=256))
    theirs = transforms.Compose([transforms.Resize(64), transforms.ToTensor()])
    found = measure(dataset, scorer, Preparation("64", filter=PILLOW_BILINEAR), workers=0)
    plain = measure(dataset, scorer, Preparation(), workers=0)
    bicubic = measure(dataset, scorer, Preparation("64"), workers=0)
    for number, one in enumerate(dataset.judgements):
        x, *ys = (theirs(Image.open(path).convert("RGB")) for path in (one.reference, *one.images))
        wanted = [float(((x - y) ** 2).mean()) for y in ys]
        assert found.values[number, :, 0] == pytest.approx(wanted, rel=1e-5)
        for other in (plain, bicubic):
            assert other.values[number, :, 0] != pytest.approx(wanted, rel=1e-3)


class TestTheAuthors:
    """The scores of the authors' own functions, which the package lpips has, over their way of loading."""

    class Loader:
        """Triplets or pairs as their loader hands them over: files sorted by name, 64 pixels, [-1,1], one by one."""

        def __init__(self, folder: Path, parts: tuple[str, ...]) -> None:
            self.folder, self.parts = folder, parts

        def load_data(self):
            transforms = pytest.importorskip("torchvision.transforms", reason="the authors' way")
            loaded = transforms.Compose(
                [transforms.Resize(64), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
            )
            columns = [sorted((self.folder / part).iterdir()) for part in self.parts]
            for paths in zip(*columns, strict=True):
                yield {
                    part: torch.FloatTensor(np.load(path).reshape(1, 1, 1, 1))
                    if path.suffix == ".npy"
                    else loaded(Image.open(path).convert("RGB"))[None]
                    for part, path in zip(self.parts, paths, strict=True)
                }

    @staticmethod
    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return ((a - b) ** 2).mean(dim=(1, 2, 3))

    @staticmethod
    def rounded(values, levels: int) -> list[float]:
        return [round(levels * min(1, max(0, value))) / levels for value in values]

    def test_2afc(self, make, scorer):
        lpips = pytest.importorskip("lpips", reason="the authors' functions")
        rng = np.random.default_rng(0)
        amounts = rng.random((2, 12)) / 2
        judged = self.rounded(0.5 + 2 * (amounts[0] - amounts[1]) + 0.3 * rng.normal(size=12), 5)
        folder = make.bapps_2afc({"cnn": [(*pair, j) for *pair, j in zip(*amounts, judged, strict=True)]}, side=96)
        loader = self.Loader(folder / "2afc" / "val" / "cnn", ("ref", "p0", "p1", "judge"))
        theirs, _ = lpips.score_2afc_dataset(loader, self.distance)
        found = measure(read_dataset(folder), scorer, Preparation("64", filter=PILLOW_BILINEAR), workers=0)
        assert 0.55 < theirs < 0.95
        assert agreement(found).rows["image-l2"]["cnn"].value == pytest.approx(100 * theirs, abs=1e-5)

    def test_jnd(self, make, scorer):
        lpips = pytest.importorskip("lpips", reason="the authors' functions")
        rng = np.random.default_rng(0)
        amounts = rng.random(12) / 2
        same = self.rounded(1 - 2 * amounts + 0.3 * rng.normal(size=12), 3)
        folder = make.bapps_jnd({"cnn": list(zip(amounts, same, strict=True))}, side=96)
        loader = self.Loader(folder / "jnd" / "val" / "cnn", ("p0", "p1", "same"))
        theirs, _ = lpips.score_jnd_dataset(loader, self.distance)
        found = measure(read_dataset(folder), scorer, Preparation("64", filter=PILLOW_BILINEAR), workers=0)
        assert 0.55 < theirs < 0.95
        assert agreement(found).rows["image-l2"]["cnn"].value == pytest.approx(100 * theirs, abs=1e-5)


class TestAgreement:
    def test_2afc_by_hand(self, make, scorer):
        dataset = read_dataset(make.bapps_2afc(PARTS))
        found = agreement(measure(dataset, scorer, Preparation(), workers=0))
        row = found.rows["image-l2"]
        # p0 is closer, p1 is closer, p0 is closer; p1 is closer, both are the same.
        assert row["traditional"].value == pytest.approx(100 * (0.8 + 0.8 + 0.4) / 3)
        assert row["cnn"].value == pytest.approx(100 * (1.0 + 0.5) / 2)
        assert row["all"].value == pytest.approx((row["traditional"].value + row["cnn"].value) / 2)
        assert (row["traditional"].judgements, row["all"].judgements) == (3, 5)
        assert row["all"].low <= row["all"].value <= row["all"].high
        people = found.rows["people"]["traditional"].value
        assert people == pytest.approx(100 * (0.68 + 0.68 + 0.52) / 3)
        assert found.columns == ("traditional", "cnn", "all")
        assert list(found.rows) == ["people", "image-l2"]

    def test_one_part_is_all(self, make, scorer):
        dataset = read_dataset(make.bapps_2afc(PARTS), subsets=["cnn"])
        assert agreement(measure(dataset, scorer, Preparation(), workers=0)).columns == ("cnn",)

    def test_jnd(self, make, scorer):
        pairs = [(0.1, 1.0), (0.2, 1.0), (0.5, 0.0), (0.8, 0.0)]
        dataset = read_dataset(make.bapps_jnd({"cnn": pairs, "traditional": [(0.5, 1.0), (0.1, 0.0)]}))
        row = agreement(measure(dataset, scorer, Preparation(), workers=0)).rows["image-l2"]
        assert row["cnn"].value == pytest.approx(100)
        assert row["traditional"].value == pytest.approx(50)
        assert row["all"].value == pytest.approx(75)

    @pytest.mark.parametrize("name", ["tid2013", "kadid10k", "csiq", "pipal"])
    def test_a_good_loss_has_positive_correlations_whichever_way_scores_run(self, make, name):
        pytest.importorskip("torchmetrics", reason="extra 'score'")
        pytest.importorskip("scipy", reason="extra 'judge'")
        dataset = read_dataset(getattr(make, name)())
        found = agreement(measure(dataset, Scorer(["image-l2"], ["psnr"]), Preparation(), workers=0), kinds=True)
        for metric in ("image-l2", "psnr"):
            for column in ("SRCC", "PLCC", "KRCC"):
                assert found.rows[metric][column].value > 0.7
            assert set(found.kinds[metric]) == set(dataset.kinds)
            assert all(number.value > 0.5 for number in found.kinds[metric].values())
        # PSNR falls where L2 grows.
        assert found.rows["psnr"]["SRCC"].value == pytest.approx(found.rows["image-l2"]["SRCC"].value, abs=1e-3)

    def test_scores_turned_round_are_seen(self, make, scorer):
        pytest.importorskip("scipy", reason="extra 'judge'")
        dataset = read_dataset(make.tid2013())
        right = agreement(measure(dataset, scorer, Preparation(), workers=0)).rows["image-l2"]
        turned = replace(dataset, higher=False)
        wrong = agreement(measure(turned, scorer, Preparation(), workers=0)).rows["image-l2"]
        assert wrong["SRCC"].value == pytest.approx(-right["SRCC"].value)
        assert wrong["KRCC"].value == pytest.approx(-right["KRCC"].value)

    def test_a_plain_value_is_what_json_has(self, make, scorer):
        pytest.importorskip("scipy", reason="extra 'judge'")
        dataset = read_dataset(make.tid2013(references=1, kinds=1))
        row = agreement(measure(dataset, scorer, Preparation(), workers=0)).as_dict()["rows"]["image-l2"]
        assert row["SRCC"] == {"value": pytest.approx(1), "low": None, "high": None, "judgements": 3}
        assert row["PLCC"]["value"] is None  # of three images


class TestErrors:
    def test_a_damaged_image_costs_its_judgement_alone(self, make, scorer):
        folder = make.bapps_2afc(PARTS)
        (folder / "2afc" / "val" / "traditional" / "p1" / "000001.png").write_bytes(b"\x89PNG")
        dataset = read_dataset(folder)
        found = measure(dataset, scorer, Preparation(), workers=0)
        assert list(found.errors) == [1] and "000001.png" in found.errors[1]
        assert found.measured == 4
        row = agreement(found).rows["image-l2"]["traditional"]
        assert row.value == pytest.approx(100 * (0.8 + 0.4) / 2)
        assert row.judgements == 2
        rows = list(found.rows())
        assert rows[1]["image-l2 p1"] is None and rows[1]["error"] == found.errors[1]
        assert rows[0]["error"] is None

    def test_a_damaged_reference_costs_all_of_its_images(self, make, scorer):
        pytest.importorskip("scipy", reason="extra 'judge'")
        folder = make.tid2013()
        (folder / "reference_images" / "i03.bmp").write_bytes(b"BM")
        found = measure(read_dataset(folder), scorer, Preparation(), workers=0)
        assert list(found.errors) == list(range(12, 18))
        assert all(error.startswith("reference: ") for error in found.errors.values())
        assert agreement(found).rows["image-l2"]["SRCC"].judgements == 12

    def test_a_part_of_which_nothing_is_left_has_no_mean(self, make, scorer):
        folder = make.bapps_2afc(PARTS)
        for path in (folder / "2afc" / "val" / "cnn" / "ref").iterdir():
            path.write_bytes(b"")
        row = agreement(measure(read_dataset(folder), scorer, Preparation(), workers=0)).rows["image-l2"]
        assert math.isnan(row["cnn"].value) and math.isnan(row["all"].value) and math.isnan(row["all"].low)
        assert row["traditional"].value > 0

    def test_nothing_at_all(self, make, scorer):
        folder = make.bapps_2afc({"cnn": [(0.1, 0.2, 0.5)]})
        next((folder / "2afc" / "val" / "cnn" / "ref").iterdir()).write_bytes(b"")
        with pytest.raises(OpsinError, match=r"got none of 1 .*which is empty"):
            measure(read_dataset(folder), scorer, Preparation(), workers=0)

    def test_other_sizes(self, make, scorer):
        folder = make.bapps_2afc(PARTS)
        make.image(folder / "2afc" / "val" / "cnn" / "p0" / "000000.png", 0, side=20)
        found = measure(read_dataset(folder), scorer, Preparation(), workers=0)
        assert list(found.errors) == [3] and "must have one size" in found.errors[3]


class TestPublished:
    def test_numbers_stand_beside_what_they_are_of_alone(self, make):
        dataset = read_dataset(make.bapps_2afc(dict.fromkeys(SUBSETS, PARTS["cnn"])))
        assert not published.published(dataset, 64)  # some triplets of 36 thousand
        whole = replace(dataset, whole=len(dataset.judgements))
        assert published.published(whole, 64)["lpips-alex"].value == 69.8
        assert not published.published(whole, 0)
        assert not published.published(replace(whole, split="train"), 64)
        assert not published.published(whole.select(SUBSETS[:5]), 64)
        assert not published.published(replace(whole, name="bapps-jnd"), 64)

    def test_thousands_are_what_the_authors_say(self, make):
        dataset = read_dataset(make.bapps_2afc(dict.fromkeys(SUBSETS, PARTS["cnn"])))
        assert dataset.whole == 36_300
        assert replace(dataset, judgements=dataset.judgements[:1] * 36_344).complete
        assert not replace(dataset, judgements=dataset.judgements[:1] * 35_000).complete

    def test_names_are_those_of_losses(self):
        from opsin.published.listing import LOSSES

        for name in published.BAPPS_2AFC:
            assert name in {*LOSSES, "people", "psnr", "ssim"} or name.endswith(("-l2", "-unit_l2"))


def test_paths_are_strings_that_lead_to_files(make):
    dataset = read_dataset(make.pipal(archives=True))
    for pair in plan(dataset)[0]:
        assert Path(pair.reference).is_file() and all(Path(path).is_file() for path in pair.distorted.values())
