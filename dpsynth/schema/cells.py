"""Reading cells: row-wise maps from what a file holds to numbers, categories and states.

They are total: whatever a cell holds, it gets a value and a state, and nothing is raised. They are row-wise: what a cell
becomes depends on no other cell, so cells are spelled before they are compared (1 and True are equal, but not spelled alike)
and numbers are parsed one by one, not as a column that has to agree on a type. A whole float is spelled as the integer it is:
pandas makes floats of a whole column of integers where one of them is missing. Of those from 2^53 on it keeps no last digits;
whoever has such codes in a frame gives them as text or as `Int64`.
Markers come first; then an unparsable or unlisted cell is missing and a number out of bounds is clipped.
"""

from __future__ import annotations

import math
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
EXACT = 2**53  # below it a float tells integers apart


def read_text(cells: pd.Series, column: Column) -> npt.NDArray[np.object_]:
    """Cells as text, shape (n,); `None` where a cell is empty, NaN or one of the column's missing markers."""
    codes, uniques = _factorized(_spellings(cells))
    texts = np.empty(len(uniques) + 1, dtype=object)
    texts[:-1] = [_text(u, column) for u in uniques]
    return texts[codes]


def read_numbers(cells: pd.Series, column: Column, decimal: str = ".") -> tuple[npt.NDArray[np.float64], States]:
    """Cells as numbers clipped to the column's public bounds, shape (n,), NaN where missing; and their states."""
    texts = read_text(cells, column)
    if decimal != ".":
        texts[:] = [t if t is None or not isinstance(c, str) else _pointed(t, decimal) for t, c in zip(texts, cells, strict=True)]
    codes, uniques = _factorized(texts)
    parsed = np.array([_parsed(u) for u in uniques] + [math.nan])
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
    codes, uniques = _factorized(read_text(cells, column))
    by_text = {c: i for i, c in enumerate(categories)}
    by_number: dict[float | None, int] = {n: i for i, c in reversed(list(enumerate(categories))) if (n := _number(c)) is not None}
    found = np.array([by_text.get(u, by_number.get(_number(u), -1)) for u in uniques] + [-1], dtype=np.int64)
    states = np.where(found < 0, State.UNLISTED, State.VALID).astype(np.uint8)
    states[-1] = State.MISSING
    return found[codes], states[codes]


def _spellings(cells: pd.Series) -> npt.NDArray[np.object_]:
    """Each cell's text, None where it is null; from the cell alone."""
    spellings = np.empty(len(cells), dtype=object)
    spellings[:] = [cell if isinstance(cell, str) else _spelled(cell) for cell in cells.astype(object)]
    return spellings


def _spelled(cell: object) -> str | None:
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell):
        return None
    try:
        return str(_as_whole(cell))
    except Exception:  # a cell that cannot be spelled must not refuse, and what it says must not get out
        return None


def _as_whole(cell: object) -> object:
    """A whole float as the integer it is, anything else as it is."""
    number = float(cell) if isinstance(cell, float | np.floating) else math.inf
    return int(number) if abs(number) < EXACT and number.is_integer() else cell


def _factorized(spellings: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.object_]]:
    """Codes of texts (-1 for None) and the distinct texts."""
    codes, uniques = pd.factorize(spellings, use_na_sentinel=True)
    return codes, np.asarray(uniques, dtype=object)


def _text(spelling: str, column: Column) -> str | None:
    if spelling == "" or spelling in column.missing or (spelling.removeprefix("-").isdecimal() and f"{spelling}.0" in column.missing):
        return None
    if spelling.strip() in ("", "nan", "NaN", "<NA>", "NaT") and spelling not in (column.categories or ()):
        return None
    return spelling.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate could not be written anywhere


def _pointed(text: str, decimal: str) -> str:
    """A number's text with a decimal point; only cells that a file spelled have another."""
    return text.replace(".", "").replace(decimal, ".")


def _parsed(text: str) -> float:
    """A number, NaN where `text` is none."""
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan


def _number(text: str) -> float | None:
    number = _parsed(text)
    return number if math.isfinite(number) else None
