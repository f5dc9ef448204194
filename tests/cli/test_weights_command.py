"""`opsin weights`: list, fetch, verify."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from opsin.weights import catalog, sources

NETWORKS = [
    *(f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")),
    "alexnet",
    "squeezenet1_1",
]
BODY = bytes(range(256)) * 2048  # half a MiB


class Server(ThreadingHTTPServer):
    """Answers /models/good-*.pth with `BODY`, anything else with 404."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        if "/good-" not in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder of OPSIN_WEIGHTS_DIR, empty."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(folder))
    return folder


@pytest.fixture
def official(server, own, monkeypatch):
    """Three networks besides vgg19: one that can be fetched, one that is of a wrong hash, one that isn't there."""
    digest = hashlib.sha256(BODY).hexdigest()
    base = f"http://127.0.0.1:{server.server_port}/models/"
    entries = [
        catalog.OFFICIAL["vgg19"],
        catalog.OfficialWeights("vgg16", f"{base}good-{digest[:8]}.pth", digest, "BSD-3-Clause", "inet"),
        catalog.OfficialWeights("vgg13", f"{base}good-00000000.pth", "00000000", "BSD-3-Clause", "inet"),
        catalog.OfficialWeights("alexnet", f"{base}gone-{digest[:8]}.pth", digest[:8], "BSD-3-Clause", "inet"),
    ]
    monkeypatch.setattr(catalog, "OFFICIAL", {entry.network: entry for entry in entries})
    return digest


# --- list


@pytest.mark.parametrize("columns", ["70", "80", "200"])
def test_list(call, monkeypatch, columns):
    """Each network on a line of its own, whatever the width, with the number of its licence below."""
    monkeypatch.setenv("COLUMNS", columns)
    text = call("weights", "list").succeeds()
    rows = re.findall(r"^(\w+) +(bundled|official) +(yes|no) +(\w{8}) +(caffe|inet) +\((\d)\) *$", text, re.MULTILINE)
    assert [row[:2] for row in rows] == [("vgg19", "bundled"), *((name, "official") for name in NETWORKS)]
    assert [row[2] for row in rows] == ["yes", *["no"] * len(NETWORKS)]
    licences = dict(re.findall(r"^\((\d)\) (.+)$", text, re.MULTILINE))
    bundled, *official = (licences[row[5]] for row in rows)
    assert "MIT" in bundled
    assert "CC BY 4.0" in bundled
    assert all("BSD-3-Clause" in licence for licence in official)
    assert "\x1b" not in text


def test_list_as_json(opsin):
    rows = json.loads(opsin("weights", "list", "--json").succeeds())
    assert [(row["network"], row["source"]) for row in rows] == [
        ("vgg19", "bundled"),
        *((name, "official") for name in NETWORKS),
    ]
    for row in rows:
        assert set(row) == {"network", "source", "path", "licence", "normalization", "sha256", "url"}
        assert row["licence"]
    bundled, *official = rows
    assert bundled["path"]
    assert "MIT" in bundled["licence"]
    assert "CC BY 4.0" in bundled["licence"]
    assert bundled["sha256"].startswith("c34748d2")
    for row in official:
        assert row["path"] is None
        assert "BSD-3-Clause" in row["licence"]
        assert row["url"].startswith("https://download.pytorch.org/models/")
        assert row["url"].removesuffix(".pth").endswith(row["sha256"][:8])


# --- fetch


def test_fetch(call, server, own, official):
    path = own / f"good-{official[:8]}.pth"
    assert call("weights", "fetch", "vgg16").succeeds() == f"{path}\n"
    assert path.read_bytes() == BODY
    assert list(own.iterdir()) == [path]
    assert call("weights", "fetch", "vgg16").succeeds() == f"{path}\n"
    assert len(server.asked) == 1
    rows = {(r["network"], r["source"]): r for r in json.loads(call("weights", "list", "--json").succeeds())}
    assert rows["vgg16", "official"]["path"] == str(path)
    assert rows["alexnet", "official"]["path"] is None


@pytest.mark.parametrize(
    ("network", "fragments"),
    [
        ("vgg13", ["good-00000000.pth", "sha256", "00000000"]),
        ("alexnet", ["gone-", "404"]),
        ("vgg17", ["unknown network 'vgg17'", "did you mean 'vgg1"]),
    ],
)
def test_fetch_refuses(call, own, official, network, fragments):
    call("weights", "fetch", network).refuses(*fragments)
    assert list(own.iterdir()) == []


def test_fetch_without_a_connection(call, own, official, server):
    server.shutdown()
    server.server_close()
    call("weights", "fetch", "vgg16").refuses(f"good-{official[:8]}.pth", "by hand")
    assert list(own.iterdir()) == []


def test_fetch_of_a_broken_file(call, own, official):
    """It is the user's to delete."""
    path = own / f"good-{official[:8]}.pth"
    path.write_bytes(b"broken")
    call("weights", "fetch", "vgg16").refuses(str(path), "sha256", "Delete")
    assert path.read_bytes() == b"broken"


# --- verify


def test_verify(call, own, official):
    path = own / f"good-{official[:8]}.pth"
    path.write_bytes(BODY)
    assert call("weights", "verify", "vgg16").succeeds() == f"vgg16 official: {official} {path}\n"
    everything = call("weights", "verify").succeeds().splitlines()
    assert len(everything) == 2
    assert everything[0].startswith(f"vgg19 bundled: {catalog.BUNDLED.sha256} ")
    assert everything[1] == f"vgg16 official: {official} {path}"


def test_verify_broken(call, own, official):
    path = own / f"good-{official[:8]}.pth"
    path.write_bytes(BODY[:-1])
    call("weights", "verify", "vgg16").refuses(str(path), "sha256", hashlib.sha256(BODY[:-1]).hexdigest(), "Delete")
    # Of all that are here, the good ones are still told.
    outcome = call("weights", "verify")
    assert outcome.code == 2
    assert outcome.out.startswith("vgg19 bundled: ")
    assert len(outcome.out.splitlines()) == 1
    assert len(outcome.err.splitlines()) == 1
    assert str(path) in outcome.err
    assert path.exists()


def test_verify_the_bundled(call, tmp_path, monkeypatch):
    copy = tmp_path / catalog.BUNDLED.file
    copy.write_bytes(b"broken")
    assert call("weights", "verify", "vgg19").succeeds().startswith("vgg19 bundled: c34748d2")
    monkeypatch.setattr(sources, "bundled_path", lambda: copy)
    call("weights", "verify", "vgg19").refuses(str(copy), "c34748d2")


def test_verify_ones_own(call, own):
    path = own / "alexnet.safetensors"
    path.write_bytes(b"mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    assert call("weights", "verify", "alexnet").succeeds() == f"alexnet file: {digest} {path}\n"


def test_verify_what_is_not_here(call, own, official):
    call("weights", "verify", "alexnet").refuses("alexnet", "gone-", "Fetch")
