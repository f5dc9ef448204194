"""Run the tests of the native library with the address and the undefined-behaviour sanitizer in it.

    python tools/sanitize.py [further arguments of pytest]

It needs gcc with libasan and libubsan. The library is built in a copy of the sources; the one in use stays as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPILER = "gcc -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"


def library(name: str) -> str:
    """Where gcc has a library."""
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.check_output(command, text=True).strip()  # noqa: S603 (the gcc that also compiles)


def main() -> None:
    """Build, run the tests and end with their exit status."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "src")
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        env = {**os.environ, "PYTHONPATH": str(source)}
        subprocess.run([sys.executable, "-m", "opsin._native"], check=True, env={**env, "CC": COMPILER})
        env |= {
            # Python has no sanitizer in it: the runtime must come first, and find the exceptions that it watches.
            "LD_PRELOAD": " ".join(map(library, ("libasan.so", "libstdc++.so"))),
            # What Python keeps until it ends is no leak.
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        tests = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--capture=sys",
            str(ROOT / "tests" / "unit" / "native"),
            *sys.argv[1:],
        ]
        done = subprocess.run(tests, env=env, cwd=ROOT, check=False)  # noqa: S603 (the caller's own arguments)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
