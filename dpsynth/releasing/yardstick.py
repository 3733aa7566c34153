"""The synthetic rows as a yardstick, and how many units of train and of control lie how near to them: one noised marginal, for the public.

Statement. `measured` asks a granted table one question, how many units there are in each cell of (side x bin), and returns the counts with discrete
Gaussian noise on each. No row is touched before the grant is charged; the question is told once (`privacy/answers.py`), under names that
hold the hash of the synthetic rows and the edges of the bins, so that its answer is never taken for one about other rows or bins.

Sensitivity. The synthetic rows were released under a charge of their own. Given them, the yardstick (codes, distance, bins) is made of them and of
the released schema alone, and of constants; no spread, no range and no other unit's row comes in. A unit's rows that count are chosen by a key among
its own (`privacy/unit.py`); its distance is that of the nearest of them; its side is a keyed function of its id, or where the unit is the row, of
the row and a key fresh for each release (`split.py`). So a unit is in one cell, or in none (the reference's, and rows without an id that are
dropped), whoever else is in the table: adding or removing it moves one count by 1, L1 = L2 = 1.
How many units are compared is neither fixed nor capped, which would let one move another. The table handed over holds a row for each
unit, and the kernel itself bounds it to one, so a unit that were listed twice would still be one count. Against no other fault here is the
kernel a safeguard: that a unit's cell is its own, and that no unit is left out for another, rests on this page and on
`tests/releasing/test_yardstick.py`. The synthetic rows hang on the same units: that is adaptive composition, which a ledger's filter covers.

Not so for scores beside a private reference: there one unit more can change every other's (an AUC from 1 to 0 has been seen).

References: Gower 1971 (the distance, here on codes); Whitehouse et al. 2023, Smith, Thakurta 2022 (adaptive composition, as in `privacy/cost.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.encoding import public_attribute
from dpsynth.encoding.binning import SAFE
from dpsynth.privacy import Attribute, Bins, Categories, PrivateTable
from dpsynth.privacy.unit import kept_rows, unit_ids
from dpsynth.releasing.split import Split
from dpsynth.schema import Column, Schema

Single = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

COMPARED = ("train", "control")
STEPS = 4
BINS = 8
MOST_ROWS = 50_000
LOOKED_AT = 2_000


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Synthetic rows to measure distances to; made of released values alone.

    A distance is the sum over columns of how far two codes are apart: a quarter of a column for each bin of a number between them, a whole one at
    most; a whole one for other categories, special values or missing cells. In whole quarters, so exact.

    Attributes:
        attributes: how cells become codes, one a column.
        decimal: how a file spells numbers.
        rows: where the codes lie, one contiguous row a column; at most MOST_ROWS synthetic rows, evenly taken.
        edges: of the bins, in quarters, rising; see `Nearness`.
    """

    attributes: tuple[Attribute, ...]
    decimal: str
    rows: Single
    edges: tuple[int, ...] = ()

    @classmethod
    def of(cls, synthetic: pd.DataFrame, released: Schema) -> Yardstick:
        """Bins are cut where equal shares of the synthetic rows' own distances to each other are, and at 0."""
        attributes = tuple(map(public_attribute, released.synthesised))
        lying = _places(attributes, released.file.decimal, synthetic.iloc[_evenly(len(synthetic), MOST_ROWS)])
        bare = cls(attributes, released.file.decimal, np.ascontiguousarray(lying.T))
        to_others = bare._nearest(lying[_evenly(len(lying), LOOKED_AT)], 2)[:, 1]  # the nearest is the row itself
        cuts = np.quantile(to_others, np.arange(1, BINS - 1) / (BINS - 1), method="lower") if len(to_others) else []
        return replace(bare, edges=tuple(sorted({0, *map(int, cuts)})))

    @property
    def bins(self) -> int:
        return len(self.edges) + 1

    @property
    def edges_in_columns(self) -> tuple[float, ...]:
        return tuple(edge / STEPS for edge in self.edges)

    def distances(self, frame: pd.DataFrame) -> Whole:
        """How far each row is from the nearest synthetic one, in quarters of a column, shape (n,). Fails on no cell."""
        return self._nearest(_places(self.attributes, self.decimal, frame), 1)[:, 0]

    def _nearest(self, places: Single, k: int) -> Whole:
        from attacks.kernels import k_nearest

        near = np.minimum(k_nearest(places, self.rows, k)[0], len(self.attributes))  # there may be fewer rows than k
        return np.asarray(np.rint(STEPS * near), dtype=np.int64)


