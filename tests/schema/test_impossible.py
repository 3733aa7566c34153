"""Structural zeros: what rules may say, which rows break them, and rules that contradict each other, against trying every row."""

from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.errors import BadInput
from dpsynth.schema import Schema
from dpsynth.schema.contradictions import contradictions
from dpsynth.schema.impossible import Span, impossible_rows

SEX, SICK = ("f", "m"), ("no", "pregnant", "hurt")
COLUMNS: list[dict[str, Any]] = [
    {"name": "sex", "type": "categorical", "categories": list(SEX), "categories_basis": "publisher"},
    {"name": "sick", "type": "categorical", "categories": list(SICK), "categories_basis": "publisher", "missing": "?"},
    {"name": "age", "type": "integer", "bounds": [0, 9], "bounds_basis": "publisher"},
    {"name": "ward", "type": "categorical", "categories_basis": "measure"},
    {"name": "key", "type": "id"},
]
TABLE = {"name": "people", "privacy_unit": {"unit": "row"}, "one_row_per_person": {"basis": "publisher"}, "columns": COLUMNS}
FATHERS = {"basis": "judgement: biology", "cells": {"sex": ["m"], "sick": ["pregnant"]}}
CHILDREN = {"basis": "judgement", "note": "for people", "cells": {"age": {"below": 4.5}, "sick": ["pregnant"]}}


def schema_with(*rules: Any) -> Schema:
    return Schema.from_dict(
        {
            "name": "people",
            "privacy_unit": {"unit": "row"},
            "one_row_per_person": {"basis": "publisher"},
            "columns": COLUMNS,
            "impossible": list(rules),
        }
    )


def broken(schema: Schema, frame: pd.DataFrame) -> list[bool]:
    return impossible_rows(schema.impossible, frame, {c.name: c for c in schema.columns}).tolist()


def test_a_row_is_impossible_that_holds_all_cells_of_one_rule() -> None:
    rows = [
        ("m", "pregnant", 8),
        ("f", "pregnant", 5),
        ("f", "pregnant", "4"),
        ("m", "hurt", 1),
        ("m", "?", 1),
        (None, "pregnant", 9),
        ("f", "pregnant", None),
    ]
    frame = pd.DataFrame(rows, columns=["sex", "sick", "age"])
    assert broken(schema_with(FATHERS, CHILDREN), frame) == [True, False, True, False, False, False, False]
    assert broken(schema_with(), frame) == [False] * len(rows)


def test_numbers_are_named_by_spans_or_one_by_one() -> None:
    spans = {
        name: schema_with({"basis": "judgement", "cells": {"sex": ["m"], "age": said}}).impossible[0].cells[1][1]
        for name, said in {"list": [2, 3], "both": {"from": 1.5, "below": 3}, "from": {"from": 2}}.items()
    }
    assert spans == {"list": (Span(2, 3), Span(3, 4)), "both": (Span(2, 3),), "from": (Span(2, np.inf),)}


