"""The engine of one machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

import opsin
from opsin.errors import OpsinError
from opsin.images import read_image
from opsin.scoring import local
from opsin.scoring.cache import TargetCache
from opsin.scoring.local import score_locally
from opsin.scoring.pairing import pair_folders
from opsin.scoring.reading import Preparation
from opsin.scoring.results import Scored
from opsin.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> Scorer:
    path = tmp_path_factory.mktemp("loss") / "mine.yaml"
    opsin.build("squeezenet1_1", ["fire2"], "unit_l2", weights="random").to_yaml(path)
    return Scorer(["focal-frequency", str(path)])


def measure(pairing, scorer: Scorer, numbers=None, preparation: Preparation | None = None, **options) -> list[Scored]:
    chosen = range(len(pairing.pairs)) if numbers is None else numbers
    found = list(
        score_locally(pairing.pairs, chosen, scorer, preparation or Preparation(), **{"workers": 0, **options})
    )
    assert sorted(one.number for one in found) == list(chosen)  # each once
    return sorted(found)


def values(found: list[Scored]) -> torch.Tensor:
    return torch.tensor([[list(one.values[m]) for m in sorted(one.values)] for one in found])


def test_values_are_those_of_each_pair(folders, scorer):
    ref, methods = folders(3, ("a", "b"), size=(40, 36))
    found = measure(pair_folders(ref, methods), scorer)
    for one in found:
        y = read_image(Path(ref) / f"{one.number:02d}.png")
        for method, folder in methods.items():
            x = read_image(Path(folder) / f"{one.number:02d}.png")
            assert list(one.values[method]) == pytest.approx(scorer.score(x, y)[0].tolist(), rel=1e-6)


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 2}, {"batch": 64}, {"workers": 1}, {"workers": 3}])
def test_neither_batches_nor_workers_matter(folders, scorer, options):
    pairing = pair_folders(*folders(7, size=(40, 36)))
    torch.testing.assert_close(
        values(measure(pairing, scorer, **options)), values(measure(pairing, scorer)), rtol=1e-6, atol=0
    )


def test_images_that_find_no_room_to_be_handed_over_in(folders, scorer, monkeypatch):
    pairing = pair_folders(*folders(7, size=(40, 36)))
    expected = values(measure(pairing, scorer, workers=0))
    torch.testing.assert_close(values(measure(pairing, scorer, workers=2)), expected, rtol=1e-6, atol=0)
    monkeypatch.setattr(local, "_SHARED", 1)
    torch.testing.assert_close(values(measure(pairing, scorer, workers=2)), expected, rtol=1e-6, atol=0)


def test_sizes_that_alternate(folders, scorer, write, monkeypatch):
    """Pairs of one size wait for each other, though not without end."""
    monkeypatch.setattr(local, "_WAITING", 2)
    ref, methods = folders(9, ("a",), size=(40, 36))
    for i in range(9):
        for k, folder in enumerate(("ref", "a")):
            write(f"{folder}/{i:02d}.png", seed=i + 50 * k, size=(40 + 2 * (i % 4), 36))
    pairing = pair_folders(ref, methods)
    alone = torch.cat([values(measure(pairing, scorer, [i])) for i in range(9)])
    torch.testing.assert_close(values(measure(pairing, scorer)), alone, rtol=1e-6, atol=0)


def test_what_cannot_be_measured_leaves_the_rest(folders, scorer, write, tmp_path):
    ref, methods = folders(5, ("a", "b"), size=(40, 36))
    expected = measure(pair_folders(ref, methods), scorer)
    (tmp_path / "a/00.png").write_bytes(b"")
    write("b/01.png", size=(41, 36))
    (tmp_path / "ref/02.png").write_bytes(b"no image")
    for folder in ("ref", "a", "b"):
        write(f"{folder}/03.png", size=(2, 2))  # too small for the network
    found = measure(pair_folders(ref, methods), scorer)
    assert {(one.number, method) for one in found for method in one.errors} == {
        (0, "a"), (1, "b"), (2, "a"), (2, "b"), (3, "a"), (3, "b"),
    }  # fmt: skip
    assert "is empty" in found[0].errors["a"]
    assert "got 40x36 for the reference and 41x36" in found[1].errors["b"]
    assert "at least" in found[3].errors["a"]
    for number, method in ((0, "b"), (1, "a"), (4, "a"), (4, "b")):
        assert found[number].values[method] == pytest.approx(expected[number].values[method], rel=1e-6)


def test_too_little_memory_for_a_batch(folders, scorer, monkeypatch):
    pairing = pair_folders(*folders(4, ("a",), size=(40, 36)))
    expected = values(measure(pairing, scorer))
    score = Scorer.score

    def hungry(self, x, *rest):
        if len(x) > 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return score(self, x, *rest)

    monkeypatch.setattr(Scorer, "score", hungry)
    torch.testing.assert_close(values(measure(pairing, scorer)), expected, rtol=1e-6, atol=0)

    def starving(self, x, *rest):
        raise MemoryError

    monkeypatch.setattr(Scorer, "score", starving)
    assert all("enough memory" in one.errors["a"] for one in measure(pairing, scorer))

    def broken(self, x, *rest):
        raise RuntimeError("a defect")

    monkeypatch.setattr(Scorer, "score", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        measure(pairing, scorer)


def test_images_that_are_computed_in_tiles(folders, scorer, monkeypatch):
    pairing = pair_folders(*folders(2, ("a",), size=(96, 80)))
    expected = values(measure(pairing, scorer))
    monkeypatch.setattr("opsin.tiling.WHOLE_PIXELS", 1000)
    monkeypatch.setattr("opsin.tiling.TILE", 48)
    torch.testing.assert_close(values(measure(pairing, scorer)), expected, rtol=1e-5, atol=0)


def test_a_reading_process_that_is_killed(folders, scorer, monkeypatch):
    pairing = pair_folders(*folders(4, ("a",)))
    monkeypatch.setattr(local, "load", lambda *_, **__: os._exit(9))
    with pytest.raises(OpsinError, match=r"got one that was killed.*The same command goes on"):
        measure(pairing, scorer, workers=1)


class TestCache:
    """What losses need of references, kept on disk."""

    @pytest.fixture
    def cache(self, scorer, tmp_path):
        def make(limit: int = 10**9, **preparation) -> TargetCache:
            assert scorer.loss is not None
            return TargetCache(tmp_path / "cache", scorer.loss, preparation, limit)

        return make

    def test_the_second_run_skips_references(self, folders, scorer, cache, monkeypatch):
        ref, methods = folders(3, ("a", "b"), size=(40, 36))
        first, both = pair_folders(ref, {"a": methods["a"]}), pair_folders(ref, methods)
        expected = values(measure(both, scorer))
        measure(first, scorer, cache=cache())
        made = []
        monkeypatch.setattr(Scorer, "targets", lambda *_: made.append(1))
        read = []
        decode = local.load.__globals__["read_array"]
        monkeypatch.setitem(
            local.load.__globals__,
            "read_array",
            lambda place, **k: read.append(Path(place).parent.name) or decode(place, **k),
        )
        torch.testing.assert_close(values(measure(both, scorer, cache=cache())), expected, rtol=1e-6, atol=0)
        assert made == []
        assert sorted(read) == ["a"] * 3 + ["b"] * 3

    def test_another_file_or_loss_or_preparation_is_computed(self, folders, scorer, cache, write):
        ref, methods = folders(1, ("a",), size=(40, 36))
        pairing = pair_folders(ref, methods)
        before = values(measure(pairing, scorer, cache=cache()))
        write("ref/00.png", seed=77, size=(40, 36))
        after = values(measure(pairing, scorer, cache=cache()))
        assert not torch.allclose(before, after)
        torch.testing.assert_close(after, values(measure(pairing, scorer)), rtol=1e-6, atol=0)
        assert cache().path("0") != cache(resize="32").path("0")
        other = TargetCache(cache().folder, opsin.build("vgg11", ["relu1_1"], weights="random"), {}, 10**9)
        assert other.path("0") != cache().path("0")

    def test_damaged_and_missing_files_are_computed_anew(self, folders, scorer, cache, monkeypatch):
        pairing = pair_folders(*folders(3, ("a",), size=(40, 36)))
        expected = values(measure(pairing, scorer, cache=cache()))
        files = sorted(cache().folder.rglob("*.safetensors"))
        assert len(files) == 3
        files[0].write_bytes(files[0].read_bytes()[:-100])
        files[1].write_bytes(b"")
        known = TargetCache.known
        # One is removed between the moment it is seen and the moment it is read.
        monkeypatch.setattr(TargetCache, "known", lambda self, digest: known(self, digest) or True)
        files[2].unlink()
        torch.testing.assert_close(values(measure(pairing, scorer, cache=cache())), expected, rtol=1e-6, atol=0)
        assert sorted(cache().folder.rglob("*.safetensors")) == files

    def test_the_size_is_limited(self, folders, scorer, cache):
        pairing = pair_folders(*folders(6, ("a",), size=(40, 36)))
        measure(pairing, scorer, [0], cache=cache())
        (one,) = cache().folder.rglob("*.safetensors")
        size = one.stat().st_size
        os.utime(one, (0, 0))
        small = cache(limit=int(3.5 * size))
        measure(pairing, scorer, cache=small)
        left = list(small.folder.rglob("*.safetensors"))
        assert sum(path.stat().st_size for path in left) <= small.limit
        assert len(left) >= 2

    def test_sizes_are_still_compared(self, folders, scorer, cache, write):
        ref, methods = folders(1, ("a", "b"), size=(40, 36))
        pairing = pair_folders(ref, methods)
        measure(pairing, scorer, cache=cache())
        write("b/00.png", size=(41, 36))
        (found,) = measure(pairing, scorer, cache=cache())
        assert "got 40x36 for the reference and 41x36" in found.errors["b"]
        assert list(found.values) == ["a"]
        write("a/00.png", size=(41, 36))
        (found,) = measure(pairing, scorer, cache=cache())
        assert sorted(found.errors) == ["a", "b"]

    def test_psnr_needs_the_reference_itself(self, folders, cache, scorer):
        pytest.importorskip("torchmetrics", reason="extra 'score'")
        pairing = pair_folders(*folders(2, ("a",), size=(40, 36)))
        both = Scorer(["focal-frequency"], ["psnr"])
        assert both.loss is not None
        kept = TargetCache(cache().folder, both.loss, {}, 10**9)
        expected = values(measure(pairing, both))
        for _ in range(2):
            torch.testing.assert_close(values(measure(pairing, both, cache=kept)), expected, rtol=1e-6, atol=0)

    def test_a_folder_that_cannot_be_made(self, scorer, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OpsinError, match="a folder that can be written"):
            TargetCache(tmp_path / "file" / "cache", scorer.loss, {}, 1)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
