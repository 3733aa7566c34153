"""Schemas, tables and spies for the kernel's tests."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from dpsynth.schema import Schema


def schema_of(columns: dict[str, dict[str, Any]], unit: dict[str, Any] | None = None, **rest: Any) -> Schema:
    """A schema; `columns` maps names to entries, `unit` is the privacy unit (the row by default)."""
    entries = [{"name": name, **entry} for name, entry in columns.items()]
    return Schema.from_dict({"name": "people", "privacy_unit": unit or {"unit": "row"}, "columns": entries} | rest)


def listed(*categories: str, **rest: Any) -> dict[str, Any]:
    return {"type": "categorical", "categories": list(categories), "categories_basis": "publisher"} | rest


def bounded(low: float, high: float, kind: str = "integer", **rest: Any) -> dict[str, Any]:
    return {"type": kind, "bounds": [low, high], "bounds_basis": "publisher"} | rest


OPEN = {"type": "categorical", "categories_basis": "measure"}
OPEN_NUMBER = {"type": "continuous", "bounds_basis": "measure"}
PERSON = {"unit": "person", "columns": ["id"], "max_rows": 3}


class Silent:
    """Noise of zero: shows the exact answer to a test, and is never private."""

    private = False

    def __init__(self) -> None:
        self.scores: list[np.ndarray] = []

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        return counts.copy()

    def choose(self, scores: np.ndarray, scale: float) -> int:
        self.scores.append(scores)
        return int(np.argmax(scores))


class SpyFrame(pd.DataFrame):
    """A frame that notes in `seen` whatever is asked of it."""

    _internal_names: ClassVar[list[str]] = [*pd.DataFrame._internal_names, "seen"]
    _internal_names_set: ClassVar[set[str]] = set(_internal_names)

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __getattribute__(self, name: str) -> Any:
        if name not in ("seen", "__class__", "_constructor", "_internal_names_set"):
            seen = object.__getattribute__(self, "__dict__").get("seen")
            if seen is not None:
                seen.append(name)
        return super().__getattribute__(name)

    def __getitem__(self, key: Any) -> Any:
        self.seen.append("[]")
        return super().__getitem__(key)

    def __len__(self) -> int:
        if self.seen is not None:
            self.seen.append("len")
        return super().__len__()

    def __iter__(self) -> Any:
        self.seen.append("iter")
        return super().__iter__()


def spied(frame: pd.DataFrame) -> SpyFrame:
    spy = SpyFrame(frame)
    object.__setattr__(spy, "seen", [])
    return spy
