"""How near units come to the synthetic rows: neighbouring tables, tiny and of thousands, the distance's slow twin, the noise and its charge.

Where the unit is the row, all neighbours of tiny tables are tried; for persons each unit alone and a sample of the tables that these make, under one
key. What is counted is seen through the kernel, with noise of zero. The synthetic rows are held fixed: a release of theirs is charged on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dpsynth.privacy import GDP, ZCDP, Cost, Currency, PrivateTable, Request
from dpsynth.privacy.unit import unit_ids
from dpsynth.releasing.split import divide
from dpsynth.releasing.yardstick import COMPARED, LOOKED_AT, Yardstick, located, located_schema, measured
from dpsynth.schema import Schema

KEY, SHARES = b"\x19" * 32, (0.5, 0.3, 0.2)
NEVER = 5e-7
ID, NAMES = {"name": "id", "type": "id"}, {"categories": ["x", "y"], "categories_basis": "publisher"}
COLUMNS = [
    {"name": "a", "type": "categorical", **NAMES},
    {"name": "n", "type": "integer", "bounds": [0, 19], "bounds_basis": "publisher", "bins": 20},
]
SYNTHETIC = pd.DataFrame({"a": ["x", "x", "x", "y"], "n": [1, 4, 9, 9]})


def persons(**rest: Any) -> Schema:
    unit = {"unit": "person", "columns": ["id"], "max_rows": 2, "null_ids": "one-unit"}
    return Schema.from_dict({"name": "tiny", "privacy_unit": unit | rest, "columns": [ID, *COLUMNS]})


ROWS = Schema.from_dict({"name": "tiny", "privacy_unit": {"unit": "row"}, "columns": COLUMNS})
YARDSTICK = Yardstick.of(SYNTHETIC, ROWS)


class Silent:
    """Noise of zero, which notes what it was asked for."""

    private = False

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        return counts.copy()


def opened(rows: pd.DataFrame, schema: Schema, noise: Any = None, currency: Currency = GDP, epsilon: float = 1.0) -> PrivateTable:
    table = PrivateTable(rows, located_schema(schema, YARDSTICK, "m"), lambda request: request.cost_in(currency), "test", noise=noise)
    table.grant(Request(epsilon, 1e-6, False, "test"))
    return table


def counted(frame: pd.DataFrame, schema: Schema) -> np.ndarray:
    """The exact counts of a table, shape (sides, bins)."""
    rows = located(divide(frame, schema, KEY, SHARES), schema, KEY, YARDSTICK, "m")
    return measured(opened(rows, schema, Silent()), YARDSTICK)[1]


KINDS = [("x", "1"), ("x", "2"), ("y", "14"), ("?", "many")]
UNITS = [units for k in (0, 1, 2, 3) for units in combinations_with_replacement(KINDS, k)]
OWNERS = ("1", "2", None)  # by the key: of train, of control, of train
STRIDE = 421  # prime to 35: every set of rows comes up in every place


def table_of(*units: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    return pd.DataFrame([(o, *row) for o, rows in zip(OWNERS, units, strict=False) for row in rows], columns=["id", "a", "n"], dtype=object)


def assert_neighbours(more: np.ndarray, fewer: np.ndarray, cells: set[int]) -> None:
    """With one unit more one cell has one more, and no other any; or none has, of a unit that is not compared."""
    moved = (more - fewer).ravel()
    assert moved.min() >= 0 and moved.sum() in cells, (more, fewer)


@pytest.mark.parametrize("null_ids", ["one-unit", "drop"])
def test_a_unit_moves_one_count_by_one_whatever_its_rows_and_whoever_else_is_there(null_ids: str) -> None:
    """Three units with up to three rows of four kinds: each unit alone is one count or none, and a table is the sum of its units, of which follows
    that two tables that differ in one unit differ by one in one count at most. The sum is checked for 102 of the 42,875 tables, on a stride."""
    schema = persons(null_ids=null_ids)
    alone = [[counted(table_of(*(rows if i == owner else () for i in range(3))), schema) for rows in UNITS] for owner in range(3)]
    for owner, name in enumerate(OWNERS):
        one = 1 if name is not None or null_ids == "one-unit" else 0
        assert [counts.sum() for counts in alone[owner]] == [0, *[one] * (len(UNITS) - 1)] and min(c.min() for c in alone[owner]) == 0
        assert len({counts.tobytes() for counts in alone[owner]}) == (1 + len(KINDS) if one else 1)
    for place in range(0, len(UNITS) ** 3, STRIDE):
        at = np.unravel_index(place, (len(UNITS),) * 3)
        assert (counted(table_of(*(UNITS[i] for i in at)), schema) == sum(alone[owner][i] for owner, i in enumerate(at))).all()


def test_where_the_unit_is_the_row_a_row_moves_one_count_by_one() -> None:
    """All tables of up to four rows of four kinds, equal rows among them, each with one row more."""
    tables = [rows for k in range(5) for rows in combinations_with_replacement(KINDS, k)]
    seen = {rows: counted(pd.DataFrame(rows, columns=["a", "n"], dtype=object), ROWS) for rows in tables}
    for rows in (r for r in tables if len(r) < 4):
        for more in KINDS:
            assert_neighbours(seen[tuple(sorted([*rows, more], key=KINDS.index))], seen[rows], {0, 1})


def test_a_person_among_many_moves_no_other(many: pd.DataFrame) -> None:
    """By what spread or quantile other people's rows might come in shows only where there are many of them."""
    schema = persons()
    everybody = counted(many, schema)
    for i in range(20):
        assert_neighbours(everybody, counted(many[many["id"] != str(i)], schema), {0, 1})
        odd = pd.DataFrame([(f"odd {i}", "\x00", ""), (f"odd {i}", None, "née")], columns=many.columns)
        assert_neighbours(counted(pd.concat([many, odd]), schema), everybody, {0, 1})


