"""A run over pairs: an engine measures those that the journal does not have yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from opsin.errors import OpsinError
from opsin.interruption import Interruption
from opsin.scoring.cache import TargetCache
from opsin.scoring.journal import Journal
from opsin.scoring.local import score_locally
from opsin.scoring.pairing import Pairing
from opsin.scoring.reading import Preparation
from opsin.scoring.results import Pair, Scored, Scores
from opsin.scoring.scorer import Scorer

_MOST_WORKERS = 4

Engine = Callable[[Sequence[Pair], Sequence[int]], Iterator[Scored]]
"""(pairs, numbers of those to measure) -> what is found of each, as it comes."""

Watch = Callable[[Scored, int, int], None]
"""Told what was found of a pair, how many are done, and how many there are."""


class StoppedError(OpsinError):
    """Ctrl-C was pressed: what was found so far is in the journal."""


def score_pairs(
    pairing: Pairing,
    scorer: Scorer,
    preparation: Preparation | None = None,
    *,
    engine: Engine | None = None,
    journal: str | os.PathLike[str] | None = None,
    anew: bool = False,
    shard: tuple[int, int] | None = None,
    strict: bool = False,
    watch: Watch | None = None,
) -> Scores:
    """Measure images against their references.

    Args:
        pairing: the pairs.
        scorer: what is measured.
        preparation: what is done to images before.
        engine: what measures; None for `local_engine`'s with what it has by default.
        journal: a file that results are kept in as they come. If it is there, only what it has not is measured; it is
            left for the caller to remove.
        anew: begin anew where the journal is of another job.
        shard: (i, n) for part i of n, from 1 on: pairs i, i + n, i + 2n …
        strict: raise at the first pair that cannot be measured.
        watch: called after each pair.

    Returns:
        What was found of all pairs; a pair that could not be measured has its error there.

    Raises:
        OpsinError: see `Journal`, `score_locally` and `score_with_ray`; with `strict`, what a pair's error says.
        StoppedError: Ctrl-C was pressed.

    Example:
        >>> pairing = pair_folders("photos", {"mine": "out"})  # doctest: +SKIP
        >>> score_pairs(pairing, Scorer(["lpips-alex"])).of("mine", "lpips-alex")  # doctest: +SKIP
        array([0.12, 0.09, 0.21])
    """
    preparation = preparation or Preparation()
    engine = engine or local_engine(scorer, preparation)
    scores = Scores(
        pairing.pairs,
        pairing.methods,
        scorer.metrics,
        scorer.signature(preparation.describe()),
        pairing.missing,
        pairing.extra,
    )
    number, count = shard or (1, 1)
    numbers = range(number - 1, len(scores.pairs), count)
    with Journal(None if journal is None else Path(journal), scores, numbers, anew=anew) as kept:
        done = len(numbers) - len(kept.left)
        if strict:
            for error in scores.errors.values():
                raise OpsinError(error)
        with Interruption() as interruption, closing(engine(scores.pairs, kept.left)) as stream:  # type: ignore[type-var]
            for found in stream:
                kept.add(found)
                done += 1
                if watch is not None:
                    watch(found, done, len(numbers))
                if strict and found.errors:
                    method, error = next(iter(found.errors.items()))
                    name = scores.pairs[found.number].name
                    raise OpsinError(f"'{name}' of {method} cannot be measured: {error}")
                if interruption.asked and done < len(numbers):
                    raise StoppedError(f"stopped early: {done} of {len(numbers)} pairs are done")
    return scores


def local_engine(
    scorer: Scorer,
    preparation: Preparation,
    *,
    workers: int | None = None,
    batch: int | None = None,
    cache: TargetCache | None = None,
) -> Engine:
    """The engine of this machine, see `score_locally`; `workers` is None for one for each core, four at most."""
    count = default_workers() if workers is None else workers

    def engine(pairs: Sequence[Pair], numbers: Sequence[int]) -> Iterator[Scored]:
        return score_locally(pairs, numbers, scorer, preparation, batch=batch, workers=count, cache=cache)

    return engine


def default_workers() -> int:
    """How many processes read: one for each core, four at most."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, usable)
