"""What the red team may look at: typed tables of members, controls, reference and synthetic rows.

The tables share one coding, so that a cell of one can be compared with a cell of another. Reading never
fails on what cells hold. An attacker is not bound by the schema's list of categories or by its bounds:
an unlisted value gets a code of its own and a number is not clipped, since either may be what leaked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attacks import hidden
from dpsynth.errors import Fault, refuse
from dpsynth.privacy.unit import unit_ids
from dpsynth.schema.cells import State, read_categories, read_numbers, read_text
from dpsynth.schema.column import Column
from dpsynth.schema.schema import Schema

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Index = npt.NDArray[np.int64]

NAMELESS = 3  # units with an id for each row without one that is a target
MAX_POOL = 8_000
LARGEST = 1e150
EXACT = 2**53
SMALLEST = 1e-150


@dataclass(frozen=True)
class Table:
    """Typed rows.

    Attributes:
        numbers: shape (n, numeric columns), NaN where missing.
        codes: shape (n, categorical columns), -1 where missing.
    """

    numbers: Floats
    codes: Codes

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def width(self) -> int:
        return self.numbers.shape[1] + self.codes.shape[1]

    def take(self, rows: Index) -> Table:
        return Table(self.numbers[rows], self.codes[rows])

    def rounded(self, digits: int) -> Table:
        """The same with numbers to `digits` significant digits."""
        size = np.abs(self.numbers)
        known = size > SMALLEST
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.where(known, size, 1.0))))
        return Table(np.where(known, np.round(self.numbers * scale) / scale, self.numbers * 0.0), self.codes)

    def then(self, other: Table) -> Table:
        """These rows followed by the other's."""
        return Table(np.concatenate([self.numbers, other.numbers]), np.concatenate([self.codes, other.codes]))


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything the attacks may use.

    Attributes:
        members: targets that were trained on, one row a privacy unit; each row without an id is one.
        controls: targets that were not, one row a privacy unit; empty where there is no control.
        reference: rows the attacker knows from elsewhere; empty where there are none.
        synthetic: the table under attack.
        train: all rows that were trained on; only positive controls read it.
        names: the columns attacked, the numeric ones first, in the order of `Table`.
        unreadable: columns whose synthetic cells could hide what no attack would see (`hidden.py`), or that hold hardly a value.
        origin: the evidence that this one is with a leak planted; None where none is.
    """

    members: Table
    controls: Table
    reference: Table
    synthetic: Table
    train: Table
    names: tuple[str, ...]
    unreadable: tuple[str, ...] = ()
    origin: Evidence | None = None

    @classmethod
    def collect(
        cls,
        train: pd.DataFrame,
        control: pd.DataFrame | None,
        synthetic: pd.DataFrame,
        schema: Schema,
        reference: pd.DataFrame | None,
        rng: np.random.Generator,
        max_pool: int = MAX_POOL,
    ) -> Evidence:
        """Read the tables (raw-looking cells, text or typed) with the columns of `schema`; ids are left out.

        The pools hold at most `max_pool` units each, drawn at random. Without a reference, half of the
        control stands in for it. Raises `BadInput` if a table lacks a column; never for what cells hold.
        """
        control = train.iloc[:0] if control is None else control
        outside = control.iloc[:0] if reference is None else reference
        frames = {"train": train, "control": control, "synthetic": synthetic, "reference": outside}
        refuse(_faults(frames, schema, with_units=("train", "control")))
        tables = _read(frames, schema)
        members = _one_row_per_unit(train, schema, rng)
        controls = _one_row_per_unit(control, schema, rng)
        aside = tables["reference"]
        if reference is None:
            half = len(controls) // 2
            aside, controls = tables["control"].take(controls[:half]), controls[half:]
        return cls(
            members=tables["train"].take(members[:max_pool]),
            controls=tables["control"].take(controls[:max_pool]),
            reference=aside,
            synthetic=tables["synthetic"],
            train=tables["train"],
            names=tuple(c.name for c in _ordered(schema)),
            unreadable=tuple(_unreadable(synthetic, tables, schema)),
        )

    @property
    def pool(self) -> Table:
        """All targets, members first: what uniqueness is judged in, so that it cannot know who is a member."""
        return self.members.then(self.controls)

    def against(self, synthetic: Table) -> Evidence:
        """The same targets with another synthetic table: how positive controls are planted."""
        return self._copied if synthetic is self.train else replace(self, synthetic=synthetic, origin=self.real)

    @cached_property
    def _copied(self) -> Evidence:
        """One for all attacks whose control is a full copy: what is found out about it is found out once."""
        return replace(self, synthetic=self.train, origin=self.real)

    @property
    def real(self) -> Evidence:
        """The evidence as it was found, without a planted leak."""
        return self.origin or self

    def equal_pools(self, rng: np.random.Generator) -> tuple[Table, Table]:
        """Members and controls cut at random to the size of the smaller pool."""
        size = min(len(self.members), len(self.controls))
        return tuple(t.take(rng.permutation(len(t))[:size]) for t in (self.members, self.controls))  # type: ignore[return-value]


def read(frames: Mapping[str, pd.DataFrame], schema: Schema) -> dict[str, Table]:
    """Read tables with one coding, the one under attack under the name "synthetic". Raises `BadInput` if one lacks a column."""
    refuse(_faults(frames, schema, with_units=()))
    return _read(frames, schema)


def known_ids(frame: pd.DataFrame, schema: Schema) -> list[bytes | None]:
    """Each row's id as a release reads it; None where there is none, also where the schema counts all such rows as one unit.

    That bounds what they add to a fit of ours. Whose they are nobody knows, and a table from elsewhere may be a copy of them.
    """
    return unit_ids(frame, replace(schema, unit=replace(schema.unit, null_ids="drop")))


def _faults(frames: Mapping[str, pd.DataFrame], schema: Schema, with_units: Sequence[str]) -> list[Fault]:
    faults = []
    for role, frame in frames.items():
        wanted = [c.name for c in schema.synthesised] + (list(schema.unit.columns) if role in with_units else [])
        faults += [Fault(f"{role} table, column {n!r}", "missing", "add it, or take it out of the schema") for n in wanted if n not in frame.columns]
        faults += [
            Fault(f"{role} table, column {n!r}", "appears more than once", "keep one")
            for n in wanted
            if n in frame.columns and isinstance(frame[n], pd.DataFrame)
        ]
    known = {c.name for c in schema.synthesised}
    unseen = dict.fromkeys(n for n in frames["synthetic"].columns if n not in known)
    faults += [Fault(f"synthetic table, column {n!r}", "no attack looks at it, so it could hold anything", "leave it out") for n in unseen]
    return faults


def _ordered(schema: Schema) -> list[Column]:
    return sorted(schema.synthesised, key=lambda c: not c.is_number)


def _read(frames: Mapping[str, pd.DataFrame], schema: Schema) -> dict[str, Table]:
    """Read each column once over all tables, so that equal cells get equal codes."""
    numbers, codes = [], []
    for column in _ordered(schema):
        cells = _alike(pd.concat([f[column.name].astype(object) for f in frames.values()], ignore_index=True))
        if column.is_number:
            numbers.append(_numbers(cells, column, schema.file.decimal))
        else:
            codes.append(_codes(cells, column))
    sizes = [len(f) for f in frames.values()]
    total = sum(sizes)
    whole = Table(
        np.column_stack(numbers) if numbers else np.empty((total, 0)),
        np.column_stack(codes) if codes else np.empty((total, 0), dtype=np.int32),
    )
    ends = np.cumsum([0, *sizes])
    return {role: whole.take(np.arange(a, b)) for role, a, b in zip(frames, ends[:-1], ends[1:], strict=True)}


def _unreadable(synthetic: pd.DataFrame, tables: Mapping[str, Table], schema: Schema) -> Iterator[str]:
    """The columns in which the synthetic table could hide what no attack compares with people's cells, or that hold hardly a value."""
    rows, train = tables["synthetic"], tables["train"]
    people = reduce(Table.then, (table for role, table in tables.items() if role != "synthetic"))
    columns = _ordered(schema)
    numeric, others = columns[: rows.numbers.shape[1]], columns[rows.numbers.shape[1] :]
    for column, own, trained, known in zip(numeric, rows.numbers.T, train.numbers.T, people.numbers.T, strict=True):
        no_number = np.isnan(own) & pd.notna(read_text(_without_truths(synthetic[column.name]), column))
        if no_number.any() or hidden.strange_numbers(own, known, column) or hidden.emptied(~np.isnan(own), ~np.isnan(trained)):
            yield column.name
    for column, codes, held, everyone in zip(others, rows.codes.T, train.codes.T, people.codes.T, strict=True):
        if hidden.strange_texts(codes, everyone, len(_listed(column))) or hidden.emptied(codes >= 0, held >= 0):
            yield column.name


