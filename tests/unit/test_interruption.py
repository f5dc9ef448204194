"""Processes that work for another end with it."""

from __future__ import annotations

import signal
import subprocess
import sys

SCRIPT = """
import multiprocessing, os, signal, time
from opsin.interruption import obey_main_process

def work(ready):
    obey_main_process()
    ready.set()
    time.sleep(600)

context = multiprocessing.get_context("fork")
ready = context.Event()
context.Process(target=work, args=(ready,)).start()
ready.wait()
print("working", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_ends_with_its_parent():
    # What the worker has of the parent's, its end of the pipe too, is let go of: the output comes to its end.
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, timeout=60, check=False)
    assert done.stdout == b"working\n", done.stderr
    assert done.returncode == -signal.SIGKILL
