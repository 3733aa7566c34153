"""Workloads: weights of the downward closure against a direct count, and every fault named before anything is spent."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import listed, schema_of, spied

from dpsynth import AIM, MWEM, PrivBayes
from dpsynth.errors import BadInput
from dpsynth.privacy import GDP, PrivateTable
from dpsynth.privacy.table import MAX_WEIGHT
from dpsynth.synthesizers.workload import closure

COLUMNS = ("a", "b", "c", "d")
SCHEMA = schema_of({c: listed("x", "y") for c in COLUMNS})


@pytest.mark.parametrize("ways", [1, 2, 3])
def test_the_closure_weighs_by_shared_columns(ways: int) -> None:
    weights = closure(ways, COLUMNS)
    assert set(weights) == {r for k in range(1, ways + 1) for r in combinations(COLUMNS, k)}
    for r, weight in weights.items():
        assert weight == sum(len(set(r) & set(s)) for s in combinations(COLUMNS, ways))


def test_weights_of_ones_own_count_as_often() -> None:
    assert closure({("b", "a"): 5, ("c",): 1}, COLUMNS) == {("a",): 5, ("b",): 5, ("c",): 1, ("a", "b"): 10}
    large = closure({("a", "b"): MAX_WEIGHT, ("a", "c"): 1}, COLUMNS)
    assert max(large.values()) <= MAX_WEIGHT
    assert min(large.values()) >= 1


def test_a_target_asks_for_every_marginal_of_three_columns_with_it() -> None:
    assert closure("d", COLUMNS) == closure({("a", "b", "d"): 1, ("a", "c", "d"): 1, ("b", "c", "d"): 1}, COLUMNS)


def test_a_weight_of_a_column_is_that_of_every_pair_that_holds_it_unless_the_other_is_heavier() -> None:
    pairs = dict.fromkeys(combinations(COLUMNS, 2), 1) | {p: 3 for p in combinations(COLUMNS, 2) if "b" in p}
    assert closure({"b": 3}, COLUMNS) == closure(pairs, COLUMNS)
    assert closure({"b": 3, "c": 5}, COLUMNS) == closure(pairs | {p: 5 for p in combinations(COLUMNS, 2) if "c" in p}, COLUMNS)
    assert closure({"b": 1}, COLUMNS) == closure(2, COLUMNS)
    assert closure({"a": 7}, ("a",)) == {("a",): 7}
    assert closure({"ab": 2}, ("ab", "c", "d")) == closure({("ab", "c"): 2, ("ab", "d"): 2, ("c", "d"): 1}, ("ab", "c", "d"))


def test_a_model_is_made_for_weights_of_columns() -> None:
    frame = pd.DataFrame({c: ["x", "y", "y"] * 40 for c in COLUMNS})
    assert set(AIM(10.0, 1e-6, workload={"b": 5}).fit(frame, SCHEMA).sample(30).columns) == set(COLUMNS)


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        ({1: 1}, r"workload: 1: neither .*write \{"),
        ({None: 1}, "workload: None: neither"),
        ({("a", 1): 1}, r"workload: \('a', 1\): neither"),
        ({frozenset("ab"): 1}, "neither a column nor a tuple of columns"),
        ({"salary": 5}, "^workload: column 'salary': is not synthesised by this schema; write one of a, b, c, d$"),
        ({"a": 5, ("a", "b"): 2}, "only one kind"),
        ({"a": 0}, "weight"),
        ({"a": 2**20 + 1}, "weight is not a whole number from 1 to 1,048,576"),
        ({(): 1}, "1 to 3"),
        (0, "1 to 3"),
        (4, "1 to 3"),
        (True, "1 to 3"),
        (2.0, "1 to 3"),
        ({}, "empty"),
        ("salary", "salary"),
        ({("a", "salary"): 1}, "salary"),
        ({("a", "a"): 1}, "different"),
        ({("a", "b"): 0}, "weight"),
        ({("a", "b"): 1.5}, "weight"),
        ({("a", "b", "c", "d"): 1}, "1 to 3"),
    ],
)
def test_a_workload_that_is_none_is_refused_before_anything_is_spent(workload: Any, words: str) -> None:
    spy = spied(pd.DataFrame({c: ["x"] for c in COLUMNS}))
    charged: list[object] = []

    def account(request: Any) -> Any:
        charged.append(request)
        return request.cost_in(GDP)

    with pytest.raises(BadInput, match=words):
        AIM(1.0, 1e-9, workload=workload).fit(PrivateTable(spy, SCHEMA, account, "ledgered"))
    assert charged == [] and spy.seen == []


@pytest.mark.parametrize("kind", [AIM, MWEM, PrivBayes])
@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf"), 10**400, "big", True])
def test_a_size_that_is_none_is_refused(kind: type[AIM], size: Any) -> None:
    with pytest.raises(BadInput, match="megabytes"):
        kind(1.0, 1e-9, max_model_size=size).request(SCHEMA)


@pytest.mark.parametrize("kind", [AIM, MWEM, PrivBayes])
def test_a_size_that_does_not_hold_the_columns_is_refused_in_words(kind: type[AIM]) -> None:
    wide = schema_of({"a": listed(*map(str, range(5000))), "b": listed("x", "y")})
    with pytest.raises(BadInput, match=r"write at least 1"):
        kind(1.0, 1e-9, max_model_size=0.03).request(wide)


@pytest.mark.parametrize("kind", [AIM, MWEM, PrivBayes])
def test_the_model_keeps_below_its_limit(kind: type[AIM]) -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 6, 3000)
    frame = pd.DataFrame({c: ((base + rng.integers(0, 2, 3000)) % 6).astype(str) for c in COLUMNS})
    schema = schema_of({c: listed(*"012345") for c in COLUMNS})
    small, large = (kind(10.0, 1e-6, max_model_size=cells * 8 / 2**20).fit(frame, schema).graphical.tree.cells for cells in (150, 100_000))
    assert small <= 150 + 60
    assert large > small
