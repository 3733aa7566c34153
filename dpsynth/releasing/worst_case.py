"""Worst cases: small tables, and the one unit more that an audit tries to tell from what a generator does.

The crowd is of two kinds of rows that share no cell, in equal numbers. So all columns say the same of each other, every choice between
pairs of columns is a tie, and the unit more breaks it: its cells agree in three columns in the middle, in codes that nobody else
has, and in no others. A structure chosen without noise follows it, whichever of equals is taken first. It alone holds a category of
the open column, and it alone is far out in the column whose bounds and bins are measured.

Reference: Nasr et al. 2021 (arXiv 2101.04535), worst-case inputs; Annamalai et al. 2024 (arXiv 2405.10994), that audits of generators are
tight on these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from dpsynth.privacy.attribute import Attribute, Merged
from dpsynth.schema import Schema

Row = tuple[str | float, ...]
Cell = tuple[int, ...]

CLOSED, OPEN, NUMBER = ("one", "two", "three"), "open", "number"
NAMES = (*CLOSED, OPEN, NUMBER)
CROWD: tuple[Row, ...] = (("a", "a", "a", "a", 3.0), ("c", "c", "c", "c", 12.0))
ADDED: Row = ("a", "b", "b", "b", 100_000.0)
COLUMNS: list[dict[str, Any]] = [
    *({"name": name, "type": "categorical", "categories": ["a", "b", "c"], "categories_basis": "publisher"} for name in CLOSED),
    {"name": OPEN, "type": "categorical", "categories_basis": "measure"},
    {"name": NUMBER, "type": "continuous", "bounds_basis": "measure", "bins": 4},
]


@dataclass(frozen=True, eq=False)
class WorstCase:
    """A table, and the rows that one unit adds to it.

    Attributes:
        unit: the schema's privacy unit.
        each: how many units of each kind there are in the crowd.
        rows: how many rows each unit has, all alike.
        one_in: how many of an audit's runs are on it: one in so many.
    """

    name: str
    unit: dict[str, Any]
    each: int
    rows: int
    one_in: int = 1

    @property
    def schema(self) -> Schema:
        ids = [{"name": name, "type": "id"} for name in self.unit.get("columns", ())]
        return Schema.from_dict({"name": "audit", "privacy_unit": self.unit, "columns": [*ids, *COLUMNS]})

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Without the unit, and with it."""
        units = [kind for kind in CROWD for _ in range(self.each)] + [ADDED]
        frame = pd.DataFrame([row for row in units for _ in range(self.rows)], columns=list(NAMES), dtype=object)
        for name in self.unit.get("columns", ()):
            frame[name] = np.repeat([f"{i}" for i in range(len(units))], self.rows)
        return frame.iloc[: -self.rows], frame

    def crowd(self, clique: Sequence[Attribute]) -> dict[Cell, int]:
        """The cells in which the others are counted, and how many rows in each."""
        counts: dict[Cell, int] = {}
        for cell in _cells(clique)[:-1]:
            counts[cell] = counts.get(cell, 0) + self.each * self.rows
        return counts


def cell(clique: Sequence[Attribute]) -> Cell:
    """Where the unit's rows are counted."""
    return _cells(clique)[-1]


def _cells(clique: Sequence[Attribute]) -> list[Cell]:
    """The cells of each kind of row, and of the unit's."""
    return list(zip(*(_codes(a) for a in clique), strict=True))  # type: ignore[arg-type]  # each kind of attribute is hashable


@lru_cache(maxsize=1000)
def _codes(attribute: Attribute) -> tuple[int, ...]:
    """The codes of each kind of row, and of the unit's."""
    if isinstance(attribute, Merged):
        return tuple(attribute.groups[code] for code in _codes(attribute.base))  # type: ignore[arg-type]
    place = NAMES.index(attribute.column.name)
    return tuple(attribute.encode(pd.Series([row[place] for row in (*CROWD, ADDED)], dtype=object), ".").tolist())


ONE_ROW = WorstCase("a row", {"unit": "row"}, 200, 1)
THREE_ROWS = WorstCase("a person of three rows", {"unit": "person", "columns": ["id"], "max_rows": 3}, 60, 3, one_in=4)
WORST_CASES = (ONE_ROW, THREE_ROWS)
