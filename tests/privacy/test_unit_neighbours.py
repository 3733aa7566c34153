"""Every neighbouring pair of tiny tables, at the level of units: no answer moves by more than is charged, and some move by all of it.

The tables are all 42,875 of up to three units with up to three rows each over a domain of 2 x 2; the third unit is that of the rows
without an id. The kernel's exact answers, seen through noise of zero, are those of each unit on its own, added up: this is checked
on a stride through all tables, and says that adding a unit moves no other unit's rows or weights. From the answers about units
alone follow those of all tables, and from these the differences between all neighbours.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import OPEN, PERSON, Silent, listed, schema_of

from dpsynth.privacy import GDP, ZCDP, Categories, Cost, Currency, PrivateTable, Request
from dpsynth.privacy.noise import SystemNoise
from dpsynth.schema import Schema

Row = tuple[str, str]
UNITS: list[tuple[Row, ...]] = [(), *(u for k in (1, 2, 3) for u in combinations_with_replacement(list(product("xy", "pq")), k))]
OWNERS = ("1", "2", None)
STRIDE = 211  # prime to 35: every unit comes up in every place
SIGMA, DELTA = 3.0, 1e-4
WEIGHTS, PENALTIES = np.array([1, 5, 2, 3, 1]), np.array([3, 0, 1, 2, 7])
REFERENCES = [np.array([[1, 0, 0], [0, 2, 0], [0, 0, 0]]), np.array([[0, 1, 0], [2, 0, 0], [0, 0, 1]]), np.array([1, 2, 0]), np.array([0, 3, 0])]


@dataclass(frozen=True)
class Way:
    """How units count: at most `rows` of their rows, each as one or all as one; and by how much, in parts of a count, one unit may then
    move a marginal (in L1 and L2)."""

    rows: int
    count: str
    one: int
    moves: int

    def schema(self, null_ids: str = "one-unit") -> Schema:
        unit = PERSON | {"max_rows": self.rows, "null_ids": null_ids, "count": self.count}
        return schema_of({"id": {"type": "id"}, "a": listed("x", "y"), "b": OPEN}, unit)


WAYS = [Way(1, "rows", 1, 1), Way(2, "rows", 1, 2), Way(3, "rows", 1, 3), Way(2, "units", 1024, 1024), Way(3, "units", 1024, 1024)]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda w: f"{w.rows} rows, {w.count} counted")


class Charging:
    """The default currency, which notes what it was asked to charge: a noise scale and a squared sensitivity."""

    name, symbol = GDP.name, GDP.symbol

    def __init__(self) -> None:
        self.charged: list[tuple[float, int]] = []

    def noise_cost(self, sigma: float, squared: int) -> Fraction:
        self.charged.append((sigma, squared))
        return GDP.noise_cost(sigma, squared)

    def __getattr__(self, name: str) -> Any:
        return getattr(GDP, name)


class Heard(Silent):
    """Noise of zero that notes the exact answers and the scales they were to be noised at."""

    def __init__(self) -> None:
        super().__init__()
        self.exact: list[np.ndarray] = []
        self.scales: list[float] = []

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        self.exact.append(counts)
        self.scales.append(sigma)
        return counts

    def choose(self, scores: np.ndarray, scale: float) -> int:
        self.scales.append(scale)
        return super().choose(scores, scale)


@dataclass(frozen=True)
class Told:
    """The exact answers to every question, in parts, with what was charged and the noise scales."""

    cells: np.ndarray
    ones: tuple[np.ndarray, np.ndarray]
    total: np.ndarray
    support: np.ndarray
    scores: np.ndarray
    charged: list[tuple[float, int]]
    scales: list[float]


def frame_of(*units: tuple[Row, ...]) -> pd.DataFrame:
    rows = [(owner, *row) for owner, rows in zip(OWNERS, units, strict=False) for row in rows]
    return pd.DataFrame(rows, columns=["id", "a", "b"], dtype=object)


def opened(schema: Schema, frame: pd.DataFrame, noise: Any, currency: Any = GDP) -> PrivateTable:
    table = PrivateTable(frame, schema, lambda request: Cost(10**40, 2**120, currency), "test", key=b"k" * 32, noise=noise)
    table.grant(Request(1.0, 1e-6, True, "test"))
    return table


def asked(schema: Schema, *units: tuple[Row, ...]) -> Told:
    """Every question about one table, put to the one door."""
    a, b = Categories(schema.column("a"), ("x", "y")), Categories(schema.column("b"), ("p", "q"))
    noise, currency = Heard(), Charging()
    table = opened(schema, frame_of(*units), noise, currency)
    for clique in ([a, b], [a], [b], []):
        table.marginal(clique, SIGMA)
    table.select([[a, b], [b, a], [a], [b], []], [*REFERENCES, np.zeros((), int)], WEIGHTS.tolist(), PENALTIES.tolist(), 0.01)
    table.discover(schema.column("b"), SIGMA, DELTA)
    values, support = table._support(schema.column("b"))
    held = dict(zip(values, support, strict=True))
    cells, first, second, total = noise.exact[:4]
    return Told(cells, (first, second), total, np.array([held.get(v, 0) for v in "pq"]), noise.scores[0], currency.charged, noise.scales)


@cache
def alone(way: Way) -> list[list[Told]]:
    """The answers about each of the 35 possible units (one has no row) of each of the three owners, alone in a table."""
    return [[asked(way.schema(), *[rows if i == owner else () for i in range(3)]) for rows in UNITS] for owner in range(3)]


def summed(way: Way, part: str) -> np.ndarray:
    """What a part of the answers is for all tables by adding up their units, shape (35, 35, 35, ...)."""
    first, second, third = (np.array([getattr(told, part) for told in owner]) for owner in alone(way))
    return first[:, None, None] + second[None, :, None] + third[None, None, :]


def scores(way: Way) -> np.ndarray:
    """The scores of all tables by their definition, shape (35, 35, 35, 5)."""
    cells = summed(way, "cells")
    tables = [cells, cells.swapaxes(-1, -2), cells.sum(axis=-1), cells.sum(axis=-2)]
    apart = [np.abs(t - way.one * r).reshape(*t.shape[:3], -1).sum(axis=-1) for t, r in zip(tables, REFERENCES, strict=True)]
    return np.stack([*apart, np.zeros_like(apart[0])], axis=-1) * WEIGHTS - PENALTIES * way.one


def moved(answers: np.ndarray) -> np.ndarray:
    """By how much all tables' answers differ from those without one of the units, flat: shape (neighbours, cells)."""
    return np.concatenate([(answers - answers.take([0], axis=owner)).reshape(len(UNITS) ** 3, -1) for owner in range(3)])


