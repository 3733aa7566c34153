"""What plan, schema check and papers say of a unit with several rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attacks.policy import Policy
from dpsynth.encoding.advice import open_points
from dpsynth.releasing.certificate import LIMITS
from dpsynth.releasing.outline import GUESSED_ROWS
from dpsynth.releasing.papers import accuracy, bounding_words, compare
from dpsynth.releasing.plan import Prediction, predict
from dpsynth.schema import Schema
from dpsynth.synthesizers import MST
from dpsynth.testing import seeded_table
from dpsynth.utility.fidelity import row_weights

POLICY = Policy.load("partner-contract")
COLUMNS = [
    {"name": "who", "type": "id"},
    {"name": "sex", "type": "categorical", "categories": ["f", "m"], "categories_basis": "publisher"},
    {"name": "age", "type": "integer", "bounds": [0, 99], "bounds_basis": "publisher"},
]


def schema(**unit: Any) -> Schema:
    entry = {"unit": "patient", "columns": ["who"]} | unit
    return Schema.from_dict({"name": "people", "privacy_unit": entry, "columns": COLUMNS})


def plan(units: int = 20_000, **unit: Any) -> Prediction:
    return predict(schema(**unit), units, 1.0, 1e-9, POLICY, "mst")


def test_a_plan_knows_what_counting_units_costs() -> None:
    one, units = plan(max_rows=1), plan(max_rows=1024, count="units")
    assert units.sigma == pytest.approx(one.sigma, rel=1e-3)
    assert units.column_error == pytest.approx(one.column_error, rel=1e-2)
    assert one.megabytes < units.megabytes <= plan(max_rows=3).megabytes, "it is not the most rows that there may be that are reckoned with"
    assert plan(max_rows=5).sigma == pytest.approx(5 * one.sigma, rel=0.05)


def test_a_plan_reckons_with_a_guess_and_the_share_of_a_measurement() -> None:
    measured, guessed = plan(max_rows="measure"), plan(max_rows=GUESSED_ROWS)
    assert guessed.sigma < measured.sigma < 1.01 * guessed.sigma
    assert plan(max_rows="measure", most_rows=1).sigma == pytest.approx(plan(max_rows=1).sigma, rel=0.01)


@pytest.mark.parametrize(
    ("unit", "words", "priced"),
    [({}, "one row of each patient counts", False), ({"max_rows": "measure"}, "how many rows of each patient count is measured", True)],
)
def test_schema_check_says_how_else_rows_may_count_and_each_line_loads(unit: dict[str, Any], words: str, priced: bool) -> None:
    (point,) = [p for p in open_points(schema(**unit)) if p.column == "who"]
    assert words in point.what
    assert (0 < point.epsilon < 0.02) == priced
    import tomllib

    entries = [tomllib.loads(line)["privacy_unit"] for line in point.line.splitlines()]
    loaded = [schema(**{k: v for k, v in e.items() if k not in ("unit", "columns")}).unit for e in entries]
    assert {u.count for u in loaded} == {"rows", "units"}
    assert all(e["unit"] == "patient" and e["columns"] == ["who"] for e in entries)


def test_nothing_is_open_where_it_is_said() -> None:
    for unit in ({"max_rows": 5}, {"max_rows": 40, "count": "units"}):
        assert not [p for p in open_points(schema(**unit)) if p.column == "who"]


def test_papers_say_what_was_counted() -> None:
    assert bounding_words(Schema.from_dict({"name": "p", "privacy_unit": {"unit": "row"}, "columns": COLUMNS[1:]}).unit) == ()
    assert "Of each patient one row counted" in bounding_words(schema().unit)[0]
    assert "Of each patient at most 5 rows counted" in bounding_words(schema(max_rows=5).unit)[0]
    (said,) = bounding_words(schema(max_rows=40, count="units").unit)
    assert "Each patient counted as one, shared evenly over at most 40 rows" in said
    assert "figures weigh each patient alike, not each row" in said
    assert said not in LIMITS


def visits() -> pd.DataFrame:
    """A thousand patients: half have one visit and are women, half have three and are men."""
    who = np.concatenate([np.arange(500), np.repeat(np.arange(500, 1000), 3)])
    return pd.DataFrame({"who": who.astype(str), "sex": np.where(who < 500, "f", "m"), "age": "40"})


@pytest.mark.parametrize(("unit", "counted", "women"), [({"max_rows": 3}, "row", 500 / 2000), ({"max_rows": 3, "count": "units"}, "patient", 0.5)])
def test_accuracy_and_comparisons_are_of_what_was_counted(unit: dict[str, Any], counted: str, women: float) -> None:
    of = schema(**unit)
    model = MST(10.0, 1e-6).fit(seeded_table(visits(), of, 1))
    entries = accuracy(model)
    assert {e["counted"] for e in entries} == {counted}
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    noisy = next(e["noisy"] for e in entries if e["columns"] == ["sex"])
    assert noisy[0] / sum(noisy) == pytest.approx(women, abs=0.03)
    assert all(float(n).is_integer() for n in noisy) == (counted == "row")
    frame = visits()
    ones, twos = compare(frame, model.sample(seed=0), model.codec.attributes, row_weights(frame, of))
    assert ones[0]["train"][0] == pytest.approx(women)
    assert ones[0]["tv"] < 0.03
    assert twos[0]["tv"] < 0.2
