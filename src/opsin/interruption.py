"""Ctrl-C, kept until the step is done; and processes that end with the one they work for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any


class Interruption:
    """Within it the first Ctrl-C only sets `asked`; a second one ends the program as ever.

    Outside of the main thread, where Python has no signals, nothing changes.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None  # whatever signal.signal gave

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None


def obey_main_process() -> None:
    """What a process that works for another does first: it leaves Ctrl-C to it, and ends when it is gone."""
    # Ctrl-C goes to all processes of a terminal; the main one decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_end_with, args=(parent.pid,), daemon=True).start()


def _end_with(parent: int) -> None:
    # torch's own watch on the parent is not enough: if that was killed, a process with results that nobody takes
    # waits for ever to hand them over, and keeps its memory and the terminal's pipes.
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
