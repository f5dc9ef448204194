"""`opsin losses`: the published losses and what they need."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def losses(as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False) -> None:
    """List the published losses that 'opsin compare --loss NAME' knows. For all of them lower is closer."""
    from opsin.published.listing import LOSSES
    from opsin.weights import sources

    here = {(row.network, row.source) for row in sources.status() if row.path}
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "paper": loss.paper,
            "network": loss.network,
            "weights": loss.weights,
            "compares": loss.compares,
            "range": loss.range,
            "closer": "lower",
            "differentiable": loss.differentiable,
            "at hand": loss.network == "image"
            or (loss.network, loss.weights) in here
            or (loss.weights == "official" and (loss.network, "file") in here),
        }
        for name, loss in LOSSES.items()
    ]
    if as_json:
        import json

        print(json.dumps(rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("name", "paper", "network", "weights", "compares", "range", "at hand"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        at_hand = Text("yes", style="green") if row["at hand"] else Text("no", style="dim")
        cells = [row[k] for k in ("name", "paper", "network", "weights", "compares", "range")]
        table.add_row(*(Text(cell) for cell in cells), at_hand)
    console = Console(highlight=False)
    console.width = max(console.width, 96)
    console.print(table)
    console.print(
        Text("Lower is closer, and all can train a network. 'opsin weights fetch NETWORK' downloads official weights."),
        soft_wrap=True,
    )
