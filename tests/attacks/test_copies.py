"""The weight of somebody who was met: its value, its ignorance of labels, its level, and what it sees that plain counting does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import attacks
from attacks.copies import COPIED, copies
from attacks.evidence import Evidence, Table
from attacks.nearest import met
from attacks.statistics import exchangeability
from dpsynth.schema import Schema

COLUMNS = 4


def people(rng: np.random.Generator, n: int) -> Table:
    """Half of them in a crowd where strangers meet, half of them hardly ever met."""
    crowd = rng.random(n) < 0.5
    cells = np.where(crowd[:, None], rng.integers(0, 4, (n, COLUMNS)), rng.integers(0, 40, (n, COLUMNS)))
    return Table(np.empty((n, 0)), cells.astype(np.int32))


def evidence(rng: np.random.Generator, n: int, copied: int = 0) -> Evidence:
    members, controls, reference, fresh = (people(rng, n) for _ in range(4))
    synthetic = members.take(np.arange(copied)).then(fresh.take(np.arange(n - copied)))
    return Evidence(members, controls, reference, synthetic, members, tuple("abcd"))


def p(e: Evidence, weights: np.ndarray, rng: np.random.Generator, permutations: int = 999) -> float:
    return exchangeability(weights[None], len(e.members), rng, permutations)


def test_where_nobody_is_in_a_crowd_the_weight_is_the_likelihood_ratio_at_the_share_that_is_met() -> None:
    alone = Table(np.empty((32, 0)), np.arange(32, dtype=np.int32)[:, None] + np.array([0, 100, 200], dtype=np.int32))
    members, controls = (alone.take(rows) for rows in np.split(np.arange(32), 2))
    e = Evidence(members, controls, members.take(np.arange(0)), alone.take(np.arange(8)), members, tuple("abc"))
    assert copies(e) == pytest.approx(np.where(met(e), np.log((1 - COPIED) + COPIED / 0.25), np.log(1 - COPIED)), rel=1e-3)


def test_whoever_stands_alone_weighs_more_than_somebody_in_a_crowd() -> None:
    e = evidence(np.random.default_rng(0), 500, copied=50)
    weights, hits = copies(e), met(e)
    crowd = (e.pool.codes < 4).all(axis=1)
    assert weights[hits & ~crowd].min() > weights[hits & crowd].max() > np.log(1 - COPIED)
    assert (weights[~hits] == np.log1p(-COPIED)).all()


def test_whose_cells_are_common_weighs_less_than_who_has_cells_of_his_own() -> None:
    """Nobody is near anybody, but the cells of half of the people are anybody's."""
    rng = np.random.default_rng(9)
    common = rng.random(800) < 0.5
    own = 100 + rng.permuted(np.tile(np.arange(800), (12, 1)), axis=1).T
    pool = Table(np.empty((800, 0)), np.where(common[:, None], rng.integers(0, 8, (800, 12)), own).astype(np.int32))
    met_ones = np.concatenate([np.flatnonzero(common)[:60], np.flatnonzero(~common)[:6]])
    e = Evidence(pool.take(np.arange(400)), pool.take(np.arange(400, 800)), pool.take(np.arange(0)), pool.take(met_ones), pool, tuple("abcdefghijkl"))
    weights = copies(e)
    assert weights[met(e) & ~common].min() > 4 * weights[met(e) & common].max() > 0


def crowded(members: Table, controls: Table, reference: Table, synthetic: Table) -> Evidence:
    return Evidence(members, controls, reference, synthetic, members, tuple("abcd"))


@pytest.mark.parametrize("where", ["reference", "pool"])
def test_a_crowd_is_seen_among_targets_and_in_the_reference(where: str) -> None:
    """The same targets met at the same places; what differs is where the strangers stand who make one place a crowd."""
    rng = np.random.default_rng(6)
    apart = Table(np.empty((400, 0)), (np.arange(400)[:, None] * COLUMNS + np.arange(COLUMNS)).astype(np.int32))
    spot = Table(np.empty((200, 0)), np.repeat([[-5, -6, -7, -8]], 200, axis=0).astype(np.int32))
    in_pool, in_reference = (spot, apart.take(np.arange(0))) if where == "pool" else (spot.take(np.arange(1)), spot)
    e = crowded(
        apart.take(np.arange(200)), apart.take(np.arange(200, 400)).then(in_pool), in_reference, spot.then(apart.take(rng.permutation(400)[:20]))
    )
    weights, at_spot = copies(e), (e.pool.codes == spot.codes[0]).all(axis=1)
    assert weights[met(e) & ~at_spot].min() > 2 * weights[at_spot].max()


