"""The state of something that shall go on later, in one file: tensors as safetensors, all else as JSON in its header.

Nothing in the file is executed when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from opsin.errors import InputError, OpsinError
from opsin.files import atomic_path

_KEY = "opsin"


def save_state(path: str | os.PathLike[str], state: Mapping[str, Any], *, kind: str) -> None:
    """Write a state, whole or not at all; a file that is there is replaced.

    Args:
        path: where to.
        state: dicts, lists and tuples of tensors, numbers, texts, True, False and None.
        kind: of what it is the state; `load_state` must ask for the same.

    Raises:
        InputError: a value that is none of these.
        OpsinError: the file cannot be written; what was there stays.
    """
    tensors: dict[str, Tensor] = {}
    structure = _take_apart(state, tensors)
    header = {_KEY: json.dumps({"kind": kind, "state": structure})}
    try:
        with atomic_path(path, overwrite=True) as temporary:
            save_file(tensors, temporary, header)
    except (OSError, SafetensorError) as error:
        raise OpsinError(
            f"the state must be written to '{path}', got {' '.join(str(error).split())}. What was there before "
            "is whole: make room and go on from it."
        ) from error


def load_state(path: str | os.PathLike[str], *, kind: str) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        OpsinError: the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise OpsinError(f"the file to go on from must exist, got '{path}', which does not. Begin anew without it.")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            if header["kind"] != kind:
                raise OpsinError(f"'{path}' must be the state of {kind}, got that of {header['kind']}. Name another.")
            return _put_together(header["state"], file)
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        if isinstance(error, OpsinError):
            raise
        raise OpsinError(
            f"'{path}' must be a state that opsin wrote, got {type(error).__name__}: {' '.join(str(error).split())}. "
            "Begin anew without it."
        ) from error


def _take_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Plain values that stand for a state: containers tagged, tensors by their names."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # A copy: two names may not share their memory.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[_take_apart(k, tensors), _take_apart(v, tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_take_apart(v, tensors) for v in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(f"a state must be made of tensors and plain values, got {type(value).__name__}.")


def _put_together(value: Any, file: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "tensor":
        # A copy lies where torch puts its own: sums are rounded as they were only if they are taken in the same lanes.
        tensor: Tensor = file.get_tensor(content)
        return tensor.clone()
    if tag == "dict":
        return {_put_together(k, file): _put_together(v, file) for k, v in content}
    items = [_put_together(v, file) for v in content]
    return tuple(items) if tag == "tuple" else items
