"""One question to the gate: a planted generator, a table, a size, the number of the split, columns and shares."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).resolve().parents[1] / "results"

Line = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """What a line of the results is about.

    Attributes:
        generator: a name of `planted.GENERATORS`.
        table: a name of `tables.POPULATIONS`.
        n: how many privacy units were trained on.
        split: the number of the split; the same number is the same rows, whatever the generator.
        unique: whether near-unique columns are kept.
        shares: who else is held back; `even`: as many controls and as many reference units, as far as they go; `policy`: as the policy splits.
        policy: whose tolerances.
    """

    generator: str
    table: str
    n: int
    split: int
    unique: bool = True
    shares: str = "even"
    policy: str = "partner-contract"

    @property
    def rows(self) -> np.random.Generator:
        """Draws the split. Not of the generator: all are tried on the same people."""
        return _stream("rows", self.table, self.n, self.split, self.shares)

    @property
    def plant(self) -> np.random.Generator:
        """Draws what the generator draws."""
        return _stream("plant", self.generator, self.table, self.n, self.split, self.shares)

    @property
    def seed(self) -> int:
        """The attacks' own."""
        return zlib.crc32(repr(self).encode())


def _stream(*words: object) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(str(word).encode()) for word in words])


def cells(
    generators: Iterable[str], tables: Iterable[str], sizes: Iterable[int], splits: Iterable[int], unique: Iterable[bool], shares: str, policy: str
) -> list[Cell]:
    """All combinations, splits outermost: every generator's first split comes before anybody's second."""
    return [Cell(g, t, n, s, u, shares, policy) for s, n, u, t, g in product(splits, sizes, unique, tables, generators)]


def cell_of(line: Line) -> Cell:
    return Cell(**{name: line[name] for name in Cell.__dataclass_fields__})


def done(results: Path, *suites: str) -> dict[Cell, Line]:
    """The last line of each cell, of those that these codes of the attacks judged if some are named."""
    return {cell_of(line): line for line in _lines(results) if not suites or line["suite"] in suites}


def _lines(results: Path) -> Iterator[Line]:
    if results.exists():
        yield from map(json.loads, results.read_text().splitlines())


def keep(results: Path, cell: Cell, outcome: Line) -> None:
    """Append a line; one write, so that two runs beside each other do not mix theirs."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(asdict(cell) | outcome) + "\n")
