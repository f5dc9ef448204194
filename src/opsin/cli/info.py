"""`opsin info`: what opsin runs on and what is at hand, for a report of an error or of a speed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer


def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False) -> None:
    """Show versions, processor, native library, CUDA devices, weights and extras on this machine."""
    facts = _facts()
    if as_json:
        import json

        print(json.dumps(facts))
        return
    lines = list(_lines(facts))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:  # not wrapped, so that paths can be copied
        print(f"{name:{width}}  {text}")


def _facts() -> dict[str, Any]:
    import platform
    from dataclasses import asdict

    import torch

    from opsin import _native
    from opsin._version import __version__
    from opsin.errors import OpsinError
    from opsin.report.environment import EXTRAS, machine, versions
    from opsin.weights import efficientnet, shift_tolerant, sources

    try:
        convolution, trouble = _native.algorithm(), None
    except OpsinError as error:
        convolution, trouble = None, str(error)
    found = versions(*EXTRAS.values())
    return {
        "versions": {"opsin": __version__, "python": platform.python_version(), "torch": str(torch.__version__)},
        "machine": asdict(machine()),
        "native": {"available": _native.available(), "why_not": _native.why_not()},
        "OPSIN_CONV": {"asked": os.environ.get("OPSIN_CONV"), "algorithm": convolution, "trouble": trouble},
        "OPSIN_WEIGHTS_DIR": os.environ.get("OPSIN_WEIGHTS_DIR"),
        "weights": [
            {"network": row.network, "source": row.source, "path": row.path}
            for row in [*sources.status(), *shift_tolerant.status(), efficientnet.status()]
        ],
        "extras": {extra: found[distribution] for extra, distribution in EXTRAS.items()},
    }


def _lines(facts: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Name and text of each line; one without a name goes on with the line before."""
    machine, convolution = facts["machine"], facts["OPSIN_CONV"]
    yield from facts["versions"].items()
    yield "system", machine["system"]
    yield "CPU", f"{machine['cpu']}, {_count(machine['cores'], 'core')}, {machine['vectors']}"
    yield "threads", f"{machine['threads']} of torch"
    yield "CUDA", ", ".join(machine["cuda"]) or "no device"
    yield "native", "yes" if facts["native"]["available"] else f"no: {facts['native']['why_not']}"
    unset = "" if convolution["asked"] else " (not set)"
    yield "OPSIN_CONV", convolution["trouble"] or convolution["algorithm"] + unset
    folder = facts["OPSIN_WEIGHTS_DIR"]
    if folder:
        yield "OPSIN_WEIGHTS_DIR", folder if Path(folder).expanduser().is_dir() else f"{folder}: no such folder"
    yield from _grouped(facts["weights"])
    yield from _extras(facts["extras"])


def _grouped(weights: Iterable[Mapping[str, str | None]]) -> Iterable[tuple[str, str]]:
    groups: dict[str, list[str]] = {}
    for row in sorted(weights, key=lambda row: row["path"] is None):
        place = f"in {Path(row['path']).parent}" if row["path"] else "not here"
        groups.setdefault(f"({row['source']}) {place}", []).append(str(row["network"]))
    for i, (place, networks) in enumerate(groups.items()):
        yield "" if i else "weights", f"{', '.join(networks)} {place}"


def _extras(extras: Mapping[str, str | None]) -> Iterable[tuple[str, str]]:
    installed = ", ".join(f"{extra} ({version})" for extra, version in extras.items() if version)
    missing = ", ".join(extra for extra, version in extras.items() if not version)
    yield "extras", installed or "none"
    if missing:
        yield "", f"not installed: {missing}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
