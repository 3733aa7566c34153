"""On which grid single cells are compared. A value that came out without its last digits came out.

Cut to single precision, rounded to whole units or off by a billionth a person's value is still nobody else's, so bits are the wrong thing
to compare. All tables are written with the digits that the synthetic one has; a value is rare if it is on that grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from attacks.evidence import Evidence, Table

Floats = npt.NDArray[np.float64]

DIGITS = 6
DECIMALS = range(-12, 13)
MOST = 0.9


def on_one_grid(evidence: Evidence) -> Evidence:
    """The same with the numbers of members, controls and synthetic rows to six digits, and to as many decimals as most of the column's synthetic values have.

    Six digits are what single precision leaves of any number. By most of the synthetic values, since a handful written in full would else hide the others.
    """
    decimals = [_decimals(np.unique(column[~np.isnan(column)])) for column in evidence.synthetic.numbers.T]
    members, controls, synthetic = (_written(t, decimals) for t in (evidence.members, evidence.controls, evidence.synthetic))
    return replace(evidence, members=members, controls=controls, synthetic=synthetic)


def _decimals(values: Floats) -> int:
    """The fewest decimals in which nine of ten values keep their six digits; below 0 where they are tens or hundreds."""
    off = 0.5 * 10.0**-DIGITS * np.abs(values)
    enough = (d for d in DECIMALS if np.count_nonzero(np.abs(np.round(values, d) - values) <= off) >= MOST * len(values))
    return next(enough, DECIMALS[-1])


def _written(table: Table, decimals: Sequence[int]) -> Table:
    """To decimals before digits, as the synthetic table's maker did: a value rounded in the other order may come out elsewhere."""
    columns = [np.round(column, d) for column, d in zip(table.numbers.T, decimals, strict=True)]
    return Table(np.column_stack([np.empty((len(table), 0)), *columns]), table.codes).rounded(DIGITS)
