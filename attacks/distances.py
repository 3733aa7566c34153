"""How far rows are apart, of mixed columns: the one distance of all attacks, and one pass that serves them all.

The mean over columns of [x != y] for categories and min(|x - y| / (sd/2), 1) for numbers; missing is a value of its own. Gower's distance,
but with half a standard deviation in place of the range: on skewed columns all people are close by the range, and a table of
half-redrawn copies goes unseen (NHANES: z = 2 against z = 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from attacks.evidence import Evidence, Table
from attacks.scores import UnanswerableError

Floats = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]

DRAWN_IN = 0.005
OFF = 1e4
CLOSE = 20
OTHERS = 5


@dataclass(frozen=True)
class Neighbours:
    """The closest synthetic rows of each target, by all columns and by parts of them. Positions are of rows of the synthetic table.

    Attributes:
        without: by all columns but one, shape (targets, columns).
        how_far_without: how far that is, the same shape, in [0, 1].
        by_half: by every other column, and by the rest, shape (targets, 2).
        near: how far the CLOSE closest by all columns are, rising, in [0, 1], infinite where there are fewer; shape (targets, CLOSE).
        near_at: which these are, -1 where there are fewer; the same shape.
        votes: how many synthetic rows have this target as the closest one, shape (targets,). Equal targets share them evenly; of others
            that are equally close one is drawn by lot.
    """

    without: Index
    how_far_without: Floats
    by_half: Index
    near: Floats
    near_at: Index
    votes: Floats


@dataclass(frozen=True)
class Scale:
    """Where each numeric column lies and half its standard deviation: what makes rows comparable.

    By targets alone, since two absurd synthetic rows could else stretch every distance until no attack sees anything.
    """

    low: Floats
    unit: Floats

    @classmethod
    def of(cls, table: Table) -> Scale:
        scales = [_scale_of(column[~np.isnan(column)]) for column in table.numbers.T]
        return cls(np.array([low for low, _ in scales]), np.array([unit for _, unit in scales]))

    def rows(self, table: Table) -> Single:
        """Columns such that the distance is the sum of min(|x - y|, 1): missing lies far off everything, and what is far off is cut there."""
        numbers = np.clip((table.numbers - self.low) / self.unit, -OFF, OFF)
        scaled = np.concatenate([np.where(np.isnan(numbers), -2 * OFF, numbers), table.codes * 2.0], axis=1)
        return np.ascontiguousarray(scaled, dtype=np.float32)

    def columns(self, table: Table) -> Single:
        """The same, one contiguous row a column."""
        return np.ascontiguousarray(self.rows(table).T)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """How close real rows come to each other: the same whatever the synthetic table is, planted ones included."""

    pool: Table
    reference: Table

    @cached_property
    def scale(self) -> Scale:
        return Scale.of(self.pool)

    @cached_property
    def to_reference(self) -> Floats:
        """How far the CLOSE closest reference rows of each target are, rising, in [0, 1], infinite where there are fewer."""
        return self._near(self.pool, self.reference, CLOSE)[0]

    @cached_property
    def to_others(self) -> Floats:
        """How far the OTHERS closest other targets of each target are, rising, in [0, 1], infinite where there are fewer."""
        near, at = self._near(self.pool, self.pool, OTHERS + 1)
        itself = at == np.arange(len(at))[:, None]
        itself[~itself.any(axis=1), -1] = True  # crowded out by others that equal it
        return np.asarray(near[~itself].reshape(len(near), OTHERS))

    def from_rows(self, rows: Table) -> Floats:
        """How far the CLOSE closest reference rows of each of `rows` are, rising, in [0, 1], infinite where there are fewer."""
        return self._near(rows, self.reference, CLOSE)[0]

    def _near(self, targets: Table, rows: Table, k: int) -> tuple[Floats, Index]:
        from attacks.kernels import k_nearest

        near, at = k_nearest(self.scale.rows(targets), self.scale.columns(rows), k)
        return near.astype(np.float64) / max(targets.width, 1), at


# Weakly: people's rows are let go with the evidence that holds them.
_NEIGHBOURS: WeakKeyDictionary[Evidence, Neighbours] = WeakKeyDictionary()
_SURROUNDINGS: WeakKeyDictionary[Evidence, Surroundings] = WeakKeyDictionary()


def neighbours(evidence: Evidence) -> Neighbours:
    """One pass over the synthetic rows for each target, members first; kept as long as the evidence is, for several attacks ask.

    Raises `UnanswerableError` without columns or without synthetic rows.
    """
    if not evidence.pool.width or not len(evidence.synthetic):
        raise UnanswerableError("underpowered", "no columns, or no synthetic rows")
    if evidence not in _NEIGHBOURS:
        _NEIGHBOURS[evidence] = _scanned(evidence)
    return _NEIGHBOURS[evidence]


def neighbours_by_parts(evidence: Evidence) -> Neighbours:
    """The same for attacks that compare by parts of the columns. Raises `UnanswerableError` with fewer than two as well."""
    if evidence.pool.width < 2:
        raise UnanswerableError("underpowered", "one column has no parts")
    return neighbours(evidence)


def surroundings(evidence: Evidence) -> Surroundings:
    """What is known of the real rows, kept as long as they are and shared by all evidence with a planted leak."""
    real = evidence.real
    if real not in _SURROUNDINGS:
        _SURROUNDINGS[real] = Surroundings(evidence.pool, evidence.reference)
    return _SURROUNDINGS[real]


def _scanned(evidence: Evidence) -> Neighbours:
    """Equal targets are scanned once; the others in an order that does not know who is a member, for the first of equally close ones wins."""
    from attacks.kernels import scan

    scale, width = surroundings(evidence).scale, evidence.pool.width
    order = halves(width)
    columns = np.argsort(order, kind="stable")
    targets = scale.rows(evidence.pool)
    first, twin = _distinct(targets)
    found = scan(
        np.ascontiguousarray(targets[first][:, order]), np.ascontiguousarray(scale.columns(evidence.synthetic)[order]), (width + 1) // 2, CLOSE
    )
    votes = np.bincount(found.row_at, minlength=len(first)) / np.bincount(twin, minlength=len(first))
    return Neighbours(
        without=found.parts_at[twin][:, columns],
        how_far_without=found.parts[twin][:, columns].astype(np.float64) / max(width - 1, 1),
        by_half=found.parts_at[twin, width:],
        near=found.near[twin].astype(np.float64) / width,
        near_at=found.near_at[twin],
        votes=votes[twin],
    )


def _distinct(rows: Single) -> tuple[Index, Index]:
    """Positions of rows that all differ, in random order, and for each row the place of its equal among them."""
    lot = np.random.default_rng(0).permutation(len(rows))
    _, first, twin = np.unique(rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel(), return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(lot[first]))
    return first[np.argsort(lot[first])], place[twin]


def halves(width: int) -> Index:
    """Columns in an order in which every other one comes first: numbers and categories are in both halves."""
    return np.concatenate([np.arange(0, width, 2), np.arange(1, width, 2)])


def spread(evidence: Evidence) -> Floats:
    """Half the standard deviation of each numeric column."""
    return surroundings(evidence).scale.unit


def _scale_of(known: Floats) -> tuple[float, float]:
    if not len(known):
        return 0.0, 1.0
    low, high = np.quantile(known, [DRAWN_IN, 1 - DRAWN_IN])
    if low == high:
        low, high = known.min(), known.max()
    spread = high - low  # in parts of it, since a square of a tiny number is 0
    deviation = np.std((np.clip(known, low, high) - low) / spread) if spread > 0 else 0.0
    return float(low), float(spread * deviation / 2) or 1.0
