"""An ONNX file as an upscaler, run by onnxruntime: of `opsin export`, or of anybody's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opsin.errors import InputError, MissingExtraError, WeightsError
from opsin.networks import Upscaler

_TYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}
# Of trial images: none is small for a network of windows, and they are not alike.
_TRIALS = ((64, 64), (64, 96))


class OnnxUpscaler(Upscaler):
    """A network that onnxruntime computes, on images of any size.

    Args:
        path: the file.
        device: "cpu" or "cuda…".

    Attributes:
        about: what the file says of itself under "opsin"; nothing if it is not one of ours.

    Raises:
        WeightsError: the file is missing, damaged, or of no network that enlarges images of any size.
        InputError: onnxruntime does not compute on that device.
        MissingExtraError: onnxruntime is not installed.
    """

    architecture = "onnx"

    def __init__(self, path: str | os.PathLike[str], device: str = "cpu") -> None:
        super().__init__()
        self._path = Path(path)
        self._session = _session(self._path, torch.device(device))
        self.about = self._header()
        self._input, self._type = self._only_input()
        if self.about:
            self.name, self.scale = str(self.about["name"]), int(self.about["scale"])
            self.radius, self.tileable = self.about.get("radius"), bool(self.about.get("tileable", True))
        else:
            self.name, self.radius = self._path.stem, None
            self.scale = self._tried_scale()
        self.eval()

    def config(self) -> dict[str, Any]:
        """The file."""
        return {"path": str(self._path)}

    def forward(self, image: Tensor) -> Tensor:
        """Enlarge images one by one."""
        rows = [self._run(single[None]) for single in image]
        return torch.cat(rows).to(image)

    def _run(self, image: Tensor) -> Tensor:
        values = image.detach().to("cpu", self._type).contiguous().numpy()
        (result,) = self._session.run(None, {self._input: values})
        return torch.from_numpy(result)

    def _header(self) -> dict[str, Any]:
        text = self._session.get_modelmeta().custom_metadata_map.get("opsin")
        if text is None:
            return {}
        try:
            header = json.loads(text)
            known = isinstance(header, dict) and {"name", "scale"} <= header.keys()
        except json.JSONDecodeError:
            header, known = {}, False
        if not known:
            kind = header.get("architecture", "a loss") if isinstance(header, dict) else "nothing known"
            raise WeightsError(
                f"model must be one that enlarges images, got '{self._path}', of {kind}. "
                "Export the model.safetensors of a run of 'opsin train sr'."
            )
        return header

    def _only_input(self) -> tuple[str, torch.dtype]:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise self._refused(f"{len(inputs)} inputs and {len(outputs)} outputs")
        shape, kind = inputs[0].shape, inputs[0].type
        if kind not in _TYPES or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise self._refused(f"an input {shape} of {kind}")
        if any(isinstance(side, int) for side in shape[2:]):
            raise self._refused(f"one for {shape[3]}x{shape[2]} pixels alone")
        return inputs[0].name, _TYPES[kind]

    def _tried_scale(self) -> int:
        factors = set()
        for height, width in _TRIALS:
            try:
                shape = tuple(self._run(torch.full((1, 3, height, width), 0.5)).shape)
            except Exception as error:  # onnxruntime has a dozen kinds of its own
                raise self._refused(f"one that fails at {width}x{height} pixels ({_one_line(error)})") from error
            factor = shape[-1] // width
            if shape != (1, 3, factor * height, factor * width) or not factor:
                raise self._refused(f"{shape} of (1, 3, {height}, {width})")
            factors.add(factor)
        if len(factors) > 1:
            raise self._refused("another scale for each size")
        return factors.pop()

    def _refused(self, got: str) -> WeightsError:
        return WeightsError(
            "an ONNX model must take one image (N,3,H,W) of floats, of any size, and give it enlarged by a whole "
            f"number, got {got} in '{self._path}'. Export it with open height and width."
        )


def _session(path: Path, device: torch.device) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "an ONNX model must have onnxruntime installed, got no onnxruntime. pip install 'opsin[onnx]'"
        ) from error
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise WeightsError(f"model must be an ONNX file, got '{path}', {what}. Check the name.")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device.type, "")
    if provider not in onnxruntime.get_available_providers():
        raise InputError(f"device must be one that this onnxruntime computes on, got '{device}'. Use --device cpu.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an error; without this on stderr besides
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime has a dozen kinds of its own
        raise WeightsError(
            f"model must be a whole ONNX file, got '{path}': {_one_line(error)}. Get it again, or export it anew."
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
