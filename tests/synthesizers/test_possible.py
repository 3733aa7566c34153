"""No synthetic row breaks a rule, whatever was drawn; rules that can not be kept are refused before anything is spent, or in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpsynth import MST, Schema, load
from dpsynth.errors import BadInput, RunDry
from dpsynth.schema.impossible import impossible_rows
from dpsynth.synthesizers.possible import MOST_DRAWS, possible

COLUMNS: list[dict[str, Any]] = [
    {"name": "sex", "type": "categorical", "categories": ["f", "m"], "categories_basis": "publisher"},
    {"name": "sick", "type": "categorical", "categories": ["no", "pregnant", "hurt"], "categories_basis": "publisher"},
    {"name": "age", "type": "integer", "bounds": [0, 99], "bounds_basis": "publisher"},
]
RULES = [
    {"basis": "judgement", "cells": {"sex": ["m"], "sick": ["pregnant"]}},
    {"basis": "judgement", "cells": {"age": {"below": 12}, "sick": ["pregnant"]}},
]


def schema_with(*rules: Any) -> Schema:
    return Schema.from_dict({"name": "people", "privacy_unit": {"unit": "row"}, "columns": COLUMNS, "impossible": list(rules)})


def people(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {"sex": rng.choice(["f", "m"], rows), "sick": rng.choice(["no", "pregnant", "hurt"], rows), "age": rng.integers(0, 100, rows)}
    )


def is_broken(frame: pd.DataFrame) -> bool:
    schema = schema_with(*RULES)
    return bool(impossible_rows(schema.impossible, frame, {c.name: c for c in schema.columns}).any())


def test_no_row_of_a_model_breaks_a_rule_however_it_is_drawn_and_loaded(tmp_path: Any) -> None:
    rows = people(2000)
    free, model = MST(3.0, 1e-6).fit(rows, schema_with()), MST(3.0, 1e-6).fit(rows, schema_with(*RULES))
    model.save(tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    assert is_broken(free.sample(3000, seed=1))
    for made in (model.sample(3000, seed=1), model.draw(3000, seed=1), again.sample(3000, seed=1)):
        assert len(made) == 3000 and not is_broken(made) and list(made.index) == list(range(3000))
    pd.testing.assert_frame_equal(again.sample(500, seed=2), model.sample(500, seed=2))
    assert len(model.sample(0)) == 0


def test_what_is_left_is_the_model_given_that_the_rules_hold() -> None:
    rng = np.random.default_rng(0)
    cells = [("f", "no", 50), ("f", "pregnant", 50), ("m", "no", 50), ("m", "pregnant", 50)]

    def draw(n: int) -> pd.DataFrame:
        return pd.DataFrame([cells[i] for i in rng.choice(4, n, p=[0.1, 0.2, 0.3, 0.4])], columns=["sex", "sick", "age"])

    made = possible(draw, 60_000, schema_with(RULES[0]))
    shares = made.groupby(["sex", "sick"]).size() / len(made)
    assert np.allclose([shares["f", "no"], shares["f", "pregnant"], shares["m", "no"]], [1 / 6, 2 / 6, 3 / 6], atol=0.012)


def test_rules_that_leave_next_to_nothing_end_in_words_and_in_bounded_time() -> None:
    drawn = []

    def hopeless(n: int) -> pd.DataFrame:
        drawn.append(n)
        return pd.DataFrame({"sex": ["m"] * n, "sick": ["pregnant"] * n, "age": [50] * n})

    with pytest.raises(RunDry, match=r"fewer than one row in 20 keeps to the rules; it breaks most often rule 1 \(sex, sick\)\. .*another generator"):
        possible(hopeless, 1000, schema_with(*RULES))
    assert sum(drawn) == (MOST_DRAWS + 2) * 1000


def test_contradictory_rules_are_refused_before_anything_is_spent() -> None:
    nobody = [{"basis": "survey", "cells": {"sex": [s], "sick": ["pregnant"]}} for s in ("f", "m")]
    read: list[int] = []

    class Watched(pd.DataFrame):
        def __getitem__(self, key: Any) -> Any:
            read.append(1)
            return super().__getitem__(key)

    with pytest.raises(BadInput, match="the rules leave 'pregnant' no row"):
        MST(1.0, 1e-6).fit(Watched(people(10)), schema_with(*nobody))
    assert not read
