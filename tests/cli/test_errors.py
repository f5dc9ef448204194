"""What cannot be done is refused: exit status 2, one line on stderr, nothing on stdout, nothing written."""

from __future__ import annotations

import errno
import io
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

IMAGE = ("--net", "image")  # no network is made: what is tested comes before it or after it
WHOLE = ("--loss", "contextual", "--weights", "random")  # no tile can know its values


class Payload:
    """Makes the file `executed` when it is unpickled."""

    def __reduce__(self):
        return open, ("executed", "w")


def write_tar(path, content: bytes) -> None:
    """What torch wrote in its first years, which `torch.load` unpickles unguarded."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def files(tmp_path, noise, png, alexnet_file):
    """A folder with every kind of thing that may be handed in by mistake."""
    noise(48, 40, 0).save(tmp_path / "a.png")
    noise(48, 40, 1).save(tmp_path / "b.png")
    noise(50, 40, 2).save(tmp_path / "wide.png")
    noise(48, 8, 2).save(tmp_path / "tiny.png")
    noise(1, 1, 2).save(tmp_path / "pixel.png")
    for suffix in ("png", "jpg", "webp", "tiff", "bmp"):
        path = tmp_path / f"cut.{suffix}"
        noise(48, 40).save(path, **({"compression": "tiff_adobe_deflate"} if suffix == "tiff" else {}))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image at all")
    (tmp_path / "page.html").write_text("<html></html>")
    (tmp_path / "bomb.png").write_bytes(png(100_000, 100_000, b"\0" * 1000))
    (tmp_path / "wide-bomb.png").write_bytes(png(2**31 - 1, 1, b"\0" * 1000))
    (tmp_path / "no-pixels.png").write_bytes(png(0, 40, b""))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "there.png").write_text("mine")
    (tmp_path / "alexnet.safetensors").symlink_to(alexnet_file)
    (tmp_path / "cut.safetensors").write_bytes(alexnet_file.read_bytes()[:1000])
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("no weights at all")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"features.0.weight": Payload()}))
    torch.save({"features.0.weight": Payload()}, tmp_path / "evil-zip.pth")
    write_tar(tmp_path / "evil-tar.pth", pickle.dumps(Payload()))
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "strange.pth")
    own = tmp_path / "own"
    own.mkdir()
    torch.save({"features.0.weight": torch.zeros(3)}, own / "vgg16-397923af.pth")
    return tmp_path


AB = ("a.png", "b.png")
COMPARE = {
    # names
    "network": ([*AB, "--net", "vgg18"], ["unknown network 'vgg18'", "did you mean 'vgg1"]),
    "network, far off": ([*AB, "--net", "zzz"], ["unknown network 'zzz'", "vgg19"]),
    "tap": ([*AB, "--layers", "relu3_5"], ["unknown tap 'relu3_5'", "vgg19", "did you mean 'relu3_"]),
    "tap of another network": ([*AB, "--net", "vgg11", "--weights", "random", "--layers", "relu3_4"], ["'relu3_"]),
    "distance": ([*AB, "--distance", "cosin"], ["unknown distance 'cosin'", "did you mean 'cosine'"]),
    "weights name": ([*AB, "--weights", "bundeld"], ["unknown weights 'bundeld'", "did you mean 'bundled'"]),
    # weights
    "bundled of another": ([*AB, "--net", "alexnet"], ["bundled", "alexnet", "official"]),
    "weights missing": ([*AB, "--weights", "none.safetensors"], ["none.safetensors", "no such file"]),
    "weights folder": ([*AB, "--weights", "own"], ["folder", "own"]),
    "weights empty": ([*AB, "--weights", "empty.pth"], ["empty.pth", "empty"]),
    "weights text": ([*AB, "--weights", "text.pth"], ["text.pth"]),
    "weights cut": ([*AB, "--net", "alexnet", "--weights", "cut.safetensors"], ["cut.safetensors", "damaged"]),
    "weights list": ([*AB, "--weights", "list.pth"], ["list.pth", "list"]),
    "weights of strange keys": ([*AB, "--weights", "strange.pth"], ["strange.pth", "features", "conv.weight"]),
    "weights of another": (
        [*AB, "--net", "vgg11", "--weights", "alexnet.safetensors"],
        ["alexnet.safetensors", "vgg11"],
    ),
    "weights of another kind": ([*AB, "--net", "squeezenet1_1", "--weights", "alexnet.safetensors"], ["squeezenet1_1"]),
    "weights are an image": ([*AB, "--weights", "a.png"], ["a.png"]),
    "pickle": ([*AB, "--weights", "evil.pth"], ["evil.pth", "No code in it was run"]),
    "pickle in zip": ([*AB, "--weights", "evil-zip.pth"], ["evil-zip.pth", "No code in it was run"]),
    "pickle in tar": ([*AB, "--weights", "evil-tar.pth"], ["evil-tar.pth", "No code in it was run"]),
    "official of a wrong hash": ([*AB, "--net", "vgg16", "--weights", "official"], ["vgg16-397923af.pth", "sha256"]),
    # images
    "missing A": (["none.png", "b.png", *IMAGE], ["none.png", "exists"]),
    "missing B": (["a.png", "none.png", *IMAGE], ["none.png", "exists"]),
    "missing, of two lines": (["a.png", "no\nne.png", *IMAGE], ["ne.png"]),
    "missing, markup": (["a.png", "[bold]none.png", *IMAGE], ["[bold]none.png"]),
    "below a file": (["a.png", "b.png/c.png", *IMAGE], ["b.png/c.png"]),
    "name too long": (["a.png", "n" * 300 + ".png", *IMAGE], ["nnn"]),
    "folder": (["a.png", "folder.png", *IMAGE], ["folder.png", "folder"]),
    "empty": (["a.png", "empty.png", *IMAGE], ["empty.png", "empty"]),
    "no image": (["a.png", "text.png", *IMAGE], ["text.png"]),
    "a page": (["page.html", "b.png", *IMAGE], ["page.html"]),
    "cut png": (["a.png", "cut.png", *IMAGE], ["cut.png"]),
    "cut jpg": (["a.png", "cut.jpg", *IMAGE], ["cut.jpg"]),
    "cut webp": (["a.png", "cut.webp", *IMAGE], ["cut.webp"]),
    "cut tiff": (["a.png", "cut.tiff", *IMAGE], ["cut.tiff"]),
    "cut bmp": (["a.png", "cut.bmp", *IMAGE], ["cut.bmp"]),
    "bomb": (["bomb.png", "b.png", *IMAGE], ["bomb.png", "at most", "pixels"]),
    "wide bomb": (["wide-bomb.png", "b.png", *IMAGE], ["wide-bomb.png"]),
    "no pixels": (["no-pixels.png", "b.png", *IMAGE], ["no-pixels.png"]),
    "sizes": (["a.png", "wide.png", *IMAGE], ["48x40", "50x40", "--resize match"]),
    "too small": (["tiny.png", "tiny.png"], ["at least 16", "48"]),
    "one pixel": (["pixel.png", "pixel.png"], ["at least 16"]),
    "background": ([*AB, *IMAGE, "--background", "whit"], ["background", "'whit'"]),
    "background not opaque": ([*AB, *IMAGE, "--background", "#ff000080"], ["background", "opaque"]),
    # --layers
    "weight no number": ([*AB, "--layers", "relu2_2=x"], ["weight", "relu2_2=x"]),
    "weight left out": ([*AB, "--layers", "relu2_2="], ["weight", "relu2_2="]),
    "weight nan": ([*AB, "--layers", "relu2_2=nan"], ["weight", "finite"]),
    "weight inf": ([*AB, "--layers", "relu2_2=1e999"], ["weight", "finite"]),
    "layer twice": ([*AB, "--layers", "relu2_2=1,relu2_2=2"], ["relu2_2", "twice"]),
    "no layer": ([*AB, "--layers", " , "], ["--layers", "at least one"]),
    "layer without a name": ([*AB, "--layers", "=1"], ["tap"]),
    "layers by semicolon": ([*AB, "--layers", "relu2_2=1;relu3_3=1"], ["relu2_2=1;relu3_3=1"]),
    # --resize
    "resize to 0": ([*AB, *IMAGE, "--resize", "0"], ["size", "'0'"]),
    "resize below 0": ([*AB, *IMAGE, "--resize", "-5"], ["size", "'-5'"]),
    "resize half": ([*AB, *IMAGE, "--resize", "640x"], ["size", "'640x'"]),
    "resize word": ([*AB, *IMAGE, "--resize", "small"], ["size", "'small'"]),
    "resize 0x10": ([*AB, *IMAGE, "--resize", "0x10"], ["size", "'0x10'"]),
    "resize 1e3": ([*AB, *IMAGE, "--resize", "1e3"], ["size", "'1e3'"]),
    "resize to a bomb": ([*AB, *IMAGE, "--resize", "9999999"], ["pixels", "smaller"]),
    "resize beyond reason": ([*AB, *IMAGE, "--resize", "9" * 30], ["size"]),
    "resize beyond comparing": ([*AB, *WHOLE, "--resize", "5000x4000"], ["5000x4000", "16,000,000", "tiles"]),
    # --device
    "device": ([*AB, *IMAGE, "--device", "gpu"], ["device", "'gpu'", "--device cpu"]),
    "device number": ([*AB, *IMAGE, "--device", "cuda:99"], ["device", "'cuda:99'", "--device cpu"]),
    "device of none": ([*AB, *IMAGE, "--device", ""], ["device", "--device cpu"]),
    "device without values": ([*AB, *IMAGE, "--device", "meta"], ["device", "'meta'", "--device cpu"]),
    "device without a module": ([*AB, *IMAGE, "--device", "hpu"], ["device", "'hpu'", "--device cpu"]),
    "device of other sort": ([*AB, *IMAGE, "--device", "xla"], ["device", "'xla'", "--device cpu"]),
    # --heatmap
    "per layer of nothing": ([*AB, "--per-layer"], ["--per-layer", "--heatmap"]),
    "heat map exists": ([*AB, "--heatmap", "there.png"], ["there.png", "exists"]),
    "heat map exists, a picture": ([*AB, "--heatmap", "a.png"], ["a.png", "exists"]),
    "heat map is a folder": ([*AB, "--heatmap", "folder.png"], ["folder.png", "folder"]),
    "heat map over a folder": ([*AB, "--heatmap", "folder.png", "--overwrite"], ["folder.png", "folder"]),
    "heat map in no folder": ([*AB, "--heatmap", "none/heat.png"], ["folder", "none"]),
    "heat map below a file": ([*AB, "--heatmap", "there.png/heat.png"], ["there.png"]),
    "heat map gif": ([*AB, "--heatmap", "heat.gif"], ["heat.gif", ".png"]),
    "heat map without suffix": ([*AB, "--heatmap", "heat"], ["heat", ".png"]),
    "heat map of gram": ([*AB, "--distance", "gram", "--heatmap", "heat.png"], ["map", "gram"]),
    "heat map of mean_std": ([*AB, "--distance", "mean_std", "--heatmap", "heat.png"], ["map", "mean_std"]),
    "json error": (["a.png", "none.png", *IMAGE, "--json"], ["none.png"]),
    # usage
    "no images": ([], ["A", "opsin compare --help"]),
    "one image": (["a.png"], ["B", "opsin compare --help"]),
    "three images": (["a.png", "b.png", "a.png"], ["a.png", "opsin compare --help"]),
    "option": ([*AB, "--netz", "vgg19"], ["--netz", "opsin compare --help"]),
    "option without value": ([*AB, "--net"], ["--net"]),
    "flag with value": ([*AB, "--json=yes"], ["--json"]),
}


@pytest.mark.parametrize("case", COMPARE)
def test_compare_refuses(call, files, snapshot, monkeypatch, case):
    arguments, fragments = COMPARE[case]
    if "cuda:99" in arguments and torch.cuda.device_count() > 99:
        pytest.skip("this machine has it")
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(files / "own"))
    before = snapshot()
    call("compare", *arguments).refuses(*fragments)
    assert snapshot() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_no_cuda(call, files):
    call("compare", *AB, "--device", "cuda").refuses("'cuda'", "--device cpu")


COMMANDS = {
    "command": (["comapre"], ["comapre", "opsin --help"]),
    "option": (["--bogus"], ["--bogus"]),
    "weights alone": (["weights"], ["opsin weights --help"]),
    "weights command": (["weights", "lst"], ["lst"]),
    "list of something": (["weights", "list", "vgg16"], ["vgg16"]),
    "fetch nothing": (["weights", "fetch"], ["Missing argument", "opsin weights fetch --help"]),
    "fetch unknown": (["weights", "fetch", "vgg99"], ["unknown network 'vgg99'", "did you mean 'vgg"]),
    "fetch the image": (["weights", "fetch", "image"], ["image"]),
    "verify unknown": (["weights", "verify", "alexnte"], ["did you mean 'alexnet'"]),
    "verify missing": (["weights", "verify", "vgg13"], ["vgg13", "Fetch"]),
    "demo of something": (["demo", "cat.png"], ["cat.png"]),
    "demo to nowhere": (["demo", "-o"], ["-o"]),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_commands_refuse(call, snapshot, case):
    arguments, fragments = COMMANDS[case]
    call(*arguments).refuses(*fragments)
    assert snapshot() == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "a.png", "none.png"],
        ["compare", "a.png", "cut.tiff", "--heatmap", "heat.png"],  # libtiff writes to stderr by itself
        ["compare", "a.png", "b.png", "--netz", "vgg19"],
        ["comapre", "a.png", "b.png"],
    ],
    ids=" ".join,
)
def test_as_a_process(opsin, files, snapshot, arguments):
    before = snapshot()
    opsin(*arguments).refuses()
    assert snapshot() == before


def test_more_pixels_than_can_be_compared(call, tmp_path):
    Image.new("1", (5000, 4000)).save(tmp_path / "large.png")
    call("compare", "large.png", "large.png", *WHOLE).refuses("16,000,000", "5000x4000", "--resize")


def test_what_is_wrong_is_said_before_anything_is_fetched(call, files, monkeypatch):
    """Half a gigabyte is not downloaded to find out that a file name was misspelt."""
    from opsin.errors import WeightsError
    from opsin.weights import sources

    def fetched(*_args, **_kwargs):
        raise WeightsError("fetched")

    monkeypatch.setattr(sources, "download", fetched)
    for b, fragment in (("none.png", "none.png"), ("wide.png", "50x40")):
        call("compare", "a.png", b, "--net", "vgg19", "--weights", "official").refuses(fragment)


# --- while it runs


@pytest.mark.parametrize("output", [[], ["--json"]])
@pytest.mark.parametrize("old", [False, True])
def test_a_full_disk(call, files, snapshot, monkeypatch, output, old):
    def full(self, path, *args, **kwargs):
        Path(path).write_bytes(b"half a picture")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if old:
        (files / "heat.png").write_text("old")
    before = snapshot()
    monkeypatch.setattr(Image.Image, "save", full)
    outcome = call("compare", *AB, *IMAGE, "--heatmap", "heat.png", "--overwrite", *output)
    outcome.refuses("heat.png", "No space left on device")
    assert snapshot() == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_full(call, files):
    disk = files / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("nothing can be mounted here")
    try:
        call("compare", *AB, *IMAGE, "--heatmap", "disk/heat.png").refuses("heat.png", "No space left on device")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_ctrl_c_while_writing(call, files, snapshot, monkeypatch):
    def interrupted(self, path, *args, **kwargs):
        Path(path).write_bytes(b"half a picture")
        raise KeyboardInterrupt

    before = snapshot()
    monkeypatch.setattr(Image.Image, "save", interrupted)
    call("compare", *AB, *IMAGE, "--heatmap", "heat.png").refuses("interrupted", code=130)
    assert snapshot() == before


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore"),
    ],
    ids=["python", "torch", "cuda"],
)
def test_no_memory_left(call, files, snapshot, monkeypatch, error):
    import opsin

    def evaluate(*_args, **_kwargs):
        raise error

    before = snapshot()
    monkeypatch.setattr(opsin.PerceptualLoss, "evaluate", evaluate)
    call("compare", *AB, *IMAGE, "--heatmap", "heat.png").refuses("memory", "--resize")
    assert snapshot() == before


def test_a_bug_is_not_hidden(files, monkeypatch):
    """An error of ours keeps its traceback, which one needs to mend it."""
    import opsin
    from opsin.cli.main import run

    def evaluate(*_args, **_kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(opsin.PerceptualLoss, "evaluate", evaluate)
    with pytest.raises(RuntimeError, match="a bug"):
        run(["compare", *AB, *IMAGE])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read and write everything")
def test_permissions(call, files):
    (files / "b.png").chmod(0)
    call("compare", *AB, *IMAGE).refuses("b.png", "may")
    (files / "own").chmod(0o500)
    call("compare", "a.png", "a.png", *IMAGE, "--heatmap", "own/heat.png").refuses("heat.png")


def test_stderr_of_this_process_is_whole_again(call, files):
    """The codecs' silence ends with the reading."""
    call("compare", "a.png", "cut.tiff", *IMAGE).refuses()
    listing = Path("/proc/self/fd")
    before = len(list(listing.iterdir())) if listing.is_dir() else 0
    for _ in range(3):
        call("compare", "a.png", "cut.tiff", *IMAGE).refuses()
    if before:
        assert len(list(listing.iterdir())) == before
    assert sys.stderr.writable()
