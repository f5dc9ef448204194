"""An extractor of any model of timm (PyTorch Image Models, Wightman 2019; extra `timm`)."""

from __future__ import annotations

import os
from typing import Any

from torch import Tensor

from opsin.errors import ChoiceError, InputError, MissingExtraError, WeightsError
from opsin.extractors.base import ExtractorSpec
from opsin.extractors.module import ModuleExtractor
from opsin.weights import sources
from opsin.weights.download import sha256_of


class TimmExtractor(ModuleExtractor):
    """Extractor of a timm model by the names of its submodules, e.g. "layer2" or "blocks.5".

    The normalisation is the one in the model's configuration. Token sequences of vision transformers become maps:
    prefix tokens (class, registers) are left out and the rest is laid out on its grid.

    Args:
        name: a name that `timm.create_model` knows.
        weights: "random", "official" (timm's pretrained weights, which timm downloads), or a path to a file of the
            model's state dict.
        seed: of random weights.
        model_arguments: further keywords of `timm.create_model`, e.g. `img_size`.

    Raises:
        MissingExtraError: timm is not installed.
        ChoiceError: timm has no model of that name.
        WeightsError: weights that do not fit or could not be had.
    """

    def __init__(
        self, name: str, weights: str | os.PathLike[str] = "official", *, seed: int = 0, **model_arguments: Any
    ) -> None:
        try:
            import timm
        except ImportError as error:
            raise MissingExtraError(
                "TimmExtractor must have timm installed, got no such package. pip install 'opsin[timm]'"
            ) from error
        import torch

        if not timm.is_model(name):
            near = timm.list_models(f"*{name.partition('.')[0]}*")[:3]
            hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else "timm.list_models() lists them."
            raise ChoiceError(f"unknown timm model {name!r}; {hint}")
        state, sha256 = None, f"seed:{seed}"
        if weights not in ("random", "official"):
            path = sources.existing_file(weights)
            state = sources.read_state(path)
            sha256 = sha256_of(path)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                net = timm.create_model(name, pretrained=weights == "official", **model_arguments)
            except (OSError, RuntimeError) as error:
                if weights != "official":
                    raise
                reason = str(error).strip().partition("\n")[0]
                raise WeightsError(
                    f"timm's weights of {name} must be at hand or downloadable, got: {reason}. "
                    "Fetch them where there is a network, or pass a file: weights='path'."
                ) from error
        if state is not None:
            try:
                net.load_state_dict(state)
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                raise WeightsError(f"weights must be those of {name}, got '{weights}': {reason}") from error
        config: Any = net.pretrained_cfg
        super().__init__(net, normalization=(tuple(config["mean"]), tuple(config["std"])), name=name, copy_net=False)
        named = weights if weights in ("random", "official") else "file"
        if named == "official":
            sha256 = self.spec.sha256
        # By name, unlike a module of the user's: the same name, weights and arguments are the same values.
        self.spec = ExtractorSpec(
            name, str(named), sha256, self.spec.normalization, "", "", instance=repr(sorted(model_arguments.items()))
        )
        self._channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"
        self._prefix = int(getattr(net, "num_prefix_tokens", 0))
        embed = getattr(net, "patch_embed", None)
        self._patch: tuple[int, ...] = tuple(getattr(embed, "patch_size", ()) or ())
        self._config = {"network": f"timm:{name}", "weights": str(weights), "seed": seed, **model_arguments}

    def config(self) -> dict[str, Any]:
        """The arguments that make this extractor anew, as plain values."""
        return dict(self._config)

    def _run(self, images: Tensor, taps: list[str]) -> dict[str, Tensor]:
        try:
            return super()._run(images, taps)
        except AssertionError as error:  # timm's way of saying that a transformer has one image size
            raise InputError(
                f"images must have the size that {self.spec.network} was made for, got {tuple(images.shape)}: {error} "
                "Resize them, or make the extractor with img_size=."
            ) from error

    def _shape(self, feature: Tensor, images: Tensor) -> Tensor:
        if feature.ndim == 4 and self._channels_last:
            return feature.permute(0, 3, 1, 2)
        if feature.ndim == 3 and len(self._patch) == 2:
            grid = (images.shape[2] // self._patch[0], images.shape[3] // self._patch[1])
            tokens = feature[:, self._prefix :]
            if tokens.shape[1] == grid[0] * grid[1]:
                return tokens.transpose(1, 2).unflatten(2, grid)
        return super()._shape(feature, images)
