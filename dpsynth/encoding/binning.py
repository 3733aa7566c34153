"""Where a number's range is cut into bins: at public places first, then again where noisy counts say that many rows are.

Statement. The cuts of a column are a function of its public facts and of at most `LEVELS` answers of `PrivateTable.marginal`, each over the
bins that the answers before it led to: a tree of discrete Gaussians. Cutting and joining themselves are post-processing.

Sensitivity: that of each level's marginal, `privacy/table.py`. One bin more costs no more noise, so a level may have many.

The first level is public: equal steps, and halves, quarters, eighths ... of a step beside zero, since amounts and counts crowd there. From
a level's counts follows the next one: a bin that stands clear of the noise is cut into equal parts, one for each share of 1/bins of
the rows that it holds, and neighbours that noise hides even together are joined, though never past twice their distance from
zero: a tail keeps its orders of magnitude. The generator measures the last bins anew, with far less noise.

References: Hay, Rastogi, Miklau, Suciu 2010 (arXiv 0904.0942), trees of counts; Zhang, Xiao, Xie 2016 (arXiv 1601.03229), cutting where
counts are large. Equal steps, the latter and quantiles did worse at equal cost, taking one table with another: they are kept in
`benchmarks/binning.py` alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dpsynth.privacy import Bins, PrivateTable
from dpsynth.schema import Basis, Column

RELEASED = Basis("released: measured under differential privacy")
LEVELS = 2
HALVINGS = 20
CLEAR_OF_NOISE = 3.0
FEWEST = 2
SAFE = 1 - 1e-9

Edges = tuple[float, ...]
Floats = npt.NDArray[np.float64]


def bins_of(column: Column) -> Bins:
    """The bins of a number whose bounds are known: by its cuts, or those of the first level."""
    low, end = _range(column)
    return _bins(column, _first_edges(column) if column.cuts is None else (low, *column.cuts, end))


def is_cut_by_counts(column: Column) -> bool:
    """Whether noisy counts say where a column is cut: not if its cuts are public, nor if each of its numbers has a bin anyway."""
    if not column.is_number or column.cuts is not None:
        return False
    return column.bounds is None or column.type == "continuous" or any(b - a > 1 for a, b in pairwise(_first_edges(column)))


def with_measured_cuts(table: PrivateTable, column: Column, amount: float) -> Column:
    """The column with its cuts, measured at a cost of at most `amount`; its bounds are known."""
    sigma = table.sigma(amount * SAFE / LEVELS)
    bins = bins_of(column)
    for _ in range(LEVELS):
        bins = next_level(bins, table.marginal([bins], sigma), CLEAR_OF_NOISE * sigma)
    return replace(column, cuts=bins.edges[1:-1], cuts_basis=RELEASED)


def next_level(bins: Bins, counts: Floats, clear: float) -> Bins:
    """The bins that noisy counts of a level's codes lead to; counts up to `clear` may be noise alone."""
    edges, held = bins.edges, counts[: bins.bins].tolist()
    parts = _parts(bins, counts, clear)
    widest = (edges[-1] - edges[0]) / min(bins.column.bins, FEWEST)
    zero = next((i for i, e in enumerate(edges) if e >= 0), bins.bins)
    above = _outwards(edges[zero:], held[zero:], parts[zero:], clear, widest)
    below = _outwards([-e for e in edges[zero::-1]], held[:zero][::-1], parts[:zero][::-1], clear, widest)
    return _bins(bins.column, _edges(bins.column, np.array([*above, *(-e for e in below)])))


def _range(column: Column) -> tuple[float, float]:
    """The lower bound, and where the last bin ends: one above the upper bound of integers."""
    if column.bounds is None:
        raise ValueError(f"the bounds of {column.name!r} are not known yet")
    low, high = column.bounds
    return (float(math.floor(low)), float(math.floor(high) + 1)) if column.type == "integer" else (low, high)


def _bins(column: Column, edges: Edges) -> Bins:
    """Special values have codes apart from the bins; so has zero, where the bounds hold it: nothing is commoner than exactly 0."""
    alone = column.type == "integer" and (0, 1) in pairwise(edges)
    zero = (0.0,) if edges[0] <= 0 < edges[-1] and not alone else ()
    return Bins(column, edges, tuple(dict.fromkeys(column.special + zero)))


def _first_edges(column: Column) -> Edges:
    """The multiples of a step, and its halves, quarters and so on, as far as they lie inside the bounds."""
    low, end = _range(column)
    step = (end - low) / column.bins
    steps = np.arange(math.ceil(low / step), math.floor(end / step) + 1) * step
    halves = step * 0.5 ** np.arange(1, HALVINGS + 1)
    return _edges(column, np.concatenate([steps, halves, -halves]))


def _edges(column: Column, cuts: Floats) -> Edges:
    """The ends of the range and the cuts between them, in order; whole numbers for integers."""
    low, end = _range(column)
    cuts = np.unique(np.round(cuts) if column.type == "integer" else cuts)
    return (low, *cuts[(cuts > low) & (cuts < end)].tolist(), end)


def _parts(bins: Bins, counts: Floats, clear: float) -> list[int]:
    """Into how many parts each bin is cut: by the shares of the rows that it holds; at most one for each number of an integer column."""
    held, share = counts[: bins.bins], max(float(counts.sum()), 1.0) / bins.column.bins
    most = np.minimum(np.diff(bins.edges) if bins.column.type == "integer" else math.inf, bins.column.bins)
    parts: list[int] = np.clip(np.where(held > clear, held / share, 1.0), 1, most).astype(int).tolist()
    return parts


def _outwards(walls: Sequence[float], counts: list[float], parts: list[int], clear: float, widest: float) -> list[float]:
    """The near walls of the next level's bins; `walls` rise from the one nearest to zero, `counts` and `parts` are of the bins between."""
    new: list[float] = []
    start, held = walls[0], math.inf
    for (near, far), count, n in zip(pairwise(walls), counts, parts, strict=True):
        in_reach = far - start <= widest and (start == 0 or far <= 2 * start)
        if n == 1 and held + count <= clear and in_reach:
            held += count
        else:
            new += np.linspace(near, far, n, endpoint=False).tolist()
            start, held = near, count if n == 1 else math.inf
    return new
