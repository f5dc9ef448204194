"""Which code was measured: the commit, and whether anything had been changed since."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import opsin

ROOT = Path(__file__).parents[1]
# What runs in a benchmark. The page that is made of the results is none of it.
_MEASURED = ("src", "benchmarks")


@dataclass(frozen=True)
class Revision:
    """The state of the code.

    Attributes:
        commit: its hash, None where opsin does not run from a repository or there is no git.
        changes: hash of what differs from that commit, None if nothing does.
    """

    commit: str | None = None
    changes: str | None = None

    def __str__(self) -> str:
        if self.commit is None:
            return "a version whose commit is not known"
        return f"commit {self.commit[:7]}" + (" with changes that were not committed" if self.changes else "")


def revision(root: Path = ROOT, package: Path = Path(opsin.__file__)) -> Revision:
    """The state of the repository `root`, if that is where `package` is imported from."""
    # A folder without a .git of its own may lie in a repository of something else.
    if not (root / ".git").exists() or not package.resolve().is_relative_to(root.resolve() / "src"):
        return Revision()
    try:
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        # Files that git does not know yet are told by the first alone.
        changes = _git(root, "status", "--porcelain", "--", *_MEASURED) + _git(root, "diff", "HEAD", "--", *_MEASURED)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return Revision()
    return Revision(commit, hashlib.sha256(changes).hexdigest() if changes else None)


def _git(root: Path, *command: str) -> bytes:
    return subprocess.run(["git", "-C", str(root), *command], check=True, capture_output=True).stdout
