"""A loss as a metric for other runtimes: two images in, a number for each pair out; or a trained network.

`to_exported_program` makes a `torch.export.ExportedProgram`, `to_onnx` and `network_to_onnx` a file. All hold torch's
own operators alone.
"""

from __future__ import annotations

import copy
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn

from opsin.checks import whole
from opsin.errors import InputError, MissingExtraError, OpsinError
from opsin.files import atomic_path, check_writable
from opsin.loss import PerceptualLoss
from opsin.networks import Network, Upscaler

# The dimensions of images that an export may leave open.
_AXES = {0: "batch", 2: "height", 3: "width"}


class _Metric(nn.Module):
    """The total of each image of a batch; the arguments are x and the references, in the order of the loss's."""

    def __init__(self, loss: PerceptualLoss) -> None:
        super().__init__()
        # A copy, since constants of the graph come from the CPU and in float32.
        self.loss = copy.deepcopy(loss).to("cpu", torch.float32)

    def forward(self, x: Tensor, *references: Tensor) -> Tensor:
        named: dict[str, Any] = dict(zip(self.loss.references, references, strict=True))
        return self.loss.evaluate(x, **named).total


def to_exported_program(
    loss: PerceptualLoss,
    size: int | tuple[int, int] = 256,
    *,
    batch: int = 2,
    dynamic_batch: bool = True,
    dynamic_size: bool = False,
) -> torch.export.ExportedProgram:
    """A loss as a program of `torch.export`: x and each of its references in, the total of each image out.

    The program computes in float32 on the CPU, holds the networks, checks no range of values, and has no gradient
    to give: it measures. Images come in the loss's `input_range`, references one for each image. Random draws of a
    loss are drawn anew on each run.

    Shape: x (N,3,H,W), references (N,3,H,W) each -> (N,), whatever the loss's `reduction`.

    Args:
        loss: what is exported.
        size: side of the images, or (height, width).
        batch: number of images; with `dynamic_batch` that of the trial run, which must be 2 at least.
        dynamic_batch: leave the number of images open.
        dynamic_size: leave height and width open, down to what the network takes. Networks that round sizes up
            (SqueezeNet) have none.

    Raises:
        InputError: a loss that cannot be traced so, or sizes that do not fit.
        MissingExtraError: torch is older than 2.6, which the extra `onnx` asks for.

    Example:
        >>> import torch, opsin
        >>> loss = opsin.build("vgg11", ["relu2_1"], "l2", "random")
        >>> program = opsin.export.to_exported_program(loss, 32)
        >>> program.module()(torch.rand(3, 3, 32, 32), torch.rand(3, 3, 32, 32)).shape
        torch.Size([3])
    """
    _check_torch()
    if not isinstance(loss, PerceptualLoss):
        raise InputError(
            f"loss must be an opsin.PerceptualLoss, got {type(loss).__name__}. Pass what opsin.build makes."
        )
    height, width = _height_and_width(size)
    least = 2 if dynamic_batch else 1
    if whole("batch", batch, mend="E.g. 2.") < least:
        raise InputError(f"batch must be at least {least} with dynamic_batch, got {batch}. Leave it out.")
    images = [_sample(batch, height, width, seed) for seed in range(1 + len(loss.references))]
    open_axes = ([0] if dynamic_batch else []) + ([2, 3] if dynamic_size else [])
    axes: Any = dict.fromkeys(open_axes, torch.export.Dim.DYNAMIC)
    metric = _Metric(loss)
    with torch.no_grad():
        metric(*images)  # says what does not fit in our words, where there are some
        try:
            # When it fails, torch prints the whole graph besides.
            with redirect_stderr(io.StringIO()):
                return torch.export.export(
                    metric, tuple(images), dynamic_shapes=(axes, (axes,) * (len(images) - 1)), strict=False
                )
        except OpsinError:
            raise
        except Exception as error:  # torch.export promises no kinds; whichever it is stays its cause
            options = {"dynamic_batch": dynamic_batch, "dynamic_size": dynamic_size}
            mend = " or ".join(f"{name}=False" for name, chosen in options.items() if chosen)
            raise InputError(
                f"loss must be one that torch.export can trace, got {_called(loss)}: {_reason(error)}. "
                + (f"{mend} may help." if mend else "Losses whose graph depends on values or random numbers cannot.")
            ) from error


