"""The documentation does what it says.

Python blocks run, links lead somewhere, command lines name commands and options that exist, and no network, distance or
error class is left out.

Two conventions make the blocks say what they print. A comment behind a `print` at the margin is what it prints:

    print(1 + 1)  # 2

And a block fenced as "text output" is all that the block before it prints.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import socket
import tokenize
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import opsin
from opsin import errors
from opsin.cli.main import run
from opsin.distances import DISTANCES
from opsin.extractors import NETWORKS
from opsin.report.demonstration import blur

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Pictures that the demo draws and that are put there by hand.
DRAWN = {ROOT / "docs" / "images" / name for name in ("ranking.png", "heatmap.png")}

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_RUNNING = {"python", "text", "text output", "console", "sh"}
# Page -> the module of an extra that its blocks import by themselves.
_EXTRAS = {"autoencoder.md": "diffusers"}


class Block(NamedTuple):
    """A fenced block: what stands behind the fence, its text, and the line of the page where the text begins."""

    kind: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    return [Block(m[1].strip(), m[2], page.count("\n", 0, m.start(2)) + 1) for m in _FENCE.finditer(page)]


def promised(source: str) -> list[str]:
    """The comments behind `print(…)` at the margin: the lines that a block says it prints."""
    lines: list[str] = []
    begins = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and begins.startswith("print("):
            lines.append(token.string.removeprefix("#").strip())
        if token.type == tokenize.NEWLINE:
            begins = ""
        elif not begins and token.type not in (tokenize.NL, tokenize.COMMENT):
            begins = token.line
    return lines


def execute(page: str, name: str) -> None:
    """Run the Python blocks of a page in order, in one namespace, and hold them to what they say they print."""
    namespace: dict[str, Any] = {"__name__": "__docs__"}
    found = blocks(page)
    for i, block in enumerate(found):
        if block.kind != "python":
            continue
        # The empty lines in front make the line numbers of a traceback those of the page.
        code = compile("\n" * (block.line - 1) + block.text, name, "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, namespace)
        after = found[i + 1] if i + 1 < len(found) else None
        says = after.text.splitlines() if after and after.kind == "text output" else promised(block.text)
        assert out.getvalue().splitlines() == says, f"{name}, line {block.line}: the block prints something else"


def commands(page: str) -> list[str]:
    """The `opsin …` lines of a page's console and shell blocks."""
    lines = [
        line.removeprefix("$ ")
        for block in blocks(page)
        if block.kind in ("console", "sh")
        for line in block.text.splitlines()
        # In a console block what has no prompt is output.
        if block.kind == "sh" or line.startswith("$ ")
    ]
    return [line for line in lines if line.split()[:1] == ["opsin"]]


@cache
def help_of(*subcommand: str) -> str:
    """The help of a subcommand, empty if there is none."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        status = run([*subcommand, "--help"])
    return out.getvalue() if status == 0 else ""


def check_command(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    subcommand: list[str] = []
    while len(words) > len(subcommand) and "COMMAND" in help_of(*subcommand).partition("\n")[0]:
        word = words[len(subcommand)]
        if word.startswith("-"):
            break
        subcommand.append(word)
        assert help_of(*subcommand), f"no such command: {line}"
    known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(*subcommand)))
    for word in words[len(subcommand) :]:
        option = word.partition("=")[0]
        assert not option.startswith("-") or option in known, f"no option {option}: {line}"


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = _HEADING.findall(_FENCE.sub("", page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken_links(page: str, path: Path) -> list[str]:
    broken = []
    for target in _LINK.findall(_FENCE.sub("", page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        found = place.exists() or place in DRAWN
        if found and anchor:
            found = anchor in anchors(page if place == path else place.read_text(encoding="utf-8"))
        if not found:
            broken.append(target)
    return broken


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run a page in: two pictures, no network connection, none of this machine's weights."""

    def refuse(*_: object) -> None:
        raise AssertionError("a page of the documentation must not open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("OPSIN_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 12, 12, generator=generator)
    photo = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)
    opsin.write_image("photo.png", photo)
    opsin.write_image("result.png", blur(photo))
    return tmp_path


