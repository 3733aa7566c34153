"""Cells that no row holds together, by public knowledge: structural zeros.

    [[impossible]]
    basis = "judgement: biology"
    cells = {sex = ["male"], pregnant = ["yes"]}

    [[impossible]]
    basis = "publisher: who is asked"
    cells = {age = {below = 15}, marital = ["married", "widowed"]}

A missing cell is in no such combination. Rules are public, so keeping synthetic rows to them costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.errors import Fault
from dpsynth.schema.cells import read_categories, read_numbers
from dpsynth.schema.column import Basis, Column

Flags = npt.NDArray[np.bool_]
Columns = Mapping[str, Column]

NUMBERS = "write cells = {age = {from = 0, below = 15}} with one of the two or both, or age = [1, 2]"
CATEGORIES = 'write cells = {sex = ["male"]}'


@dataclass(frozen=True)
class Span:
    """Numbers from `low` to below `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Impossible:
    """One combination: no row holds, in each of these columns, one of the categories or numbers named for it."""

    cells: tuple[tuple[str, tuple[str | Span, ...]], ...]
    basis: Basis

    def holds(self, frame: pd.DataFrame, columns: Columns, decimal: str = ".") -> Flags:
        """Which rows of a frame of raw-looking cells, text or typed, are impossible; shape (n,)."""
        return np.asarray(np.all([are(frame[name], columns[name], values, decimal) for name, values in self.cells], axis=0))

    def to_dict(self) -> dict[str, Any]:
        """The entry of a schema document."""
        return {"basis": self.basis.text, "cells": {name: _document(values) for name, values in self.cells}}


def impossible_rows(rules: Sequence[Impossible], frame: pd.DataFrame, columns: Columns, decimal: str = ".") -> Flags:
    """Which rows break at least one rule, shape (n,)."""
    return np.asarray(np.any([np.zeros(len(frame), dtype=bool), *(rule.holds(frame, columns, decimal) for rule in rules)], axis=0))


def impossible_from(entry: Mapping[str, Any], columns: Columns) -> Impossible:
    """A rule from an entry without faults."""
    return Impossible(tuple((name, _values(given, columns[name])) for name, given in entry["cells"].items()), Basis(entry["basis"]))


def entry_faults(entry: Any, columns: Columns, where: str) -> Iterator[Fault]:
    """What is wrong with one rule of a document."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cells"), dict):
        yield Fault(where, "no cells", 'write cells = {sex = ["male"], pregnant = ["yes"]}')
        return
    if unknown := sorted(set(entry) - {"basis", "cells", "note"}):
        yield Fault(where, f"unknown keys {unknown}", "use basis, cells, note")
    if not Basis(str(entry.get("basis", ""))).public:
        yield Fault(where, "no public basis", 'write basis = "judgement: why"; what only the rows show is not public')
    if len(entry["cells"]) < 2:
        yield Fault(where, "fewer than two columns", "leave the value out of the column's categories or bounds instead")
    for name, given in entry["cells"].items():
        if name not in columns or not columns[name].is_synthesised:
            yield Fault(where, f"{name!r} is no column that is synthesised", "name one that is")
        elif columns[name].is_number:
            yield from _number_faults(given, f"{where}, column {name!r}")
        else:
            yield from _category_faults(given, f"{where}, column {name!r}")


def _number_faults(given: Any, where: str) -> Iterator[Fault]:
    ends = given if isinstance(given, dict) else {}
    numbers = list(ends.values()) if ends else given if isinstance(given, list) else []
    if not numbers or set(ends) - {"from", "below"} or not all(map(_is_number, numbers)):
        yield Fault(where, "neither a span nor a list of numbers", NUMBERS)
    elif "from" in ends and "below" in ends and not ends["from"] < ends["below"]:
        yield Fault(where, "the span is empty", NUMBERS)


def _category_faults(given: Any, where: str) -> Iterator[Fault]:
    if not isinstance(given, list) or not given or not all(isinstance(v, str) for v in given):
        yield Fault(where, "not a list of texts", CATEGORIES)


def are(cells: pd.Series, column: Column, values: tuple[str | Span, ...], decimal: str = ".") -> Flags:
    """Which cells of a column are among the values that a rule names, shape (n,)."""
    if not column.is_number:
        return np.asarray(read_categories(cells, column, [v for v in values if isinstance(v, str)])[0] >= 0)
    numbers = read_numbers(cells, column, decimal)[0]
    return np.asarray(np.any([(v.low <= numbers) & (numbers < v.high) for v in values if isinstance(v, Span)], axis=0))


def _values(given: Any, column: Column) -> tuple[str | Span, ...]:
    if not column.is_number:
        return tuple(given)
    if isinstance(given, dict):
        ends = float(given.get("from", -math.inf)), float(given.get("below", math.inf))
        return (Span(*(map(_whole, ends) if column.type == "integer" else ends)),)
    return tuple(Span(float(n), _after(float(n), column)) for n in given)


def _whole(end: float) -> float:
    return float(math.ceil(end)) if math.isfinite(end) else end


def _after(number: float, column: Column) -> float:
    return math.floor(number) + 1.0 if column.type == "integer" else math.nextafter(number, math.inf)


def _document(values: tuple[str | Span, ...]) -> Any:
    spans = [v for v in values if isinstance(v, Span)]
    if not spans:
        return list(values)
    if len(spans) == 1 and spans[0].high > math.nextafter(spans[0].low, math.inf):
        return {key: end for key, end in (("from", spans[0].low), ("below", spans[0].high)) if math.isfinite(end)}
    return [v.low for v in spans]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
