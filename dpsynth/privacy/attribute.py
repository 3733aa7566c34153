"""How a cell becomes a code: row-wise maps, public or already released, total on whatever a cell holds.

Statement. `encode` maps each cell on its own, so that adding or removing a row adds or removes one code and moves
no other. It never raises on a value and always returns codes in [0, size).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.schema.cells import State, read_categories, read_numbers
from dpsynth.schema.column import Column

Codes = npt.NDArray[np.int64]


class Attribute(Protocol):
    """A column with a finite domain of `size` codes."""

    @property
    def column(self) -> Column: ...

    @property
    def size(self) -> int: ...

    def encode(self, cells: pd.Series, decimal: str) -> Codes: ...


@dataclass(frozen=True)
class Categories:
    """Codes of a list of categories: their positions, then `other` if the column has one, then missing."""

    column: Column
    categories: tuple[str, ...]

    @property
    def has_other(self) -> bool:
        return self.column.on_unknown == "other"

    @property
    def size(self) -> int:
        return len(self.categories) + self.has_other + 1

    def encode(self, cells: pd.Series, decimal: str) -> Codes:
        positions, states = read_categories(cells, self.column, self.categories)
        codes = np.where(positions < 0, self.size - 1, positions)
        if self.has_other:
            codes = np.where(states == State.UNLISTED, len(self.categories), codes)
        return codes


@dataclass(frozen=True)
class Bins:
    """Codes of a number: its bin [edge_i, edge_i+1), then each special value, then missing. Outside the edges: the end bins."""

    column: Column
    edges: tuple[float, ...]
    special: tuple[float, ...] = ()

    @property
    def bins(self) -> int:
        return len(self.edges) - 1

    @property
    def size(self) -> int:
        return self.bins + len(self.special) + 1

    def encode(self, cells: pd.Series, decimal: str) -> Codes:
        values, _ = read_numbers(cells, self.column, decimal)
        codes = np.searchsorted(np.array(self.edges[1:-1]), values, side="right").astype(np.int64)
        for position, special in enumerate(self.special):
            codes[values == special] = self.bins + position
        codes[np.isnan(values)] = self.size - 1
        return codes


@dataclass(frozen=True)
class CellStates:
    """Codes of what became of a cell (valid, missing, unparsable, below, above, unlisted), for a charged profile."""

    column: Column
    categories: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        return len(State)

    def encode(self, cells: pd.Series, decimal: str) -> Codes:
        if self.column.is_number:
            return read_numbers(cells, self.column, decimal)[1].astype(np.int64)
        states = read_categories(cells, self.column, self.categories or ())[1].astype(np.int64)
        return states if self.categories is not None else np.where(states == State.UNLISTED, State.VALID, states)


@dataclass(frozen=True)
class Merged:
    """Codes of `base` put in groups: code c becomes groups[c]. The groups are made from released counts only."""

    base: Attribute
    groups: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.groups) != self.base.size or min(self.groups) < 0:
            raise ValueError("each code of the base needs a group: else encoding would fail on some rows and not on others")

    @property
    def column(self) -> Column:
        return self.base.column

    @property
    def size(self) -> int:
        return max(self.groups) + 1

    def encode(self, cells: pd.Series, decimal: str) -> Codes:
        return np.array(self.groups, dtype=np.int64)[self.base.encode(cells, decimal)]


def is_kernels_own(attribute: Attribute) -> bool:
    """Whether an attribute is one of the four above, all the way down: another map might not be row-wise."""
    return type(attribute) in (Categories, Bins, CellStates) or (type(attribute) is Merged and is_kernels_own(attribute.base))
