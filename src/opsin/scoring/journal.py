"""What a run has found so far, in a file that is added to: a run that was broken off goes on from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from opsin.errors import OpsinError
from opsin.scoring.results import Scored, Scores

_FORMAT = 1


class Journal:
    """Lines of JSON: the first says which job it is of, each other one what was found of a pair.

    A line is added in one go, so that a process killed at any moment leaves whole lines but for the last; that one is
    dropped and its pair measured again.

    Args:
        path: the file; it is made on entering, or gone on with. None keeps nothing.
        scores: of the job, empty.
        numbers: of the pairs that the job is about.
        anew: begin anew where the file is of another job.

    Raises:
        OpsinError: the file is of another job, or another process has it.
    """

    def __init__(self, path: Path | None, scores: Scores, numbers: Sequence[int], *, anew: bool) -> None:
        self.path, self.scores, self.anew = path, scores, anew
        self.left = list(numbers)
        self._header = {"opsin score": _FORMAT, "job": _digest(scores, numbers)}
        self._lock = None if path is None else FileLock(path.with_name(f".{path.name}.lock"))
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Journal:
        """Take the file, and what is in it into the scores; `left` is what is not."""
        if self.path is None or self._lock is None:
            return self
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise OpsinError(
                f"results must be written by one run at a time, got another one at work on '{self.path}'. Wait for it, "
                "or choose another output."
            ) from error
        try:
            end = self._restore(self.path) if self.path.is_file() else 0
            self._file = self.path.open("r+b" if end else "wb")
            self._file.truncate(end)
            self._file.seek(end)
            if not end:
                self._write(self._header)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._unlock()

    def add(self, found: Scored) -> None:
        """Take in what was found of a pair, and write it."""
        self._write(found._asdict())
        self.scores.add(found)

    def _restore(self, path: Path) -> int:
        """What the file holds, into the scores; where the last line that is whole ends."""
        done: set[int] = set()
        wanted = set(self.left)
        last = 0
        with path.open("rb") as file:
            for line, end in _lines(file):
                if not last:
                    if line != self._header:
                        return self._of_another()
                else:
                    try:
                        scored = Scored(line["number"], line["values"], line["errors"])
                        if scored.number not in wanted:
                            break
                        self.scores.add(scored)
                    except (KeyError, TypeError, ValueError):
                        break
                    done.add(scored.number)
                last = end
        self.left = [number for number in self.left if number not in done]
        return last

    def _of_another(self) -> int:
        if self.anew:
            return 0
        raise OpsinError(
            f"'{self.path}' must be of this job, got one of other images, losses or versions that was broken off. "
            "Finish that one, remove the file, or give --overwrite."
        )

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(f"{json.dumps(line)}\n".encode())
            self._file.flush()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            with suppress(OSError):
                Path(self._lock.lock_file).unlink()


def _lines(file: IO[bytes]) -> Iterator[tuple[Any, int]]:
    """Whole lines of JSON, and where each ends."""
    end = 0
    for raw in file:
        if not raw.endswith(b"\n"):
            return
        end += len(raw)
        try:
            yield json.loads(raw), end
        except ValueError:
            return


def _digest(scores: Scores, numbers: Sequence[int]) -> str:
    """What tells a job from others: its pairs, methods, metrics and signature."""
    found = hashlib.sha256()
    for part in ([scores.signature.id, *scores.methods, *(m.name for m in scores.metrics)], list(numbers)):
        found.update(json.dumps(part).encode())
    for pair in scores.pairs:
        found.update(json.dumps([pair.name, pair.reference, dict(pair.distorted)]).encode())
    return found.hexdigest()[:16]
