"""The engine of one machine: processes that read ahead, and batches of images of one size through the network."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from opsin.errors import InputError, OpsinError
from opsin.interruption import obey_main_process
from opsin.results import Targets
from opsin.scoring.cache import TargetCache
from opsin.scoring.reading import Loaded, Preparation, check_size, load, to_batch
from opsin.scoring.results import Pair, Scored
from opsin.scoring.scorer import Scorer
from opsin.scoring.sharing import Arena, Place
from opsin.stderr import drop_stderr

Job = Callable[[], list[Scored]]
"""Pairs that are computed together."""

_BATCH_PIXELS = 600_000  # of the references of a batch by default: more does not make a CPU faster
_MOST_PAIRS = 256  # of a batch by default: results of small images come soon, too
_WAITING = 16  # batches of sizes that may be begun at a time
_MOST_STREAMS = 4
_AHEAD = 4  # pairs that each process reads ahead
_SHARED = 128 << 20  # bytes for images that each process has read; what finds no room takes the slow way


class _Reader(Dataset[tuple[int, Loaded]]):
    """Pairs by number, as the reading processes have them: the process, and the pair with its images in its arena."""

    def __init__(
        self, pairs: Sequence[Pair], preparation: Preparation, known: Callable[[str], bool] | None, workers: int
    ) -> None:
        self.pairs, self.preparation, self.known = pairs, preparation, known
        self.arenas = [Arena(_SHARED) for _ in range(workers)]

    def __getitem__(self, number: int) -> tuple[int, Loaded]:
        loaded = load(number, self.pairs[number], self.preparation, known=self.known)
        process = get_worker_info()
        if process is None:
            return 0, loaded
        arena = self.arenas[process.id]
        return process.id, loaded.with_images(lambda image: arena.put(image) or image)

    def taken(self, process: int, loaded: Loaded) -> Loaded:
        """A pair of a process with its images."""
        return loaded.with_images(lambda image: self.arenas[process].take(image) if isinstance(image, Place) else image)


def score_locally(
    pairs: Sequence[Pair],
    numbers: Sequence[int],
    scorer: Scorer,
    preparation: Preparation,
    *,
    batch: int | None = None,
    workers: int = 2,
    cache: TargetCache | None = None,
) -> Iterator[Scored]:
    """Measure pairs, as they come: those of one size go through the network together.

    Args:
        pairs: all pairs.
        numbers: of those that are to be measured.
        scorer: what is measured.
        preparation: what is done to images before.
        batch: pairs at once; None for what `default_batch` says.
        workers: processes that read; 0 reads in this one.
        cache: of what losses need of references; each pair is then computed by itself.

    Raises:
        OpsinError: a reading process was killed, or the cache's disk is full.
    """
    # References that PSNR and SSIM are of, or that others are prepared by, must be read in any case.
    skips = cache is not None and not scorer.also and not preparation.needs_both
    known = None if cache is None else cache.known if skips else _never
    streams = _streams(scorer, len(numbers))
    # The reading processes are forked here, before there are threads.
    with closing(_read(_Reader(pairs, preparation, known, workers), numbers)) as stream:
        jobs = _jobs(stream, scorer, preparation, pairs, batch, cache)
        yield from _measured(jobs, streams)


def _read(reader: _Reader, numbers: Sequence[int]) -> Generator[Loaded, None, None]:
    """Pairs, read ahead by processes.

    Raises:
        OpsinError: one was killed.
    """
    workers = len(reader.arenas)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more than cores, if that is what is asked
        loader = DataLoader(
            reader,
            batch_size=None,
            sampler=list(numbers),
            num_workers=workers,
            collate_fn=_as_it_is,
            prefetch_factor=_AHEAD if workers else None,
            worker_init_fn=_start_reader if workers else None,
            generator=torch.Generator(),
        )
        stream = iter(loader)
    try:
        for process, loaded in stream:
            yield reader.taken(process, loaded)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise OpsinError(
            "a process that reads images must live, got one that was killed, most likely for want of memory. The same "
            "command goes on; give it fewer --workers."
        ) from error
    finally:
        del stream  # ends the processes


def _jobs(
    stream: Iterator[Loaded],
    scorer: Scorer,
    preparation: Preparation,
    pairs: Sequence[Pair],
    batch: int | None,
    cache: TargetCache | None,
) -> Iterator[Job]:
    """What is to be computed together: pairs of one size and the same methods."""
    waiting: dict[tuple[int | str, ...], list[Loaded]] = {}
    for loaded in stream:
        if not loaded.distorted:
            yield partial(_nothing, loaded)
        elif cache is not None:
            yield partial(_score_cached, scorer, loaded, cache, pairs[loaded.number], preparation)
        else:
            height, width = next(iter(loaded.distorted.values())).shape[:2]
            key = (height, width, *loaded.distorted)
            waiting.setdefault(key, []).append(loaded)
            if len(waiting[key]) >= (batch or default_batch(height * width)):
                yield partial(score_loaded, scorer, waiting.pop(key))
            elif len(waiting) > _WAITING:
                yield partial(score_loaded, scorer, waiting.pop(next(iter(waiting))))
    for group in waiting.values():
        yield partial(score_loaded, scorer, group)


def default_batch(pixels: int) -> int:
    """How many pairs of so many pixels are computed together by default."""
    return max(1, min(_BATCH_PIXELS // pixels, _MOST_PAIRS))


def _measured(jobs: Iterator[Job], streams: int) -> Iterator[Scored]:
    """What jobs find: several at a time, each on its share of the cores.

    A network of several threads waits at each layer for the slowest of them, above all where others read images.
    """
    if streams == 1:
        for job in jobs:
            yield from job()
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // streams))
    pool = ThreadPoolExecutor(streams, thread_name_prefix="opsin-score")
    pending: deque[Future[list[Scored]]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(job))
            if len(pending) > streams:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _streams(scorer: Scorer, count: int) -> int:
    """How many batches are computed at a time."""
    if scorer.device.type != "cpu" or scorer.draws:
        return 1
    return max(1, min(torch.get_num_threads(), _MOST_STREAMS, count // 2))


def score_loaded(
    scorer: Scorer,
    group: Sequence[Loaded],
    *,
    targets: Targets | None = None,
) -> list[Scored]:
    """Measure pairs of one size and the same methods; what cannot be measured becomes an error.

    Args:
        scorer: what is measured.
        group: the pairs.
        targets: of their references, where these are known.
    """
    references = None if any(one.reference is None for one in group) else to_batch([one.reference for one in group])  # type: ignore[misc]
    try:
        if targets is None and references is not None:
            targets = scorer.targets(references)
    except (OpsinError, MemoryError, RuntimeError) as error:
        return _again(scorer, group, error, list(group[0].distorted))
    values: dict[str, Tensor] = {}
    errors: dict[str, str] = {}
    for method in group[0].distorted:
        try:
            x = to_batch([one.distorted[method] for one in group])
            values[method] = scorer.score(x, references, targets)
        except (OpsinError, MemoryError, RuntimeError) as error:
            if len(group) > 1:
                return _again(scorer, group, error, [method])
            errors[method] = _said(error)
    return [
        Scored(one.number, {m: v[i].tolist() for m, v in values.items()}, {**one.errors, **errors})
        for i, one in enumerate(group)
    ]


def _again(scorer: Scorer, group: Sequence[Loaded], error: Exception, methods: Sequence[str]) -> list[Scored]:
    """One by one: what one of them cannot, the others may, and less memory is needed."""
    if len(group) > 1:
        _said(error)
        return [scored for one in group for scored in score_loaded(scorer, [one])]
    (one,) = group
    return [Scored(one.number, {}, {**one.errors, **dict.fromkeys(methods, _said(error))})]


def _said(error: Exception) -> str:
    """What an error says; one that is a defect of the program is raised."""
    if isinstance(error, OpsinError):
        return str(error)
    if isinstance(error, MemoryError) or "memory" in str(error).lower():
        return "there must be enough memory, got too little for images of this size. Use --resize."
    raise error


def _nothing(loaded: Loaded) -> list[Scored]:
    return [Scored(loaded.number, {}, loaded.errors)]


def _score_cached(
    scorer: Scorer, one: Loaded, cache: TargetCache, pair: Pair, preparation: Preparation
) -> list[Scored]:
    """Measure a pair by the targets that are kept of its reference, or keep them."""
    targets = cache.get(one.digest)
    if targets is None:
        if one.reference is None:  # there were some when the file was read
            one = load(one.number, pair, preparation, known=_never)
        if one.reference is None or not one.distorted:
            return _nothing(one)
        try:
            targets = scorer.targets(to_batch([one.reference]))
        except OpsinError:
            return score_loaded(scorer, [one])
        if targets is None:  # computed in tiles
            return score_loaded(scorer, [one])
        cache.put(one.digest, targets)
    _, *size = next(iter(targets.sizes.values()))
    errors = dict(one.errors)
    for method, image in one.distorted.items():
        try:
            check_size(size, image.shape[:2])
        except InputError as error:
            errors[method] = str(error)
    fitting = {method: image for method, image in one.distorted.items() if method not in errors}
    if not fitting:
        return [Scored(one.number, {}, errors)]
    return score_loaded(scorer, [one._replace(distorted=fitting, errors=errors)], targets=targets)


def _never(_: str) -> bool:
    return False


def _as_it_is(loaded: Any) -> Any:
    return loaded


def _start_reader(_: int) -> None:
    obey_main_process()
    # Codecs write to stderr past Python, whatever the error is turned into.
    drop_stderr()
