"""What a run of training is asked to do: defaults, under a YAML file, under the command line."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

from opsin.checks import choice, whole
from opsin.errors import InputError
from opsin.files import atomic_path

S = TypeVar("S", bound="Settings")

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "float16", "bfloat16")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every kind of training takes; a kind adds fields of its own in a subclass.

    Attributes:
        data: a folder of images, searched recursively.
        output: the folder of the run.
        steps: how many times each optimiser steps.
        batch: images a step, those of all processes together.
        crop: side of the squares that the networks see, in pixels.
        lr: learning rate.
        schedule: "constant", or "cosine" from `lr` to 0.
        warmup: steps in which the learning rate rises from 0.
        accumulate: parts that each process computes its images of a step in, one after another.
        precision: "float32", or "float16" or "bfloat16" for automatic mixed precision.
        ema: how much of the averaged weights stays at each step; 0 for no average.
        seed: of all that is drawn at random.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        workers: processes that read images; 0 reads in the main one.
        cache: MiB of decoded images that each of them keeps.
        sample_every: steps between two pictures in `samples/`; 0 for none.
        checkpoint_every: steps between two checkpoints.
        keep: how many checkpoints are kept.
        max_unreadable: how many image files may be skipped before the run ends.
    """

    kind: ClassVar[str] = ""
    # What a run may go on with otherwise than it began: none of these has an influence on a step.
    changeable: ClassVar[frozenset[str]] = frozenset(
        {
            "data",
            "output",
            "steps",
            "device",
            "workers",
            "cache",
            "sample_every",
            "checkpoint_every",
            "keep",
            "max_unreadable",
        }
    )

    # Other names of settings, as a kind calls them.
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({})

    data: Path
    output: Path
    steps: int = 2000
    batch: int = 4
    crop: int = 256
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: int = 0
    accumulate: int = 1
    precision: str = "float32"
    ema: float = 0.999
    seed: int = 0
    device: str = "auto"
    workers: int = 1
    cache: int = 256
    sample_every: int = 100
    checkpoint_every: int = 100
    keep: int = 3
    max_unreadable: int = 100

    def __post_init__(self) -> None:
        """Check what a single value can be wrong in.

        Raises:
            InputError: a value out of range.
            ChoiceError: a name that does not exist.
        """
        for name, least in {
            "steps": 1,
            "batch": 1,
            "crop": 16,
            "warmup": 0,
            "accumulate": 1,
            "seed": 0,
            "workers": 0,
            "cache": 0,
            "sample_every": 0,
            "checkpoint_every": 1,
            "keep": 1,
            "max_unreadable": 0,
        }.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}. Leave it out.")
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr must be a positive number, got {self.lr}. E.g. 0.001.")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema must be at least 0 and below 1, got {self.ema}. E.g. 0.999.")
        choice("schedule", self.schedule, SCHEDULES)
        choice("precision", self.precision, PRECISIONS)
        choice("device", self.device.partition(":")[0], DEVICES)

    @classmethod
    def collect(cls: type[S], given: Mapping[str, Any], *files: str | os.PathLike[str] | None) -> S:
        """Settings of what was given, over what stands in YAML files, over the defaults.

        Args:
            given: by name, e.g. from the command line.
            files: the first one counts most; None is left out.

        Raises:
            InputError: a value of a wrong type or out of range, or one missing that has no default.
            ChoiceError: a name that is no setting of this kind.
        """
        merged: dict[str, Any] = {}
        for file in reversed(files):
            if file is not None:
                merged |= cls._typed(_read(file, cls.kind), f"in '{file}'")
        merged |= cls._typed(given, "")
        merged = {**cls.presets(merged), **merged}
        for field in dataclasses.fields(cls):
            if field.default is dataclasses.MISSING and field.name not in merged:
                option = "-o" if field.name == "output" else f"--{field.name.replace('_', '-')}"
                raise InputError(f"{field.name} must be given, got none. Pass {option}.")
        return cls(**merged)

    @classmethod
    def presets(cls, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
        """Defaults that depend on what was chosen otherwise; none unless a kind has some."""
        del chosen
        return {}

    @classmethod
    def _typed(cls, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        hints = get_type_hints(cls)
        names = [field.name for field in dataclasses.fields(cls)]
        typed: dict[str, Any] = {}
        for called, value in values.items():
            name = cls.aliases.get(called, called)
            choice("setting", name, names, owner=f"{cls.kind} training" + (f", {where}" if where else ""))
            typed[name] = _convert(name, value, hints[name], where)
        return typed

    def to_yaml(self) -> str:
        """All settings as YAML text, the kind first."""
        import yaml

        values = {name: str(v) if isinstance(v, Path) else v for name, v in dataclasses.asdict(self).items()}
        return yaml.safe_dump({"kind": self.kind, **values}, sort_keys=False)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write them to a YAML file; one that is there is replaced."""
        text = self.to_yaml()
        with atomic_path(path, overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def check_resumed(self, earlier: Settings) -> None:
        """Raise unless a run that began with `earlier` can go on with these.

        Raises:
            InputError: a setting differs that every step depends on.
        """
        for field in dataclasses.fields(self):
            now, then = getattr(self, field.name), getattr(earlier, field.name)
            if field.name not in self.changeable and now != then:
                raise InputError(
                    f"{field.name} must stay {then} when a run goes on, got {now}. Leave it out, or begin another run."
                )
        if self.schedule == "cosine" and self.steps != earlier.steps:
            raise InputError(
                f"steps must stay {earlier.steps} when a run with a cosine schedule goes on, got {self.steps}. "
                "Leave it out, or begin another run."
            )


def _read(file: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    import yaml

    path = Path(file)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"config must be a file that can be read, got '{path}': {error.strerror}. Check the name."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"config must be a YAML file, got '{path}': {' '.join(str(error).split())}. Write lines like 'steps: 500'."
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(
            f"config must be settings by name, got a {type(content).__name__} in '{path}'. "
            "Write lines like 'steps: 500'."
        )
    found = content.pop("kind", kind)
    if found != kind:
        raise InputError(f"config must be of '{kind}' training, got '{found}' in '{path}'. Choose another file.")
    return {str(name): value for name, value in content.items()}


def _convert(name: str, value: Any, hint: Any, where: str) -> Any:
    """A value in the type of its field: YAML gives 1 for 1.0 and texts for paths, and 1e-3 without a dot as text."""
    options = get_args(hint) or (hint,)
    if value is None and type(None) in options:
        return None
    (wanted,) = (option for option in options if option is not type(None))
    if wanted is bool and isinstance(value, bool):
        return value
    if not isinstance(value, bool):
        if wanted is int and isinstance(value, int):
            return value
        if wanted is float and isinstance(value, (int, float, str)):
            try:
                return float(value)
            except ValueError:
                pass
        if wanted in (str, Path) and isinstance(value, (str, Path)):
            return wanted(value)
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}
    place = f" {where}" if where else ""
    raise InputError(f"{name} must be {kinds[wanted]}, got {value!r}{place}. Mend it, or leave it out for the default.")


@dataclass(frozen=True, kw_only=True)
class HeldOutSettings(Settings):
    """What a kind of training that holds files out takes besides `Settings`.

    Attributes:
        val_fraction: how many of the files, or pairs, are held out to measure with.
        val_every: steps between two measurements.
    """

    changeable: ClassVar[frozenset[str]] = Settings.changeable | {"val_every"}

    val_fraction: float = 0.0
    val_every: int = 500

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            InputError: a value out of range.
            ChoiceError: a name that does not exist.
        """
        super().__post_init__()
        if not 0 <= self.val_fraction < 1:
            raise InputError(f"val_fraction must be at least 0 and below 1, got {self.val_fraction}. E.g. 0.1.")
        whole("val_every", self.val_every)
