"""In which ways single cells are compared. A value that came out without its last digits came out.

Cut to single precision, rounded to whole units or off by a billionth, a person's value is still nobody else's, so bits alone are the wrong thing
to compare. Numbers are compared as they are and, beside that, as the synthetic table's maker wrote them; what is rare is rare as written. A
grid never takes the place of the cells: the maker chooses it, and six digits of a nine-digit number are anybody's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from attacks.evidence import Evidence, Table

Floats = npt.NDArray[np.float64]

MOST_DIGITS = 6  # single precision leaves them of any number
DECIMALS = range(-12, 13)
MOST = 0.9


@dataclass(frozen=True)
class Grid:
    """How the numbers of a column are written.

    Attributes:
        decimals: how many at most, below 0 where they are tens or hundreds; None where there is no end to them.
        digits: how many significant ones at most.
    """

    decimals: int | None = None
    digits: int = MOST_DIGITS

    @classmethod
    def of(cls, column: Floats) -> Grid:
        """The fewest decimals and digits in which nine of ten values are what they are in six: one written in full would else hide the others."""
        values = np.unique(column[~np.isnan(column)])
        decimals = next((d for d in DECIMALS if cls(decimals=d)._keeps(values)), None)
        return cls(decimals, next(d for d in range(1, MOST_DIGITS + 1) if cls(digits=d)._keeps(values)))

    def write(self, column: Floats) -> Floats:
        """Decimals before digits, so that a number and the same rounded by the synthetic table's maker come out alike."""
        cells = column if self.decimals is None else np.round(column, self.decimals)
        return Table(cells[:, None], np.empty((len(cells), 0), dtype=np.int32)).rounded(self.digits).numbers[:, 0]

    def _keeps(self, values: Floats) -> bool:
        kept = np.isclose(self.write(values), Grid().write(values), rtol=1e-9, atol=0.0)
        return bool(np.count_nonzero(kept) >= MOST * len(values))


def ways_of_writing(evidence: Evidence) -> tuple[Evidence, ...]:
    """Cells as they are; and on the grid of the synthetic table, where that is not the same."""
    gridded = on_one_grid(evidence)
    tables = ((evidence.pool, gridded.pool), (evidence.synthetic, gridded.synthetic))
    same = all(np.array_equal(plain.numbers, cut.numbers, equal_nan=True) for plain, cut in tables)
    return (evidence,) if same else (evidence, gridded)


def on_one_grid(evidence: Evidence) -> Evidence:
    """The same with the numbers of members, controls and synthetic rows as the synthetic column is written."""
    grids = [Grid.of(column) for column in evidence.synthetic.numbers.T]

    def written(table: Table) -> Table:
        columns = [grid.write(column) for grid, column in zip(grids, table.numbers.T, strict=True)]
        return Table(np.column_stack([np.empty((len(table), 0)), *columns]), table.codes)

    return replace(evidence, members=written(evidence.members), controls=written(evidence.controls), synthetic=written(evidence.synthetic))
