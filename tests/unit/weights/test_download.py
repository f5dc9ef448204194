from __future__ import annotations

import errno
import hashlib
import io
import multiprocessing
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opsin.errors import WeightsError
from opsin.weights.download import download, sha256_of

BODY = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(BODY).hexdigest()
NAME = "net-01234567.pth"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_line(error: BaseException) -> str:
    message = str(error)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8]], ids=["full", "prefix"])
@pytest.mark.parametrize("mode", ["good", "no length", "slow"])
def test_a_good_file_arrives_alone(server: Any, tmp_path: Path, mode: str, sha256: str) -> None:
    server.mode = mode
    folder = tmp_path / "made" / "on the way"

    path = download(server.url(), folder / NAME, sha256)

    assert path == folder / NAME
    assert path.read_bytes() == BODY
    assert sha256_of(path) == SHA256
    assert left(folder) == [NAME]


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("404", "404"),
        ("truncated", "1,048,576 bytes, got 524,288"),
        ("too long", "2,097,152 bytes, got 1,048,576"),
        ("reset", "could not be downloaded"),
        ("corrupted", f"sha256 that begins with {SHA256}, got "),
        ("huge", "free space"),
        ("redirect", "could not be downloaded"),
    ],
)
def test_a_bad_answer_leaves_nothing(server: Any, tmp_path: Path, mode: str, says: str) -> None:
    server.mode = mode

    with pytest.raises(WeightsError) as caught:
        download(server.url(), tmp_path / NAME, SHA256)

    message = one_line(caught.value)
    assert says in message
    for part in (server.url(), f"'{NAME}'", f"'{tmp_path}'"):
        assert part in message
    assert left(tmp_path) == []


def test_a_server_that_stops_answering_is_given_up(server: Any, tmp_path: Path) -> None:
    server.mode = "stalled"
    with pytest.raises(WeightsError, match="timed out"):
        download(server.url(), tmp_path / NAME, SHA256, timeout=0.2)
    assert left(tmp_path) == []


def test_no_server_at_all(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{NAME}"
        with pytest.raises(WeightsError, match="refused") as caught:
            download(url, tmp_path / NAME, SHA256)
    assert url in one_line(caught.value)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://download.pytorch.org/models/x.pth",
        "http://127.0.0.1.example.org/x.pth",
        "http://localhost@example.org/x.pth",
        "ftp://localhost/x.pth",
        "file:///etc/hostname",
        "/etc/hostname",
    ],
)
def test_only_https(tmp_path: Path, url: str) -> None:
    def opener(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("asked the server")

    with pytest.raises(WeightsError, match="https"):
        download(url, tmp_path / NAME, SHA256, opener=opener)
    assert left(tmp_path) == []


class Response(io.BytesIO):
    """A response that runs `act` instead of its second read."""

    def __init__(self, act: Callable[[], None], address: str = "https://example.org/x.pth") -> None:
        super().__init__(BODY)
        self.headers = {"Content-Length": str(len(BODY))}
        self.reads = 0
        self.act = act
        self.address = address

    def geturl(self) -> str:
        return self.address

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads == 2:
            self.act()
        return super().read(size)


def test_an_opener_is_called_with_the_timeout(tmp_path: Path) -> None:
    asked: list[tuple[str, float]] = []

    def opener(request: Any, *, timeout: float) -> Response:
        asked.append((request.full_url, timeout))
        return Response(lambda: None)

    download("https://example.org/x.pth", tmp_path / NAME, SHA256, timeout=7.0, opener=opener)

    assert asked == [("https://example.org/x.pth", 7.0)]
    assert left(tmp_path) == [NAME]


def test_a_redirect_must_not_leave_https(tmp_path: Path) -> None:
    def opener(request: Any, *, timeout: float) -> Response:
        return Response(lambda: None, "http://example.org/x.pth")

    with pytest.raises(WeightsError, match="https"):
        download("https://example.org/x.pth", tmp_path / NAME, SHA256, opener=opener)
    assert left(tmp_path) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def act() -> None:
        assert left(tmp_path) == [f"{NAME}.lock", f"{NAME}.part"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("https://example.org/x.pth", tmp_path / NAME, SHA256, opener=lambda *_, **__: Response(act))
    assert left(tmp_path) == []


def test_a_full_disk_leaves_nothing(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, data: Any, /) -> int:
            if self.tell() > 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    real = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        return Full(self, mode) if self.suffix == ".part" else real(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(WeightsError, match="No space left on device"):
        download(server.url(), tmp_path / NAME, SHA256)
    assert left(tmp_path) == []


def test_the_disk_is_looked_at_first(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=len(BODY) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WeightsError, match="1,048,576 bytes, got 1,048,575"):
        download(server.url(), tmp_path / NAME, SHA256)
    assert left(tmp_path) == []


def test_a_folder_that_cannot_be_made(server: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="could not be downloaded"):
        download(server.url(), tmp_path / "file" / NAME, SHA256)
    assert server.gets == []


def test_a_stale_part_is_replaced(server: Any, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"y" * 2 * len(BODY))
    (tmp_path / f"{NAME}.lock").touch()
    assert download(server.url(), tmp_path / NAME, SHA256).read_bytes() == BODY
    assert left(tmp_path) == [NAME]


def test_a_file_that_is_there_is_checked_not_fetched(server: Any, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(BODY)
    download(server.url(), tmp_path / NAME, SHA256)
    (tmp_path / NAME).write_bytes(b"mine")
    with pytest.raises(WeightsError, match="Delete it"):
        download(server.url(), tmp_path / NAME, SHA256)
    assert server.gets == []
    assert (tmp_path / NAME).read_bytes() == b"mine"


def test_threads_take_turns(server: Any, tmp_path: Path) -> None:
    server.mode = "slow"
    errors: list[BaseException] = []

    def fetch() -> None:
        try:
            download(server.url(), tmp_path / NAME, SHA256)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(server.gets) == 1
    assert left(tmp_path) == [NAME]


def test_processes_take_turns(server: Any, tmp_path: Path) -> None:
    server.mode = "slow"
    # "spawn": forking a process with threads, the server's, is an error in newer Pythons.
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=download, args=(server.url(), tmp_path / NAME, SHA256[:8])) for _ in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(30)

    assert [rank.exitcode for rank in ranks] == [0, 0]
    assert len(server.gets) == 1
    assert left(tmp_path) == [NAME]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_run_does_no_harm(server: Any, tmp_path: Path) -> None:
    server.mode = "stalled"
    part = tmp_path / f"{NAME}.part"
    program = (
        "import sys; from pathlib import Path; from opsin.weights.download import download; "
        "download(sys.argv[1], Path(sys.argv[2]), sys.argv[3])"
    )
    process = subprocess.Popen([sys.executable, "-c", program, server.url(), str(tmp_path / NAME), SHA256])
    deadline = time.monotonic() + 15
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert part.stat().st_size > 0
    assert not (tmp_path / NAME).exists()

    server.mode = "good"
    assert download(server.url(), tmp_path / NAME, SHA256).read_bytes() == BODY
    assert left(tmp_path) == [NAME]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False)])
def test_a_bar_on_a_terminal_only(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: bool, shown: bool
) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    download(server.url(), tmp_path / "a.pth", SHA256, progress=progress)
    monkeypatch.setattr(sys, "stderr", terminal)
    download(server.url(), tmp_path / "b.pth", SHA256, progress=progress)
    assert pipe.getvalue() == ""
    assert ("b.pth" in terminal.getvalue()) is shown
