"""Reading cells: row-wise maps from what a file holds to numbers, categories and states.

They are total: whatever a cell holds, it gets a value and a state, and nothing is raised. Markers come
first; then an unparsable or unlisted cell is missing and a number out of bounds is clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.schema.column import Column


class State(IntEnum):
    """What became of a cell."""

    VALID = 0
    MISSING = 1
    UNPARSABLE = 2
    BELOW = 3
    ABOVE = 4
    UNLISTED = 5


States = npt.NDArray[np.uint8]


def read_text(cells: pd.Series, column: Column) -> npt.NDArray[np.object_]:
    """Cells as text, shape (n,); `None` where a cell is empty, NaN or one of the column's missing markers."""
    codes, values = pd.factorize(cells.astype(object), use_na_sentinel=True)
    texts = np.array([_text(v, column) for v in values] + [None], dtype=object)
    return texts[codes]


def read_numbers(cells: pd.Series, column: Column, decimal: str = ".") -> tuple[npt.NDArray[np.float64], States]:
    """Cells as numbers clipped to the column's public bounds, shape (n,), NaN where missing; and their states."""
    texts = read_text(cells, column)
    codes, uniques = pd.factorize(texts, use_na_sentinel=True)
    spelled = pd.Series(uniques, dtype=object).astype(str).str.strip()
    if decimal != ".":
        spelled = spelled.str.replace(".", "", regex=False).str.replace(decimal, ".", regex=False)
    parsed = np.append(pd.to_numeric(spelled, errors="coerce").to_numpy(dtype=np.float64), np.nan)
    states = np.where(np.isnan(parsed), State.UNPARSABLE, State.VALID).astype(np.uint8)
    states[-1] = State.MISSING
    if column.bounds is not None:
        low, high = column.bounds
        special = np.isin(parsed, column.special)
        states[(parsed < low) & ~special] = State.BELOW
        states[(parsed > high) & ~special] = State.ABOVE
        parsed = np.where(special, parsed, np.clip(parsed, low, high))
    return parsed[codes], states[codes]


def read_categories(cells: pd.Series, column: Column, categories: Sequence[str]) -> tuple[npt.NDArray[np.int64], States]:
    """Cells as positions in `categories`, shape (n,), -1 where missing or unlisted; and their states.

    A cell is compared as text, then by number, so that `1.0` finds the category `1`.
    """
    texts = read_text(cells, column)
    codes, uniques = pd.factorize(texts, use_na_sentinel=True)
    by_text = {c: i for i, c in enumerate(categories)}
    by_number = {number: i for i, c in reversed(list(enumerate(categories))) if (number := _number(c)) is not None}
    found = np.array([by_text.get(u, by_number.get(_number(u), -1)) for u in uniques] + [-1], dtype=np.int64)
    states = np.where(found < 0, State.UNLISTED, State.VALID).astype(np.uint8)
    states[-1] = State.MISSING
    return found[codes], states[codes]


def _text(value: object, column: Column) -> str | None:
    text = str(value)
    if text == "" or text in column.missing or text.strip() in ("", "nan", "NaN", "<NA>", "NaT") and text not in (column.categories or ()):
        return None
    return text


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
