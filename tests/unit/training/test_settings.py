"""Settings: where they come from, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opsin.errors import ChoiceError, InputError
from opsin.training import Settings

PLACES: dict[str, Any] = {"data": "photos", "output": "run"}


def test_the_command_line_counts_more_than_a_file_and_a_file_more_than_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("steps: 7\nlr: 1\nseed: 3\n")
    (tmp_path / "b.yaml").write_text("steps: 8\ncrop: 64\n")
    settings = Settings.collect({**PLACES, "seed": 5}, tmp_path / "a.yaml", None, tmp_path / "b.yaml")
    assert (settings.steps, settings.lr, settings.seed, settings.crop, settings.batch) == (7, 1.0, 5, 64, 4)
    assert (settings.data, settings.output) == (Path("photos"), Path("run"))


def test_to_a_file_and_back(tmp_path: Path) -> None:
    settings = Settings.collect({**PLACES, "lr": 3e-5, "schedule": "cosine"})
    settings.write(tmp_path / "config.yaml")
    assert Settings.collect({}, tmp_path / "config.yaml") == settings


@pytest.mark.parametrize(
    ("text", "kind", "match"),
    [
        ("stepz: 3", ChoiceError, r"unknown setting 'stepz' for .*config\.yaml'; did you mean 'steps'\?"),
        ("steps: many", InputError, r"steps must be a whole number, got 'many' in '.*config\.yaml'"),
        ("steps: 1.5", InputError, r"steps must be a whole number, got 1\.5"),
        ("steps: true", InputError, r"steps must be a whole number, got True"),
        ("lr: fast", InputError, r"lr must be a number, got 'fast'"),
        ("data: [1]", InputError, r"data must be a path"),
        ("[1, 2]", InputError, r"config must be settings by name, got a list"),
        ("a: b: c", InputError, r"config must be a YAML file"),
        ("kind: other", InputError, r"config must be of '' training, got 'other'"),
    ],
)
def test_a_bad_file(tmp_path: Path, text: str, kind: type[Exception], match: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(kind, match=match):
        Settings.collect(PLACES, tmp_path / "config.yaml")


def test_a_missing_file_and_a_missing_setting(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config must be a file that can be read"):
        Settings.collect(PLACES, tmp_path / "config.yaml")
    with pytest.raises(InputError, match=r"data must be given, got none\. Pass --data\."):
        Settings.collect({"output": "run"})


def test_an_exponent_without_a_dot_is_a_number(tmp_path: Path) -> None:
    """YAML takes 1e-3 for a text."""
    (tmp_path / "config.yaml").write_text("lr: 1e-3")
    assert Settings.collect(PLACES, tmp_path / "config.yaml").lr == 0.001


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"crop": 8}, "crop must be at least 16"),
        ({"lr": 0.0}, "lr must be a positive number"),
        ({"lr": float("nan")}, "lr must be a positive number"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"precision": "float61"}, "did you mean 'float16'"),
        ({"device": "cude"}, "did you mean 'cuda'"),
        ({"keep": 0}, "keep must be at least 1"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], match: str) -> None:
    with pytest.raises((InputError, ChoiceError), match=match):
        Settings(data=Path("photos"), output=Path("run"), **options)


def test_what_may_change_when_a_run_goes_on() -> None:
    earlier = Settings.collect(PLACES)
    Settings.collect({**PLACES, "steps": 5000, "workers": 4, "device": "cuda:1"}).check_resumed(earlier)
    with pytest.raises(InputError, match="batch must stay 4 when a run goes on, got 8"):
        Settings.collect({**PLACES, "batch": 8}).check_resumed(earlier)
    cosine = Settings.collect({**PLACES, "schedule": "cosine"})
    with pytest.raises(InputError, match="steps must stay 2000 when a run with a cosine schedule"):
        Settings.collect({**PLACES, "schedule": "cosine", "steps": 3000}).check_resumed(cosine)