def measured(table: PrivateTable, yardstick: Yardstick) -> tuple[float, Whole]:
    """Ask a table of `located` rows for the noised counts, with all that it was granted: the noise scale, and counts of shape (sides, bins)."""
    side, place = (Categories(c, c.categories or ()) for c in table.schema.columns[-2:])
    sigma = table.sigma(table.granted.amount * SAFE)
    counts = table.marginal([side, place], sigma)
    return sigma, counts[: len(COMPARED), : yardstick.bins].astype(np.int64)  # without the codes of missing cells, where no unit is


def located_schema(schema: Schema, yardstick: Yardstick, mark: str) -> Schema:
    """What is public about `located` rows: their population and unit, its ids, and the cells in which a unit may be.

    Args:
        mark: of the synthetic rows; a part of the columns' names, as the bins' edges are, and so of the question.
    """
    ids = (c for c in schema.columns if c.name in schema.unit.columns)
    side = Column(f"side, {mark}", "categorical", COMPARED)
    place = Column(f"bin, edges {' '.join(map(str, yardstick.edges))}, {mark}", "categorical", tuple(map(str, range(yardstick.bins))))
    unit = replace(schema.unit, max_rows=1, count="rows", keep=None)
    return Schema(schema.name, (*ids, side, place), unit, schema.file)


def located(split: Split, schema: Schema, key: bytes, yardstick: Yardstick, mark: str) -> pd.DataFrame:
    """A row for each unit of train and of control: its id, its side, and the bin of its nearest row. To be called after the charge only.

    Args:
        schema: of the split's rows, with the unit as the generator counted it.
        key: chooses the rows of a unit that count: those of train are the ones that were trained on.
    """
    side, place = located_schema(schema, yardstick, mark).names[-2:]
    parts = []
    for name in COMPARED:
        frame: pd.DataFrame = getattr(split, name)
        at, bins = _nearest_of_units(frame, schema, key, yardstick)
        parts.append(frame.iloc[at][list(schema.unit.columns)].assign(**{side: name}, **{place: bins.astype(str)}))
    return pd.concat(parts, ignore_index=True)


def _nearest_of_units(frame: pd.DataFrame, schema: Schema, key: bytes, yardstick: Yardstick) -> tuple[Whole, Whole]:
    """The position of each unit's nearest row among those that count, and its bin."""
    kept = kept_rows(frame, schema, key)
    rows = frame.iloc[kept]
    distances = yardstick.distances(rows)
    order = np.argsort(distances, kind="stable")
    owners = pd.Series(unit_ids(rows, schema), dtype=object).iloc[order]
    nearest = order[~owners.duplicated().to_numpy()]
    return kept[nearest], np.searchsorted(np.array(yardstick.edges), distances[nearest])


def _places(attributes: tuple[Attribute, ...], decimal: str, frame: pd.DataFrame) -> Single:
    """Where each row's codes lie, shape (n, columns)."""
    return np.stack([_line(a)[a.encode(frame[a.column.name], decimal)] for a in attributes], axis=1)


def _line(attribute: Attribute) -> Single:
    """Where each code lies: bins of a number a step apart, all else at least a whole column from everything. Multiples of 1 / STEPS, so exact."""
    bins = attribute.bins if isinstance(attribute, Bins) else 0
    return np.concatenate([np.arange(bins) / STEPS, bins + 2.0 * np.arange(1, attribute.size - bins + 1)], dtype=np.float32)


def _evenly(rows: int, most: int) -> Whole:
    """At most `most` positions of so many rows, evenly spread."""
    return np.arange(rows) if rows <= most else np.arange(most) * rows // most
