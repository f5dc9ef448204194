"""Terms evaluated while the network runs, so that nothing but a few of its layers' outputs is kept for the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from opsin.terms import StatisticKey, Term, TermResult, evaluate_terms, shared_pass, term_statistic


def evaluate_recomputing(
    terms: Mapping[str, Term],
    targets: Mapping[str, Any],
    x: Tensor,
    mask: Tensor | None,
    shrink_mask: bool,
    maps: bool,
    *,
    graded: bool,
) -> dict[str, TermResult]:
    """`evaluate_terms` of x with less memory: values, maps and gradients are the same to the bit.

    What a term needs of a feature is made right behind its layer, and made anew, with the layers since the last
    pooling, when the gradient comes there. That is the value of an additive term, and the statistic of one that
    compares sums. The features of all others are kept: what they do may be random, or dear.
    """

    def reduce(key: str, tap: str, feature: Tensor) -> tuple[dict[str, TermResult], dict[StatisticKey, Any], Any]:
        features = {key: {tap: feature}}
        here = {name: t for name, t in terms.items() if t.extractor.spec.key == key and tap in t.taps}
        additive = {name: term for name, term in here.items() if term.is_additive}
        results = evaluate_terms(additive, features, targets, x, mask, shrink_mask, maps)
        statistics = {}
        for term in here.values():
            if term.is_summed:
                with nullcontext() if term.weight else torch.no_grad():
                    statistics[term.statistic_key, bool(term.weight)] = term_statistic(term, features)
        others = any(not (term.is_additive or term.is_summed) for term in here.values())
        return results, statistics, feature if others else None

    results: dict[str, TermResult] = {}
    statistics: dict[StatisticKey, Any] = {}
    features: dict[str, dict[str, Tensor]] = {}
    for key, taps in shared_pass(terms.values(), x, graded=graded, reduce=reduce, recompute=True).items():
        for tap, (values, made, feature) in taps.items():
            results |= values
            statistics |= made
            features.setdefault(key, {})[tap] = feature
    rest = {name: term for name, term in terms.items() if name not in results}
    results |= evaluate_terms(rest, features, targets, x, mask, shrink_mask, maps, statistics)
    return {name: results[name] for name in terms}
