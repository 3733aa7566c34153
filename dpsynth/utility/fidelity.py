"""Fidelity: total variation between the marginals of two tables. Reads both: the result is the custodian's, not public."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.privacy.attribute import Attribute, Codes
from dpsynth.privacy.unit import unit_ids
from dpsynth.schema import Schema

Shares = npt.NDArray[np.float64]


def encode(frame: pd.DataFrame, attributes: Sequence[Attribute], decimal: str = ".") -> dict[str, Codes]:
    """Codes of each attribute's column, each of shape (n,)."""
    return {a.column.name: a.encode(frame[a.column.name], decimal) for a in attributes}


def row_weights(frame: pd.DataFrame, schema: Schema) -> Shares | None:
    """What each row stands for, shape (n,): one of its unit's rows where units are counted; None where all rows count alike."""
    if schema.unit.count == "rows":
        return None
    units = pd.Series(unit_ids(frame, schema), dtype=object)
    weights: Shares = (1 / units.map(units.value_counts())).fillna(0.0).to_numpy(dtype=np.float64)
    return weights


def shares(codes: dict[str, Codes], clique: Sequence[Attribute], weights: Shares | None = None) -> Shares:
    """The marginal over `clique` as shares that sum to 1 (or 0 for an empty table), flat."""
    sizes = [a.size for a in clique]
    flat = np.ravel_multi_index([codes[a.column.name] for a in clique], sizes)
    counts = np.bincount(flat, weights, math.prod(sizes))
    share: Shares = counts / max(counts.sum(), 1)
    return share


def total_variation(a: Shares, b: Shares) -> float:
    """Half the L1 distance of two marginals, from 0 (equal) to 1 (disjoint)."""
    return float(np.abs(a - b).sum()) / 2


def mean_total_variation(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    attributes: Sequence[Attribute],
    ways: int,
    decimal: str = ".",
    weights: Shares | None = None,
) -> float:
    """The mean over all `ways`-way marginals; `weights`, shape (n,), are those of the real rows."""
    left, right = encode(real, attributes, decimal), encode(synthetic, attributes)
    distances = [total_variation(shares(left, c, weights), shares(right, c)) for c in combinations(attributes, ways)]
    return float(np.mean(distances))
