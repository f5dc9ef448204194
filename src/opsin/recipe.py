"""A loss as YAML text, and the parts of that text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opsin.distances import ALL_DISTANCES, REGULARIZERS
from opsin.errors import InputError
from opsin.terms import Term, free_name

FORMAT = 1


def dump(terms: Iterable[Term], **options: Any) -> str:
    """Terms and options as YAML text; see `PerceptualLoss.to_yaml`.

    Raises:
        InputError: a term with a function, a module or a class of the caller's in it, which no text can name.
    """
    import yaml  # only now: who writes no file need not wait for it

    networks: dict[str, dict[str, Any]] = {}
    labels: dict[str, str] = {}
    entries = []
    for term in terms:
        spec = term.extractor.spec
        if spec.key not in labels:
            labels[spec.key] = free_name(spec.network, networks)
            networks[labels[spec.key]] = {**term.extractor.config(), "sha256": spec.sha256}
        distance = term.distance
        if getattr(distance, "generator", None) is not None:
            raise InputError(
                f"a loss that is written to a file must have no random generator, got one in term {term.label!r}. "
                "Hand it over in code."
            )
        if (ALL_DISTANCES | REGULARIZERS).get(distance.name) is not type(distance):
            raise InputError(
                f"a loss that is written to a file must have distances that opsin has by name, got {distance!r} "
                f"in term {term.label!r}. Make the loss in code."
            )
        entry: dict[str, Any] = {
            "network": labels[spec.key],
            "tap": term.tap if isinstance(term.tap, str) else list(term.tap),
            "distance": distance.name,
        }
        if distance.config():
            entry["options"] = distance.config()
        several = isinstance(term.reference, tuple)
        entry |= {"weight": term.weight, "reference": list(term.references) if several else term.reference}
        entry |= {k: v for k, v in (("label", term.label), ("group", term.group)) if v and v != term.tap}
        entries.append(entry)
    return yaml.safe_dump(
        {"opsin": FORMAT, **options, "networks": networks, "terms": entries}, sort_keys=False, width=110
    )
