"""`python -m opsin`: the command line, for launchers that start modules."""

from __future__ import annotations

from opsin.cli.main import main

main()
