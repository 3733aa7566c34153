"""The outline of a release: what is known of it before a row is read, from schema, number of units, budget and policy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from statistics import fmean

from dpsynth.deep import planning
from dpsynth.deep.columns import MOST_SHARE
from dpsynth.encoding import public_attribute
from dpsynth.encoding.binning import is_cut_by_counts
from dpsynth.encoding.domains import domain_share
from dpsynth.privacy import GDP, bounding
from dpsynth.privacy.cost import Request
from dpsynth.privacy.unit import most_moved
from dpsynth.schema import Column, PrivacyUnit, Schema
from dpsynth.synthesizers.bench import LEAST_LEFT, share_of_columns
from dpsynth.synthesizers.registry import DEEP
from dpsynth.synthesizers.views import MOST_CELLS, RARE

GUESSED_CATEGORIES = 30
# Rows of a unit where they are to be measured (3 leave .95 of the units whole in diabetes130 and in cps, 5 in rand_hie), and where a unit
# may have any number of them.
GUESSED_ROWS = 3
# What pairs tell of their columns, in parts of what the same budget would tell if it were spent on the columns. From adult,
# bank_marketing and the survey at epsilon 1, where the error of a column is that of .56 of the budget and columns alone get .3.
PAIRS_TELL = 0.37


@dataclass(frozen=True)
class Outline:
    """Attributes:
    units: how many people the table is about.
    train: the share of them that the generator is given.
    generator: its name.
    """

    schema: Schema
    units: int
    epsilon: float
    delta: float
    train: float
    generator: str

    @property
    def unit(self) -> PrivacyUnit:
        """The schema's, with a guess in place of a number of rows that is to be measured."""
        unit = self.schema.unit
        return unit if unit.keep is None else replace(unit, max_rows=min(unit.max_rows, GUESSED_ROWS), keep=None)

    @property
    def rows(self) -> float:
        """What counts, and so how many rows are made: the units, or rows. Of these it is not known how many a unit has, only how many it
        may have at most; half-way is never far off."""
        return self.units if self.unit.count == "units" else self.units * (1 + self.unit.max_rows) / 2

    @property
    def read(self) -> float:
        """Rows that are read. Where units are counted `max_rows` may well be far above what they have."""
        return self.units * (1 + min(self.unit.max_rows, GUESSED_ROWS)) / 2 if self.unit.count == "units" else self.rows

    @property
    def trained(self) -> float:
        return self.rows * self.train

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The codes of each synthesised column."""
        return tuple(map(_size, self.schema.synthesised))

    @property
    def columns(self) -> int:
        return len(self.sizes)

    @property
    def cut(self) -> int:
        """Numbers that are cut into bins by noisy counts."""
        return sum(map(is_cut_by_counts, self.schema.synthesised))

    @property
    def amount(self) -> float:
        """What the budget leaves for the fit, as mu squared."""
        amount = Request(self.epsilon, self.delta, False, "").cost_in(GDP).amount * (1 - domain_share(self.schema))
        if self.schema.unit.keep is not None:
            amount *= 1 - bounding.SHARE
        return amount

    def sigma(self, share: float) -> float:
        """The noise scale of a column's cells where the columns together get a share of the budget."""
        return GDP.noise_sigma(self.amount * share / self.columns, most_moved(self.unit) ** 2)

    @property
    def trains(self) -> bool:
        return self.generator in DEEP

    @property
    def deserved(self) -> float:
        """The share of the budget that goes to columns, as `synthesizers/bench.py` and `deep/columns.py` reckon it from the number of rows."""
        if self.generator == "gan":
            return planning.COLUMNS
        if self.generator == "independent" or self.columns == 1:
            return 1.0
        share = share_of_columns(fmean(self.sizes) * self.sigma(1.0) / self.trained)
        return 1.0 if self.trains and share > MOST_SHARE else share

    @property
    def buys_structure(self) -> bool:
        return 1 - self.deserved > LEAST_LEFT

    @property
    def column_sigma(self) -> float:
        """The noise scale that a column's cells end up with, pairs' counts of it included."""
        return self.sigma(self.deserved + PAIRS_TELL * self.beside)

    @property
    def beside(self) -> float:
        """The share of the budget that goes to pairs of columns."""
        if self.trains:
            return planning.PAIRS if self.generator == "gan" and self.schema.target is not None else 0.0
        return 1 - self.deserved

    @property
    def strength(self) -> float:
        """Rows over noise, if all were spent on columns: how much the budget can tell of this table."""
        return self.trained / self.sigma(1.0)

    @property
    def loudness(self) -> float:
        """Rows times mu, over the cells of all columns and what one unit can move (`standing.py`)."""
        return self.trained * math.sqrt(self.amount) / (most_moved(self.unit) * sum(self.sizes))

    @property
    def pairs(self) -> float:
        return math.comb(self.columns, 2)

    @cached_property
    def pair_cells(self) -> float:
        """The cells of all pairs that are offered to a choice, each column in the codes that noise leaves apart (`synthesizers/views.py`): as
        many as can hold so many rows. Coarse views have more than that, rare codes less: .6 to 1.1 of it on four tables."""
        most = 1 + self.trained / (RARE * self.sigma(self.deserved))
        fine = [min(size, most) for size in self.sizes]
        return sum(cells for cells in (a * b for a, b in combinations(fine, 2)) if cells <= MOST_CELLS)


def _size(column: Column) -> int:
    if is_cut_by_counts(column):
        return column.bins + 2
    return GUESSED_CATEGORIES if column.is_open else public_attribute(column).size
