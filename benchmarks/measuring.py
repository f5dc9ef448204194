"""How the benchmarks measure: contestants interleaved in rounds, memory in a process each, and what comes of it.

A contestant is a function that takes the reference images and gives a step: image -> loss. Those whose names start with
"opsin" are ours, all others are peers. Whatever else the machine does slows all contestants of a round, and speeds are
compared within a round. Memory is read from Linux.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from revision import Revision, revision

from opsin._native import why_not
from opsin.report.environment import machine, versions

T = TypeVar("T")
Step = Callable[[torch.Tensor], torch.Tensor]
Contestant = Callable[[torch.Tensor], Step]


@dataclass(frozen=True)
class Goal:
    """What a row shall reach.

    Attributes:
        row: name of the contestant.
        quantity: "speed" or "memory", as a multiple of the fastest peer's, at least; "value", the loss as a multiple
            of its, or "seconds", both at most.
        asked: the figure.
    """

    row: str
    quantity: str
    asked: float


@dataclass
class Row:
    """What was measured of a contestant.

    Attributes:
        name: its name.
        seconds: of a step, one for each round.
        peak_bytes: peak memory of a step over what the process held before.
        value: of the loss.
        competes: whether it computes what all do, not a summand.
        skipped: why nothing was measured.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    value: float | None = None
    competes: bool = True
    skipped: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def images(size: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3, size, size, generator=generator)
    y = (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    return x.requires_grad_(True), y


def run(step: Step, x: torch.Tensor) -> tuple[float, float]:
    """Seconds and value of one step: the loss and its gradient with respect to x."""
    x.grad = None
    start = time.perf_counter()
    value = step(x)
    value.backward()
    return time.perf_counter() - start, value.item()


def rounds(names: Sequence[str], count: int) -> Iterator[str]:
    """All names in turn, `count` times; each round begins with another one."""
    for i in range(count):
        k = i % len(names)
        yield from [*names[k:], *names[:k]]


def run_alone(contestant: Contestant, size: int, batch: int = 1) -> Row:
    """Time and peak memory of one step in a process that has done nothing else yet."""
    x, y = images(size, batch)
    step = contestant(y)
    # A small step first, so that one-time allocations of the libraries are not counted.
    small, small_y = images(32)
    run(contestant(small_y), small)
    (seconds, value), peak = with_peak(lambda: run(step, x))
    return Row("", [seconds], peak, value)


def with_peak(function: Callable[[], T]) -> tuple[T, int]:
    """What a function returns, and the peak of memory over what the process held before."""
    # What malloc keeps of what was freed must not pass for memory that was held before.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = _resident_peak()
    result = function()
    return result, _resident_peak() - before


def _resident_peak() -> int:
    """Peak resident memory of this process in bytes since the last reset."""
    return _kilobytes("/proc/self/status", "VmHWM") * 1024


def available_memory() -> int:
    """Bytes that processes can still have."""
    return _kilobytes("/proc/meminfo", "MemAvailable") * 1024


def _kilobytes(file: str, name: str) -> int:
    return int(re.search(rf"^{name}:\s+(\d+) kB", Path(file).read_text(), re.MULTILINE)[1])


def answer_alone(contestants: Mapping[str, Contestant], args: argparse.Namespace) -> None:
    """Measure the contestant that `in_a_process` asks for and end the program; do nothing if it does not ask."""
    if args.alone:
        print(json.dumps(asdict(run_alone(contestants[args.alone], args.size, _batch(args)))))
        sys.exit()


def in_a_process(script: str, name: str, args: argparse.Namespace, **other: object) -> Row:
    """`run_alone` of a script's contestant in a process of its own, with the options of this one but for `other`."""
    command = [sys.executable, script, *_options({**vars(args), **other}), "--alone", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == -9:
        return Row(name, skipped="was killed, most likely for want of memory")
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")
    return Row(**{**json.loads(done.stdout), "name": name})


def check_equal(values: Mapping[str, float], tolerance: float = 1e-5) -> None:
    """End the program unless all values are the first one to the relative tolerance."""
    first, *others = values
    for name in others:
        torch.testing.assert_close(
            values[name],
            values[first],
            rtol=tolerance,
            atol=0,
            msg=f"{name} is {values[name]}, {first} is {values[first]}",
        )


def _batch(args: argparse.Namespace) -> int:
    """Images in a batch: one in benchmarks that have no such option."""
    return vars(args).get("batch", 1)


def _options(args: Mapping[str, object]) -> list[str]:
    """What tells a script to measure the same."""
    told = {k.replace("_", "-"): v for k, v in args.items() if k not in ("json", "alone") and v is not False}
    return [word for k, v in told.items() for word in ([f"--{k}"] if v is True else [f"--{k}", str(v)])]


def arguments(
    about: str,
    *,
    rounds: int,
    size: int,
    batch: int | None = None,
    steps: int | None = None,
    memory_apart: bool = True,
) -> argparse.ArgumentParser:
    """The options that the benchmarks of steps share, with these defaults.

    Args:
        about: what `--help` says.
        rounds: steps of each contestant that are timed.
        size: of the square images.
        batch: images at once; None if there is always one.
        steps: of an optimiser; None if there is no such option.
        memory_apart: whether memory is measured by itself, so that it can be left out.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    if batch is not None:
        parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--size", type=int, default=size)
    if steps is not None:
        parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    if memory_apart:
        parser.add_argument("--no-memory", action="store_true", help="measure seconds alone")
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # one contestant, for `in_a_process`
    return parser


def interleaved(
    script: str,
    args: argparse.Namespace,
    contestants: Mapping[str, Contestant],
    *,
    parts: Iterable[str] = (),
    tolerance: float = 1e-5,
) -> list[Row]:
    """Time of all contestants side by side in this process, and memory of each in one of its own.

    Args:
        script: the benchmark's file.
        args: its options.
        contestants: by name; all must compute the same loss.
        parts: names of those that compute a summand of it. They are measured but not competed with.
        tolerance: how far values may differ, relatively.
    """
    answer_alone(contestants, args)
    x, y = images(args.size, _batch(args))
    steps = {name: contestant(y) for name, contestant in contestants.items()}
    rows = {name: Row(name, value=run(step, x)[1], competes=name not in parts) for name, step in steps.items()}
    check_equal({name: row.value for name, row in rows.items() if row.competes}, tolerance)
    for name in rounds(list(steps), args.rounds):
        rows[name].seconds.append(run(steps[name], x)[0])
    steps.clear()
    if args.no_memory:
        return list(rows.values())
    for name in (name for name, row in rows.items() if row.competes):
        rows[name].peak_bytes = in_a_process(script, name, args).peak_bytes
    return list(rows.values())


def report(
    script: str,
    title: str,
    what: str,
    args: argparse.Namespace,
    rows: Sequence[Row],
    goals: Sequence[Goal],
    packages: Sequence[str],
    *,
    compared: bool = True,
) -> None:
    """Print what was measured as a table, and write it to the file that `--json` names.

    Args:
        script: the benchmark's file.
        title: what is measured, in few words.
        what: on what: sizes and the like.
        args: the options.
        rows: of all contestants.
        goals: what is asked of them.
        packages: of the peers, whose versions are told.
        compared: whether the table shall say how many times as fast as the fastest peer each is.
    """
    peers = [row for row in rows if row.competes and row.seconds and not row.name.startswith("opsin")]
    fastest = min(peers, key=lambda row: row.median, default=None) if compared else None
    measured: dict[str, Any] = {
        "benchmark": Path(script).stem,
        "title": title,
        "what": what,
        "command": shlex.join(["python", f"benchmarks/{Path(script).name}", *_options(vars(args))]),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "revision": asdict(revision()),
        "machine": {**asdict(machine()), "native": why_not() or "loaded"},
        "versions": versions("opsin", "torch", *packages),
        "rounds": args.rounds,
        "fastest_peer": fastest.name if fastest else None,
        "rows": [_compared(row, fastest) for row in rows],
    }
    found = {row["name"]: row for row in measured["rows"]}
    measured["goals"] = [_judged(goal, found[goal.row]) for goal in goals]
    print(table(measured))
    if args.json:
        args.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def _compared(row: Row, fastest: Row | None) -> dict[str, Any]:
    """A row, with its median and how many times as fast and as sparing as the fastest peer it is."""
    compared = {
        **asdict(row),
        "median": row.median if row.seconds else None,
        "speed": None,
        "memory": None,
        "value_ratio": None,
    }
    if fastest is not None and row.competes and row.seconds:
        speeds = [b / a for a, b in zip(row.seconds, fastest.seconds, strict=True)]
        compared["speed"] = statistics.median(speeds)
        if row.peak_bytes and fastest.peak_bytes:
            compared["memory"] = fastest.peak_bytes / row.peak_bytes
        if row.value is not None and fastest.value:
            compared["value_ratio"] = row.value / fastest.value
    return compared


def _judged(goal: Goal, row: Mapping[str, Any]) -> dict[str, Any]:
    measured = row[{"seconds": "median", "value": "value_ratio"}.get(goal.quantity, goal.quantity)]
    reached = None
    if measured is not None:
        reached = measured <= goal.asked if goal.quantity in ("seconds", "value") else measured >= goal.asked
    return {**asdict(goal), "measured": measured, "reached": reached}


def table(measured: Mapping[str, Any]) -> str:
    """What was measured, as text."""
    on = measured["machine"]
    lines = [
        f"{measured['title']}, {measured['what']}, {measured['rounds']} rounds, {measured['date']}",
        str(Revision(**measured["revision"])),
        f"{on['cpu']}, {on['threads']} threads on {on['cores']} cores, {on['vectors']}, {on['system']}",
        f"native library: {on['native']}",
        ", ".join(f"{name} {version}" for name, version in measured["versions"].items()),
    ]
    wide = max(len(row["name"]) for row in measured["rows"]) + 2
    against = f"times as fast as {measured['fastest_peer']}" if measured["fastest_peer"] else ""
    lines.append(f"{'':{wide}}{'median s':>10}{'min s':>9}{'max s':>9}{'peak MiB':>10}  {against}")
    for row in measured["rows"]:
        line = f"{row['name']:{wide}}"
        if row["seconds"]:
            line += f"{row['median']:10.3f}{min(row['seconds']):9.3f}{max(row['seconds']):9.3f}"
            line += f"{row['peak_bytes'] / 2**20:10.0f}" if row["peak_bytes"] is not None else f"{'':10}"
            line += f"  {row['speed']:.2f}" if row["speed"] is not None else ""
        else:
            line += f"  not measured: {row['skipped']}"
        lines.append(line)
    for goal in measured["goals"]:
        got = "" if goal["measured"] is None else f", got {goal['measured']:.3g}"
        verdict = {True: "reached", False: "missed", None: "not measured"}[goal["reached"]]
        lines.append(f"asked of {goal['row']}: {goal['quantity']} {goal['asked']:g}{got}: {verdict}")
    return "\n".join(line.rstrip() for line in lines)
