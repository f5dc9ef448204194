"""The gallery: its page is that of its script, and its commands are ones that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import typer
from PIL import Image

from opsin.cli.main import app

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    """The script that draws the gallery."""
    return load_tool("draw_gallery")


def test_the_page_is_the_scripts(tool: ModuleType) -> None:
    assert (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8") == tool.page()


def test_every_sheet_is_there_and_small(tool: ModuleType) -> None:
    for name, sheet in tool.SHEETS.items():
        path = ROOT / "docs" / "images" / f"gallery-{name}.jpg"
        assert path.stat().st_size < 400_000
        with Image.open(path) as picture:
            assert picture.width > 300 * sheet.columns


def test_all_losses_are_shown(tool: ModuleType) -> None:
    from opsin.stylize import LOSSES

    shown = {loss for cell in tool.SHEETS["losses"].cells for loss in re.findall(r"--loss (\S+)", cell.options)}
    assert shown == set(LOSSES)


def test_the_command_line_takes_every_command(tool: ModuleType) -> None:
    stylize = typer.main.get_command(app).commands["stylize"]  # pyright: ignore[reportAttributeAccessIssue] (a group)
    known = {*tool.PHOTOS, *tool.DRAWN}
    for sheet in tool.SHEETS.values():
        for cell in sheet.cells:
            if not cell.options:
                assert cell.name in known
                continue
            words = shlex.split(cell.command)
            assert words[:2] == ["opsin", "stylize"]
            with stylize.make_context("stylize", words[2:]) as context:
                named = [context.params["photo"], *context.params["style"]]
                assert {str(path) for path in named} <= known
                assert str(context.params["output"]) == cell.name


def test_names_are_used_once(tool: ModuleType) -> None:
    """The same file must not stand for two commands."""
    commands = [cell.command for sheet in tool.SHEETS.values() for cell in sheet.cells if cell.options]
    names = [cell.name for sheet in tool.SHEETS.values() for cell in sheet.cells if cell.options]
    assert len(set(names)) == len(names) == len(set(commands))


def test_a_mask_is_white_where_the_picture_is_yellow(tool: ModuleType) -> None:
    picture = Image.new("RGB", (64, 32), (20, 40, 160))
    picture.paste((230, 200, 60), (32, 0, 64, 32))
    mask = tool.mask(picture, tool.red_over_blue)
    assert [mask.getpixel((x, 16)) for x in (4, 20, 44, 60)] == [0, 0, 255, 255]
    assert {value for _, value in mask.getcolors()} == {0, 255}


def test_a_sheet_is_drawn_by_its_commands(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage", reason="the sample photos are those of scikit-image")
    monkeypatch.setattr(tool, "BUILD", tmp_path)
    cells = [tool.Cell("it", "coffee.png"), tool.painted("coffee.png", "out.png", "painted", size=32, steps=1)]
    drawn = tool.draw(tool.Sheet("A sheet", "", "", cells, columns=2))
    with Image.open(tmp_path / "out.png") as made:
        assert made.size == (32, 21)
    assert drawn.width > 600
    told = capfd.readouterr().out
    assert "$ opsin stylize coffee.png --style painting.png --size 32 --steps 1 -o out.png\n" in told
    assert tool.draw(tool.Sheet("A sheet", "", "", cells, columns=2)).tobytes() == drawn.tobytes()
    assert "$" not in capfd.readouterr().out  # what is there isn't made again
