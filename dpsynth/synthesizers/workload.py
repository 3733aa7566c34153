"""The workload: which marginals matter, and how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from typing import Any

from dpsynth.errors import Fault
from dpsynth.graphical import Clique
from dpsynth.privacy.table import MAX_WEIGHT
from dpsynth.schema import Schema

Workload = int | str | Mapping[Clique, int] | Mapping[str, int]
MOST_WAYS = 3
EXAMPLE = '{("age", "income"): 5} for marginals, or {"age": 5} for columns'


def weights_of(workload: Workload, columns: Sequence[str]) -> dict[Clique, int]:
    """A weight for each marginal of the workload: all of so many columns, those of three that hold a target, or as they are given.

    Weights of columns ask for all pairs. A pair weighs what its heavier column does, one that is not named 1: the larger and not
    the product, for the noise of a choice grows with the heaviest weight.
    """
    if isinstance(workload, Mapping):
        marginals = {clique: weight for clique, weight in workload.items() if not isinstance(clique, str)}
        heavy = {column: weight for column, weight in workload.items() if isinstance(column, str)}
        return marginals or {pair: max(heavy.get(c, 1) for c in pair) for pair in combinations(columns, min(2, len(columns)))}
    if isinstance(workload, str):
        others = [c for c in columns if c != workload]
        return {tuple(sorted((*pair, workload), key=columns.index)): 1 for pair in combinations(others, min(2, len(others)))}
    return dict.fromkeys(combinations(columns, min(workload, len(columns))), 1)


def closure(workload: Workload, columns: Sequence[str]) -> dict[Clique, int]:
    """Every marginal inside one of the workload, weighted by the columns it shares with each: w_r = sum_s c_s |r & s|
    (McKenna et al. 2022, section 3.1)."""
    asked = weights_of(workload, columns)
    position = {c: i for i, c in enumerate(columns)}
    inside = {tuple(sorted(r, key=position.__getitem__)) for s in asked for k in range(1, len(s) + 1) for r in combinations(s, k)}
    parts = {frozenset(s): c for s, c in asked.items()}
    weights = {r: sum(c * len(s.intersection(r)) for s, c in parts.items()) for r in sorted(inside, key=lambda r: (len(r), [position[c] for c in r]))}
    shrink = -(-max(weights.values()) // MAX_WEIGHT)
    return {r: max(w // shrink, 1) for r, w in weights.items()}


def written(workload: Any) -> Any:
    """A workload as JSON has it: [[columns], weight] for each marginal, anything else as it is."""
    if isinstance(workload, Mapping) and any(isinstance(key, tuple) for key in workload):
        return [[list(key) if isinstance(key, tuple) else key, weight] for key, weight in workload.items()]
    return workload


def read(document: Any) -> Any:
    """The workload that `written` wrote; what is none is returned as it is, for `faults_of`."""
    try:
        return {tuple(key) if isinstance(key, list) else key: weight for key, weight in document} if isinstance(document, list) else document
    except (TypeError, ValueError):
        return document


def faults_of(workload: Workload, schema: Schema) -> list[Fault]:
    """What is wrong with a workload for a table of this schema."""
    if isinstance(workload, str):
        return faults_of({workload: 1}, schema)
    if not isinstance(workload, Mapping):
        whole = isinstance(workload, int) and not isinstance(workload, bool) and 1 <= workload <= MOST_WAYS
        return [] if whole else [Fault("workload", f"not a number of columns from 1 to {MOST_WAYS}", f"write 2, or weights: {EXAMPLE}")]
    if not workload:
        return [Fault("workload", "is empty", "write 2 for all pairs of columns")]
    strange = [key for key in workload if not _is_key(key)]
    if strange:
        return [Fault(f"workload: {key!r}", "neither a column nor a tuple of columns", f"write {EXAMPLE}") for key in strange]
    if len({isinstance(key, str) for key in workload}) == 2:
        return [Fault("workload", "weighs some columns and some marginals", f"write only one kind: {EXAMPLE}")]
    cliques: dict[Clique, object] = {(key,) if isinstance(key, str) else key: weight for key, weight in workload.items()}
    names = [c.name for c in schema.synthesised]
    unknown = sorted(set(chain.from_iterable(cliques)) - set(names))
    faults = [Fault(f"workload: column {n!r}", "is not synthesised by this schema", f"write one of {', '.join(names)}") for n in unknown]
    for clique, weight in cliques.items():
        if not 1 <= len(set(clique)) == len(clique) <= MOST_WAYS:
            faults.append(Fault(f"workload: {clique}", f"not 1 to {MOST_WAYS} different columns", 'write for example ("age", "income")'))
        if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= MAX_WEIGHT:
            faults.append(Fault(f"workload: {clique}", f"its weight is not a whole number from 1 to {MAX_WEIGHT:,}", "write for example 5"))
    return faults


def _is_key(key: object) -> bool:
    return isinstance(key, str) or (isinstance(key, tuple) and all(isinstance(name, str) for name in key))
