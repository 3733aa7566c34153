"""Who holds two tables about the same people, with half of the columns each: does the synthetic table say which rows are one person's?

A target is linked if the synthetic row that is closest to it by every other column is also the closest by the rest. (Giomi et al. 2023,
section 6.3, at k = 1; there missing cells are far from each other, so that people with many of them are never linked. Here missing is
a value.)
"""

from __future__ import annotations

import numpy as np

from attacks.distances import neighbours_by_parts
from attacks.evidence import Evidence
from attacks.scores import Scores


def linkability(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """1 where a target is linked, else 0. Raises `UnanswerableError` without two columns or without synthetic rows."""
    by_half = neighbours_by_parts(evidence).by_half
    return Scores.split((by_half[:, 0] == by_half[:, 1]).astype(np.float64), evidence)