@pytest.fixture(params=PAGES, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.usefixtures("desk")
def test_python_blocks_run(page: str, path: Path) -> None:
    if path.name in _EXTRAS:
        pytest.importorskip(_EXTRAS[path.name], reason=f"extra '{_EXTRAS[path.name]}'")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        execute(page, path.name)


def test_links_lead_somewhere(page: str, path: Path) -> None:
    assert broken_links(page, path) == []


def test_command_lines_exist(page: str) -> None:
    for line in commands(page):
        check_command(line)


def test_fences_are_ones_that_are_checked(page: str) -> None:
    assert {block.kind for block in blocks(page)} <= _RUNNING


def test_make_targets_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for block in blocks(page):
        if block.kind == "sh":
            for target in re.findall(r"^make (\w+)$", block.text, re.MULTILINE):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_index_lists_every_page() -> None:
    listed = set(_LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in PAGES[1:]} - {"index.md"} <= listed


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("distances.md", [f'"{name}"' for name in DISTANCES]),
        ("extractors.md", [f"`{name}`" for name in NETWORKS if not name.endswith("_bn")]),
        ("errors.md", [f"`{k}`" for k, v in vars(errors).items() if isinstance(v, type) and issubclass(v, ValueError)]),
    ],
)
def test_nothing_is_left_out(page: str, names: list[str]) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [name for name in names if name not in text] == []


class TestTheseTestsFail:
    """Each check on a page that is wrong."""

    @pytest.mark.usefixtures("desk")
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ("```python\nraise KeyError\n```\n", KeyError),
            ("```python\na = 1\n```\n```python\nb\n```\n", NameError),
            ("```python\nimport opsin\nopsin.VGG('vgg11', weights='official')\n```\n", (AssertionError, ValueError)),
            ("```python\nimport warnings\nwarnings.warn('old', DeprecationWarning)\n```\n", DeprecationWarning),
            ("```python\nprint(2)  # 3\n```\n", AssertionError),
            ("```python\nprint(2)\n```\n", AssertionError),
            ("```python\n# no\n\nprint(2)  # 3\n```\n", AssertionError),
            ("```python\nprint(2)\n```\n\n```text output\n3\n```\n", AssertionError),
        ],
    )
    def test_block(self, body: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            execute(body, "wrong.md")

    @pytest.mark.usefixtures("desk")
    def test_right_blocks_pass_and_others_do_not_run(self) -> None:
        execute("```python\na = 2  # two\n```\n```python\n\nprint(a)  # 2\n```\n```text\nraise A\n```\n", "right.md")

    def test_line_numbers_are_those_of_the_page(self) -> None:
        with pytest.raises(ZeroDivisionError) as caught:
            execute("# Title\n\n```python\na = 1\n1 / 0\n```\n", "wrong.md")
        assert caught.traceback[-1].lineno == 4  # counted from 0

    @pytest.mark.parametrize("target", ["missing.md", "images/missing.png", "#nowhere", "loss.md#nowhere"])
    def test_link(self, target: str) -> None:
        assert broken_links(f"# Title\n\n[a]({target})\n", ROOT / "docs" / "index.md") == [target]

    @pytest.mark.parametrize("target", ["loss.md", "loss.md#options", "#a-title", "https://example.org/nowhere"])
    def test_right_links_pass(self, target: str) -> None:
        assert broken_links(f"# A `title`\n\n[a]({target})\n", ROOT / "docs" / "index.md") == []

    @pytest.mark.parametrize(
        "line",
        [
            "opsin compar a b",
            "opsin compare a b --heat-map c",
            "opsin compare a b --jso",
            "opsin weights lst",
            "opsin weights list -o",
        ],
    )
    def test_command(self, line: str) -> None:
        assert commands(f"```console\n$ {line}\nopsin 0.1.0 is output\n```\n") == [line]
        with pytest.raises(AssertionError):
            check_command(line)
