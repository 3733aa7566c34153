"""The split: each unit's side is its own, by the key, whoever else is in the table and wherever it stands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpsynth.releasing.split import SIDES, Split, divide
from dpsynth.schema import Schema

SHARES = (0.5, 0.3, 0.2)
ID, NUMBER = {"name": "id", "type": "id"}, {"name": "n", "type": "integer", "bounds": [0, 9_999], "bounds_basis": "publisher"}
AMOUNT = NUMBER | {"type": "continuous"}


def persons(**rest: Any) -> Schema:
    return Schema.from_dict({"name": "people", "privacy_unit": {"unit": "person", "columns": ["id"], "max_rows": 3} | rest, "columns": [ID, NUMBER]})


ROWS = Schema.from_dict({"name": "people", "privacy_unit": {"unit": "row"}, "columns": [NUMBER]})
PERSONS = persons()
PEOPLE = pd.DataFrame({"id": [str(i // 2) for i in range(400)], "n": [str(i) for i in range(400)]})
each_schema = pytest.mark.parametrize("schema", [ROWS, PERSONS], ids=["rows", "persons"])


def key(number: int) -> bytes:
    return number.to_bytes(32, "little")


def sides(split: Split) -> dict[Any, str]:
    """The side of each row, by its number."""
    return {number: side for side in SIDES for number in getattr(split, side)["n"]}


@each_schema
def test_a_side_depends_on_the_key_and_the_unit_alone(schema: Schema) -> None:
    """Not on the place in the file, nor on who else is there: units that stay keep their sides when others come, go or move."""
    everybody = sides(divide(PEOPLE, schema, key(1), SHARES))
    for some in (PEOPLE[::-1], PEOPLE.iloc[8:], PEOPLE.iloc[:-50], pd.concat([PEOPLE.iloc[200:], PEOPLE.iloc[:100]]), PEOPLE.iloc[150:154]):
        assert sides(divide(some, schema, key(1), SHARES)) == {n: everybody[n] for n in some["n"]}
    assert sides(divide(PEOPLE, schema, key(2), SHARES)) != everybody


def test_rows_that_are_spelled_alike_and_read_otherwise_keep_their_sides() -> None:
    """In a file with decimal commas the text 1.5 is 15, and a number 1.5 is that: were one the other's second, it would take its side over."""
    schema = Schema.from_dict({"name": "people", "privacy_unit": {"unit": "row"}, "file": {"decimal": ",", "separator": ";"}, "columns": [AMOUNT]})
    frame = pd.DataFrame({"n": pd.Series([1.5, "1.5", "text 1.5", "other 1.5", None], dtype=object)})
    found = []
    for k in range(30):
        everybody = sides(divide(frame, schema, key(k), SHARES))
        for gone in range(len(frame)):
            some = frame.drop(gone)
            assert sides(divide(some, schema, key(k), SHARES)) == {n: everybody[n] for n in some["n"]}
        found.append(everybody[1.5] == everybody["1.5"])
    assert len(set(found)) == 2


def test_all_rows_of_a_person_fall_on_one_side() -> None:
    found = sides(divide(PEOPLE, PERSONS, key(1), SHARES))
    assert all(found[str(i)] == found[str(i + 1)] for i in range(0, 400, 2))


@each_schema
def test_sizes_are_those_of_independent_draws_and_not_fixed(schema: Schema) -> None:
    """A side of fixed size would take a unit in for each that leaves. The keys are fixed, so this repeats."""
    units = 400 if schema is ROWS else 200
    sizes = np.array([[len(getattr(divide(PEOPLE, schema, key(k), SHARES), s)) * units / 400 for s in SIDES] for k in range(150)])
    shares = np.array(SHARES)
    assert (sizes.sum(axis=1) == units).all()
    assert abs(sizes.mean(axis=0) - units * shares).max() < 4 * math.sqrt(units / 4 / 150)
    assert sizes.var(axis=0) == pytest.approx(units * shares * (1 - shares), rel=0.45)


def test_rows_of_nobody_are_on_no_side_where_they_are_dropped() -> None:
    frame = pd.DataFrame({"id": ["1", None, "", "2"], "n": ["1", "2", "3", "4"]})
    assert set(sides(divide(frame, persons(null_ids="drop"), key(1), SHARES))) == {"1", "4"}
    found = sides(divide(frame, persons(null_ids="one-unit"), key(1), SHARES))
    assert len(found) == 4
    assert found["2"] == found["3"]
