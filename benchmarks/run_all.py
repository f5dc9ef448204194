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

from page import page
from picture import picture

HERE = Path(__file__).parent
# Script -> its options for a quick run, which shows that it works and nothing else.
SCRIPTS = {
    "training_step": ["--rounds", "1", "--batch", "1", "--size", "32"],
    "joint_loss": ["--rounds", "1", "--batch", "1", "--size", "32", "--no-memory"],
    "gatys_step": ["--rounds", "1", "--size", "32", "--no-memory"],
    "large_step": ["--rounds", "1", "--size", "128", "--tile", "64"],
    "import_time": ["--rounds", "1"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: shows only that all of it works")
    parser.add_argument(
        "--results", type=Path, default=HERE.parent / "build" / "benchmarks", help="folder of what was measured"
    )
    parser.add_argument("--keep", action="store_true", help="do not measure again what is in that folder")
    parser.add_argument("--docs", type=Path, help="folder of the page; by default that of this repository")
    args = parser.parse_args()
    if args.quick and args.docs is None:
        parser.error("--quick measures nothing worth showing: name another folder for its page with --docs")
    docs = args.docs or HERE.parent / "docs"
    args.results.mkdir(parents=True, exist_ok=True)
    results = []
    for name, quick in SCRIPTS.items():
        file = args.results / f"{name}.json"
        if not (args.keep and file.exists()):
            command = [sys.executable, str(HERE / f"{name}.py"), *(quick if args.quick else []), "--json", str(file)]
            subprocess.run(command, check=True)
            print(flush=True)
        results.append(json.loads(file.read_text(encoding="utf-8")))
    (docs / "images").mkdir(parents=True, exist_ok=True)
    picture(results).save(docs / "images" / "benchmarks.png", optimize=True)
    (docs / "benchmarks.md").write_text(page(results), encoding="utf-8")
    print(docs / "benchmarks.md")


if __name__ == "__main__":
    main()