def to_onnx(
    loss: PerceptualLoss,
    path: str | os.PathLike[str],
    size: int | tuple[int, int] = 256,
    *,
    batch: int = 2,
    dynamic_batch: bool = True,
    dynamic_size: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a loss as an ONNX file: inputs "x" and the references by their names, output "distance".

    One file that holds the networks too; the loss's signature lies in its metadata, under "opsin", as JSON. For the
    rest see `to_exported_program`.

    Shape: x (N,3,H,W), references (N,3,H,W) each -> distance (N,).

    Args:
        loss: what is exported.
        path: the file, e.g. "lpips.onnx".
        size: see `to_exported_program`.
        batch: see there.
        dynamic_batch: see there.
        dynamic_size: see there.
        overwrite: replace the file if there is one.

    Raises:
        InputError: a loss that cannot be traced, or has an operation that ONNX does not; sizes that do not fit.
        MissingExtraError: onnx or onnxscript is not installed.
        OpsinError: `path` cannot be written, or exists and `overwrite` is False.

    Example:
        >>> import opsin
        >>> opsin.export.to_onnx(opsin.published.lpips(), "lpips.onnx", dynamic_size=True)  # doctest: +SKIP
    """
    check_output(path, overwrite=overwrite)
    program = to_exported_program(loss, size, batch=batch, dynamic_batch=dynamic_batch, dynamic_size=dynamic_size)
    names = ["x", *loss.references]
    try:
        _write(program, path, names, ["distance"], ["x"], loss.signature, overwrite=overwrite)
    except torch.onnx.errors.OnnxExporterError as error:
        raise InputError(
            f"loss must be of operations that ONNX has, got {_called(loss)}: {_reason(error)}. "
            "opsin.export.to_exported_program may do."
        ) from error


def network_to_onnx(
    network: Network,
    path: str | os.PathLike[str],
    size: int | tuple[int, int] = 256,
    *,
    dynamic_size: bool = False,
    about: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a trained network as an ONNX file: input "image", output "result", for any number of images.

    One file; what is known about the network lies in its metadata, under "opsin", as JSON. `opsin upscale` runs that of
    an upscaler.

    Shape: image (N,3,H,W) in [0,1] -> result (N,3,H,W) in [0,1]; of an upscaler (N,3,sH,sW), not clamped.

    Args:
        network: what `opsin.networks.load_network` gives.
        path: the file, e.g. "starry-night.onnx".
        size: side of the images, or (height, width).
        dynamic_size: leave height and width open.
        about: what else to write into the metadata.
        overwrite: replace the file if there is one.

    Raises:
        InputError: a size that is too small for the network, or a network that cannot be traced or has an operation
            that ONNX does not.
        MissingExtraError: onnx or onnxscript is not installed, or torch is older than 2.6.
        OpsinError: `path` cannot be written, or exists and `overwrite` is False.

    Example:
        >>> network, about = load_network("run/model.safetensors")  # doctest: +SKIP
        >>> opsin.export.network_to_onnx(network, "style.onnx", about=about)  # doctest: +SKIP
    """
    check_output(path, overwrite=overwrite)
    _check_torch()
    height, width = _height_and_width(size)
    image = _sample(2, height, width, 0)
    plain = copy.deepcopy(network).to("cpu", torch.float32).eval()
    dynamic: Any = torch.export.Dim.DYNAMIC
    axes = {0: dynamic, 2: dynamic, 3: dynamic} if dynamic_size else {0: dynamic}
    with torch.no_grad():
        plain(image)  # says what does not fit in our words
        try:
            # When it fails, torch prints the whole graph besides.
            with redirect_stderr(io.StringIO()):
                program = torch.export.export(plain, (image,), dynamic_shapes=(axes,), strict=False)
        except Exception as error:  # torch.export promises no kinds; whichever it is stays its cause
            raise InputError(
                f"network must be one that torch.export can trace, got '{network.architecture}': {_reason(error)}. "
                + ("A fixed size may do." if dynamic_size else "No other size will do.")
            ) from error
    header = {"architecture": network.architecture, "arguments": network.config(), **(about or {})}
    if isinstance(network, Upscaler):
        known = ("name", "scale", "radius", "tileable")
        header |= {key: getattr(network, key) for key in known}
    sides = "result" if isinstance(network, Upscaler) else ""
    try:
        _write(program, path, ["image"], ["result"], ["image"], header, overwrite=overwrite, sides=sides)
    except torch.onnx.errors.OnnxExporterError as error:
        raise InputError(
            f"network must be of operations that ONNX has, got '{network.architecture}': {_reason(error)}. "
            "No file was written."
        ) from error


def _write(
    program: torch.export.ExportedProgram,
    path: str | os.PathLike[str],
    inputs: Sequence[str],
    outputs: Sequence[str],
    like: Sequence[str],
    header: Mapping[str, Any],
    *,
    overwrite: bool,
    sides: str = "",
) -> None:
    """Write a program as ONNX; `like` says for each output by which input its open dimensions are called.

    Where the result's sides are not the input's, `sides` is what they are called after.
    """
    # As it is: the optimizer takes + 1e-12 for + 0 and leaves it out, and what it kept finite becomes NaN.
    made = torch.onnx.export(
        program, input_names=inputs, output_names=outputs, dynamo=True, optimize=False, verbose=False
    )
    if made is None:
        raise InputError(
            f"what is exported must be something that torch.onnx takes, got {outputs[0]}. Report it, please."
        )
    _name_axes(made.model.graph.inputs, inputs)
    _name_axes(made.model.graph.outputs, like)
    for axis, plain in _AXES.items() if sides else ():
        shape: Any = made.model.graph.outputs[0].shape
        if axis and not isinstance(shape[axis], int):
            shape[axis] = f"{sides}_{plain}"
    made.model.metadata_props["opsin"] = json.dumps(header)
    with atomic_path(path, overwrite=overwrite) as temporary:
        made.save(temporary, external_data=False)


def _check_torch() -> None:
    if not hasattr(torch.export.Dim, "DYNAMIC"):
        raise MissingExtraError(f"export must have torch 2.6, got {torch.__version__}. pip install 'opsin[onnx]'")


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise unless an ONNX file can be made here and written to `path`; quick, unlike `to_onnx`.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        OpsinError: `path` cannot be written, or exists and `overwrite` is False.
    """
    check_writable(path, overwrite=overwrite)
    try:
        import onnx  # noqa: F401 (torch.onnx imports it later, and says less if it is missing)
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"ONNX export must have onnx and onnxscript installed, got no {error.name}. pip install 'opsin[onnx]'"
        ) from error


def _height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2:
        raise InputError(f"size must be a number or (height, width), got {size!r}. E.g. 256.")
    height, width = (whole("size", side, mend="E.g. 256 pixels.") for side in both)
    return height, width


def _sample(batch: int, height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float32, device="cpu")


def _name_axes(values: Sequence[Any], names: Sequence[str]) -> None:
    """Call the open dimensions "batch", "height" and "width"; those of a reference that may differ, after it."""
    called: dict[str, str] = {}
    for value, name in zip(values, names, strict=True):
        for axis, size in enumerate(value.shape):
            if not isinstance(size, int):
                plain = _AXES[axis]
                taken = plain in called.values()
                value.shape[axis] = called.setdefault(str(size), f"{name}_{plain}" if taken else plain)


def _called(loss: PerceptualLoss) -> str:
    return loss.name or "+".join(dict.fromkeys(term.distance.name for term in loss.terms.values()))


def _reason(error: BaseException) -> str:
    """The first line of what an error is about: torch wraps one into the next and adds pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
