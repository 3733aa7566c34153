"""Tiny schemas and tables, the same in every run."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from dpsynth.schema import Schema

EPSILON, DELTA = 1.0, 1e-6


def schema_of(columns: dict[str, dict[str, Any]], unit: dict[str, Any] | None = None) -> Schema:
    entries = [{"name": name, **entry} for name, entry in columns.items()]
    return Schema.from_dict({"name": "people", "privacy_unit": unit or {"unit": "row"}, "columns": entries})


def listed(*categories: str) -> dict[str, Any]:
    return {"type": "categorical", "categories": list(categories), "categories_basis": "publisher"}


def bounded(low: float, high: float, kind: str = "integer", bins: int = 4) -> dict[str, Any]:
    return {"type": kind, "bounds": [low, high], "bounds_basis": "publisher", "bins": bins}


ID = {"type": "id"}
OPEN = {"type": "categorical", "categories_basis": "measure"}
OPEN_NUMBER = {"type": "continuous", "bounds_basis": "measure", "bins": 4}
PERSON = {"unit": "person", "columns": ["id"], "max_rows": 2}
WEIGHED = PERSON | {"max_rows": 3, "count": "units", "null_ids": "one-unit"}
ROWS_MEASURED = PERSON | {"max_rows": "measure", "most_rows": 8}
CUTS = {"cuts": [20, 50], "cuts_basis": "publisher"}
A, B = listed("x", "y", "z"), listed("p", "q")

CLOSED = schema_of({"a": A, "b": B, "n": bounded(0, 99)})
ROOMY = schema_of({"a": A, "b": B, "n": bounded(0, 99, bins=10), "w": bounded(0, 9, bins=10)})
OPENED = schema_of({"a": A, "b": B, "o": OPEN, "v": OPEN_NUMBER})
PERSONS = schema_of({"id": ID, "a": A, "b": B, "n": bounded(0, 99)}, PERSON)
PERSONS_OPENED = schema_of({"id": ID, "a": A, "b": B, "o": OPEN}, PERSON)
MEASURED = schema_of({"a": A, "b": B, "v": bounded(0, 100, "continuous")})
MARKED = schema_of({"a": {**A, "on_unknown": "other", "missing": ["?"]}, "b": B, "n": bounded(0, 99) | {"special": [-1], **CUTS}})
NUMBERS = {"declared": MEASURED, "open": schema_of({"a": A, "b": B, "v": OPEN_NUMBER})}
EVERYTHING = schema_of({"id": ID, "a": A, "b": B, "o": OPEN, "n": bounded(0, 99), "v": OPEN_NUMBER}, PERSON)
CATEGORIES = schema_of({"a": A, "b": B})
EIGHT = schema_of({"a": listed(*"abcdefgh"), "b": B})
WIDE = schema_of({"a": listed(*(f"c{i}" for i in range(64))), "b": B})
PEOPLE = {
    "persons": PERSONS,
    "persons, open": PERSONS_OPENED,
    "persons, weighed": schema_of({"id": ID, "a": A, "b": B, "o": OPEN}, WEIGHED),
    "persons, rows measured": schema_of({"id": ID, "a": A, "b": B, "n": bounded(0, 99)}, ROWS_MEASURED),
}
KINDS = {"closed": CLOSED, "marked": MARKED, "open": OPENED, **PEOPLE}


def frame(schema: Schema, rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(schema.names), dtype=object)


WORTH_TRAINING = 2_000  # rows; a generator may leave a smaller table to its columns


def crowd(schema: Schema, rows: int = 24) -> pd.DataFrame:
    """Rows inside the domain; a person has two of them; some open values are common."""
    rng = np.random.default_rng(7)
    made: dict[str, Any] = {
        "id": [f"u{i // 2}" for i in range(rows)],
        "a": rng.choice(["x", "y", "z"], rows),
        "b": rng.choice(["p", "q"], rows),
        "n": rng.integers(0, 100, rows).astype(str),
        "w": rng.integers(0, 10, rows).astype(str),
        "o": ["red" if i % 3 else "blue" for i in range(rows)],
        "v": np.round(rng.uniform(0, 100, rows), 6).astype(str),
    }
    return pd.DataFrame({name: made[name] for name in schema.names}, dtype=object)


def even(schema: Schema, each: int) -> pd.DataFrame:
    """So many rows of every category of the first column, by turns p and q."""
    return frame(schema, [(c, "pq"[i % 2]) for i in range(each) for c in schema.columns[0].categories or ()])


def more(table: pd.DataFrame, *rows: tuple[Any, ...]) -> pd.DataFrame:
    """The table with some rows put after its third."""
    added = pd.DataFrame(list(rows), columns=table.columns, dtype=object)
    return pd.concat([table.iloc[:3], added, table.iloc[3:]], ignore_index=True)


CALM = {"declared": CLOSED, "everything": EVERYTHING}
"""Schemas on which any cell has to be borne."""

OUTSIDE: dict[str, list[Any]] = {
    "unlisted and far out": ["\x00odd", "1e300"],
    "null": [None, float("nan"), ""],
    "no number, no text": ["née", b"x", (1,), True],
}

TEXTS: dict[str, list[Any]] = {
    "numbers of a sort": ["1e400", "-inf", "0x1F", "1_000", "٣", "1,5", "9" * 5000, "1e-400"],
    "broken text": ["a\x00b", "\ufeff", "x" * 2_000, "\r\n", '"', "NaN", " x ", "X"],
    "constant": ["x"] * 5,
    "all missing": [None] * 5,
    "one row": ["x"],
    "no row": [],
}
"""Cells that a file can hold."""

OBJECTS: dict[str, list[Any]] = {
    "mixed types": [1, True, 1.0, "x", b"x", None, (1,), 2.5],
    "lists and dicts": [[1, 2], {"a": 1}, [], [[]]],
    "nulls": [None, np.nan, pd.NaT, pd.NA, Decimal("NaN")],
    "huge": [10**400, -(10**5000), 1e308, -np.inf, np.inf],
    "half a character": ["\ud800"],
}
"""Cells that only a frame can hold."""


def filled(schema: Schema, cells: list[Any]) -> pd.DataFrame:
    """Every column holds these cells, its ids numbered."""
    made = {name: pd.Series(cells, dtype=object) for name in schema.names}
    if "id" in made:
        made["id"] = pd.Series([f"u{i}" for i in range(len(cells))], dtype=object)
    return pd.DataFrame(made)