@each_way
def test_a_table_is_the_sum_of_its_units_whoever_else_is_in_it(way: Way) -> None:
    cells, total, support, every = summed(way, "cells"), summed(way, "total"), summed(way, "support"), scores(way)
    for place in range(0, len(UNITS) ** 3, STRIDE):
        at = np.unravel_index(place, (len(UNITS),) * 3)
        told = asked(way.schema(), *(UNITS[i] for i in at))
        assert (told.cells == cells[at]).all()
        assert (told.ones[0] == cells[at].sum(axis=1)).all() and (told.ones[1] == cells[at].sum(axis=0)).all()
        assert told.total == total[at] == cells[at].sum()
        assert (told.support == support[at]).all()
        assert (told.scores == every[at]).all()


@each_way
def test_no_marginal_moves_by_more_than_is_charged_and_some_by_all_of_it(way: Way) -> None:
    cells = summed(way, "cells")
    told = alone(way)[0][1]
    for i, marginal in enumerate((cells, cells.sum(axis=-1), cells.sum(axis=-2), summed(way, "total"))):
        apart = moved(marginal)
        assert np.abs(apart).sum(axis=-1).max() == np.linalg.norm(apart, axis=-1).max() == way.moves
        assert told.charged[i] == (SIGMA * way.one, way.moves**2)
        assert told.scales[i] == SIGMA * way.one


@each_way
def test_no_score_moves_by_more_than_the_selection_is_scaled_for_and_one_by_all_of_it(way: Way) -> None:
    most = np.abs(moved(scores(way))).max(axis=0)
    assert (most == way.moves * np.array([1, 5, 2, 3, 0])).all()
    scale = alone(way)[0][1].scales[4]
    assert scale * GDP.selection_epsilon(0.01) / 2 == pytest.approx(most.max(), rel=1e-12)


@each_way
def test_no_support_of_values_moves_by_more_than_is_charged_and_some_by_all_of_it(way: Way) -> None:
    """With two values only a unit of three rows cannot hold three: there sqrt(2) of the sqrt(3) is attained."""
    apart = moved(summed(way, "support"))
    squared = np.square(apart).sum(axis=-1).max()
    assert np.abs(apart).max() == way.one
    assert squared == (min(way.rows, 2) if way.count == "rows" else way.one**2)
    assert alone(way)[0][1].charged[4] == (SIGMA * way.one, way.rows if way.count == "rows" else way.one**2)


def tail(scale: float, at: int) -> float:
    """P[noise >= at], by adding up."""
    x = np.arange(-math.ceil(40 * scale), math.ceil(40 * scale) + 1)
    mass = np.exp(-(x**2) / (2 * scale**2))
    return float(mass[x >= at].sum() / mass.sum())


