"""A long run on a terminal: where it is, and Ctrl-C that lets it end well."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

INTERRUPTED = 130


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """A list that is no longer empty once Ctrl-C was pressed; pressed twice, it ends the program as ever."""
    pressed: list[int] = []

    def handle(number: int, _: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


class Live:
    """Where a run is: one line that is written over on a terminal, and elsewhere one at the end of each scale."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def show(self, line: str, *, last: bool) -> None:
        """Show a line; elsewhere than on a terminal only if it is the last of a part."""
        if self._terminal:
            print(f"\r\x1b[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take away a line that a run left in the middle."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def terms_text(terms: Mapping[str, float]) -> str:
    """Terms of a loss in a line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in terms.items())


def time_text(seconds: float) -> str:
    """Minutes and seconds.

    Example:
        >>> time_text(75.5)
        '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
