"""Fidelity: total variation between the marginals of two tables. Reads both: the result is the custodian's, not public."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.privacy.attribute import Attribute, Codes

Shares = npt.NDArray[np.float64]


def encode(frame: pd.DataFrame, attributes: Sequence[Attribute], decimal: str = ".") -> dict[str, Codes]:
    """Codes of each attribute's column, each of shape (n,)."""
    return {a.column.name: a.encode(frame[a.column.name], decimal) for a in attributes}


def shares(codes: dict[str, Codes], clique: Sequence[Attribute]) -> Shares:
    """The marginal over `clique` as shares that sum to 1 (or 0 for an empty table), flat."""
    sizes = [a.size for a in clique]
    flat = np.ravel_multi_index([codes[a.column.name] for a in clique], sizes)
    counts = np.bincount(flat, minlength=math.prod(sizes))
    share: Shares = counts / max(counts.sum(), 1)
    return share


def total_variation(a: Shares, b: Shares) -> float:
    """Half the L1 distance of two marginals, from 0 (equal) to 1 (disjoint)."""
    return float(np.abs(a - b).sum()) / 2


def mean_total_variation(real: pd.DataFrame, synthetic: pd.DataFrame, attributes: Sequence[Attribute], ways: int, decimal: str = ".") -> float:
    """The mean over all `ways`-way marginals."""
    left, right = encode(real, attributes, decimal), encode(synthetic, attributes)
    distances = [total_variation(shares(left, c), shares(right, c)) for c in combinations(attributes, ways)]
    return float(np.mean(distances))
