"""The line that says where a run is: written over on a terminal, and elsewhere one for each part."""

from __future__ import annotations

import io
import os

import pytest

from opsin.cli.live import Live


class Terminal(io.StringIO):
    """Stands for stderr on a terminal."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int | None = 20) -> Terminal:
    """Put a terminal in the place of stderr; one of None columns doesn't know its width."""

    def tell(_: int) -> os.terminal_size:
        if columns is None:
            raise OSError
        return os.terminal_size((columns, 5))

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(os, "get_terminal_size", tell)
    return stream


def test_on_a_terminal_one_line_that_does_not_wrap(monkeypatch):
    terminal = on_terminal(monkeypatch)
    shown = Live()
    shown.show("a" * 30, last=False)
    shown.show("b" * 30, last=True)
    shown.close()
    assert terminal.getvalue() == "\r\x1b[K" + "a" * 19 + "\r\x1b[K" + "b" * 30 + "\n" + "\r\x1b[K"


def test_elsewhere_only_what_is_last(capsys):
    shown = Live()
    shown.show("a" * 300, last=False)
    shown.show("b" * 300, last=True)
    shown.close()
    assert capsys.readouterr() == ("", "b" * 300 + "\n")


@pytest.mark.parametrize("columns", [0, None])
def test_a_terminal_that_does_not_tell_its_width(monkeypatch, columns):
    terminal = on_terminal(monkeypatch, columns)
    Live().show("a" * 300, last=False)
    assert terminal.getvalue() == "\r\x1b[K" + "a" * 79
