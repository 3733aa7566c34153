"""What rules of impossible cells can not mean: categories that a column does not have, and values that they leave no row.

Cells of a column that the same rules name are of one *kind*. For each kind a row is sought, column by column, of which no rule holds; what
is found shows of all the kinds in it that they are possible. Whether there is one is as hard as any question of logic, so the search
may take about a second (`MOST_TRIED`). Rules that it can not decide on are refused as well: here, and not when the budget is spent.

Reference: Haralick, Elliott 1980 (forward checking, and the column with the fewest kinds left first).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from dpsynth.errors import Fault
from dpsynth.schema.column import Column
from dpsynth.schema.impossible import CATEGORIES, Columns, Impossible, Span

OTHER = "\0any category that no rule names"
MOST_TRIED, A_COLUMN, RULES_AT_ONCE = 20_000_000, 8, 2_000

Kinds = Mapping[int, Sequence[str | float]]
"""The cells of each kind; a kind is the set of rules that name it, bit i for rule i."""


def contradictions(rules: Sequence[Impossible], columns: Columns, where: str = "schema, impossible") -> Iterator[Fault]:
    """What rules say that can not be meant, or can not be shown to leave each value a row without missing cells.

    Of a schema that a release wrote this is not asked: what a release found of a domain may be less than the rules speak of.
    """
    listed = {name: set(columns[name].categories or ()) for rule in rules for name, _ in rule.cells}
    for name, value in ((name, v) for rule in rules for name, values in rule.cells for v in values if isinstance(v, str)):
        if listed[name] and value not in listed[name]:
            yield Fault(f"{where}, column {name!r}", f"{value!r} is not among its categories", CATEGORIES)
    kinds = {name: _kinds(columns[name], rules) for name in dict.fromkeys(name for rule in rules for name, _ in rule.cells)}
    try:
        for name, kind in _without_row(rules, kinds):
            what = f"the rules leave {_said(kinds[name][kind])} no row without missing cells"
            yield Fault(f"{where}, column {name!r}", what, "take a rule out, or the value out of the column")
    except _TooEntangled:
        what = "the rules are too entangled to show that each value has a row without missing cells"
        yield Fault(where, what, "drop some of them, or let fewer of them speak of the same columns")


class _TooEntangled(Exception):
    """The search would take too long."""


def _without_row(rules: Sequence[Impossible], kinds: Mapping[str, Kinds]) -> Iterator[tuple[str, int]]:
    """Each column and kind that is in no possible row. Raises `_TooEntangled` after the last that is known."""
    search = _Search({name: sum(1 << i for i, rule in enumerate(rules) if name in dict(rule.cells)) for name in kinds}, len(rules))
    for tied in _tied(rules):
        for name, kind in ((n, k) for n in tied for k in kinds[n]):
            if (name, kind) not in search.shown and not search.finds({n: [kind] if n == name else list(kinds[n]) for n in tied}):
                yield name, kind


def _tied(rules: Sequence[Impossible]) -> list[list[str]]:
    """Columns by what ties them, one rule or several in a row: what one of them holds says nothing of those of another list."""
    tied: list[list[str]] = []
    for rule in rules:
        spoken = [name for name, _ in rule.cells]
        met = [names for names in tied if not set(names).isdisjoint(spoken)]
        tied = [names for names in tied if names not in met] + [list(dict.fromkeys([*chain(*met), *spoken]))]
    return tied


class _Search:
    """A search for rows; `shown` are the columns and kinds in those it found."""

    def __init__(self, speaking: Mapping[str, int], rules: int):
        self.shown: set[tuple[str, int]] = set()
        self._speaking = speaking
        self._rules = rules
        self._left = MOST_TRIED

    def finds(self, kinds: Mapping[str, Sequence[int]]) -> bool:
        """Whether there is a row of these kinds. Raises `_TooEntangled` where looking on would take too long."""
        try:
            row = self._row(kinds, (1 << self._rules) - 1)
        except RecursionError:  # as deep as there are columns that rules tie to each other
            raise _TooEntangled from None
        self.shown |= set((row or {}).items())
        return row is not None

    def _row(self, kinds: Mapping[str, Sequence[int]], alive: int) -> dict[str, int] | None:
        """A kind for each column, such that none of the rules `alive` holds, all of which hold of the columns before."""
        if not kinds:
            return {}
        self._left -= sum(A_COLUMN + len(held) for held in kinds.values()) * (1 + self._rules // RULES_AT_ONCE)
        if self._left < 0:
            raise _TooEntangled
        kinds = self._still_possible(kinds, alive)
        name = min(kinds, key=lambda n: len(kinds[n]))
        rest = {n: k for n, k in kinds.items() if n != name}
        for kind in sorted(kinds[name], key=lambda k: ((k & alive).bit_count(), (name, k) in self.shown)):
            row = self._row(rest, alive & ~(self._speaking[name] & ~kind))
            if row is not None:
                return {name: kind} | row
        return None

    def _still_possible(self, kinds: Mapping[str, Sequence[int]], alive: int) -> dict[str, list[int]]:
        """Each column's kinds but those of which a rule would hold, whatever the other columns get."""
        once = more = 0
        for name in kinds:
            more |= once & self._speaking[name]
            once |= self._speaking[name]
        last = alive & once & ~more
        return {name: [k for k in held if not k & last] for name, held in kinds.items()}


def _kinds(column: Column, rules: Sequence[Impossible]) -> Kinds:
    """The cells that rules tell apart: each category named and any other, the least number of each span; those of one kind together."""
    named = [(1 << i, values) for i, rule in enumerate(rules) for name, values in rule.cells if name == column.name]
    cells: dict[str | float, int] = dict.fromkeys(_starts(column, named) if column.is_number else _names(column, named), 0)
    for bit, values in named:
        for value in values:
            for cell in [c for c in cells if value.low <= float(c) < value.high] if isinstance(value, Span) else [value]:
                cells[cell] |= bit
    kinds: dict[int, list[str | float]] = {}
    for cell, kind in cells.items():
        kinds.setdefault(kind, []).append(cell)
    return kinds


Named = Sequence[tuple[int, tuple[str | Span, ...]]]


def _names(column: Column, named: Named) -> list[str]:
    texts = {v for _, values in named for v in values if isinstance(v, str)}
    return sorted(texts) if column.categories is not None and set(column.categories) <= texts else [OTHER, *sorted(texts)]


def _starts(column: Column, named: Named) -> list[float]:
    low, high = column.bounds or (-math.inf, math.inf)
    ends = {end for _, values in named for v in values if isinstance(v, Span) for end in (v.low, v.high)}
    return sorted({low} | {end for end in ends if low < end <= high})


def _said(cells: Sequence[str | float]) -> str:
    first = cells[0]
    said = "any other category" if first == OTHER else f"{first!r}" if isinstance(first, str) else f"{first:.10g}"
    return said if len(cells) == 1 else f"{said} and {len(cells) - 1:,} more like it"
