"""The native library: found, loaded and called with tensors."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin._native import buffers
from opsin._native.build import library, signature
from opsin.tracing import is_traced

_T = TypeVar("_T")

_POINTER, _SIZE, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float


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
    if _built_of(lib) != signature():
        # Its functions may take other arguments, and would write where nothing of theirs is.
        return MissingLibraryError(
            f"{path.name} was built from the sources of another version. "
            "With a C compiler at hand, run: python -m opsin._native"
        )
    signatures = {
        "opsin_winograd_filters_size": (_SIZE, [_SIZE, _SIZE]),
        "opsin_winograd_work_size": (_SIZE, [_SIZE, _SIZE]),
        "opsin_winograd_filters": (None, [_POINTER, _POINTER, _SIZE, _SIZE, _INT]),
        "opsin_winograd": (None, [*[_POINTER] * 7, *[_SIZE] * 5, _INT, _INT]),
        "opsin_panel": (_SIZE, []),
        "opsin_narrow_work_size": (_SIZE, [_SIZE, _SIZE]),
        "opsin_narrow_backward_work_size": (_SIZE, [_SIZE] * 3),
        "opsin_narrow": (None, [*[_POINTER] * 6, *[_SIZE] * 5, _INT]),
        "opsin_narrow_backward": (None, [*[_POINTER] * 5, *[_SIZE] * 5, _INT]),
        "opsin_max_pool": (None, [*[_POINTER] * 3, *[_SIZE] * 4, _INT]),
        "opsin_max_pool_backward": (None, [*[_POINTER] * 3, *[_SIZE] * 4, _INT]),
        "opsin_unit_l2_work_size": (_SIZE, [_SIZE, _SIZE]),
        "opsin_unit_l2": (None, [*[_POINTER] * 5, _FLOAT, *[_POINTER] * 2, *[_SIZE] * 4, _INT]),
        "opsin_unit_l2_backward": (None, [*[_POINTER] * 6, _FLOAT, _POINTER, *[_SIZE] * 4, _INT]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def _built_of(lib: ctypes.CDLL) -> str | None:
    try:
        sources = lib.opsin_sources
    except AttributeError:
        return None
    sources.restype, sources.argtypes = ctypes.c_char_p, []
    return sources().decode()


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


def takes(*tensors: Tensor) -> bool:
    """Whether the library is there for these tensors, and torch's own operators need not be found in its place."""
    return (
        all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
        and not torch.is_autocast_enabled("cpu")
        and not is_traced()
        and available()
    )


def _library() -> ctypes.CDLL:
    lib = _load()
    if isinstance(lib, MissingLibraryError):
        raise lib
    return lib


def pack(weight: Tensor, *, backward: bool) -> Tensor:
    """Filters (O,C,3,3), float32, laid out for `convolution` or `convolution_backward`; see `packs_alike`."""
    lib = _library()
    weight = weight.detach()
    if is_narrow(weight):
        matrix = weight.permute(0, 2, 3, 1).flatten(1)
        return _panels(lib, matrix if backward else matrix.T)
    weight = weight.contiguous()
    out, channels = weight.shape[:2]
    packed = buffers.floats([lib.opsin_winograd_filters_size(channels, out)], pool=None)
    lib.opsin_winograd_filters(weight.data_ptr(), packed.data_ptr(), channels, out, torch.get_num_threads())
    return packed


def packs_alike(weight: Tensor) -> bool:
    """Whether `pack` gives the same for both ways: all filters but the few kilobytes of narrow ones."""
    return not is_narrow(weight)


def packed_bytes(weight: Tensor) -> int:
    """Size of what `pack` gives, of filters (O,C,3,3); 0 for the few kilobytes of narrow ones."""
    if is_narrow(weight):
        return 0
    out, channels = weight.shape[:2]
    return 4 * _library().opsin_winograd_filters_size(channels, out)


def is_narrow(weight: Tensor) -> bool:
    """Whether filters (O,C,3,3) are of so few channels that Winograd's transforms don't pay."""
    return weight.shape[1] <= 4


def _panels(lib: ctypes.CDLL, matrix: Tensor) -> Tensor:
    """(K,columns) -> (panels,K,PANEL), zeros behind the last column."""
    wide = lib.opsin_panel()
    padded = F.pad(matrix, (0, -matrix.shape[1] % wide))
    return padded.reshape(len(matrix), -1, wide).transpose(0, 1).contiguous()


def bit_bytes(channels: int) -> int:
    """Bytes that one bit for each channel takes."""
    return (channels + 7) // 8


def convolution(x: Tensor, packed: Tensor, weight: Tensor, *, bias: Tensor | None, relu: bool) -> tuple[Tensor, Tensor]:
    """3×3 convolution padded by 1, through a ReLU if asked for, and where that clipped.

    Shape: (N,C,H,W), float32 -> (N,O,H,W), in channels_last; (N,H,W,bytes), bits of the channels, or nothing.

    Args:
        x: what is convolved.
        packed: its filters; see `pack`.
        weight: the filters themselves, for their shape.
        bias: added to the output.
        relu: clip the output at 0.
    """
    lib = _library()
    x = x.contiguous(memory_format=torch.channels_last)
    bias = None if bias is None else bias.contiguous()
    n, c, h, w = x.shape
    channels = weight.shape[0]
    y = new_map((n, channels, h, w))
    clipped = torch.empty((n, h, w, bit_bytes(channels)) if relu else 0, dtype=torch.uint8)
    threads = torch.get_num_threads()
    tensors = *map(_address, (x, packed, bias, y)), _address(clipped) if relu else None
    sizes = n, h, w, c, channels
    if is_narrow(weight):
        work = _work(threads * lib.opsin_narrow_work_size(w, c))
        lib.opsin_narrow(*tensors, work.data_ptr(), *sizes, threads)
    else:
        work = _work(threads * lib.opsin_winograd_work_size(c, channels))
        lib.opsin_winograd(tensors[0], None, *tensors[1:], work.data_ptr(), *sizes, False, threads)
    return y, clipped