@pytest.mark.parametrize("schema", [persons(), ROWS], ids=["persons", "rows"])
def test_among_thousands_each_unit_is_compared_and_none_makes_room_for_another(schema: Schema) -> None:
    """That only so many of a side are compared shows only where a side has more: one who goes then lets another in."""
    frame = people(4 * LOOKED_AT)[list(schema.names)]
    everybody, units = counted(frame, schema), compared(frame, schema)
    assert everybody.sum(axis=1).min() > LOOKED_AT and everybody.sum() == units
    for i in range(3):
        left = frame.drop(index=range(3 * i, 3 * i + (1 if schema.unit.is_row else 3)))
        assert_neighbours(everybody, counted(left, schema), {units - compared(left, schema)})


def compared(frame: pd.DataFrame, schema: Schema) -> int:
    """How many units there are in train and in control."""
    split = divide(frame, schema, KEY, SHARES)
    return sum(len(set(unit_ids(getattr(split, side), schema))) for side in COMPARED)


def people(persons: int) -> pd.DataFrame:
    """Three rows each, anywhere."""
    rng, rows = np.random.default_rng(3), 3 * persons
    return pd.DataFrame({"id": [str(i // 3) for i in range(rows)], "a": rng.choice(["x", "y"], rows), "n": rng.integers(0, 20, rows).astype(str)})


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    return people(100)


def test_each_unit_is_counted_by_its_nearest_row_that_counts(many: pd.DataFrame) -> None:
    schema = persons(max_rows=3)
    split = divide(many, schema, KEY, SHARES)
    found = np.zeros((2, YARDSTICK.bins), dtype=int)
    for i, side in enumerate(COMPARED):
        frame = getattr(split, side)
        nearest = pd.Series(YARDSTICK.distances(frame)).groupby(frame["id"].to_numpy()).min()
        np.add.at(found[i], np.searchsorted(YARDSTICK.edges, nearest), 1)
    assert (counted(many, schema) == found).all()


def test_an_id_is_one_unit_however_it_is_spelled() -> None:
    frame = pd.DataFrame({"id": ["7", "7.0", 7.0], "a": ["x", "x", "y"], "n": ["1", "1", "14"]}, dtype=object)
    assert counted(frame, persons(max_rows=3)).sum() <= 1


def slow_twin(row: tuple[Any, Any], rows: pd.DataFrame) -> float:
    """The distance by its words: bins of a number a quarter apart, at most one whole column; anything else one column or none."""

    def apart(x: Any, y: Any, number: bool) -> float:
        if x is None or y is None or not number:
            return float(x != y)
        return min(abs(x - y) / 4, 1.0)

    return min(apart(row[0], a, False) + apart(row[1], n, True) for a, n in rows.itertuples(index=False))


def test_the_distance_is_that_of_its_slow_twin() -> None:
    rows = list(product(["x", "y", None], [*range(20), None]))
    cells = pd.DataFrame({"a": [a for a, _ in rows], "n": [n for _, n in rows]}, dtype=object)
    assert (YARDSTICK.distances(cells) == [4 * slow_twin(row, SYNTHETIC) for row in rows]).all()


def test_special_values_are_a_whole_column_from_every_bin() -> None:
    schema = Schema.from_dict({"name": "tiny", "privacy_unit": {"unit": "row"}, "columns": [COLUMNS[1] | {"bounds": [1, 20], "special": [-1, -2]}]})
    yardstick = Yardstick.of(pd.DataFrame({"n": [20, -1]}), schema)
    assert yardstick.distances(pd.DataFrame({"n": ["20", "19", "-1", "-2", ""]})).tolist() == [0, 1, 0, 4, 4]


@pytest.mark.parametrize("rows", [SYNTHETIC.iloc[:0], SYNTHETIC.iloc[:1], SYNTHETIC.iloc[[0] * 9], SYNTHETIC])
def test_bins_are_made_of_the_synthetic_rows_whatever_these_are(rows: pd.DataFrame) -> None:
    yardstick = Yardstick.of(rows, ROWS)
    assert yardstick.edges[0] == 0 and list(yardstick.edges) == sorted(set(yardstick.edges)) and yardstick.edges[-1] <= 8
    assert len(yardstick.distances(SYNTHETIC.iloc[:0])) == 0
    assert yardstick.distances(SYNTHETIC).max() <= 8


ODD = [["\x00odd", "1e999"], ["", "-inf"], [None, None], ["é", "0x1F"], ["x" * 5000, "1e-400"], [pd.NaT, "∞"], [float("nan"), 7]]


def test_no_cell_makes_it_fail() -> None:
    frame = pd.DataFrame(ODD, columns=["a", "n"], dtype=object)
    assert counted(frame, ROWS).sum() <= len(frame)
    assert counted(frame.iloc[:0], ROWS).sum() == 0


def noises(schema: Schema, rows: pd.DataFrame, exact: np.ndarray, currency: Currency, runs: int) -> Iterator[np.ndarray]:
    for _ in range(runs):
        table = opened(rows, schema, currency=currency)
        sigma, counts = measured(table, YARDSTICK)
        assert table.spent.fits(table.granted) and table.spent.amount > 0.999 * table.granted.amount
        assert Cost.measured(currency, currency.noise_cost(sigma, 1)) == table.spent
        yield (counts - exact).ravel() / sigma


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
def test_noise_of_the_charged_scale_is_on_every_count(currency: Currency, many: pd.DataFrame) -> None:
    """By chi squared; wrong once in a million runs. Noise of half the scale, or on half of the cells, is beyond it by far."""
    schema = persons()
    rows = located(divide(many, schema, KEY, SHARES), schema, KEY, YARDSTICK, "m")
    drawn = np.array(list(noises(schema, rows, counted(many, schema), currency, 150)))
    low, high = (stats.chi2.ppf(p, drawn.size) for p in (NEVER, 1 - NEVER))
    assert low < (drawn**2).sum() < high
    assert abs(drawn.sum()) < stats.norm.isf(NEVER) * drawn.size**0.5
    each = [stats.chi2.ppf(p, len(drawn)) for p in (NEVER / drawn.shape[1], 1 - NEVER / drawn.shape[1])]
    assert all(each[0] < cell < each[1] for cell in (drawn**2).sum(axis=0))
