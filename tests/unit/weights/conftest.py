from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BODY = bytes(range(256)) * 4096  # 1 MiB: several chunks


class Server(ThreadingHTTPServer):
    """Answers every GET with `body`, in the way that `mode` says."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = BODY
        self.mode = "good"
        self.gets: list[str] = []
        self.release = threading.Event()  # what "stalled" waits for

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed

    def url(self, name: str = "net-01234567.pth") -> str:
        return f"http://127.0.0.1:{self.server_port}/models/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        server, body, mode = self.server, self.server.body, self.server.mode
        server.gets.append(self.path)
        if mode == "404":
            self.send_error(404)
            return
        if mode == "redirect":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1.invalid/elsewhere")
            self.end_headers()
            return
        self.send_response(200)
        if mode != "no length":
            length = {"too long": 2 * len(body), "huge": 1 << 60}.get(mode, len(body))
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if mode == "corrupted":
            self.wfile.write(body[:-1] + b"x")
        elif mode == "truncated":
            self.wfile.write(body[: len(body) // 2])
        elif mode == "reset":
            self.wfile.write(body[: len(body) // 2])
            # Closing with a linger of 0 s sends a reset instead of an end of file.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif mode == "stalled":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            server.release.wait(30)
        elif mode == "slow":
            for start in range(0, len(body), len(body) // 8):
                self.wfile.write(body[start : start + len(body) // 8])
                server.release.wait(0.05)
        else:
            self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Empty folders: the one of `OPSIN_WEIGHTS_DIR` and the checkpoints of torch hub's cache."""
    own, home = tmp_path / "own", tmp_path / "torch"
    own.mkdir()
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(own))
    monkeypatch.setenv("TORCH_HOME", str(home))
    monkeypatch.delenv("TORCH_HUB", raising=False)
    return own, home / "hub" / "checkpoints"
