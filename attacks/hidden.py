"""Where a synthetic table could hide what no attack compares with anybody's cells.

Attacks compare cells, so a cell that by its form is like nobody's is a hiding place: a person's record written out as text, a category that
nobody has heard of, a number in other units or with digits behind the point of a whole one. People's own tables say how often such cells
come about by themselves: a next person brings a new text as often as people hold one that nobody else holds (Good 1953), and breaks a
number's declared form as often as people do. More of them than chance would bring make the column unreadable, and so does a single cell that
should be a number and is none. What is hidden in cells of ordinary form no such rule sees; see docs/gate.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from dpsynth.schema.column import Column

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Found = npt.NDArray[np.bool_]

SURE = 0.999
MOSTLY_MISSING = 0.99
THINNED = 0.1


def strange_texts(synthetic: Codes, people: Codes, listed: int) -> bool:
    """Whether more codes from `listed` on are nobody's than as many new people would bring."""
    held, holders = np.unique(people[people >= listed], return_counts=True)
    strange = (synthetic >= listed) & ~np.isin(synthetic, held)
    return _more(strange, np.count_nonzero(holders == 1) / max(len(people), 1))


def strange_numbers(synthetic: Floats, people: Floats, column: Column) -> bool:
    """Whether more numbers break what the schema declares of them than as many new people's would: attacks compare these too, so one more
    person who breaks it is granted (Laplace's rule)."""
    return _more(_undeclared(synthetic, column), (np.count_nonzero(_undeclared(people, column)) + 1) / (len(people) + 1))


def emptied(synthetic: Found, train: Found) -> bool:
    """Whether there is nothing to attack: no value in train, or less than a tenth of the share that train has in the synthetic rows.

    Arguments say which cells hold a value. A synthetic table without rows is underpowered and not unreadable.
    """
    usual, left = (float(cells.mean()) if len(cells) else 1.0 for cells in (train, synthetic))
    return usual == 0.0 or (usual > 1 - MOSTLY_MISSING and left < THINNED * usual)


def _undeclared(numbers: Floats, column: Column) -> Found:
    """Out of the declared bounds, or a fraction among whole numbers; special numbers are declared, missing ones are none."""
    low, high = column.bounds or (-np.inf, np.inf)
    odd = (numbers < low) | (numbers > high)
    if column.type == "integer":
        odd |= ~np.isnan(numbers) & (numbers != np.rint(numbers))
    return np.asarray(odd & ~np.isin(numbers, column.special))


def _more(found: Found, share: float) -> bool:
    return bool(found.sum() > stats.binom.ppf(SURE, len(found), share)) if len(found) else False
