"""The native library: found, loaded and called with tensors."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from opsin._native.build import library

_T = TypeVar("_T")

_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int


class MissingLibraryError(Exception):
    """There is no library; the message says why."""


def _constant(function: Callable[[], _T]) -> Callable[[], _T]:
    """torch.compiler.assume_constant_result, which would import torch's compiler: two seconds for nothing, for most."""
    function.__dict__["_dynamo_marked_constant"] = True
    return function


@functools.cache
def _load() -> ctypes.CDLL | MissingLibraryError:
    path = library(level())
    if not path.exists():
        return MissingLibraryError(
            f"{path.name} was not built when opsin was installed. "
            "With a C compiler at hand, run: python -m opsin._native"
        )
    try:
        # Its OpenMP symbols are those of torch's own library, which torch makes global.
        lib = ctypes.CDLL(str(path))
    except OSError as error:
        return MissingLibraryError(f"{path.name} could not be loaded: {error}")
    signatures = {
        "opsin_winograd_filters_size": (_SIZE, [_SIZE, _SIZE]),
        "opsin_winograd_work_size": (_SIZE, [_SIZE, _SIZE]),
        "opsin_winograd_filters": (None, [_POINTER, _POINTER, _SIZE, _SIZE, _INT]),
        "opsin_winograd": (None, [*[_POINTER] * 4, _INT, *[_POINTER] * 2, *[_SIZE] * 5, _INT]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


@_constant
def level() -> str:
    """The vector instructions that torch uses here: "avx512", "avx2" or "default"."""
    capability = torch.backends.cpu.get_cpu_capability().lower()
    return capability if capability in ("avx512", "avx2") else "default"


def why_not() -> str | None:
    """Why there is no native library, or None if there is one."""
    lib = _load()
    return str(lib) if isinstance(lib, MissingLibraryError) else None


@_constant
def available() -> bool:
    """Whether the native library is there."""
    return why_not() is None


def _library() -> ctypes.CDLL:
    lib = _load()
    if isinstance(lib, MissingLibraryError):
        raise lib
    return lib


def pack(weight: Tensor) -> Tensor:
    """Filters (O,C,3,3), float32, transformed and laid out for `winograd`."""
    lib = _library()
    weight = weight.detach().contiguous()
    out, channels = weight.shape[:2]
    packed = torch.empty(lib.opsin_winograd_filters_size(channels, out))
    lib.opsin_winograd_filters(weight.data_ptr(), packed.data_ptr(), channels, out, torch.get_num_threads())
    return packed


def packed_bytes(weight: Tensor, *, backward: bool) -> int:
    """Size of what `pack` gives, of filters (O,C,3,3) or of those of their gradient."""
    out, channels = weight.shape[1::-1] if backward else weight.shape[:2]
    return 4 * _library().opsin_winograd_filters_size(channels, out)


def winograd(
    x: Tensor, packed: Tensor, channels: int, *, seen: Tensor | None = None, bias: Tensor | None = None, relu: bool
) -> Tensor:
    """3×3 convolution padded by 1; (N,C,H,W), float32 -> (N,channels,H,W), in channels_last.

    Args:
        x: what is convolved.
        packed: its filters; see `pack`.
        channels: how many there are.
        seen: of x's shape: x is taken as 0 where this is not positive, the gradient of a ReLU that gave it.
        bias: added to the output.
        relu: clip the output at 0.
    """
    lib = _library()
    n, c, h, w = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    seen = None if seen is None else seen.contiguous(memory_format=torch.channels_last)
    bias = None if bias is None else bias.contiguous()
    y = torch.empty((n, channels, h, w), dtype=torch.float32, memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    work = torch.empty(threads * lib.opsin_winograd_work_size(c, channels), dtype=torch.float32)
    pointers = [None if t is None else t.data_ptr() for t in (x, seen, packed, bias)]
    lib.opsin_winograd(*pointers, relu, y.data_ptr(), work.data_ptr(), n, h, w, c, channels, threads)
    return y