class Fixed(Silent):
    """Noise that makes every count the same."""

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        return np.full(counts.shape, self.count)


def least_that_passes(way: Way) -> int:
    """The noisy support, in parts, from which on a value's name is told."""
    schema, frame = way.schema(), frame_of(UNITS[1])
    low, high = 0, 100 * way.one
    while high - low > 1:
        middle = (low + high) // 2
        told = opened(schema, frame, Fixed(middle)).discover(schema.column("b"), SIGMA, DELTA)
        low, high = (low, middle) if told else (middle, high)
    return high


@each_way
def test_the_names_that_one_unit_alone_holds_pass_as_rarely_as_is_charged(way: Way) -> None:
    least = least_that_passes(way)
    support = summed(way, "support")
    passes = {n: tail(SIGMA * way.one, least - n) for n in np.unique(support)}
    chance = np.vectorize(passes.__getitem__)(support)
    for owner in range(3):
        others = support.take([0], axis=owner)
        lone = np.where((others == 0) & (support > 0), chance, 0.0).sum(axis=-1)
        assert 0 < lone.max() <= DELTA
    assert way.rows * tail(SIGMA * way.one, least - way.one) <= DELTA < way.rows * tail(SIGMA * way.one, least - 1 - way.one)


@pytest.mark.parametrize("count", ["rows", "units"])
def test_a_lone_value_passes_as_often_as_is_charged_and_no_more(count: str) -> None:
    """One unit, one row: the bound is attained, so that six standard deviations on either side hold it."""
    unit = PERSON | {"max_rows": 1, "count": count}
    schema = schema_of({"id": {"type": "id"}, "b": OPEN}, unit)
    table = opened(schema, pd.DataFrame({"id": ["1"], "b": ["a secret"]}), SystemNoise())
    delta, runs = 0.05, 1_000
    passed = sum(bool(table.discover(schema.column("b"), 2.0, delta)) for _ in range(runs))
    low = 0.0 if count == "rows" else delta * runs - 6 * math.sqrt(delta * runs)  # whole counts round the threshold up by much
    assert low < passed <= delta * runs + 6 * math.sqrt(delta * runs)


@each_way
def test_rows_without_an_id_move_nothing_where_they_are_dropped(way: Way) -> None:
    schema = way.schema("drop")
    for crowd in (UNITS[1], UNITS[20]):
        without = asked(schema, crowd)
        for nobody in UNITS[1:]:
            within = asked(schema, crowd, (), nobody)
            assert (within.cells == without.cells).all() and (within.support == without.support).all()
            assert (within.scores == without.scores).all()


@each_way
def test_all_rows_without_an_id_are_one_unit_however_many_they_are(way: Way) -> None:
    schema = way.schema()
    nobody = (("x", "p"),) * 40 + (("y", "q"),) * 2
    told = asked(schema, UNITS[1], (), nobody)
    own = told.cells - asked(schema, UNITS[1]).cells
    assert own.sum() == way.moves
    assert (own >= 0).all()


@each_way
def test_who_is_only_a_part_of_the_rows_without_an_id_moves_at_most_twice_what_a_unit_does(way: Way) -> None:
    """They are protected as a whole: one of these rows that goes may let another in, a removal and an addition, so it is not a unit's move."""
    cells = np.array([told.cells for told in alone(way)[2]]).reshape(len(UNITS), -1)
    parts = [(whole, part) for whole, rows in enumerate(UNITS) for part, own in enumerate(UNITS) if not Counter(own) - Counter(rows)]
    most = max(np.abs(cells[whole] - cells[part]).sum() for whole, part in parts)
    lets_another_in = way.rows < 3 or way.count == "units"
    assert (most > way.moves) == lets_another_in
    assert most <= 2 * way.moves


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
def test_counting_units_costs_what_one_row_each_costs_whatever_the_rows(currency: Currency) -> None:
    def sigma_of(way: Way, amount: float) -> tuple[float, float]:
        table = opened(way.schema(), frame_of(UNITS[1]), Silent(), currency)
        sigma = table.sigma(amount)
        a = Categories(way.schema().column("a"), ("x", "y"))
        table.marginal([a], sigma)
        assert amount * (1 - 1e-6) <= table.spent.amount <= amount
        return sigma, table.discovery_sigma(amount)

    for amount in (1e-4, 1e-2):
        one, units = sigma_of(WAYS[0], amount), sigma_of(WAYS[4], amount)
        assert units == pytest.approx(one, rel=1e-2)
        assert units[0] <= one[0]
        three = sigma_of(WAYS[2], amount)
        assert three[0] == pytest.approx(3 * one[0], rel=1e-2)
        assert three[1] == pytest.approx(math.sqrt(3) * one[1], rel=1e-2)
