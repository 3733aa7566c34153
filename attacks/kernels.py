"""The one loop that numpy cannot do without an n x m matrix. The only module that needs numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt


def closest(targets: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """min over rows y of sum over columns of min(|x - y|, 1), for each target x; infinite if there are no rows.

    `targets` has shape (n, d), `columns` shape (d, m): one contiguous row a column, so each pass is a vector loop.
    """
    if not columns.shape[1]:
        return np.full(len(targets), np.inf)
    result: Any = _closest(targets, columns)
    return np.asarray(result)


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
