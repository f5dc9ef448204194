"""The engine of many machines: Ray Data reads pairs in tasks and measures them in a pool of actors."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from itertools import groupby
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack

from opsin.errors import MissingExtraError, OpsinError
from opsin.scoring.local import score_loaded
from opsin.scoring.reading import Loaded, Preparation, load
from opsin.scoring.results import Pair, Scored
from opsin.scoring.run import Engine, default_workers
from opsin.scoring.scorer import Scorer
from opsin.stderr import without_stderr

_BATCH = 8
_BLOCK = 64  # pairs in a block: what is done anew when a machine is lost
_REFERENCE = "reference"


def ray_engine(
    losses: Sequence[str],
    also: Sequence[str],
    preparation: Preparation,
    *,
    device: str = "cpu",
    address: str = "",
    workers: int | None = None,
    batch: int | None = None,
) -> Engine:
    """The engine of a Ray cluster; what it finds is what `score_locally` finds.

    Pairs are read by tasks and measured by actors, each with the network. Images must be where all machines reach them,
    by the same paths or URLs, and so must the weights. Tasks and actors that are lost are done again.

    Args:
        losses: see `Scorer`.
        also: see `Scorer`.
        preparation: what is done to images before.
        device: of the actors; with "cuda" each has a GPU.
        address: of a cluster that runs, e.g. "auto"; "" makes one of this machine, which listens on 127.0.0.1 alone.
        workers: actors; None for as many as there are GPUs, or for half of the CPUs.
        batch: pairs at once.

    Raises:
        MissingExtraError: Ray is not installed.
        OpsinError: the cluster cannot be reached.
    """
    ray = _ray()
    # Whatever is wrong with names is said before a cluster is asked for.
    size = batch or _BATCH

    def engine(pairs: Sequence[Pair], numbers: Sequence[int]) -> Iterator[Scored]:
        if not numbers:
            return
        with _only_python_says():
            actors = _begin(ray, address, workers, device)
            try:
                yield from _stream(ray, pairs, numbers, losses, also, preparation, device, actors, size)
            finally:
                ray.shutdown()

    return engine


@contextmanager
def _only_python_says() -> Iterator[None]:
    """Within it, what Ray writes to stderr past Python is dropped: of lost actors, which it mends by itself."""
    own = sys.stderr is not sys.__stderr__  # a stream of the caller's needs nothing
    encoding, errors = sys.stderr.encoding, sys.stderr.errors
    with without_stderr() as kept:
        if own or kept is None:
            yield
            return
        with (
            open(kept, "w", buffering=1, closefd=False, encoding=encoding, errors=errors) as stream,
            redirect_stderr(stream),
        ):
            yield


def _stream(
    ray: Any,
    pairs: Sequence[Pair],
    numbers: Sequence[int],
    losses: Sequence[str],
    also: Sequence[str],
    preparation: Preparation,
    device: str,
    actors: int,
    batch: int,
) -> Iterator[Scored]:
    rows = [
        {
            "number": n,
            "name": pairs[n].name,
            "reference": pairs[n].reference,
            "distorted": json.dumps(pairs[n].distorted),
        }
        for n in numbers
    ]
    data = ray.data.from_items(rows, override_num_blocks=min(len(rows), max(actors, len(rows) // _BLOCK)))
    # Each task holds a core while it decodes; an actor's network holds its own.
    read = data.map(_read, fn_kwargs={"preparation": preparation}, num_cpus=1)
    measured = read.map_batches(
        _Actor,
        fn_constructor_kwargs={"losses": list(losses), "also": list(also), "device": device},
        concurrency=actors,
        batch_size=batch,
        num_cpus=1,
        num_gpus=1 if device.startswith("cuda") else 0,
    )
    try:
        for row in measured.iter_rows():
            yield Scored(int(row["number"]), json.loads(row["values"]), json.loads(row["errors"]))
    except ray.exceptions.RayError as error:
        raise OpsinError(
            f"the cluster must measure all pairs, got an error that it could not mend: {_last_line(error)}. The same "
            "command goes on from what was measured."
        ) from error


def _read(row: dict[str, Any], preparation: Preparation) -> dict[str, Any]:
    """A pair as one file of arrays, which travels between machines."""
    pair = Pair(row["name"], row["reference"], json.loads(row["distorted"]))
    loaded = load(row["number"], pair, preparation)
    arrays = {f"/{method}": np.ascontiguousarray(image) for method, image in loaded.distorted.items()}
    if loaded.reference is not None:
        arrays[_REFERENCE] = np.ascontiguousarray(loaded.reference)
    return {"number": loaded.number, "arrays": pack(arrays), "errors": json.dumps(loaded.errors)}


class _Actor:
    """A process of the pool, with the network."""

    def __init__(self, losses: Sequence[str], also: Sequence[str], device: str) -> None:
        torch.set_num_threads(1)
        self.scorer = Scorer(losses, also, device=device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Measure some pairs."""
        loaded = [_loaded(*values) for values in zip(batch["number"], batch["arrays"], batch["errors"], strict=True)]
        found: list[Scored] = [Scored(one.number, {}, one.errors) for one in loaded if not one.distorted]
        for _, group in groupby(sorted((one for one in loaded if one.distorted), key=_kind), key=_kind):
            found += score_loaded(self.scorer, list(group))
        return {
            "number": np.array([one.number for one in found]),
            "values": [json.dumps(one.values) for one in found],
            "errors": [json.dumps(one.errors) for one in found],
        }


def _kind(one: Loaded) -> tuple[Any, ...]:
    """What pairs must have in common to be measured together."""
    return (*next(iter(one.distorted.values())).shape[:2], *one.distorted)


def _loaded(number: Any, arrays: bytes, errors: str) -> Loaded:
    content = unpack(bytes(arrays))
    reference = content.pop(_REFERENCE, None)
    # The file has arrays in an order of its own.
    distorted = {name[1:]: content[name] for name in sorted(content)}
    return Loaded(int(number), reference, "", distorted, json.loads(errors))


def _begin(ray: Any, address: str, workers: int | None, device: str) -> int:
    """Reach a cluster, or make one; how many actors there shall be."""
    made = default_workers() if workers is None else max(1, workers)
    options: dict[str, Any] = {"address": address}
    if not address:
        # Twice as many as actors: what reads needs some too. They are counted, not bound to cores.
        options = {"num_cpus": 2 * made, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True, **options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise OpsinError(
            f"--address must be that of a Ray cluster that runs, got '{address}' ({_last_line(error)}). E.g. auto, or "
            "leave it out."
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    there = ray.cluster_resources()
    if device.startswith("cuda"):
        return max(1, min(workers or 10**6, int(there.get("GPU", 0))))
    if workers is not None or not address:
        return made
    return max(1, int(there.get("CPU", 2)) // 2)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would send statistics to its makers
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError(
            "--engine ray must have Ray installed, got no such package. pip install 'opsin[ray]'"
        ) from error
    return ray