def _listed(column: Column) -> list[str]:
    """The categories that have a code whether or not somebody holds them."""
    other = ["other"] if column.on_unknown == "other" else []
    return [*(column.categories or column.observed_categories or ()), *other]


def _folded(cells: pd.Series, column: Column, listed: Sequence[str]) -> tuple[pd.Series, Column, list[str]]:
    """Texts, and True and False, without outer space and case: a copy is a copy in capitals too. True is 1 where that is listed."""
    cells = _without_truths(cells) if {"1", "1.0"} & set(listed) else cells
    folded = _each(cells, lambda cell: _fold(str(cell)) if isinstance(cell, str | bool) else cell)
    return folded, replace(column, missing=tuple(map(_fold, column.missing))), list(map(_fold, listed))


def _fold(text: str) -> str:
    return text.strip().casefold()


def _without_truths(cells: pd.Series) -> pd.Series:
    """True and False as 1 and 0, which is what they are called where numbers are meant."""
    return _each(cells, lambda cell: int(cell) if isinstance(cell, bool) else cell)


def _alike(cells: pd.Series) -> pd.Series:
    """Integers as floats, if there are floats of more digits than these have: a frame makes them where a cell is missing, and a copy is a copy."""
    if not any(isinstance(cell, float) and EXACT <= abs(cell) < np.inf for cell in cells):
        return cells
    return _each(cells, lambda cell: float(cell) if isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) < LARGEST else cell)


