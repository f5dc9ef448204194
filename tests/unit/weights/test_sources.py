from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import pickle
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from opsin.errors import ChoiceError, InputError, OpsinError, WeightsError
from opsin.weights import catalog, fetch, find_official, load, sources, status, verify, weights_dir
from opsin.weights.catalog import BUNDLED, OFFICIAL

Folders = tuple[Path, Path]

STATE = {
    "features.0.weight": torch.arange(12.0).view(2, 6),
    "features.1.num_batches_tracked": torch.tensor(3),
    "classifier.0.weight": torch.ones(4),
}


def serialized(state: Any = STATE, **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, **kwargs)
    return buffer.getvalue()


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch, server: Any) -> catalog.OfficialWeights:
    """vgg16's entry, made to point to the local server and to a small file."""
    server.body = serialized()
    sha256 = hashlib.sha256(server.body).hexdigest()
    url = server.url(f"vgg16-{sha256[:8]}.pth")
    entry = dataclasses.replace(OFFICIAL["vgg16"], url=url, sha256=sha256)
    monkeypatch.setattr(catalog, "OFFICIAL", {**OFFICIAL, "vgg16": entry})
    return entry


def refused(error: type[OpsinError], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(error) as caught:
        load(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Names


def test_bundled() -> None:
    weights = load("vgg19")
    assert (weights.source, weights.sha256, weights.normalization) == ("bundled", BUNDLED.sha256, "caffe")
    assert weights.path is not None
    assert Path(weights.path).name == BUNDLED.file
    assert len(weights.state) == 32


@pytest.mark.parametrize("network", ["vgg16", "alexnet", "resnet50"])
def test_only_vgg19_is_bundled(network: str) -> None:
    message = refused(WeightsError, network, "bundled")
    for word in ("vgg19", network, "'official'", "path", "'random'"):
        assert word in message


def test_a_misspelt_name() -> None:
    message = refused(ChoiceError, "vgg19", "bundeld")
    assert message == (
        "unknown weights 'bundeld'; did you mean 'bundled'? It may also be a path to a .safetensors or .pth file."
    )
    assert "choose one of bundled, official, random. It may" in refused(ChoiceError, "vgg19", "IMAGENET1K_V1")


@pytest.mark.parametrize("weights", ["random", None, 3])
def test_what_is_not_loaded(weights: Any) -> None:
    assert refused(InputError, "vgg19", weights).startswith("weights must be ")


def test_an_unknown_network_has_no_official_weights(folders: Folders) -> None:
    assert "did you mean 'vgg16'?" in refused(ChoiceError, "vgg-16", "official")
    for function in (find_official, fetch, verify):
        with pytest.raises(ChoiceError):
            function("resnet50")


def test_normalization_is_checked(folders: Folders) -> None:
    assert "must be 'caffe'" in refused(InputError, "vgg19", "bundled", normalization="inet")
    assert "must be 'inet'" in refused(InputError, "vgg16", "official", normalization="caffe")
    assert "did you mean 'caffe'?" in refused(ChoiceError, "vgg19", normalization="cafe")
    assert load("vgg19", normalization="caffe").normalization == "caffe"


# Files


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("as_path", [str, Path])
def test_a_file_of_ones_own(tmp_path: Path, suffix: str, as_path: Any) -> None:
    path = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        save_file(STATE, path)
    else:
        path.write_bytes(serialized())

    weights = load("anything", as_path(path))

    assert set(weights.state) == {"features.0.weight", "features.1.num_batches_tracked"}
    for key, value in weights.state.items():
        assert torch.equal(value, STATE[key])
        assert value.dtype == STATE[key].dtype
    assert (weights.source, weights.normalization, weights.path) == ("file", "inet", str(path))
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load("anything", path, normalization="caffe").normalization == "caffe"


def test_a_file_in_the_working_directory_and_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_bytes(serialized())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load("x", "mine").source == "file"
    assert load("x", "~/mine").path == str(tmp_path / "mine")


def test_the_old_format_of_torch(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    path.write_bytes(serialized(_use_new_zipfile_serialization=False))
    assert torch.equal(load("x", path).state["features.0.weight"], STATE["features.0.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_every_float_becomes_float32(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    state = {"features.0.weight": torch.tensor([1.5, -2.0], dtype=dtype)}
    path = tmp_path / f"half{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        path.write_bytes(serialized(state))
    weight = load("x", path).state["features.0.weight"]
    assert weight.dtype == torch.float32
    assert weight.tolist() == [1.5, -2.0]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_tensors_outlive_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        save_file(STATE, path)
    else:
        path.write_bytes(serialized())
    weights = load("x", path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(weights.state["features.0.weight"], STATE["features.0.weight"])


@pytest.mark.parametrize("weights", ["nowhere.pth", "no/where", "./bundeld", Path("bundled")])
def test_no_such_file(weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no such file" in refused(WeightsError, "vgg16", weights)


def test_a_folder(tmp_path: Path) -> None:
    assert "got the folder" in refused(WeightsError, "vgg16", tmp_path)
    assert "got the folder" in refused(WeightsError, "vgg16", str(tmp_path))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "garbage", "text", "pickle of nothing"])
def test_a_damaged_file(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        save_file(STATE, path)
    else:
        path.write_bytes(serialized())
    whole = path.read_bytes()
    content = {
        "empty": b"",
        "truncated": whole[: len(whole) * 2 // 3],
        "garbage": bytes(range(255, -1, -1)) * 8,
        "text": b"<html><body>404</body></html>\n",
        "pickle of nothing": pickle.dumps(None),
    }[damage]
    path.write_bytes(content)
    message = refused(WeightsError, "vgg16", path)
    assert f"'{path}'" in message
    assert "weights_only" not in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.ones(1)], "got list"),
        (torch.ones(1), "got Tensor"),
        ({"state_dict": dict(STATE), "epoch": 3}, "got dict under 'state_dict'"),
        ({"features.0.weight": 1.0}, "got float under 'features.0.weight'"),
        ({0: torch.ones(1)}, "got Tensor under 0"),
        ({}, "got no tensors"),
        ({"conv1.weight": torch.ones(1), "fc": torch.ones(1)}, "got 'conv1.weight', 'fc'"),
    ],
)
def test_what_is_not_a_state_dict_of_features(tmp_path: Path, content: Any, says: str) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(serialized(content))
    assert says in refused(WeightsError, "vgg16", path)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("form", ["zip", "old", "bare", "tar", "zip named .bin"])
def test_code_in_a_file_is_never_run(tmp_path: Path, form: str) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / ("mine.bin" if form == "zip named .bin" else "mine.pth")
    content = {"features.0.weight": torch.ones(1), "code": Payload(mark)}
    if form.startswith("zip"):
        path.write_bytes(serialized(content))
        assert zipfile.is_zipfile(path)
    elif form == "old":
        path.write_bytes(serialized(content, _use_new_zipfile_serialization=False))
    elif form == "bare":
        path.write_bytes(pickle.dumps(Payload(mark)))
    else:
        with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
            for name in ("storages", "tensors", "pickle"):
                data = pickle.dumps(Payload(mark))
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))

    message = refused(WeightsError, "vgg16", path)

    assert "No code in it was run" in message
    assert not mark.exists()


# Official files


def test_official_is_downloaded_once(folders: Folders, official: Any, server: Any) -> None:
    own, _ = folders
    assert find_official("vgg16") is None
    for _ in range(2):
        weights = load("vgg16", "official")
        assert (weights.source, weights.sha256) == ("official", official.sha256)
        assert weights.normalization == "inet"
        assert weights.path == str(own / official.filename)
        assert list(weights.state) == ["features.0.weight", "features.1.num_batches_tracked"]
    assert len(server.gets) == 1
    assert [path.name for path in own.iterdir()] == [official.filename]
    assert fetch("vgg16") == own / official.filename
    assert len(server.gets) == 1


def test_official_goes_to_the_hub_without_a_folder(
    folders: Folders, official: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, hub = folders
    monkeypatch.delenv("OPSIN_WEIGHTS_DIR")
    assert weights_dir() is None
    assert fetch("vgg16") == hub / official.filename
    assert Path(torch.hub.get_dir()) / "checkpoints" == hub


def test_official_goes_to_the_hub_if_the_folder_is_read_only(
    folders: Folders, official: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, hub = folders
    # Not by chmod: root, whom tests in a container run as, may write anywhere.
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != own and real(path, mode))
    assert fetch("vgg16") == hub / official.filename


def test_the_folder_is_made(folders: Folders, official: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = folders[0] / "not" / "yet"
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(own))
    assert fetch("vgg16") == own / official.filename


def test_the_order_of_places(folders: Folders, official: Any, server: Any) -> None:
    own, hub = folders
    hub.mkdir(parents=True)
    places = [hub / official.filename, own / official.filename]
    for path in places:
        path.write_bytes(server.body)
        assert find_official("vgg16") == path
        assert load("vgg16", "official").path == str(path)
        assert load("vgg16", "official").source == "official"
    mine = own / "vgg16.safetensors"
    save_file({"features.0.weight": torch.zeros(1)}, mine)
    assert find_official("vgg16") == mine
    weights = load("vgg16", "official")
    # It is not bound to the official hash, and doesn't call itself official.
    assert (weights.source, weights.path) == ("file", str(mine))
    assert weights.sha256 == hashlib.sha256(mine.read_bytes()).hexdigest()
    assert server.gets == []


def test_an_official_name_binds_the_hash(folders: Folders, official: Any, server: Any) -> None:
    path = folders[0] / official.filename
    path.write_bytes(serialized({"features.0.weight": torch.ones(1)}))
    for weights in ("official", path):
        message = refused(WeightsError, "vgg16", weights)
        assert official.sha256 in message
        assert hashlib.sha256(path.read_bytes()).hexdigest() in message
        assert "Delete it and fetch it again" in message
    for function in (fetch, verify):
        with pytest.raises(WeightsError, match="Delete it"):
            function("vgg16")
    assert server.gets == []


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_offline(folders: Folders, official: Any, server: Any, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(official, network=network)
    monkeypatch.setattr(catalog, "OFFICIAL", {**OFFICIAL, network: entry})
    server.mode = "404"
    message = refused(WeightsError, network, "official")
    for part in (entry.url, entry.filename, str(folders[0]), "vgg19" if network == "vgg16" else "bundled"):
        assert part in message
    assert "weights='bundled'" in message
    assert list(folders[0].iterdir()) == []


@pytest.mark.parametrize("network", ["alexnet", "squeezenet1_1"])
def test_real_weights(network: str) -> None:
    folder = os.environ.get("OPSIN_WEIGHTS_DIR")
    if not folder or not (Path(folder).expanduser() / f"{network}.safetensors").is_file():
        pytest.skip(f"OPSIN_WEIGHTS_DIR has no {network}.safetensors")
    weights = load(network, "official")
    assert weights.path is not None
    assert Path(weights.path).name == f"{network}.safetensors"
    assert (
        sum(value.numel() for value in weights.state.values())
        == {
            "alexnet": 2_469_696,
            "squeezenet1_1": 722_496,
        }[network]
    )


# The list


def test_status(folders: Folders, official: Any) -> None:
    rows = {(row.network, row.source): row for row in status()}
    assert len(rows) == 1 + len(OFFICIAL)
    assert rows["vgg19", "bundled"].sha256 == BUNDLED.sha256
    assert rows["vgg19", "bundled"].path is not None
    assert rows["vgg16", "official"].path is None
    assert rows["vgg16", "official"].url == official.url

    path = fetch("vgg16")
    save_file({"features.0.weight": torch.zeros(1)}, folders[0] / "vgg11.safetensors")
    rows = {(row.network, row.source): row for row in status()}
    assert rows["vgg16", "official"].path == str(path)
    assert rows["vgg11", "file"].sha256 is None


def test_verify(folders: Folders, official: Any) -> None:
    with pytest.raises(WeightsError, match="Fetch them first"):
        verify("vgg16")
    fetch("vgg16")
    assert [(row.source, row.sha256) for row in verify("vgg16")] == [("official", official.sha256)]
    assert [(row.source, row.sha256) for row in verify("vgg19")] == [("bundled", BUNDLED.sha256)]
    mine = folders[0] / "vgg11.safetensors"
    save_file({"features.0.weight": torch.zeros(1)}, mine)
    assert verify("vgg11")[0].sha256 == hashlib.sha256(mine.read_bytes()).hexdigest()


@pytest.mark.parametrize("environment", [{}, {"XDG_CACHE_HOME": "cache"}, {"TORCH_HOME": "~/home"}])
def test_the_hub_is_where_torch_says(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "TORCH_HUB"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected = Path(torch.hub.get_dir()) / "checkpoints"
    assert sources.hub_checkpoints() == expected
    monkeypatch.delitem(sys.modules, "torch.hub")  # as before torch is imported
    assert sources.hub_checkpoints() == expected
