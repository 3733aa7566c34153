"""Rows from a graphical model, by rounding its conditionals: closer to the model than independent draws.

Column by column, the rows that share the values of a clique's earlier columns form a group; a group of m rows gets
floor(m p) of each value, and the remainder is placed by systematic sampling on the fractions, so each value's
expected count is exact.

Reference: McKenna et al. 2021 (arXiv 2108.04978), section 2; Tille 2006 for systematic sampling.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dpsynth.graphical.domain import Clique
from dpsynth.graphical.factor import Array, Factor
from dpsynth.graphical.model import GraphicalModel

Codes = npt.NDArray[np.int64]


def sample(model: GraphicalModel, rows: int, rng: np.random.Generator) -> Codes:
    """`rows` rows of codes, shape (rows, attributes), columns in the order of the model's domain."""
    tree = model.tree
    codes: dict[str, Codes] = {}
    for clique, separator, marginal in zip(tree.cliques, tree.separators, model.marginals, strict=True):
        given = separator
        for name in clique:
            if name not in codes:
                codes[name] = _column(marginal, name, given, codes, rows, rng)
                given = (*given, name)
    return np.stack([codes[n] for n in model.domain.names], axis=1)


def _column(marginal: Factor, name: str, given: Clique, codes: dict[str, Codes], rows: int, rng: np.random.Generator) -> Codes:
    """One column given the earlier ones of its clique."""
    table = np.exp(marginal.project((*given, name)).values).reshape(-1, marginal.domain.size(name))
    groups = np.zeros(rows, dtype=np.int64)
    for parent in given:
        groups = groups * marginal.domain.size(parent) + codes[parent]
    order = rng.permutation(rows)
    order = order[np.argsort(groups[order], kind="stable")]
    present, sizes = np.unique(groups, return_counts=True)
    counts = rounded(_conditional(table[present]), sizes, rng)
    column = np.empty(rows, dtype=np.int64)
    column[order] = np.repeat(np.tile(np.arange(table.shape[1]), len(present)), counts.ravel())
    return column


def _conditional(table: Array) -> Array:
    """Rows scaled to sum 1; a row without mass is uniform."""
    sums = table.sum(axis=1, keepdims=True)
    return np.where(sums > 0, table / np.where(sums > 0, sums, 1), 1 / table.shape[1])


def rounded(shares: Array, sizes: Codes, rng: np.random.Generator) -> Codes:
    """Whole counts, shape of `shares` (groups, values), that sum to `sizes` row by row and whose expectation is sizes * shares."""
    wanted = shares * sizes[:, None]
    counts = np.floor(wanted).astype(np.int64)
    left = sizes - counts.sum(axis=1)
    shuffled = rng.permuted(np.tile(np.arange(shares.shape[1]), (len(sizes), 1)), axis=1)
    fractions = np.take_along_axis(wanted - counts, shuffled, axis=1)
    ladder = np.cumsum(fractions, axis=1)
    ladder *= np.divide(left[:, None], ladder[:, -1:], out=np.zeros((len(sizes), 1)), where=ladder[:, -1:] > 0)
    rungs = np.floor(ladder + rng.random((len(sizes), 1)))
    rungs[:, -1] = left
    extra = np.diff(np.minimum(rungs, left[:, None]), axis=1, prepend=0).astype(np.int64)
    placed = np.empty_like(extra)
    np.put_along_axis(placed, shuffled, extra, axis=1)
    return counts + placed
