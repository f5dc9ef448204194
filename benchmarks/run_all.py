"""Run all benchmarks and write docs/benchmarks.md with its picture: `make bench`.

    python benchmarks/run_all.py [--quick] [--results FOLDER] [--keep] [--docs FOLDER]

Full size takes the better part of an hour on two cores, and the peers of large_step.py take up to 18 GiB. Nothing else
should run meanwhile. What each benchmark measures is written to a file as soon as it is known, so that --keep goes on
after an interruption.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from page import check_revision, page
from picture import picture
from revision import ROOT, revision

HERE = Path(__file__).parent
# Script -> its options for a quick run, which shows that it works and nothing else.
SCRIPTS = {
    "training_step": ["--rounds", "1", "--batch", "1", "--size", "32"],
    "joint_loss": ["--rounds", "1", "--batch", "1", "--size", "32", "--no-memory"],
    "gatys_step": ["--rounds", "1", "--size", "32", "--no-memory"],
    "large_step": ["--rounds", "1", "--size", "128", "--tile", "64"],
    "superres_step": ["--rounds", "1", "--batch", "1", "--size", "64"],
    "stylize": ["--rounds", "1", "--size", "32", "--steps", "2"],
    "import_time": ["--rounds", "1"],
    "start_time": ["--rounds", "1"],
}


def measure(folder: Path, *, quick: bool, keep: bool) -> list[dict[str, Any]]:
    """What all benchmarks measured, in the order of `SCRIPTS`; see the options.

    Raises:
        ValueError: what was kept, or what is measured, is not of the code that is here at the beginning.
    """
    files = {name: folder / f"{name}.json" for name in SCRIPTS}
    missing = [name for name, file in files.items() if not (keep and file.exists())]
    results = {name: _read(file) for name, file in files.items() if name not in missing}
    now = revision()
    if missing:
        # Told here, not after an hour. What is complete can become a page at any later commit.
        for result in results.values():
            check_revision(result, now, "the code that is here")
    for name in missing:
        options = SCRIPTS[name] if quick else []
        subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options, "--json", str(files[name])], check=True)
        print(flush=True)
        results[name] = _read(files[name])
        check_revision(results[name], now, "the code that this run began with")
    return [results[name] for name in SCRIPTS]


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: shows only that all of it works")
    parser.add_argument("--results", type=Path, help="folder of what was measured; by default one in build/")
    parser.add_argument("--keep", action="store_true", help="do not measure again what is in that folder")
    parser.add_argument("--docs", type=Path, help="folder of the page; by default that of this repository")
    args = parser.parse_args()
    if args.quick and args.docs is None:
        parser.error("--quick measures nothing worth showing: name another folder for its page with --docs")
    docs = args.docs or ROOT / "docs"
    # A quick run must not take the place of what took an hour.
    folder = args.results or ROOT / "build" / ("benchmarks-quick" if args.quick else "benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    results = measure(folder, quick=args.quick, keep=args.keep)
    (docs / "images").mkdir(parents=True, exist_ok=True)
    picture(results).save(docs / "images" / "benchmarks.png", optimize=True)
    (docs / "benchmarks.md").write_text(page(results), encoding="utf-8")
    print(docs / "benchmarks.md")


if __name__ == "__main__":
    main()
