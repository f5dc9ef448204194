"""`opsin`: the commands together, and what all of them do with errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from opsin._version import __version__
from opsin.cli import compare, demo, weights
from opsin.errors import OpsinError

# typer carries its own copy of click from 0.20 on, so that the class is reached through typer.
_ClickError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

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
app.command("demo")(demo.demo)
app.add_typer(weights.app, name="weights")


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
    try:
        status = app(arguments or ["--help"], prog_name="opsin", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain at exit about the pipe it cannot flush.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123 (open until the process ends)
        return 1
    except KeyboardInterrupt:
        return _complain("interrupted", status=130)
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
        return _complain("not enough memory for images of this size. Make them smaller with --resize.")
    return status if isinstance(status, int) else 0


def _complain(message: str, status: int = 2) -> int:
    """One line on stderr, however long."""
    sys.stderr.write(f"opsin: {' '.join(message.split())}\n")
    return status
