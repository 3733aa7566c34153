"""Without a control an exact match is a leak only where chance cannot explain it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import attacks
from attacks.chance import most_met
from attacks.statistics import excess
from dpsynth.schema import Schema


def table(columns: int, categories: str) -> Schema:
    listed = {"type": "categorical", "categories": list(categories), "categories_basis": "publisher"}
    return Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": [{"name": f"k{j}", **listed} for j in range(columns)]})


def people(seed: int, n: int, schema: Schema) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({c.name: rng.choice(list(c.categories or ()), n) for c in schema.columns})


COARSE, FINE = table(8, "abcd"), table(12, "abcdefgh")


def judged(train: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema) -> tuple[str, set[str | None]]:
    report = attacks.evaluate(train, None, synthetic, schema, seed=3)
    assert "no_control" in {r.code for r in report.reasons}
    return report.verdict, {e.name for e in report.endpoints if e.p_adjusted is not None and e.p_adjusted < report.policy.alpha}


@pytest.mark.parametrize("rows", [500, 20_000])
def test_chance_matches_are_no_leak(rows: int) -> None:
    for seed in range(3):
        assert judged(people(seed, 500, COARSE), people(100 + seed, rows, COARSE), COARSE) == ("INCONCLUSIVE", set())


@pytest.mark.parametrize("times", [1, 20])
def test_a_copy_is_a_leak_however_often_each_row_is_written(times: int) -> None:
    train = people(1, 500, FINE)
    copy = pd.concat([train] * times).sample(frac=1, random_state=1)
    assert judged(train, copy, FINE) == ("FAIL", {"exact_match"})


def test_half_a_copy_among_strangers_is_a_leak() -> None:
    train = people(1, 500, FINE)
    assert judged(train, pd.concat([train[:250], people(2, 250, FINE)]), FINE) == ("FAIL", {"exact_match"})


@pytest.mark.parametrize("tail", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("n", [100, 1_000])
def test_no_table_made_without_the_people_meets_more(tail: float, n: int) -> None:
    """The worst: the d commonest rows of a population whose common rows are far commoner than others."""
    p = 1 / np.arange(1, 50_001) ** tail
    drawn = np.random.default_rng(4).choice(len(p), n, p=p / p.sum()).astype(np.uint64)
    unlike = np.isin(drawn, [v for v, k in zip(*np.unique(drawn, return_counts=True), strict=True) if k == 1])
    for d in (1, 10, 100, 1_000, 10_000):
        bound = min(1.0, most_met(drawn, np.arange(d, dtype=np.uint64)) / unlike.mean())
        assert bound >= (drawn[unlike] < d).mean()


def test_the_bound_is_of_different_rows_and_never_more_than_all() -> None:
    unlike = np.arange(1_500, dtype=np.uint64)
    assert most_met(unlike, unlike) == most_met(unlike, np.repeat(unlike, 9)) == pytest.approx(0.11, abs=0.01)
    assert most_met(unlike, unlike[:0]) == 0.0
    assert most_met(unlike[:1], unlike) == most_met(unlike[:0], unlike) == most_met(unlike * 0, unlike) == 1.0


def test_without_controls_all_may_be_a_leak_and_what_is_beyond_chance_is_proved_one() -> None:
    hits = (np.arange(500) < 150).astype(float)
    bare, held = excess(hits, hits[:0], 0.005, 0.95), excess(hits, hits[:0], 0.005, 0.95, chance=0.29)
    assert held.upper == bare.upper > held.effect == 0.3 > held.lower
    assert bare.p < 1e-9 and held.p > 0.3 and held.p_null > 0.3
    assert excess(hits, hits, 0.005, 0.95, chance=1.0) == excess(hits, hits, 0.005, 0.95)
    assert excess(np.ones(500), hits[:0], 0.005, 0.95, chance=1.0).p > 0.4
