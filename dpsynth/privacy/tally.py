"""The rows that count, as codes, and how many of them fall in each cell: the exact numbers that noise is added to.

Statement. `counts` and `distance` are exact functions of the rows, in whole numbers: none rounds, wraps or saturates. Nothing
here is private: a `PrivateTable` reaches a tally from inside a charged question only.

Sensitivity. A row is one code in each attribute, hence one cell of a clique: it moves the counts by its weight in one cell and
||counts - one * reference||_1 by at most that, for any reference that is the same for both tables. Weights: `unit.py`; codes: `attribute.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.privacy.attribute import Attribute, Merged

Clique = Sequence[Attribute]
Whole = npt.NDArray[Any]
CACHE_BYTES = 400 * 2**20
BLOCK = 2**15


class Tally:
    """Counts over cliques of attributes, each attribute encoded once; counts are kept while `CACHE_BYTES` hold them.

    Args:
        weights: a whole number for each row, shape (n,); None where each counts 1.
        one: what a count of one is in these weights.
    """

    def __init__(self, frame: pd.DataFrame, decimal: str, weights: Whole | None = None, one: int = 1):
        self._frame = frame
        self._decimal = decimal
        self._weights = weights
        self._one = one
        self._type = np.min_scalar_type(len(frame) if weights is None else int(weights.sum()))
        self._codes: dict[Attribute, Whole] = {}
        self._counts: dict[tuple[Attribute, ...], Whole] = {}
        self._room = CACHE_BYTES

    def counts(self, clique: Clique) -> Whole:
        """The weight of the rows in each cell, shape (size_1, ..., size_k), in the smallest type that holds that of all rows."""
        key = tuple(clique)
        if key in self._counts:
            return self._counts[key]
        cells = math.prod(a.size for a in key)
        counted = np.bincount(self._cell_of_each_row(key, cells), self._weights, cells)  # float64 where weighted, exact below 2^53
        counts = counted.astype(self._type).reshape([a.size for a in key])
        if counts.nbytes <= self._room:  # beyond that counted anew: who asks for candidates in turn would evict each before its next use
            self._counts[key] = counts
            self._room -= counts.nbytes
        return counts

    def distance(self, clique: Clique, reference: Whole) -> int:
        """||counts - one * reference||_1, summed block by block so that a large clique takes no large temporaries."""
        counts, expected = self.counts(clique).ravel(), reference.ravel()
        blocks = (slice(start, start + BLOCK) for start in range(0, len(counts), BLOCK))
        return sum(self._apart(counts[b], expected[b]) for b in blocks)

    def _apart(self, counts: Whole, expected: Whole) -> int:
        scaled = expected if self._one == 1 else np.multiply(expected, self._one, dtype=np.int64, casting="same_kind")
        return int(np.abs(np.subtract(counts, scaled, dtype=np.int64, casting="same_kind")).sum())

    def codes(self, attribute: Attribute) -> Whole:
        """Each row's code, in the smallest type that holds the attribute's size; a merged attribute's through its base."""
        if attribute not in self._codes:
            if isinstance(attribute, Merged):
                codes = np.array(attribute.groups)[self.codes(attribute.base)]
            else:
                codes = attribute.encode(self._frame[attribute.column.name], self._decimal)
            self._codes[attribute] = np.clip(codes, 0, attribute.size - 1).astype(np.min_scalar_type(attribute.size - 1))
        return self._codes[attribute]

    def _cell_of_each_row(self, clique: Clique, cells: int) -> Whole:
        """Positions in mixed radix, the last attribute's code the fastest."""
        position = np.zeros(len(self._frame), dtype=np.int32 if cells < 2**31 else np.int64)
        for attribute in clique:
            np.multiply(position, attribute.size, out=position)
            np.add(position, self.codes(attribute), out=position, casting="same_kind")
        return position
