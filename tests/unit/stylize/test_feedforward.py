"""A style in one pass: what is trained, and how it is applied to images of any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import opsin
from opsin.errors import ChoiceError, ImageError, InputError, OpsinError, WeightsError
from opsin.networks import ImageTransformNet, save_network
from opsin.stylize import feedforward
from opsin.stylize.feedforward import StyleRecipe, StyleSettings, apply, stylize_file
from opsin.stylize.strips import strips


def net(upsampling: str = "resize", **options: Any) -> ImageTransformNet:
    """A network whose normalisations have other scales and shifts than 1 and 0."""
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ImageTransformNet(width=3, blocks=2, upsampling=upsampling, **options)
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.weight.data += 0.3 * torch.randn(module.weight.shape, generator=generator)
            module.bias.data += 0.3 * torch.randn(module.bias.shape, generator=generator)
    return network.eval()


@pytest.mark.parametrize("upsampling", ["resize", "transposed"])
@pytest.mark.parametrize("size", [(64, 40), (67, 41), (70, 16), (33, 33), (49, 30), (18, 20)])
@pytest.mark.parametrize("strip", [16, 17, 40])
def test_strips_give_what_the_whole_image_gives(upsampling: str, size: tuple[int, int], strip: int) -> None:
    network = net(upsampling)
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    image[..., size[0] // 2 :, :] *= 0.2  # strips that differ: their own statistics would show
    with torch.no_grad():
        expected = network(image)
    torch.testing.assert_close(apply(network, image, strip=strip), expected, rtol=0, atol=2e-5)


def test_strips_one_by_one_would_not_do() -> None:
    network = net()
    image = torch.rand(1, 3, 64, 40, generator=torch.Generator().manual_seed(1))
    image[..., 32:, :] *= 0.2
    image[..., 32:, :20] += 0.5
    with torch.no_grad():
        naive = torch.cat([network(part) for part in image.split(32, dim=2)], dim=2)
    assert float((apply(network, image, strip=32) - naive).abs().max()) > 0.01


def test_strips_are_even_and_cover_everything() -> None:
    for height in range(1, 70):
        found = list(strips(height, 16))
        assert [row for first, last in found for row in range(first, last)] == list(range(height))
        assert max(b - a for a, b in found) - min(b - a for a, b in found) <= 1


def test_large_images_are_computed_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = feedforward.apply_in_strips
    monkeypatch.setattr(feedforward, "apply_in_strips", lambda *a: (seen.append(a[2]), plain(*a))[1])
    monkeypatch.setattr(feedforward, "WHOLE_PIXELS", 40 * 40)
    monkeypatch.setattr(feedforward, "STRIP", 24)
    image = torch.rand(1, 3, 41, 40)
    apply(net(), image[..., :40, :])
    apply(net(), image, strip=0)
    assert seen == []
    apply(net(), image)
    assert seen == [24]


def test_what_cannot_be_stylized() -> None:
    image = torch.rand(1, 3, 32, 32)
    with pytest.raises(InputError, match="model must be an ImageTransformNet, got Linear"):
        apply(nn.Linear(1, 1), image)  # type: ignore[arg-type] (wrong on purpose)
    for wrong in (image[0], image.repeat(2, 1, 1, 1), image.long()):
        with pytest.raises(InputError, match=r"image must be \(1,3,H,W\) of floats"):
            apply(net(), wrong)
    with pytest.raises(InputError, match="images must be at least 16x16, got 32x9"):
        apply(net(), image[..., :9, :])
    with pytest.raises(InputError, match="strip must be at least 16 rows, or 0, got 3"):
        apply(net(), image, strip=3)
    with pytest.raises(InputError, match="strip must be a whole number"):
        apply(net(), image, strip=-1)


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    Image.radial_gradient("L").resize((40, 60)).save(tmp_path / "painting.png")
    return tmp_path / "painting.png"


@pytest.fixture
def settings(tmp_path: Path, painting: Path) -> Callable[..., StyleSettings]:
    """Makes settings of a run with a small network and a small loss."""

    def make(**options: Any) -> StyleSettings:
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        Image.linear_gradient("L").resize((48, 40)).save(folder / "a.png")
        plain: dict[str, Any] = {"data": folder, "output": tmp_path / "run", "style": painting, "device": "cpu"}
        small: dict[str, Any] = {"net": "vgg11", "weights": "random", "width": 2, "blocks": 1, "crop": 32}
        return StyleSettings(**{**plain, **small, "steps": 2, "batch": 1, "workers": 0, "style_size": 32, **options})

    return make


def test_the_loss_is_the_published_one(settings: Callable[..., StyleSettings]) -> None:
    chosen = settings(net="vgg16", content_weight=2.0, style_weight=3.0, tv=0.5)
    recipe = StyleRecipe(chosen)
    x, y = torch.rand(2, 1, 3, 32, 32)
    extractor = opsin.make_extractor("vgg16", "random")
    painting = opsin.images.resize(opsin.read_image(chosen.style), 32)
    expected = 2 * 5e-5 * opsin.published.johnson_feature(extractor, None)(x, y)
    expected = expected + 3 * 1e-5 * opsin.published.johnson_style(extractor, None)(x, style=painting)
    expected = expected + 0.5 * 5 * opsin.distances.TotalVariation()(x).mean()
    torch.testing.assert_close(recipe.loss(x, recipe.targets, target=y), expected, rtol=1e-4, atol=0)


def test_a_step_lowers_the_loss_and_logs_its_parts(settings: Callable[..., StyleSettings]) -> None:
    recipe = StyleRecipe(settings(net="vgg16"))
    optimizer = recipe.optimizers(1e-2)["stylizer"]

    class Update:
        networks = recipe.networks
        step = 0

        def __call__(self, name: str, loss: torch.Tensor) -> None:
            assert name == "stylizer"
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    x = torch.rand(2, 3, 32, 32)
    logged = [{name: float(v.detach()) for name, v in recipe.step((x,), Update()).items()} for _ in range(8)]
    assert set(logged[0]) == {"loss", "content", "style", "smoothness"}
    assert logged[-1]["loss"] < logged[0]["loss"]
    parts = sum(logged[0][name] for name in ("content", "style", "smoothness"))
    assert parts == pytest.approx(logged[0]["loss"], rel=1e-4)


def test_a_run_and_its_model(settings: Callable[..., StyleSettings], tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="extra 'train'")
    from opsin.training import train

    chosen = settings(net="vgg16")
    folder = train(StyleRecipe(chosen), chosen)
    photo = chosen.data / "a.png"
    assert stylize_file(photo, folder.model, tmp_path / "out.png") == (48, 40)
    with Image.open(tmp_path / "out.png") as image:
        assert image.info["opsin:style"] == "painting.png"
        assert "image-transform" in image.info["opsin:model"]
    assert stylize_file(photo, folder.model, tmp_path / "out.jpg", size=96) == (96, 80)
    with pytest.raises(OpsinError, match="output must be a new file"):
        stylize_file(photo, folder.model, tmp_path / "out.png")
    stylize_file(photo, folder.model, tmp_path / "out.png", size=24, overwrite=True)


def test_files_that_do_not_fit(tmp_path: Path, painting: Path) -> None:
    save_network(tmp_path / "m.safetensors", net(), {})
    with pytest.raises(ImageError, match="image must be a file that exists"):
        stylize_file(tmp_path / "none.png", tmp_path / "m.safetensors", tmp_path / "out.png")
    with pytest.raises(ImageError, match="image file must end in"):
        stylize_file(painting, tmp_path / "m.safetensors", tmp_path / "out.xyz")
    with pytest.raises(WeightsError, match="model must be a whole safetensors file"):
        stylize_file(painting, painting, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("options", "kind", "match"),
    [
        ({"tv": -1.0}, InputError, "tv must be 0 or a positive number"),
        ({"width": 0}, InputError, "width must be a whole number"),
        ({"upsampling": "resise"}, ChoiceError, "did you mean 'resize'"),
        ({"style_size": 3}, InputError, "style_size must be a whole number of at least 16"),
    ],
)
def test_bad_settings(
    settings: Callable[..., StyleSettings], options: dict[str, Any], kind: type[Exception], match: str
) -> None:
    with pytest.raises(kind, match=match):
        settings(**options)