def convolution_backward(grad: Tensor, packed: Tensor, weight: Tensor, *, clipped: Tensor | None) -> Tensor:
    """Gradient of `convolution` by x, out of that by its value; (N,O,H,W) -> (N,C,H,W), in channels_last."""
    lib = _library()
    grad = grad.contiguous(memory_format=torch.channels_last)
    clipped = None if clipped is None else clipped.contiguous()
    n, _, h, w = grad.shape
    out, channels = weight.shape[:2]
    dx = new_map((n, channels, h, w))
    threads = torch.get_num_threads()
    if is_narrow(weight):
        work = _work(threads * lib.opsin_narrow_backward_work_size(w, channels, out))
        tensors = map(_address, (grad, clipped, packed, dx, work))
        lib.opsin_narrow_backward(*tensors, n, h, w, channels, out, threads)
    else:
        work = _work(threads * lib.opsin_winograd_work_size(out, channels))
        tensors = map(_address, (grad, clipped, packed, None, dx, None, work))
        lib.opsin_winograd(*tensors, n, h, w, out, channels, True, threads)
    return dx


def unit_l2(x: Tensor, y: Tensor, weights: Tensor | None, eps: float) -> Tensor:
    """Mean over positions of Σ_c w_c (x/(|x|+eps) - y/(|y|+eps))²; (N,C,H,W), (N or 1,C,H,W), (C,) -> (N,)."""
    lib = _library()
    x, y = _channels_side_by_side(x), _channels_side_by_side(y)
    weights = None if weights is None else weights.contiguous()
    n, c, h, w = x.shape
    d = torch.empty(n, dtype=torch.float32)
    work = torch.empty(lib.opsin_unit_l2_work_size(n, h * w), dtype=torch.float64)
    tensors = (*_map(x), *_map(y), _address(weights), eps, work.data_ptr(), d.data_ptr())
    lib.opsin_unit_l2(*tensors, n, h, w, c, torch.get_num_threads())
    return d


def unit_l2_backward(grad: Tensor, x: Tensor, y: Tensor, weights: Tensor | None, eps: float) -> Tensor:
    """Gradient of `unit_l2` by x, out of that by its value (N,); in channels_last."""
    lib = _library()
    grad, x, y = grad.contiguous(), _channels_side_by_side(x), _channels_side_by_side(y)
    weights = None if weights is None else weights.contiguous()
    n, c, h, w = x.shape
    dx = new_map(x.shape)
    tensors = (grad.data_ptr(), *_map(x), *_map(y), _address(weights), eps, dx.data_ptr())
    lib.opsin_unit_l2_backward(*tensors, n, h, w, c, torch.get_num_threads())
    return dx


def max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of each 2×2 positions, in channels_last, and its place: bits of its column and of its row.

    Shape: (N,C,H,W), float32 -> (N,C,H//2,W//2), (N,H//2,W//2,2,bytes).
    """
    lib = _library()
    n, c, h, w = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    y = new_map((n, c, h // 2, w // 2))
    places = torch.empty((n, h // 2, w // 2, 2, bit_bytes(c)), dtype=torch.uint8)
    lib.opsin_max_pool(*map(_address, (x, y, places)), n, h, w, c, torch.get_num_threads())
    return y, places


def max_pool_backward(grad: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    """Gradient of `max_pool` by x, of that height and width, out of that by its value; in channels_last."""
    lib = _library()
    n, c = grad.shape[:2]
    grad, places = grad.contiguous(memory_format=torch.channels_last), places.contiguous()
    dx = new_map((n, c, height, width))
    lib.opsin_max_pool_backward(*map(_address, (grad, places, dx)), n, height, width, c, torch.get_num_threads())
    return dx


def _work(floats: int) -> Tensor:
    return buffers.floats([floats])


def map_for(x: Tensor, *others: Tensor) -> Tensor | None:
    """A map like x for what an elementwise operator of torch makes of it and others, to be its `out`.

    None where torch must make it itself: a graph is recorded, x is not in channels_last, or something is on another
    device, of another dtype or a subclass.

    Shape: (N,C,H,W) -> (N,C,H,W), channels_last.
    """
    recorded = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *others))
    if recorded or type(x) is not Tensor or not takes(x, *others) or torch.compiler.is_compiling():
        return None
    return new_map(x.shape) if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) else None


def new_map(shape: Sequence[int]) -> Tensor:
    """A map (N,C,H,W) of any values, channels_last, in memory that `buffers` keeps ready."""
    n, c, h, w = shape
    return buffers.floats((n, c, h, w), (h * w * c, 1, w * c, c))


def _address(t: Tensor | None) -> int | None:
    return None if t is None else t.data_ptr()


def _channels_side_by_side(t: Tensor) -> Tensor:
    # A part of a map in channels_last is taken as it is.
    return t if t.shape[1] == 1 or t.stride(1) == 1 else t.contiguous(memory_format=torch.channels_last)


def _map(t: Tensor) -> tuple[int, ctypes.Array[ctypes.c_int64]]:
    """Address and strides of images, rows and pixels of a map; one image stands for any number."""
    image, _, row, pixel = t.stride()
    return t.data_ptr(), (_SIZE * 3)(0 if t.shape[0] == 1 else image, row, pixel)