@pytest.mark.parametrize(
    "rules",
    [
        [FATHERS],
        [FATHERS, CHILDREN],
        [{"basis": "survey", "cells": {"age": [1, 7], "ward": ["x"]}}],
        [{"basis": "survey", "cells": {"age": [5], "sex": ["f"]}}],
    ],
)
def test_a_schema_with_rules_comes_back_equal(rules: list[Any]) -> None:
    schema = schema_with(*rules)
    assert Schema.from_dict(schema.to_dict()) == schema and len(schema.impossible) == len(rules)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("sex", "rule 1: no cells; write cells"),
        ({"basis": "judgement"}, "no cells"),
        ({"cells": FATHERS["cells"]}, "no public basis"),
        ({"basis": "observed", "cells": FATHERS["cells"]}, "what only the rows show is not public"),
        (FATHERS | {"when": 1}, "unknown keys \\['when'\\]"),
        ({"basis": "survey", "cells": {"sex": ["m"]}}, "fewer than two columns"),
        ({"basis": "survey", "cells": {"sex": ["m"], "gone": ["x"]}}, "'gone' is no column that is synthesised"),
        ({"basis": "survey", "cells": {"sex": ["m"], "key": ["x"]}}, "'key' is no column that is synthesised"),
        ({"basis": "survey", "cells": {"sex": "m", "age": [1]}}, "column 'sex': not a list of texts"),
        ({"basis": "survey", "cells": {"sex": [], "age": [1]}}, "column 'sex': not a list of texts"),
        ({"basis": "survey", "cells": {"sex": ["m"], "age": []}}, "column 'age': neither a span nor a list"),
        ({"basis": "survey", "cells": {"sex": ["m"], "age": {"to": 3}}}, "column 'age': neither a span nor a list"),
        ({"basis": "survey", "cells": {"sex": ["m"], "age": ["3"]}}, "column 'age': neither a span nor a list"),
        ({"basis": "survey", "cells": {"sex": ["m"], "age": {"from": 3, "below": 3}}}, "the span is empty"),
    ],
)
def test_a_rule_at_fault_is_refused_in_words(rule: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        schema_with(rule)


def test_rules_that_are_no_list_are_refused() -> None:
    with pytest.raises(BadInput, match="not a list of rules"):
        Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": COLUMNS[:2], "impossible": FATHERS})


def told(schema: Schema) -> str:
    return "\n".join(str(f) for f in contradictions(schema.impossible, {c.name: c for c in schema.columns}))


def test_what_a_column_does_not_have_is_no_part_of_a_rule() -> None:
    assert "column 'sex': 'x' is not among its categories" in told(schema_with({"basis": "survey", "cells": {"sex": ["x"], "age": [1]}}))


def test_rules_that_leave_a_value_no_row_contradict_each_other() -> None:
    nobody = [{"basis": "survey", "cells": {"sex": [s], "sick": ["pregnant"]}} for s in SEX]
    assert "column 'sick': the rules leave 'pregnant' no row" in told(schema_with(*nobody))
    grown = {"basis": "survey", "cells": {"sex": ["f"], "sick": ["pregnant"], "age": {"from": 3}}}
    young = {"basis": "survey", "cells": {"sick": ["pregnant"], "age": {"below": 3}}}
    assert "leave 'pregnant'" in told(schema_with(FATHERS, grown, young)) and told(schema_with(FATHERS, grown)) == ""
    assert told(schema_with({"basis": "survey", "cells": {"sex": list(SEX), "ward": ["x"]}})).count("no row") == 1
    assert told(schema_with(*({"basis": "survey", "cells": {"sex": [s], "ward": ["x", "y"]}} for s in "f"))) == ""


RULE = st.fixed_dictionaries(
    {},
    optional={
        "sex": st.lists(st.sampled_from(SEX), min_size=1, unique=True),
        "sick": st.lists(st.sampled_from(SICK), min_size=1, unique=True),
        "age": st.builds(lambda low, more: {"from": low, "below": low + more}, st.integers(0, 9), st.integers(1, 9)),
    },
).filter(lambda cells: len(cells) > 1)


@settings(max_examples=150, deadline=None)
@given(st.lists(RULE, min_size=1, max_size=5))
def test_contradictions_are_those_that_trying_every_row_finds(cells: list[Any]) -> None:
    schema = schema_with(*({"basis": "survey", "cells": c} for c in cells))
    frame = pd.DataFrame(list(product(SEX, SICK, range(10))), columns=["sex", "sick", "age"])
    left = frame[~np.array(broken(schema, frame))]
    ruled = {name for c in cells for name in c}
    nowhere = {f"column {name!r}" for name in ruled if set(frame[name]) - set(left[name])}
    assert {line.split(", ")[2].partition(":")[0] for line in told(schema).splitlines()} == nowhere


def test_many_rules_are_tried_for_a_bounded_time() -> None:
    rules = [{"basis": "survey", "cells": {"sex": ["m"], "sick": [s], "age": [a], "ward": [w]}} for s in SICK for a in range(10) for w in "abcdefgh"]
    assert told(schema_with(*rules)) == ""


def flag(name: str) -> dict[str, Any]:
    return {"name": name, "type": "categorical", "categories": ["yes", "no"], "categories_basis": "publisher"}


def listing(name: str, n: int) -> dict[str, Any]:
    return {"name": name, "type": "categorical", "categories": [f"{name}{i}" for i in range(n)], "categories_basis": "publisher"}


QUESTIONS = [flag(f"q{i}") for i in range(400)]
LARGE = {
    "a question asked only after a yes to the one before": (
        QUESTIONS,
        [{"cells": {a["name"]: ["no"], b["name"]: ["yes"]}} for a, b in pairwise(QUESTIONS)],
    ),
    "questions asked only after a yes to the first": (QUESTIONS, [{"cells": {"q0": ["no"], q["name"]: ["yes"]}} for q in QUESTIONS[1:]]),
    "one of a hundred flags at most": (
        QUESTIONS[:100],
        [{"cells": {a["name"]: ["yes"], b["name"]: ["yes"]}} for a, b in combinations(QUESTIONS[:100], 2)],
    ),
    "a code for each name": (
        [listing("name", 600), listing("code", 600)],
        [{"cells": {"code": [f"code{i}"], "name": [f"name{k}" for k in range(600) if k != i]}} for i in range(600)],
    ),
}


@pytest.mark.parametrize("rules", LARGE)
def test_rules_of_large_tables_are_found_to_be_fine(rules: str) -> None:
    columns, cells = LARGE[rules]
    schema = Schema.from_dict(TABLE | {"columns": columns, "impossible": [{"basis": "survey"} | rule for rule in cells]})
    assert told(schema) == ""


def test_columns_tied_deeper_than_can_be_looked_into_are_refused_in_words() -> None:
    columns = [flag(f"q{i}") for i in range(1_500)]
    cells = [{"basis": "survey", "cells": {a["name"]: ["no"], b["name"]: ["yes"]}} for a, b in pairwise(columns)]
    assert "too entangled" in told(Schema.from_dict(TABLE | {"columns": columns, "impossible": cells}))