def _each(cells: pd.Series, change: Callable[[Any], Any]) -> pd.Series:
    """Not by `Series.map`, which reads the outcome as numbers or texts of some width, and raises at an integer or a text that none holds."""
    return pd.Series([change(cell) for cell in cells.astype(object)], cells.index, dtype=object)


def _numbers(cells: pd.Series, column: Column, decimal: str) -> Floats:
    values, _ = read_numbers(_without_truths(cells), replace(column, bounds=None), decimal)
    return np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), np.nan) + 0.0


def _codes(cells: pd.Series, column: Column) -> Codes:
    cells, column, listed = _folded(cells, column, _listed(column))
    _, states = read_categories(cells, column, listed)
    unlisted = {str(t) for t in read_text(cells[states == State.UNLISTED], column) if t is not None}
    codes, _ = read_categories(cells, column, [*listed, *sorted(unlisted)])
    return codes.astype(np.int32)


def _one_row_per_unit(frame: pd.DataFrame, schema: Schema, rng: np.random.Generator) -> Index:
    """Positions of one random row of each unit, in random order. A row without an id may be all there is of somebody: it is a unit of its own.

    Of such rows there are at most a third as many as of units with an id, if there are any of these, or they would thin out what leaked of them.
    """
    order = rng.permutation(len(frame))
    if schema.unit.is_row or not len(frame):
        return order
    owners = pd.Series(known_ids(frame, schema), dtype=object).iloc[order]
    nameless = owners.isna().to_numpy()
    units = ~nameless & ~owners.duplicated().to_numpy()
    most = units.sum() // NAMELESS if units.any() else len(frame)
    return order[units | (nameless & (nameless.cumsum() <= most))]
