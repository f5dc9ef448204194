"""A long run on a terminal: a line that says where it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

INTERRUPTED = 130


class Live:
    """Where a run is: one line that is written over on a terminal, and elsewhere one at the end of each part."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()

    def show(self, line: str, *, last: bool) -> None:
        """Show a line; elsewhere than on a terminal only if it is the last of a part."""
        if self.terminal:
            # A line that wraps cannot be written over.
            shown = line if last else line[: _columns() - 1]
            print(f"\r\x1b[K{shown}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take away a line that a run left in the middle."""
        if self.terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _columns() -> int:
    """Width of the terminal that stderr is."""
    try:
        found = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        found = 0
    return found or 80  # some say 0


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
