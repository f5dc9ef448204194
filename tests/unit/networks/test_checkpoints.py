"""Networks that enlarge images, from files of any origin."""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from opsin.errors import InputError, MissingExtraError, WeightsError
from opsin.networks import (
    EDSR,
    UPSCALERS,
    ImageTransformNet,
    MSRResNet,
    Upscaler,
    VGGDiscriminator,
    load_network,
    load_upscaler,
    save_network,
)
from opsin.networks.spandrel import detect

spandrel = pytest.importorskip("spandrel", reason="needs the extra sr")

NAMES = tuple(UPSCALERS)
OTHERS = ("rrdb", "compact", "span", "rcan", "swinir")


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_gives_the_same_network(tiny: Callable[..., Upscaler], name: str, image: Tensor, tmp_path: Path) -> None:
    """Bit for bit, after a step that moved the statistics, by both ways of loading."""
    network, path = tiny(name), tmp_path / "model.safetensors"
    with torch.no_grad():
        network(image)
        network.eval()
        expected = network(image)
        save_network(path, network, {"loss": "l1"})
        found, about = load_upscaler(path, scale=2)
        assert (found.name, found.scale, found.radius, found.training) == (name, 2, network.radius, False)
        assert torch.equal(found(image), expected)
        assert about["loss"] == "l1"
        assert about["name"] == name
        assert len(about["sha256"]) == 16
        again = load_network(path, network.architecture).network
        assert torch.equal(again(image), expected)
    assert found.config() == network.config()


