"""How many rows of a unit are to count, where the schema leaves that to be measured.

Statement. The number chosen is made from one noisy histogram of the units by their number of rows, over bins that are public: the
schema's `most_rows` and `keep` decide them and nothing else does. What follows from the noisy counts is post-processing, so that
everything after it may depend on the number.

Sensitivity. A unit is in one bin, by its own rows alone: adding or removing it moves one count by 1, so L2 = L1 = 1, whatever its
rows (the last bin holds all units of `most_rows` rows and more).

Reference: Amin, Kulesza, Munoz Medina, Vassilvitskii 2019 (ICML): the right bound is a quantile of the rows per unit.
"""

from __future__ import annotations

import math

import numpy as np

from dpsynth.privacy.noise import Counts

SHARE = 0.01
CLEAR = 2.0


def ladder(most: int) -> Counts:
    """The largest number of rows of each bin: 1, 2, 3, 4, 6, 8, 12, 16, 24, ... and `most`."""
    rungs = {1, 2, 3} | {k * 2**i for i in range(1, most.bit_length()) for k in (2, 3)}
    return np.array([*sorted(r for r in rungs if r < most), most], dtype=np.int64)


def histogram(rows: Counts, most: int) -> Counts:
    """How many units are in each bin, from the number of rows of each unit."""
    rungs = ladder(most)
    return np.bincount(np.searchsorted(rungs, np.minimum(rows, most)), minlength=len(rungs)).astype(np.int64)


def enough(noisy: Counts, sigma: float, most: int, keep: float) -> int:
    """The least rung of the ladder that, as far as the noisy histogram can tell, leaves a share `keep` of the units whole.

    A higher rung makes more noise for sure, so it has to be called for: a rung is enough unless it stands clear of the noise that more
    than 1 - keep of the units have more rows.
    """
    rungs = ladder(most)
    for i, rung in enumerate(rungs[:-1], 1):
        missing = keep * noisy[i:].sum() - (1 - keep) * noisy[:i].sum()
        if missing <= CLEAR * sigma * math.hypot(keep * math.sqrt(len(rungs) - i), (1 - keep) * math.sqrt(i)):
            return int(rung)
    return most
