"""Compiles the native library, once for each level of vector instructions that torch tells apart.

    python -m opsin._native

The build hook of the wheel runs it too, before there is an opsin to import: it needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = [HERE / f"{name}.c" for name in ("winograd", "narrow", "heads", "pooling", "sources")]
HEADERS = [HERE / f"{name}.h" for name in ("convolution", "vectors")]
LEVELS = {
    "avx512": ["-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "default": [],
}
# FMA wherever there is one; nobody reads errno or floating-point exceptions. NaNs and infinities keep their meaning.
_FLAGS = ["-std=gnu11", "-O3", "-fPIC", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
# Vectors are never handed from one file to another.
_FLAGS += ["-Wno-psabi"]


def library(level: str) -> Path:
    """Where the library for a level is, if it has been built."""
    return HERE / f"native-{level}.so"


def signature() -> str:
    """A hash of the sources, which a library carries that was built of them."""
    digest = hashlib.sha256()
    for source in (*SOURCES, *HEADERS):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def build() -> list[Path]:
    """Compile all levels of this machine's architecture and return the libraries.

    Raises:
        OSError: no C compiler.
        subprocess.CalledProcessError: it failed; its `stderr` says at what.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    define = f'-DOPSIN_SOURCES="{signature()}"'
    levels = LEVELS if platform.machine() in ("x86_64", "AMD64") else {"default": []}
    for old in HERE.glob("native-*.so"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        for level, flags in levels.items():
            objects = [str(Path(folder, f"{level}-{source.stem}.o")) for source in SOURCES]
            for source, compiled in zip(SOURCES, objects, strict=True):
                _run([*compiler, *_FLAGS, define, *flags, "-c", str(source), "-o", compiled])
            # Without -fopenmp: the OpenMP symbols stay open, for those of the library that torch has loaded. A second
            # one would have threads of its own, which fight torch's for the processors.
            _run([*compiler, "-shared", "-s", *objects, "-o", str(Path(folder, f"{level}.so")), "-lm"])
        for level in levels:
            library(level).write_bytes(Path(folder, f"{level}.so").read_bytes())
    return [library(level) for level in levels]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 (no shell, and the compiler is the caller's)
