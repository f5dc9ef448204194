"""Fixtures of the applications' tests."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

WaitFor = Callable[[Callable[[], bool], "subprocess.Popen[str]"], None]


@pytest.fixture(scope="session")
def wait_for() -> WaitFor:
    """Waits until something is so, while a program runs: two minutes at most."""

    def wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        end = time.monotonic() + 120
        while not condition():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.005)

    return wait
