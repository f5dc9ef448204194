"""docs/benchmarks.md out of what the benchmarks measured: every number on the page is theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from revision import Revision

from opsin.report.drawing import number

_TEMPLATE = """\
# Benchmarks

What opsin's losses cost beside those of other libraries. `make bench` measures it and writes this page;
it does the same on your machine.

![Bars of seconds and memory, those of opsin in colour and those of its peers in grey; the table below says the same in
numbers](images/benchmarks.png)

{table}

Seconds are medians. **Times as fast** compares with the fastest peer: the median over all rounds of the ratio within a
round. **Peak** is the memory that a step takes over what the process held before it, and **of the peer's** is the share
of the fastest peer's peak. **Asked** is what was set as a goal before the work began.

## How it is measured

All contestants of a benchmark compute the same loss from the same weights: their values must agree. A step is the loss
and its gradient with respect to the first image. Pictures that runs end with, of whatever optimiser, are judged by one
function, which is none of theirs. Contestants take turns, so that whatever else the machine does slows
all of them, and each round begins with another one. The memory of each is that of a process of its own. With kept
targets, what the loss needs of the reference was computed before.

| benchmark | rounds | measured on | command |
|---|---:|---|---|
{commands}

All of it was measured at {revision}, on this machine:

| machine | |
|---|---|
{machine}

Each script says in its first lines what it compares and what it does not. The native convolution alone, layer by layer,
is measured by `benchmarks/convolution.py`.
"""


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The page as Markdown.

    Raises:
        ValueError: results that no table should put side by side.
    """
    return _TEMPLATE.format(
        table="\n".join(_table(results)),
        commands="\n".join(f"| {r['title']} | {r['rounds']} | {r['date']} | `{r['command']}` |" for r in results),
        machine="\n".join(f"| {name} | {text} |" for name, text in machine(results).items()),
        revision=Revision(**results[0]["revision"]),
    )


def machine(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What all results were measured on, and with which versions.

    Raises:
        ValueError: not all of one state of the code, on one machine, with the same versions.
    """
    first = results[0]["machine"]
    versions: dict[str, str] = {}
    for result in results:
        check_revision(result, Revision(**results[0]["revision"]), f"that of {results[0]['benchmark']}")
        if result["machine"] != first or any(versions.get(k, v) != v for k, v in result["versions"].items()):
            raise ValueError(
                f"{result['benchmark']} was measured on another machine or with other versions than the rest"
            )
        versions |= result["versions"]
    return {
        "CPU": first["cpu"],
        "cores": str(first["cores"]),
        "threads": str(first["threads"]),
        "vectors": first["vectors"],
        "system": first["system"],
        "native library": first["native"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def check_revision(result: Mapping[str, Any], expected: Revision, whose: str) -> None:
    """Raise ValueError unless a result is of that state of the code."""
    found = Revision(**result["revision"])
    if found != expected:
        raise ValueError(
            f"{result['benchmark']} must be measured at the same state of the code as the rest: it is of {found}, "
            f"{whose} is {expected}. Measure it again."
        )


def _table(results: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    yield "| | seconds | times as fast | peak MiB | of the peer's | asked | |"
    yield "|---|---:|---:|---:|---:|---|---|"
    for result in results:
        yield f"| **{result['title']}**, {result['what']} | | | | | | |"
        for row in result["rows"]:
            goals = [goal for goal in result["goals"] if goal["row"] == row["name"]]
            cells = [f"not measured: {row['skipped']}", "", "", ""] if row["skipped"] else _numbers(row)
            cells += [", ".join(map(asked, goals)), ", ".join(map(verdict, goals))]
            yield f"| {row['name']} | {' | '.join(cells)} |"


def _numbers(row: Mapping[str, Any]) -> list[str]:
    return [
        number(row["median"]),
        "" if row["speed"] is None else f"{row['speed']:.2f}",
        "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:.0f}",
        "" if row["memory"] is None else f"{1 / row['memory']:.2f}",
    ]


def asked(goal: Mapping[str, Any]) -> str:
    """A goal in words."""
    form = {
        "speed": "{:g} times as fast",
        "memory": "1/{:g} of the peak",
        "seconds": "at most {:g} s",
        "value": "at most {:g} of the peer's loss",
    }
    return form[goal["quantity"]].format(goal["asked"])


def verdict(goal: Mapping[str, Any]) -> str:
    """Whether it was reached, and with what, if no column of the table says it."""
    found = {True: "reached", False: "**missed**", None: "not measured"}[goal["reached"]]
    # Of all others the table has the figure.
    return f"{found}: {goal['measured']:.2f}" if goal["quantity"] == "value" and goal["reached"] is not None else found
