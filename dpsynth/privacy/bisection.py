"""Bisection, for the inverses of rising functions that the accounting needs."""

from __future__ import annotations

import math
from collections.abc import Callable

CEILING = 2.0**100


def bracket(rising: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """The two neighbouring floats between which `rising`, at most 0 at `low`, passes from at most 0 to above 0.

    Each end was tried, so whoever takes the safe one needs no trust in the search. (x, infinity) where it stays at most 0 up to
    `CEILING`.
    """
    while rising(high) <= 0:
        low, high = high, high * 2
        if high > CEILING:
            return low, math.inf
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if rising(middle) <= 0 else (low, middle)
    return low, high