def test_a_weight_stays_finite_where_a_crowd_is_met_and_a_thinner_one_never() -> None:
    crowd, thinner = np.zeros((1_500, COLUMNS)), 1 + np.repeat(np.arange(15), 100)[:, None] + np.zeros(COLUMNS)
    pair = np.array([[900.0, 901, 902, 903], [904, 901, 902, 903]])
    pool = np.random.default_rng(8).permutation(np.concatenate([crowd, thinner, pair])).astype(np.int32)
    reference = np.concatenate([np.zeros((30, COLUMNS)), np.repeat(np.unique(thinner, axis=0), 19, axis=0)]).astype(np.int32)
    synthetic = np.concatenate([crowd[:50], pair[:1]]).astype(np.int32)
    tables = [Table(np.empty((len(c), 0)), c) for c in (pool[:1_500], pool[1_500:], reference, synthetic)]
    assert np.log1p(-COPIED) <= copies(crowded(*tables)).min() <= copies(crowded(*tables)).max() < 10


def test_it_does_not_know_who_is_a_member() -> None:
    e = evidence(np.random.default_rng(1), 200, copied=20)
    swapped = replace(e, members=e.controls, controls=e.members)
    assert copies(swapped) == pytest.approx(np.roll(copies(e), 200), abs=1e-6)


@pytest.mark.parametrize("row", ["everybody", "nobody"])
def test_all_or_none_met_is_no_evidence(row: str) -> None:
    e = evidence(np.random.default_rng(2), 30)
    everybody, nobody = e.pool, Table(e.pool.numbers, e.pool.codes + 1_000)
    assert not copies(e.against(everybody if row == "everybody" else nobody)).any()


def test_it_keeps_its_level_where_strangers_are_met_by_chance() -> None:
    rng = np.random.default_rng(3)
    drawn = [evidence(rng, 60) for _ in range(400)]
    assert np.mean([met(e).mean() for e in drawn]) > 0.05
    rejected = sum(p(e, copies(e), rng, 99) <= 0.05 for e in drawn)
    assert rejected <= stats.binom.ppf(0.999, 400, 0.05)


def test_it_sees_few_copies_where_counting_who_is_met_does_not() -> None:
    rng = np.random.default_rng(4)
    drawn = [evidence(rng, 1_000, copied=20) for _ in range(10)]
    weighed = [p(e, copies(e), rng) for e in drawn]
    counted = [p(e, met(e).astype(float), rng) for e in drawn]
    assert np.median(weighed) < 0.005 and np.median(counted) > 0.05


@pytest.mark.parametrize(("of_all", "of_copies", "both"), [(0.003, 0.2, 0.006), (0.2, 0.003, 0.006), (0.9, 0.8, 1.0)])
def test_each_of_the_two_tests_has_half_the_level(of_all: float, of_copies: float, both: float, monkeypatch: pytest.MonkeyPatch, small: Any) -> None:
    monkeypatch.setattr("attacks.statistics.exchangeability", lambda rows, *rest: of_copies if len(rows) == 1 else of_all)
    report = attacks.evaluate(small.train, small.control, small.fresh, small.schema, small.reference, seed=1)
    assert report.tests["exchangeability_p"] == pytest.approx(both)


def test_a_table_without_a_claim_fails_by_copies_among_people_whom_chance_meets() -> None:
    rng = np.random.default_rng(5)
    listed = [str(k) for k in range(40)]
    columns = [{"name": name, "type": "categorical", "categories": listed, "categories_basis": "publisher"} for name in "abcd"]
    schema = Schema.from_dict({"name": "crowd", "privacy_unit": {"unit": "row"}, "columns": columns})
    train, control, reference, fresh = (pd.DataFrame(people(rng, 1_000).codes.astype(str), columns=list("abcd")) for _ in range(4))
    copied = pd.concat([train.iloc[:25], fresh.iloc[25:]], ignore_index=True)
    report = attacks.evaluate(train, control, copied, schema, reference, seed=1)
    assert (report.verdict, report.tests["blind_p"] > 0.05) == ("FAIL", True)
    assert "exchangeability" in [reason.attack for reason in report.reasons if reason.code == "tolerance_exceeded"]
