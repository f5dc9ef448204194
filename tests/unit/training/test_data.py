"""The stream of crops: the same however it is read, and whatever is in the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from opsin.errors import ImageError, InputError
from opsin.images import read_image
from opsin.training.cache import ImageCache, opened
from opsin.training.data import ImageFolder, Skipped, TooSmallError, batches


def read(data: ImageFolder, first: int = 0, last: int = 4, batch: int = 4, **options: Any) -> list[Tensor]:
    plain: dict[str, Any] = {"part": batch, "process": 0, "processes": 1, "workers": 0}
    return [b.images[0] for b in batches(data, first=first, last=last, batch=batch, **{**plain, **options})]


@pytest.fixture
def data(photos: Path) -> ImageFolder:
    return ImageFolder(photos, 16, scale=(1.0, 2.0), seed=1)


def test_formats_sizes_and_folders(data: ImageFolder) -> None:
    assert [path.name for path in data.paths] == ["a.png", "b.jpg", "e.tif", "c.webp", "d.bmp"]
    crops = torch.cat(read(data))
    assert crops.shape == (16, 3, 16, 16)
    assert bool((crops >= 0).all() and (crops <= 1).all())


def test_each_round_shows_each_image_once_in_another_order(data: ImageFolder) -> None:
    def order(turn: int) -> list[int]:
        for i in range(5 * turn, 5 * turn + 5):
            data[i]
        assert data._order is not None
        return data._order[1].tolist()

    orders = [order(turn) for turn in range(4)]
    assert all(sorted(o) == list(range(5)) for o in orders)
    assert len({tuple(o) for o in orders}) > 1


def test_the_stream_is_the_same_from_any_place_in_any_parts(data: ImageFolder) -> None:
    whole = torch.cat(read(data))
    torch.testing.assert_close(torch.cat(read(data, first=2)), whole[8:], rtol=0, atol=0)
    torch.testing.assert_close(torch.cat(read(data, part=2)), whole, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat(read(data, workers=2)), whole, rtol=0, atol=0)
    shares = [torch.cat(read(data, part=2, process=i, processes=2)) for i in range(2)]
    dealt = torch.stack(shares, dim=1).flatten(0, 1)
    torch.testing.assert_close(dealt, whole, rtol=0, atol=0)


def test_another_seed_is_another_stream(data: ImageFolder, photos: Path) -> None:
    other = ImageFolder(photos, 16, scale=(1.0, 2.0), seed=2)
    assert not torch.equal(data[0].images[0], other[0].images[0])


def test_reading_draws_nothing_from_the_global_generator(data: ImageFolder) -> None:
    before = torch.get_rng_state()
    read(data, workers=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_own_pixels(photos: Path) -> None:
    """Without a scale a crop is cut, not resized, and small images are counted."""
    (photos / "b.jpg").unlink()
    data = ImageFolder(photos, 24)
    images = [torch.nn.functional.unfold(read_image(path), 24) for path in data.paths if path.stem in "ae"]
    sample = data[0]
    (crop,) = sample.images
    known = [crop, crop.flip(-1)]
    assert any(bool((i == k.reshape(1, -1, 1)).all(dim=1).any()) for i in images for k in known)
    found = {path: why for i in range(8) for path, why in data[i].skipped.items()}
    assert {Path(path).name for path in found} == {"c.webp", "d.bmp"}
    assert all("image must be at least 24x24" in str(why) for why in found.values())


def test_unreadable_files_are_replaced_the_same_each_time(photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG no more")
    (photos / "empty.jpg").write_bytes(b"")
    data = ImageFolder(photos, 16, scale=(1.0, 2.0))
    samples = [data[i] for i in range(14)]
    found = {Path(path).name: why for sample in samples for path, why in sample.skipped.items()}
    assert set(found) == {"broken.png", "empty.jpg"}
    assert "which is empty" in str(found["empty.jpg"])
    again = torch.cat(read(data, last=7, batch=2, workers=2))
    torch.testing.assert_close(torch.stack([s.images[0] for s in samples]), again, rtol=0, atol=0)


def test_nothing_can_be_read(photos: Path) -> None:
    for path in photos.rglob("*.*"):
        path.write_bytes(b"no picture")
    data = ImageFolder(photos, 16)
    with pytest.raises(
        ImageError,
        match=r"as large as a crop, got '.*photos' with \d that are not",
    ):
        data[0]
    with pytest.raises(ImageError, match=r"data must hold images .* as large as a crop, got none"):
        data.middles(2)


def test_no_folder_and_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data must be a folder of images, got '.*nowhere', which is nothing"):
        ImageFolder(tmp_path / "nowhere", 16)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"got none in '.*empty' that ends in \.png"):
        ImageFolder(tmp_path / "empty", 16)


def test_the_digest_is_of_names_not_of_places(photos: Path, data: ImageFolder) -> None:
    moved = photos.rename(photos.with_name("elsewhere"))
    assert ImageFolder(moved, 16).digest == data.digest
    (moved / "a.png").rename(moved / "z.png")
    assert ImageFolder(moved, 16).digest != data.digest


def test_middles(data: ImageFolder) -> None:
    assert data.middles(4)[0].shape == (4, 3, 16, 16)
    assert data.middles(9)[0].shape == (5, 3, 16, 16)


def test_counting_up_to_a_limit() -> None:
    skipped = Skipped(1)
    with pytest.warns(UserWarning, match="skipped an image: it is empty"):
        skipped.add({"a": ImageError("it is empty")})
    skipped.add({"a": ImageError("it is empty")})
    with pytest.raises(ImageError, match=r"data must have at most 1 images that cannot be read, got 2, the last"):
        skipped.add({"b": ImageError("it is empty, too.")})


def test_small_images_are_counted_apart() -> None:
    skipped = Skipped(0)
    skipped.add({"a": TooSmallError("too small"), "b": TooSmallError("too small")})
    skipped.add({"a": TooSmallError("too small")})
    assert (skipped.small, skipped.unreadable) == ({"a", "b"}, set())


def test_the_cache_gives_what_was_read_to_the_bit_and_keeps_its_limit(photos: Path) -> None:
    paths = ImageFolder(photos, 16).paths
    plain = [read_image(path) for path in paths]
    roomy = ImageCache(2**20)
    for _ in range(2):
        assert all(torch.equal(opened(roomy.read(path)), image) for path, image in zip(paths, plain, strict=True))
    assert roomy.size == sum(image.numel() for image in plain)  # a byte each
    tight = ImageCache(plain[0].numel())
    for path in paths * 2:
        tight.read(path)
        assert tight.size <= tight.limit
    assert opened(ImageCache(0).read(paths[0])).equal(plain[0])


def test_the_cache_does_not_read_again(photos: Path) -> None:
    cache = ImageCache(2**20)
    path = photos / "a.png"
    image = cache.read(path)
    path.unlink()
    assert torch.equal(cache.read(path), image)
    assert image.dtype == torch.uint8
    with pytest.raises(ImageError):
        ImageCache(0).read(path)


def test_deep_images_are_kept_as_they_are(tmp_path: Path) -> None:
    levels = np.arange(40 * 40, dtype=np.uint16).reshape(40, 40) * 37
    Image.fromarray(levels).save(tmp_path / "deep.png")
    cache = ImageCache(2**20)
    first = cache.read(tmp_path / "deep.png")
    assert torch.equal(first, read_image(tmp_path / "deep.png"))
    assert torch.equal(cache.read(tmp_path / "deep.png"), first)
    assert len(first.unique()) > 256


def test_held_out_files_are_of_their_own(photos: Path) -> None:
    data = ImageFolder(photos, 16, scale=(1.0, 2.0), held_out=0.4)
    assert len(data.held_out_paths) == 2
    assert sorted(data.paths + data.held_out_paths) == sorted(ImageFolder(photos, 16).paths)
    assert data.middles(1)[0].shape == (1, 3, 16, 16)
    # A new file may take a place among them, but all others stay where they are.
    (photos / "f.png").write_bytes((photos / "a.png").read_bytes())
    more = ImageFolder(photos, 16, held_out=0.4)
    assert len(set(data.held_out_paths) - set(more.held_out_paths)) <= 1
    assert len(ImageFolder(photos, 16, held_out=0.01).held_out_paths) == 1


def test_nothing_left_to_train_with(photos: Path) -> None:
    for path in photos.rglob("*.*"):
        if path.name != "a.png":
            path.unlink()
    with pytest.raises(InputError, match=r"data must hold more than the 1 images that are held out, got 1"):
        ImageFolder(photos, 16, held_out=0.1)
