"""Stylizing: what comes out, what it does to the losses, and interruptions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import opsin
from opsin.distances import Distance
from opsin.stylize import LOSSES, Progress, stylize
from opsin.stylize import objective as objectives

TINY: dict[str, Any] = {"size": 48, "start": 24, "steps": 3}


@pytest.fixture(autouse=True)
def _small(network: opsin.Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TINY, "extractor", network)


def picture(seed: int, height: int = 36, width: int = 48) -> Tensor:
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


PHOTO, PAINTING, OTHER = picture(0), picture(1, 40, 40), picture(2, 60, 30)


def test_the_picture_has_the_size_and_the_shape_of_the_photo():
    result = stylize(PHOTO, PAINTING, **TINY)
    assert result.image.shape == (1, 3, 36, 48) and 0 <= float(result.image.min()) <= float(result.image.max()) <= 1
    assert [(row["height"], row["width"]) for row in result.history] == 6 * [(18, 24)] + 3 * [(36, 48)]
    assert result.stopped == "" and result.settings.size == 48
    assert "gram" in str(result.signature) and "small" in str(result.signature)


def test_the_loss_falls_at_each_scale():
    history = stylize(PHOTO, PAINTING, **{**TINY, "steps": 10}).history
    for scale in (0, 1):
        totals = [row["total"] for row in history if row["scale"] == scale]
        assert min(totals) < 0.5 * totals[0]
        # Content and style are what there is.
        row = history[0]
        assert row["total"] == pytest.approx(row["content"] + row["style"], rel=1e-5)


def test_more_content_keeps_more_of_the_photo():
    near, far = (stylize(PHOTO, PAINTING, **{**TINY, "steps": 10}, content_weight=w).image for w in (1e4, 1e-4))
    assert (near - PHOTO).square().mean() < 0.5 * (far - PHOTO).square().mean()


def test_the_same_seed_gives_the_same_pixels_and_another_does_not():
    a, b, c = (
        stylize(PHOTO, PAINTING, **TINY, init="noise", loss="sliced-wasserstein", seed=s).image for s in (1, 1, 2)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_two_paintings_in_proportion():
    both = stylize(PHOTO, [PAINTING, OTHER], style_weights=[2, 1], **TINY)
    assert set(both.history[0]) >= {"content", "style 1", "style 2"}
    one = stylize(PHOTO, [PAINTING, PAINTING], style_weights=[2, 1], **TINY).history[0]
    alone = stylize(PHOTO, PAINTING, **TINY).history[0]
    assert one["style 1"] + one["style 2"] == pytest.approx(alone["style"], rel=1e-5)
    assert one["style 1"] == pytest.approx(2 * one["style 2"], rel=1e-5)


def test_total_variation_smooths():
    def roughness(image: Tensor) -> float:
        return float(opsin.distances.TotalVariation()(image))

    rough, smooth = (stylize(PHOTO, PAINTING, **TINY, tv=tv) for tv in (0.0, 100.0))
    assert roughness(smooth.image) < 0.8 * roughness(rough.image) and "smoothness" in smooth.history[0]


@pytest.mark.parametrize("how", ["linear", "luminance"])
def test_colours_of_the_photo_are_kept(how: str):
    photo = PHOTO * torch.tensor([1.0, 0.3, 0.1]).reshape(1, 3, 1, 1)

    def colour(image: Tensor) -> Tensor:
        return image.mean(dim=(0, 2, 3))

    free, kept = (
        stylize(photo, PAINTING, **{**TINY, "steps": 15}, content_weight=0.0, init="noise", keep_colors=k).image
        for k in (None, how)
    )
    assert (colour(kept) - colour(photo)).abs().max() < 0.5 * (colour(free) - colour(photo)).abs().max()


def test_regions_take_their_own_style():
    red, blue = (torch.tensor(c).reshape(1, 3, 1, 1).expand(1, 3, 48, 24) for c in ([1.0, 0, 0], [0, 0, 1.0]))
    areas = torch.cat((red, blue), 3)
    photo = torch.full((1, 3, 48, 48), 0.5)
    painting = torch.cat((torch.zeros(1, 3, 48, 24), torch.ones(1, 3, 48, 24)), 3)
    options: dict[str, Any] = {**TINY, "start": 48, "steps": 15, "content_weight": 0.0, "init": "noise"}
    same = stylize(photo, painting, content_regions=areas, style_regions=areas, **options).image
    turned = stylize(photo, painting, content_regions=areas.flip(3), style_regions=areas, **options).image
    assert same[..., :20].mean() < same[..., 28:].mean() and turned[..., :20].mean() > turned[..., 28:].mean()


def test_regions_are_not_for_patches():
    areas = torch.ones(1, 3, *PHOTO.shape[2:]), torch.ones(1, 3, *PAINTING.shape[2:])
    with pytest.raises(opsin.InputError, match="regions must be for"):
        stylize(PHOTO, PAINTING, content_regions=areas[0], style_regions=areas[1], **TINY, loss="strotss")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_moves_the_picture_towards_the_painting(loss: str):
    history = stylize(PHOTO, PAINTING, **{**TINY, "start": 48, "steps": 10}, loss=loss, init="noise").history
    assert min(row["total"] for row in history[1:]) < history[0]["total"]


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam"}, {"loss": "sliced-wasserstein", "init": "noise"}])
@pytest.mark.parametrize("stop", [2, 5])
def test_a_resumed_run_has_the_pixels_of_an_uninterrupted_one(options: dict[str, Any], stop: int, tmp_path: Path):
    options = {**TINY, **options}
    straight = stylize(PHOTO, PAINTING, **options)
    seen: list[Progress] = []

    def interrupt(progress: Progress) -> bool:
        seen.append(progress)
        return len(seen) == stop

    file = tmp_path / "run.checkpoint"
    first = stylize(PHOTO, PAINTING, **options, callback=interrupt, checkpoint=file)
    assert f"interrupted at step {seen[-1].step}" in first.stopped and len(first.history) == stop
    second = stylize(PHOTO, PAINTING, **options, checkpoint=file, resume=True)
    assert torch.equal(second.image, straight.image) and second.history == straight.history


def test_a_checkpoint_of_another_run(tmp_path: Path):
    file = tmp_path / "run.checkpoint"
    stylize(PHOTO, PAINTING, **TINY, checkpoint=file, callback=lambda _: True)
    for changed, what in (((OTHER, PAINTING), "images"), ((PHOTO, OTHER), "images")):
        with pytest.raises(opsin.OpsinError, match=f"a run with the same {what}"):
            stylize(*changed, **TINY, checkpoint=file, resume=True)
    with pytest.raises(opsin.OpsinError, match="a run with the same settings"):
        stylize(PHOTO, PAINTING, **{**TINY, "steps": 9}, checkpoint=file, resume=True)
    with pytest.raises(opsin.InputError, match="resume must go with a checkpoint"):
        stylize(PHOTO, PAINTING, **TINY, resume=True)


def test_progress_tells_where_it_is():
    seen: list[Progress] = []
    stylize(PHOTO, PAINTING, **TINY, callback=seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen) and seen[-1].done == 1
    assert seen[0].picture().shape == (1, 3, 18, 24) and seen[-1].picture().shape == (1, 3, 36, 48)
    assert {(p.scale, p.scales, p.steps) for p in seen} == {(0, 2, 6), (1, 2, 3)}


class _Breaks(Distance):
    """Not a number from the fourth comparison on."""

    name = "breaks"

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def statistic(self, feature: Tensor) -> Tensor:
        return feature.mean(dim=(2, 3))

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        self.left -= 1
        return (x - y).square().mean(dim=1) * (1 if self.left >= 0 else math.nan)


def test_a_loss_that_is_no_number_stops_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch):
    def broken(settings: Any, extractor: opsin.Extractor, reference: str, *_: Any) -> opsin.PerceptualLoss:
        return opsin.PerceptualLoss([opsin.Term(extractor, "relu2_1", _Breaks(after), reference=reference)])

    monkeypatch.setattr(objectives, "style_loss", broken)
    after = 4
    result = stylize(PHOTO, PAINTING, **TINY, memory_limit=None)
    assert "nan at step" in result.stopped and bool(result.image.isfinite().all())
    after = 0
    with pytest.raises(opsin.OpsinError, match="the loss must be finite"):
        stylize(PHOTO, PAINTING, **TINY)


def test_a_picture_too_large_for_memory_is_refused_before_it_begins():
    begun: list[Progress] = []
    options: dict[str, Any] = {**TINY, "callback": begun.append}
    with pytest.raises(opsin.InputError, match=r"must fit into memory, got 48x36 pixels, which take about .* GiB"):
        stylize(PHOTO, PAINTING, **options, memory_limit=10**6)
    assert not begun
    assert stylize(PHOTO, PAINTING, **options, memory_limit=10**6, force=True).stopped == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content": PHOTO[0]}, r"content must be an image \(1,3,H,W\)"),
        ({"content": 255 * PHOTO}, r"content must be in \[0,1\], got values outside"),
        ({"style": []}, "style must be one painting or more, got none"),
        ({"style": [PAINTING, None]}, r"style must be an image .*got NoneType"),
        ({"style_weights": [1, 2]}, "style_weights must be one for each of 1 paintings, got 2"),
        ({"style_weights": [0]}, "style_weights must be positive numbers"),
        ({"content_regions": PHOTO}, "regions must be given of the photo and of each of 1 paintings"),
        ({"style_regions": PAINTING}, "regions must be given of the photo and of each of 1 paintings, got none of"),
        ({"content_regions": PAINTING, "style_regions": PAINTING}, "content_regions must have the size of their"),
        ({"loss": "lpips"}, "unknown loss 'lpips' for style transfer"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], message: str):
    with pytest.raises(opsin.OpsinError, match=message):
        stylize(**{"content": PHOTO, "style": PAINTING, **TINY, **changes})
