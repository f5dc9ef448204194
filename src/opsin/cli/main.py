"""`opsin`: the commands together, and what all of them do with errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from opsin._version import __version__
from opsin.cli import (
    compare,
    demo,
    evaluate,
    export,
    generate,
    info,
    judge,
    losses,
    score,
    stylize,
    train,
    translate,
    upscale,
    weights,
)
from opsin.errors import OpsinError

# typer carries its own copy of click from 0.26 on, so that the class is reached through typer.
_ClickError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

_INTERRUPTED = 130
_MERGE = "score merge"  # one word to typer, two to people

app = typer.Typer(
    name="opsin",
    help="Perceptual losses: how different two images look to a pretrained network.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Each command has its own help: opsin compare --help",
)
app.command("compare")(compare.compare)
app.command("judge")(judge.judge)
app.command("score")(score.score)
app.command(_MERGE)(score.merge)
app.command("losses")(losses.losses)
app.command("stylize")(stylize.stylize)
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.command("upscale")(upscale.upscale)
app.command("translate")(translate.translate)
app.command("generate")(generate.generate)
app.command("export")(export.export)
app.command("demo")(demo.demo)
app.add_typer(weights.app, name="weights")
app.command("info")(info.info)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"opsin {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 if it went well, 2 with one line on stderr if what was asked cannot be done."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit status."""
    _mend_streams()
    if arguments[:2] == _MERGE.split():
        arguments = [_MERGE, *arguments[2:]]
    try:
        status = app(arguments or ["--help"], prog_name="opsin", standalone_mode=False)
        sys.stdout.flush()
    except typer.Abort:  # older typer's word for Ctrl-C
        status = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain at exit about the pipe it cannot flush.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 (until the end)
        return 1
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except OpsinError as error:
        return _complain(str(error))
    except _ClickError as error:
        context = getattr(error, "ctx", None)
        hint = f" See '{context.command_path} --help'." if context is not None else ""
        message: str = error.format_message()  # type: ignore[attr-defined]
        return _complain(message + ("" if message.endswith((".", "?", "!")) else ".") + hint)
    except OSError as error:
        named = f" '{error.filename}'" if error.filename else ""
        return _complain(f"cannot read or write{named}: {error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        return _complain("not enough memory for images of this size. Make them or tiles smaller: --resize, --tile.")
    if status == _INTERRUPTED:
        return _complain("interrupted", status)
    return status if isinstance(status, int) else 0


def _mend_streams() -> None:
    """Make output that the terminal cannot show readable instead of fatal, and closed streams silent."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 (until the end)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str, status: int = 2) -> int:
    """One line on stderr, however long."""
    sys.stderr.write(f"opsin: {' '.join(message.split())}\n")
    return status
