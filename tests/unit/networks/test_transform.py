"""Johnson's network and the files that networks are kept in."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from opsin.errors import ChoiceError, InputError, OpsinError, WeightsError
from opsin.networks import ImageTransformNet, load_network, save_network


@pytest.fixture
def network() -> ImageTransformNet:
    torch.manual_seed(0)
    return ImageTransformNet(width=4, blocks=2)


@pytest.mark.parametrize("upsampling", ["resize", "transposed"])
@pytest.mark.parametrize("size", [(16, 16), (33, 50), (35, 17)])
def test_a_picture_of_the_same_size(upsampling: str, size: tuple[int, int]) -> None:
    made = ImageTransformNet(width=2, blocks=1, upsampling=upsampling)(torch.rand(2, 3, *size))
    assert made.shape == (2, 3, *size)
    assert bool((made >= 0).all() and (made <= 1).all())


def test_the_papers_numbers() -> None:
    """3-32-64-128, five residual blocks, 64-32-3; biases only where no normalisation takes them away."""
    state = ImageTransformNet().state_dict()
    convolutions = [tuple(t.shape) for name, t in state.items() if name.endswith("conv.weight")]
    assert convolutions[:3] == [(32, 3, 9, 9), (64, 32, 3, 3), (128, 64, 3, 3)]
    assert convolutions[3:13] == [(128, 128, 3, 3)] * 10
    assert convolutions[13:] == [(64, 128, 3, 3), (32, 64, 3, 3), (3, 32, 9, 9)]
    assert [name for name in state if name.endswith("conv.bias")] == ["tail.2.conv.bias"]
    assert sum(t.numel() for t in state.values()) == 1_677_635


def test_images_of_a_batch_do_not_meet(network: ImageTransformNet) -> None:
    x = torch.rand(2, 3, 20, 24)
    torch.testing.assert_close(network(x)[1:], network(x[1:]), rtol=1e-4, atol=1e-5)


def test_contrast_and_brightness_make_no_difference(network: ImageTransformNet) -> None:
    """What instance normalisation is for."""
    x = torch.rand(1, 3, 20, 24)
    torch.testing.assert_close(network(0.5 * x + 0.2), network(x), rtol=1e-3, atol=1e-3)


def test_bad_arguments(network: ImageTransformNet) -> None:
    with pytest.raises(InputError, match="images must be at least 16x16, got 40x15"):
        network(torch.rand(1, 3, 15, 40))
    with pytest.raises(InputError, match="width must be a whole number of at least 1, got 0"):
        ImageTransformNet(width=0)
    with pytest.raises(ChoiceError, match="did you mean 'transposed'"):
        ImageTransformNet(upsampling="transpose")


def test_to_a_file_and_back(network: ImageTransformNet, tmp_path: Path) -> None:
    save_network(tmp_path / "m.safetensors", network, {"kind": "style", "step": 3})
    loaded, about = load_network(tmp_path / "m.safetensors", "image-transform")
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(loaded(x), network(x), rtol=0, atol=0)
    assert not loaded.training
    assert about["arguments"] == {"width": 4, "blocks": 2, "upsampling": "resize"}
    assert (about["kind"], about["step"]) == ("style", 3)


class _Evil:
    """A pickle that would leave a trace if it was opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("touched"),)


def pickled() -> bytes:
    return pickle.dumps(_Evil())


def zipped() -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, file)
    return file.getvalue()


@pytest.mark.parametrize("content", [pickled(), zipped()])
@pytest.mark.parametrize("name", ["m.pth", "m.safetensors"])
def test_a_pickle_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"a pickle, which may run code and was not opened\. Use"):
        load_network(tmp_path / name)
    assert not (tmp_path / "touched").exists()


def write(path: Path, network: ImageTransformNet, **changes: Any) -> None:
    header = {"architecture": "image-transform", "arguments": network.config(), **changes}
    save_file(dict(network.state_dict()), path, {"opsin": json.dumps(header)})


@pytest.mark.parametrize(
    ("changes", "kind", "match"),
    [
        ({"architecture": "image-transfrom"}, ChoiceError, "did you mean 'image-transform'"),
        ({"architecture": None}, ChoiceError, "unknown architecture None"),
        ({"arguments": {"width": 8}}, WeightsError, "model must hold the weights that its header tells of"),
        ({"arguments": {"depth": 8}}, WeightsError, "unexpected keyword argument 'depth'"),
        ({"arguments": None}, WeightsError, "model must hold the weights that its header tells of"),
    ],
)
def test_a_header_that_does_not_fit(
    network: ImageTransformNet, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], match: str
) -> None:
    write(tmp_path / "m.safetensors", network, **changes)
    with pytest.raises(kind, match=match):
        load_network(tmp_path / "m.safetensors")


def test_other_files(network: ImageTransformNet, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write(path, network, architecture="rrdb")
    with pytest.raises(WeightsError, match=r"model must be of architecture 'image-transform', got 'rrdb'"):
        load_network(path, "image-transform")
    save_file({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="which does not say what network it is of"):
        load_network(path)
    write(path, network)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(WeightsError, match="model must be a whole safetensors file"):
        load_network(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="model must be a whole safetensors file"):
        load_network(path)
    with pytest.raises(WeightsError, match=r"model must be a file that 'opsin train' wrote, got '.*', a folder"):
        load_network(tmp_path)
    with pytest.raises(WeightsError, match="no file"):
        load_network(tmp_path / "none.safetensors")


def test_a_file_that_cannot_be_written(network: ImageTransformNet, tmp_path: Path) -> None:
    with pytest.raises(OpsinError, match="output folder must exist"):
        save_network(tmp_path / "no" / "m.safetensors", network, {})
