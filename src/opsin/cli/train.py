"""`opsin train KIND`: networks trained with perceptual losses, all by one loop."""

from __future__ import annotations

import typer

from opsin.cli.train_autoencoder import autoencoder
from opsin.cli.train_gan import gan
from opsin.cli.train_sr import sr
from opsin.cli.train_style import style
from opsin.cli.train_translate import translate

app = typer.Typer(help="Train a network with a perceptual loss.", no_args_is_help=False, rich_markup_mode=None)
app.command("style")(style)
app.command("sr")(sr)
app.command("gan")(gan)
app.command("translate")(translate)
app.command("autoencoder")(autoencoder)


@app.callback()
def _group() -> None:
    """Train a network with a perceptual loss."""
