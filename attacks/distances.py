"""How far rows are apart, of mixed columns: the one distance of all attacks, and one pass that serves them all.

The mean over columns of [x != y] for categories and min(|x - y| / (sd/2), 1) for numbers; missing is a value of its own. Gower's distance,
but with half a standard deviation in place of the range: on skewed columns all people are close by the range, and a table of
half-redrawn copies goes unseen (NHANES: z = 2 against z = 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from attacks.evidence import Evidence, Table
from attacks.scores import UnanswerableError

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

DRAWN_IN = 0.005
OFF = 1e4


@dataclass(frozen=True)
class Neighbours:
    """The closest synthetic row of each target, by all columns and by parts of them. Positions are of rows of the synthetic table.

    Attributes:
        without: by all columns but one, shape (targets, columns).
        how_far_without: how far that is, the same shape, in [0, 1].
        by_half: by every other column, and by the rest, shape (targets, 2).
    """

    without: Index
    how_far_without: Floats
    by_half: Index


# Weakly: people's rows are let go with the evidence that holds them.
_KEPT: WeakKeyDictionary[Evidence, Neighbours] = WeakKeyDictionary()


def neighbours(evidence: Evidence) -> Neighbours:
    """One pass over the synthetic rows for each target, members first; kept as long as the evidence is, for several attacks ask.

    Raises `UnanswerableError` with fewer than two columns, or without synthetic rows.
    """
    if evidence.pool.width < 2 or not len(evidence.synthetic):
        raise UnanswerableError("underpowered", "one column, or no synthetic rows")
    if evidence not in _KEPT:
        _KEPT[evidence] = _scanned(evidence)
    return _KEPT[evidence]


def _scanned(evidence: Evidence) -> Neighbours:
    from attacks.kernels import closest_by_parts

    low, unit = _scale(evidence)
    order = halves(evidence.pool.width)
    columns = np.argsort(order, kind="stable")
    first = (evidence.pool.width + 1) // 2
    far, rows = closest_by_parts(
        np.ascontiguousarray(_on_scale(evidence.pool, low, unit)[:, order]),
        np.ascontiguousarray(_on_scale(evidence.synthetic, low, unit)[:, order].T),
        first,
    )
    width = evidence.pool.width
    return Neighbours(rows[:, columns], far[:, columns].astype(np.float64) / max(width - 1, 1), rows[:, width : width + 2])


def halves(width: int) -> Index:
    """Columns in an order in which every other one comes first: numbers and categories are in both halves."""
    return np.concatenate([np.arange(0, width, 2), np.arange(1, width, 2)])


def closest_distance(targets: Table, rows: Table, evidence: Evidence) -> Floats:
    """Distance of each target to the closest of `rows`, shape (targets,), in [0, 1]."""
    from attacks.kernels import closest

    low, unit = _scale(evidence)
    return closest(_on_scale(targets, low, unit), np.ascontiguousarray(_on_scale(rows, low, unit).T)) / max(targets.width, 1)


def spread(evidence: Evidence) -> Floats:
    """Half the standard deviation of each numeric column."""
    return _scale(evidence)[1]


def _scale(evidence: Evidence) -> tuple[Floats, Floats]:
    """Where each numeric column lies and half its standard deviation, its outermost hundredth drawn in; 1 where it does not vary.

    By real rows alone, since two absurd synthetic ones could else stretch every distance until no attack sees anything.
    """
    real = np.concatenate([evidence.pool.numbers, evidence.reference.numbers])
    scales = [_scale_of(column[~np.isnan(column)]) for column in real.T]
    return np.array([low for low, _ in scales]), np.array([unit for _, unit in scales])


def _scale_of(known: Floats) -> tuple[float, float]:
    if not len(known):
        return 0.0, 1.0
    low, high = np.quantile(known, [DRAWN_IN, 1 - DRAWN_IN])
    if low == high:
        low, high = known.min(), known.max()
    spread = high - low  # in parts of it, since a square of a tiny number is 0
    deviation = np.std((np.clip(known, low, high) - low) / spread) if spread > 0 else 0.0
    return float(low), float(spread * deviation / 2) or 1.0


def _on_scale(table: Table, low: Floats, unit: Floats) -> npt.NDArray[np.float32]:
    """Columns such that the distance is the sum of min(|x - y|, 1): missing lies far off everything, and what is far off is cut there."""
    numbers = np.clip((table.numbers - low) / unit, -OFF, OFF)
    scaled = np.concatenate([np.where(np.isnan(numbers), -2 * OFF, numbers), table.codes * 2.0], axis=1)
    return np.asarray(scaled, dtype=np.float32)
