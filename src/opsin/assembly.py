"""Losses made by names: in one call, or from a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from opsin import recipe
from opsin.checks import choice
from opsin.distances import REGULARIZERS, Distance, Regularizer, make_distance
from opsin.errors import InputError, OpsinError, WeightsError
from opsin.extractors import Extractor, as_extractor, default_layers, make_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term


def build(
    net: str | Extractor = "vgg19",
    layers: Mapping[str, float] | Iterable[str] | None = None,
    distance: str | Distance | Callable[[Tensor, Tensor], Tensor] = "cosine",
    weights: str | os.PathLike[str] = "bundled",
    *,
    reference: str = "target",
    name: str = "",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Make L(x, y) = Σ wᵢ · d(Fᵢ(x), Fᵢ(y)) of one network and one distance; add several for more.

    Args:
        net: a network's name, or an extractor.
        layers: tap -> weight, or taps, whose weight is then 1. None takes those of `default_layers`: of VGG-19
            relu1_2, relu2_2, relu3_4, relu4_4 and relu5_4.
        distance: a distance, its name, or a function `(x, y) -> tensor`.
        weights: of the network: "bundled", "official", "random" or a path. Ignored if `net` is an extractor.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others; the distance's if empty.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor: `pooling`, `padding`, `normalization`, `seed`.

    Raises:
        ChoiceError: an unknown network, tap, distance or weights name.
        WeightsError: weights that are not there.

    Example:
        >>> import opsin
        >>> loss = opsin.build("vgg19", {"relu2_2": 1.0, "relu3_4": 0.5}, "l2", weights="bundled", pooling="avg")
    """
    extractor = as_extractor(net, weights, **options)
    chosen = make_distance(distance)
    if layers is None:
        layers = default_layers(extractor.spec.network)
    elif isinstance(layers, str):
        layers = [layers]
    weighted = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    return PerceptualLoss(
        [Term(extractor, tap, chosen, weight, reference) for tap, weight in weighted.items()],
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name or chosen.name,
    )


def perceptual_loss(
    x: Tensor,
    y: Tensor,
    net: str | Extractor = "vgg19",
    layers: Mapping[str, float] | Iterable[str] | None = None,
    distance: str | Distance | Callable[[Tensor, Tensor], Tensor] = "cosine",
    weights: str | os.PathLike[str] = "bundled",
    **options: Any,
) -> Tensor:
    """L(x, y) = Σ wᵢ · d(Fᵢ(x), Fᵢ(y)) in one call: the arguments are those of `build`.

    The network is made anew on each call, on the device and in the dtype of `x`. In a loop, keep what `build` makes.

    Shape: x (N,3,H,W), y (N or 1,3,H,W) in [0,1] -> scalar.

    Example:
        >>> import torch, opsin
        >>> x, y = torch.rand(2, 1, 3, 64, 64)
        >>> value = opsin.perceptual_loss(x, y, layers={"relu2_2": 1.0}, distance="l2")
    """
    loss = build(net, layers, distance, weights, **options)
    if not isinstance(net, Extractor) and isinstance(x, Tensor) and x.dtype.is_floating_point:
        loss = loss.to(x.device, x.dtype)
    return loss(x, y)


def load(path: str | os.PathLike[str], *, extractors: Mapping[str, Extractor] | None = None) -> PerceptualLoss:
    """Make the loss that `PerceptualLoss.to_yaml` wrote.

    Args:
        path: the YAML file.
        extractors: label under `networks` -> an extractor to take in place of making one.

    Raises:
        OpsinError: a file that is missing or no such text.
        WeightsError: the weights found now have another hash than those that it was written with.
    """
    import yaml  # only now: who has no file need not wait for it

    text = _read(Path(path))
    try:
        content = yaml.safe_load(text)
        _check_keys(content, {"opsin", "networks", "terms"}, "the file")
        if content["opsin"] != recipe.FORMAT:
            raise InputError(f"the file's format must be {recipe.FORMAT}, got {content['opsin']!r}. Update opsin.")
        made = dict(extractors or {})
        for label, network in content["networks"].items():
            if label not in made:
                made[label] = _make_network(dict(network), label)
        terms = []
        for entry in content["terms"]:
            _check_keys(entry, {"network", "tap", "distance", "weight"}, "a term")
            tap = entry["tap"]
            terms.append(
                Term(
                    made[choice("network", entry["network"], made, owner="this file")],
                    tap if isinstance(tap, str) else tuple(tap),
                    _make_measure(str(entry["distance"]), entry.get("options", {})),
                    entry["weight"],
                    entry.get("reference", "target"),
                    entry.get("label", ""),
                    entry.get("group", ""),
                )
            )
        chosen = {k: content[k] for k in ("reduction", "input_range", "validate", "name") if k in content}
        return PerceptualLoss(terms, **chosen)
    except OpsinError as error:
        raise type(error)(f"{path}: {error}") from error
    except (yaml.YAMLError, TypeError, AttributeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"'{path}' must be a loss written by to_yaml, got {type(error).__name__}: {reason}."
        ) from error


def _make_measure(name: str, options: Mapping[str, Any]) -> Distance | Regularizer:
    return REGULARIZERS[name](**options) if name in REGULARIZERS else make_distance(name, **options)


def _make_network(config: dict[str, Any], label: str) -> Extractor:
    _check_keys(config, {"network"}, f"network {label!r}")
    expected = config.pop("sha256", None)
    extractor = make_extractor(**config)
    if expected is not None and extractor.spec.sha256 != expected:
        raise WeightsError(
            f"weights of {label!r} must have sha256 {expected}, got {extractor.spec.sha256}. "
            "Numbers would differ from the ones of the file's author; take the sha256 line out to accept that."
        )
    return extractor


def _check_keys(content: object, keys: set[str], what: str) -> None:
    if not isinstance(content, dict) or not keys <= content.keys():
        got = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{what} must have {', '.join(sorted(keys))}, got {got}. loss.to_yaml() writes such a file.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"a loss must be read from a YAML file, got '{path}': {reason}.") from error
