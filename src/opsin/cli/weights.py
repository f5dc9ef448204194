"""`opsin weights`: what weights there are, where they lie, and whether they are whole."""

from __future__ import annotations

from typing import Annotated

import typer

from opsin.errors import WeightsError

app = typer.Typer(help="List, fetch and verify the networks' weights.", no_args_is_help=False, rich_markup_mode=None)

_Network = Annotated[str, typer.Argument(help="A network's name, e.g. vgg16.", show_default=False)]


@app.command("list")
def list_weights(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
) -> None:
    """List every network's weights: where they come from, their licence, and whether they are on this machine."""
    from opsin.weights import sources

    rows = sources.status()
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(row) for row in rows]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("network", "weights", "on this machine", "sha256", "input", "licence"):
        table.add_column(heading, no_wrap=True)
    # Licences are sentences: each stands once, below, so that the table fits a terminal.
    licences = list(dict.fromkeys(row.licence for row in rows))
    for row in rows:
        here = Text("yes", style="green") if row.path else Text("no", style="dim")
        note = f"({licences.index(row.licence) + 1})"
        table.add_row(row.network, row.source, here, (row.sha256 or "")[:8], row.normalization, note)
    console = Console(highlight=False)
    console.print(table)
    for i, licence in enumerate(licences, start=1):
        console.print(Text(f"({i}) {licence}"), soft_wrap=True)
    console.print(
        Text("'opsin weights fetch NETWORK' downloads; --json shows paths, URLs and whole hashes.", style="dim"),
        soft_wrap=True,
    )


@app.command()
def fetch(network: _Network) -> None:
    """Download a network's official weights, check their hash, and print where they are."""
    from opsin.weights import sources

    print(sources.fetch(network, progress=True))


@app.command()
def verify(
    network: Annotated[str, typer.Argument(help="A network's name.", show_default="all that are here")] = "",
) -> None:
    """Check the hash of weights that are on this machine."""
    from opsin.weights import sources

    networks = [network] if network else list(dict.fromkeys(r.network for r in sources.status() if r.path))
    broken: list[str] = []
    for name in networks:
        try:
            for row in sources.verify(name):
                print(f"{name} {row.source}: {row.sha256} {row.path}")
        except WeightsError as error:
            broken.append(str(error))
    if broken:
        raise WeightsError(" ".join(broken))
