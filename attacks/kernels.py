"""The loops that numpy cannot do without an n x m matrix. The only module that needs numba."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
Single = npt.NDArray[np.float32]
LANES = 256
FAR = np.float32(1e30)


@dataclass(frozen=True)
class Scanned:
    """What one pass over m rows tells of n targets, by the sum over columns of min(|x - y|, 1).

    Attributes:
        parts: the least distance by d + 2 sets of columns: all but column j, for each j; the first ones; the others. Shape (n, d + 2).
        parts_at: the positions of the rows that are so close, the same shape; of equally close rows any one.
        near: the k least distances by all columns, rising, shape (n, k); infinite where there are fewer rows.
        near_at: the positions of these rows, the same shape; -1 where there are fewer.
        row: the least distance of each row to a target, shape (m,).
        row_at: the position of that target, shape (m,); of equally close ones the first.
    """

    parts: Single
    parts_at: Index
    near: Single
    near_at: Index
    row: Single
    row_at: Index


def scan(targets: Single, columns: Single, first: int, k: int) -> Scanned:
    """All of it at once. `targets` has shape (n, d), `columns` shape (d, m): one contiguous row a column, so each pass is a vector loop.

    `first` says how many columns are the first ones. There is at least one row and one target.
    """
    rows = columns.shape[1]
    found: Any = _scan(targets, _whole_blocks(columns), first, k, rows)
    parts, parts_at, near, near_at, row, row_at = map(np.asarray, found)
    return Scanned(parts, parts_at % rows, np.where(near_at < 0, np.inf, near), near_at, row.ravel()[:rows], row_at.ravel()[:rows].astype(np.int64))


def k_nearest(targets: Single, columns: Single, k: int) -> tuple[Single, Index]:
    """The k least distances of each target by all columns, rising, and where those rows are; shapes (n, k), infinite and -1 past the last row."""
    result: Any = _k_nearest(targets, _whole_blocks(columns), k, columns.shape[1])
    near, at = map(np.asarray, result)
    return np.where(at < 0, np.inf, near), at


def _whole_blocks(columns: Single) -> Single:
    """The rows, and the first ones again until the last block of LANES is full; none stay none."""
    rows = columns.shape[1]
    return np.ascontiguousarray(np.take(columns, np.arange(-(-rows // LANES) * LANES) % max(rows, 1), axis=1))


@numba.njit(cache=True)
def _insert(near: Any, at: Any, apart: Any, row: Any) -> None:
    """Put a row into a rising list of the closest ones, whose last falls out."""
    place = len(near) - 1
    while place > 0 and near[place - 1] > apart:
        near[place], at[place] = near[place - 1], at[place - 1]
        place -= 1
    near[place], at[place] = apart, row


@numba.njit(cache=True, fastmath=True)
def _k_nearest(targets: Any, columns: Any, k: Any, rows: Any) -> Any:
    n, d = targets.shape
    near = np.full((n, k), FAR, dtype=np.float32)
    at = np.full((n, k), -1, dtype=np.int64)
    total = np.empty(LANES, dtype=np.float32)
    for i in range(n):
        for b in range(columns.shape[1] // LANES):
            total[:] = np.float32(0.0)
            for j in range(d):
                x = targets[i, j]
                for lane in range(LANES):
                    total[lane] += min(abs(columns[j, b * LANES + lane] - x), np.float32(1.0))
            lowest = FAR
            for lane in range(LANES):
                lowest = min(lowest, total[lane])
            if lowest < near[i, k - 1]:
                for lane in range(min(LANES, rows - b * LANES)):
                    if total[lane] < near[i, k - 1]:
                        _insert(near[i], at[i], total[lane], b * LANES + lane)
    return near, at


@numba.njit(cache=True, fastmath=True)
def _scan(targets: Any, columns: Any, first: Any, k: Any, rows: Any) -> Any:
    """Row l of each block of LANES rows competes in lane l only, so that every loop is a vector loop; the lanes are compared at the end,
    and the winner is looked for in its lane. Written out: with a function for what is done thrice, it is nine times slower.
    Without a column a row comes nearer by 1 at most, so a block whose rows are all farther than that from the closest row of all
    cannot have the closest one without a column. The rows from `rows` on repeat the first ones to fill the last block."""
    n, d = targets.shape
    blocks = columns.shape[1] // LANES
    parts = np.empty((n, d + 2), dtype=np.float32)
    parts_at = np.empty((n, d + 2), dtype=np.int64)
    near = np.full((n, k), FAR, dtype=np.float32)
    near_at = np.full((n, k), -1, dtype=np.int64)
    row = np.full((blocks, LANES), FAR, dtype=np.float32)
    row_at = np.zeros((blocks, LANES), dtype=np.int32)
    total = np.empty(LANES, dtype=np.float32)
    half = np.empty((2, LANES), dtype=np.float32)
    least = np.empty((d + 2, LANES), dtype=np.float32)
    block = np.empty((d + 2, LANES), dtype=np.int32)
    for i in range(n):
        least[:] = FAR
        for b in range(blocks):
            total[:] = np.float32(0.0)
            for j in range(d):
                if j == first:
                    half[0] = total
                x = targets[i, j]
                for lane in range(LANES):
                    total[lane] += min(abs(columns[j, b * LANES + lane] - x), np.float32(1.0))
            if first >= d:
                half[0] = total
            lowest = FAR
            for lane in range(LANES):
                half[1, lane] = total[lane] - half[0, lane]
                row_at[b, lane] = i if total[lane] < row[b, lane] else row_at[b, lane]
                row[b, lane] = min(row[b, lane], total[lane])
                lowest = min(lowest, total[lane])
            for j in range(2):
                for lane in range(LANES):
                    block[d + j, lane] = b if half[j, lane] < least[d + j, lane] else block[d + j, lane]
                    least[d + j, lane] = min(least[d + j, lane], half[j, lane])
            if lowest < near[i, k - 1]:
                for lane in range(min(LANES, rows - b * LANES)):
                    if total[lane] < near[i, k - 1]:
                        _insert(near[i], near_at[i], total[lane], b * LANES + lane)
            if lowest - np.float32(1.0) > near[i, 0]:
                continue
            for j in range(d):
                x = targets[i, j]
                for lane in range(LANES):
                    apart = total[lane] - min(abs(columns[j, b * LANES + lane] - x), np.float32(1.0))
                    block[j, lane] = b if apart < least[j, lane] else block[j, lane]
                    least[j, lane] = min(least[j, lane], apart)
        for s in range(d + 2):
            won = np.argmin(least[s])
            parts[i, s] = least[s, won]
            parts_at[i, s] = block[s, won] * LANES + won
    return parts, parts_at, near, near_at, row, row_at