@pytest.mark.parametrize("name", OTHERS)
def test_other_programs_read_what_is_written(tiny: Callable[..., Upscaler], name: str, tmp_path: Path) -> None:
    """By spandrel's own loader; of a size that nobody has to pad."""
    network, path = tiny(name).eval(), tmp_path / "model.safetensors"
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    save_network(path, network, {})
    read = spandrel.ModelLoader("cpu").load_from_file(path).eval()
    assert read.scale == 2
    with torch.no_grad():
        expected = network(image).clamp(0, 1)
        torch.testing.assert_close(read(image.clone()), expected, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(read(image.flip(1)), expected, atol=1e-3)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("form", ["params_ema", "module", "safetensors", "bare", "nested"])
def test_public_checkpoints(tiny: Callable[..., Upscaler], name: str, form: str, image: Tensor, tmp_path: Path) -> None:
    network = tiny(name).eval()
    state = {key: tensor.clone() for key, tensor in network.weights().items()}
    wrong = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    path = tmp_path / "public.pth"
    if form == "params_ema":  # before those that are not averaged
        torch.save({"params": wrong, "params_ema": state, "step": torch.tensor(3)}, path)
    elif form == "module":
        torch.save({f"module.{key}": tensor for key, tensor in state.items()}, path)
    elif form == "nested":
        torch.save({"epoch": 3, "anything": {"net": state}}, path)
    elif form == "safetensors":
        path = tmp_path / "public.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    else:
        torch.save(state, path)
    with torch.no_grad():
        found, about = load_upscaler(path)
        assert torch.equal(found(image), network(image))
    assert about["architecture"] == "spandrel"
    assert not about.keys() & {"arguments", "version"}


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("kind", [EDSR, MSRResNet])
def test_released_ones_of_basicsr(
    kind: type[EDSR] | type[MSRResNet], scale: int, image: Tensor, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_range": 255.0} if kind is EDSR else {}
    network = kind(scale, 8, 2, **options).eval()
    torch.save({"params": network.state_dict()}, tmp_path / "released.pth")
    with torch.no_grad():
        found, _ = load_upscaler(tmp_path / "released.pth")
        assert torch.equal(found(image), network(image))
    assert found.config() == network.config()


def test_the_large_edsr_scales_its_blocks(tmp_path: Path) -> None:
    """Its file does not say so; it is known by its width."""
    torch.save(EDSR(2, 256, 1).state_dict(), tmp_path / "large.pth")
    found, _ = load_upscaler(tmp_path / "large.pth")
    assert found.config() == {"scale": 2, "width": 256, "blocks": 1, "res_scale": 0.1, "img_range": 255.0}


class _Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("plain", [True, False])
def test_a_file_that_runs_code_runs_nothing(suffix: str, plain: bool, tmp_path: Path) -> None:
    path, mark = tmp_path / f"bad{suffix}", tmp_path / "ran"
    if plain:
        path.write_bytes(pickle.dumps({"weights": _Runs(mark)}, protocol=2))
    else:
        torch.save({"conv.weight": torch.zeros(1), "more": _Runs(mark)}, path)
    said = _refused(path)
    assert not mark.exists()
    assert suffix == ".safetensors" or ".mkdir, and that was not run" in said
    if plain:
        pickle.loads(path.read_bytes())
    else:
        torch.load(io.BytesIO(path.read_bytes()), weights_only=False)
    assert mark.exists()  # it would have


def test_a_program_of_torchscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    # As torch.jit.save lays it out.
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"program/{name}", b"3\n")
    monkeypatch.setattr(torch.jit, "load", _never)
    assert "a program of TorchScript, which is not run" in _refused(tmp_path / "program.pt")


def _never(*_: Any, **__: Any) -> None:
    raise AssertionError("it was run")


def _truncated() -> bytes:
    buffer = io.BytesIO()
    torch.save(EDSR(2, 4, 1).state_dict(), buffer)
    return buffer.getvalue()[:-500]


def _itself() -> bytes:
    buffer, inner = io.BytesIO(), {}
    inner["again"] = inner
    torch.save(inner, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".PT"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not a network\n" * 20, id="text"),
        pytest.param(b"PK\x03\x04" + bytes(200), id="broken zip"),
        pytest.param(b"\x80\x02", id="broken pickle"),
        pytest.param(b"<html>404</html>", id="page"),
        pytest.param(_truncated(), id="truncated"),
        pytest.param(_itself(), id="itself"),
    ],
)
def test_damaged_files(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    # What begins as torch's files do, under a name that says otherwise, is not what its name says.
    disguised = suffix == ".safetensors" and content[:2] in (b"PK", b"\x80\x02")
    assert ("run code" in _refused(path)) == disguised


def test_a_truncated_file_of_ours(tiny: Callable[..., Upscaler], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_network(path, tiny("edsr"), {})
    path.write_bytes(path.read_bytes()[:-10])
    _refused(path)


def test_weights_of_another_network_under_our_header(tiny: Callable[..., Upscaler], tmp_path: Path) -> None:
    class Liar(EDSR):
        def config(self) -> dict[str, Any]:
            return {**super().config(), "width": 9}

    save_network(tmp_path / "model.safetensors", Liar(2, 8, 1), {})
    assert "size mismatch" in _refused(tmp_path / "model.safetensors")


def test_what_is_no_network(tmp_path: Path) -> None:
    assert "no file" in _refused(tmp_path / "none.pth")
    assert "a folder" in _refused(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(WeightsError, match=r"must end in \.safetensors, \.pth, \.pt, \.ckpt, got 'notes\.txt'"):
        load_upscaler(tmp_path / "notes.txt")
    for holds in ([torch.zeros(1)], {"a": 1}, {}, {"a": {"b": {}}}, 3, {1: {2: torch.zeros(1)}}):
        torch.save(holds, tmp_path / "other.pth")
        _refused(tmp_path / "other.pth")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    assert "with tensors such as 'weight', 'bias'" in _refused(tmp_path / "other.pth")


def test_networks_for_something_else(tmp_path: Path) -> None:
    save_network(tmp_path / "style.safetensors", ImageTransformNet(2, 1), {})
    assert "of architecture 'image-transform'" in _refused(tmp_path / "style.safetensors")
    save_network(tmp_path / "judge.safetensors", VGGDiscriminator(16, 2), {})
    assert "of architecture 'vgg-discriminator'" in _refused(tmp_path / "judge.safetensors")


@pytest.mark.parametrize("change", ["channels", "scale", "lost", "shape", "name"])
def test_almost_a_network_of_basicsr(change: str, tmp_path: Path) -> None:
    state = EDSR(2, 8, 2).state_dict()
    if change == "channels":
        state["conv_first.weight"] = torch.zeros(8, 1, 3, 3)
    elif change == "scale":
        state["upsample.0.weight"] = torch.zeros(8 * 25, 8, 3, 3)
    elif change == "lost":
        del state["body.1.conv2.bias"]
    elif change == "shape":
        state["body.0.conv1.weight"] = torch.zeros(3)
    else:
        state["body.last.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "almost.pth")
    _refused(tmp_path / "almost.pth")


def test_shapes_of_nothing(tiny: Callable[..., Upscaler], tmp_path: Path) -> None:
    """By which what is deduced from them would be divided."""
    for name, key in (
        ("msrresnet", "conv_first.weight"),
        ("rcan", "body.0.body.0.body.3.conv_du.0.weight"),
        ("rcan", "tail.0.0.weight"),
    ):
        state = tiny(name).weights()
        state[key] = torch.zeros(0, 0, 3, 3)
        torch.save(state, tmp_path / "nothing.pth")
        _refused(tmp_path / "nothing.pth")


def test_almost_a_network_of_spandrel(tiny: Callable[..., Upscaler], tmp_path: Path) -> None:
    for name in OTHERS:
        state = tiny(name).weights()
        last = [key for key, tensor in state.items() if tensor.ndim == 4][-2]
        state[last] = torch.zeros(1, 2, 3, 3)
        torch.save(state, tmp_path / "almost.pth")
        _refused(tmp_path / "almost.pth")


def test_another_scale(tiny: Callable[..., Upscaler], tmp_path: Path) -> None:
    save_network(tmp_path / "model.safetensors", tiny("edsr"), {})
    with pytest.raises(InputError, match=r"scale must be 2, that of the model '.*model\.safetensors', got 4\."):
        load_upscaler(tmp_path / "model.safetensors", scale=4)


@pytest.fixture
def without_spandrel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Takes it away when it is called."""
    yield lambda: monkeypatch.setitem(sys.modules, "spandrel", None)


def test_without_spandrel(tiny: Callable[..., Upscaler], without_spandrel: Callable[[], None], tmp_path: Path) -> None:
    ours, theirs, public = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors", tmp_path / "public.pth"
    compact = tiny("compact")
    save_network(ours, tiny("edsr"), {})
    save_network(theirs, compact, {})
    torch.save(compact.weights(), public)
    without_spandrel()
    assert load_upscaler(ours).network.name == "edsr"
    for path in (theirs, public):
        said = _refused(path, MissingExtraError)
        assert "pip install 'opsin[sr]'" in said
    with pytest.raises(MissingExtraError, match=r"pip install 'opsin\[sr\]'"):
        tiny("compact")


def test_a_grey_network_enlarges_brightness(image: Tensor, tmp_path: Path) -> None:
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(0)
    torch.save(Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1, upscale=2).state_dict(), tmp_path / "g.pth")
    network = load_upscaler(tmp_path / "g.pth").network
    with torch.no_grad():
        made = network(image)
        assert made.shape == (1, 3, 18, 14)
        grey = image.mean(dim=1, keepdim=True)
        # Grey stays grey, and is what the network itself makes of it.
        from_grey = network(grey.expand(-1, 3, -1, -1))
        alone = spandrel.ModelLoader("cpu").load_from_file(tmp_path / "g.pth").model(grey)
    torch.testing.assert_close(from_grey, alone.expand(-1, 3, -1, -1), rtol=1e-5, atol=1e-5)
    # Colour is that of the image, not the network's.
    luma = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    colour = image - (image * luma).sum(1, keepdim=True)
    wanted = nn.functional.interpolate(colour, scale_factor=2, mode="bicubic")
    torch.testing.assert_close(made - (made * luma).sum(1, keepdim=True), wanted, rtol=1e-4, atol=1e-5)
    assert torch.isfinite(made).all()


def test_a_network_that_restores(image: Tensor, tmp_path: Path) -> None:
    from spandrel.architectures.DnCNN import DnCNN

    torch.manual_seed(0)
    made = DnCNN(in_nc=3, out_nc=3, nc=8, nb=8, act_mode="R")
    torch.save(made.state_dict(), tmp_path / "restores.pth")
    network = load_upscaler(tmp_path / "restores.pth").network
    assert (network.name, network.scale, network.radius) == ("DnCNN", 1, None)
    with torch.no_grad():
        assert network(image).shape == image.shape


@pytest.mark.parametrize("name", ["DRUNet", "FDnCNN", "IPT", "SeemoRe"])
def test_a_network_that_takes_one_image_takes_batches(name: str, tmp_path: Path) -> None:
    """Spandrel's own call fails with two of them."""
    torch.manual_seed(0)
    if name == "DRUNet":
        from spandrel.architectures.DRUNet import DRUNet

        made: nn.Module = DRUNet(in_nc=4, out_nc=3, nc=[8, 8, 8, 8], nb=2)
    elif name == "FDnCNN":
        from spandrel.architectures.DnCNN import DnCNN

        made = DnCNN(in_nc=4, out_nc=3, nc=8, nb=8, act_mode="R", mode="FDnCNN")
    elif name == "SeemoRe":
        from spandrel.architectures.SeemoRe import SeemoRe

        made = SeemoRe(embedding_dim=8, num_layers=2)
    else:
        from spandrel.architectures.IPT import IPT

        made = IPT(patch_size=12, patch_dim=3, n_feats=4, num_layers=1, num_queries=1, scale=[1])
    torch.save(made.state_dict(), tmp_path / "one.pth")
    network = load_upscaler(tmp_path / "one.pth").network
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(6))
    apart = torch.cat([network(images[:1]), network(images[1:])])
    torch.testing.assert_close(network(images), apart, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(apart[0], apart[1], atol=1e-4)
    network(images).square().mean().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())


def test_a_network_that_paints_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are large: what the loader gives of one stands in its place."""
    found = object.__new__(spandrel.MaskedImageModelDescriptor)
    for name, value in (
        ("_architecture", type("A", (), {"id": "LaMa"})),
        ("input_channels", 4),
        ("output_channels", 3),
    ):
        object.__setattr__(found, name, value)
    monkeypatch.setattr(spandrel.ModelLoader, "load_from_state_dict", lambda *_: found)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "lama.pth")
    assert "got LaMa" in _refused(tmp_path / "lama.pth")


def test_detection_leaves_nothing_behind(tiny: Callable[..., Upscaler]) -> None:
    state = {key: tensor.clone() for key, tensor in tiny("span").weights().items()}
    names, drawn = list(state), torch.get_rng_state()
    assert detect(state) is not None
    assert list(state) == names
    assert torch.equal(torch.get_rng_state(), drawn)
    assert detect({"weight": torch.zeros(1)}) is None


def _refused(path: Path, kind: type[Exception] = WeightsError) -> str:
    """What is said: one line that names the file and ends in a sentence's end."""
    with pytest.raises(kind) as caught:
        load_upscaler(path)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    assert len(said) < 500 + len(str(path))
    return said
