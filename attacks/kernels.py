"""The loops that numpy cannot do without an n x m matrix. The only module that needs numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
LANES = 256
FAR = np.float32(1e30)


def closest(targets: Single, columns: Single) -> Floats:
    """min over rows y of sum over columns of min(|x - y|, 1), for each target x; infinite if there are no rows.

    `targets` has shape (n, d), `columns` shape (d, m): one contiguous row a column, so each pass is a vector loop.
    """
    if not columns.shape[1]:
        return np.full(len(targets), np.inf)
    result: Any = _closest(targets, columns)
    return np.asarray(result)


def closest_by_parts(targets: Single, columns: Single, first: int) -> tuple[Single, npt.NDArray[np.int64]]:
    """The closest row of each target, by the same distance summed over d + 3 sets of columns, in one pass over the rows.

    The sets: all but column j, for each j; the first `first` columns; the others; all. Returns distances and positions of the rows, both of
    shape (n, d + 3). Of rows that are equally close any one; `columns`, shape (d, m), has at least one row.
    """
    rows = columns.shape[1]
    padded = np.ascontiguousarray(np.take(columns, np.arange(-(-rows // LANES) * LANES) % rows, axis=1))
    result: Any = _closest_by_parts(targets, padded, first)
    return np.asarray(result[0]), np.asarray(result[1]) % rows


@numba.njit(cache=True, fastmath=True)
def _closest(targets: Any, columns: Any) -> Any:
    n, d = targets.shape
    m = columns.shape[1]
    found = np.empty(n)
    total = np.empty(m, dtype=np.float32)
    for i in range(n):
        total[:] = 0.0
        for j in range(d):
            x = targets[i, j]
            for k in range(m):
                total[k] += min(abs(columns[j, k] - x), np.float32(1.0))
        found[i] = total.min()
    return found


@numba.njit(cache=True, fastmath=True)
def _closest_by_parts(targets: Any, columns: Any, first: Any) -> Any:
    """Row k of each block of LANES rows competes in lane k only, so that every loop is a vector loop; the lanes are compared at the end,
    and the winner is looked for in its lane. Written out: with a function for what is done thrice, it is nine times slower."""
    n, d = targets.shape
    blocks = columns.shape[1] // LANES
    found = np.empty((n, d + 3), dtype=np.float32)
    places = np.empty((n, d + 3), dtype=np.int64)
    part = np.empty((max(d, 3), LANES), dtype=np.float32)
    total = np.empty(LANES, dtype=np.float32)
    left = np.empty(LANES, dtype=np.float32)
    least = np.empty((d + 3, LANES), dtype=np.float32)
    block = np.empty((d + 3, LANES), dtype=np.int32)
    for i in range(n):
        least[:] = FAR
        for b in range(blocks):
            total[:] = np.float32(0.0)
            for j in range(d):
                if j == first:
                    left[:] = total
                x = targets[i, j]
                for k in range(LANES):
                    part[j, k] = min(abs(columns[j, b * LANES + k] - x), np.float32(1.0))
                    total[k] += part[j, k]
            if first >= d:
                left[:] = total
            for j in range(d):
                for k in range(LANES):
                    apart = total[k] - part[j, k]
                    block[j, k] = b if apart < least[j, k] else block[j, k]
                    least[j, k] = min(least[j, k], apart)
            for k in range(LANES):
                part[0, k], part[1, k], part[2, k] = left[k], total[k] - left[k], total[k]
            for j in range(3):
                for k in range(LANES):
                    block[d + j, k] = b if part[j, k] < least[d + j, k] else block[d + j, k]
                    least[d + j, k] = min(least[d + j, k], part[j, k])
        for s in range(d + 3):
            lane = np.argmin(least[s])
            found[i, s] = least[s, lane]
            places[i, s] = block[s, lane] * LANES + lane
    return found, places
