"""Fast paths against slow obvious twins, and what counts as rare."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import nearest
from attacks.controls import near_copies_of_rare_rows
from attacks.distances import Surroundings, neighbours, surroundings
from attacks.evidence import Evidence, Table
from attacks.kernels import LANES, k_nearest, scan
from attacks.scores import Scores, UnanswerableError
from attacks.targets import among

RNG = np.random.default_rng(0)


def table(rng: np.random.Generator, n: int, spread: int = 4) -> Table:
    numbers = rng.integers(0, spread, (n, 2)).astype(float)
    numbers[rng.random((n, 2)) < 0.2] = np.nan
    return Table(numbers, rng.integers(-1, spread, (n, 2)).astype(np.int32))


def evidence(rng: np.random.Generator, n: int = 30, spread: int = 4) -> Evidence:
    members, controls, reference, synthetic = (table(rng, n, spread) for _ in range(4))
    return Evidence(members, controls, reference, synthetic, members, ("a", "b", "c", "d"))


def rows(t: Table) -> list[tuple[float, ...]]:
    return [tuple(r) for r in np.concatenate([np.nan_to_num(t.numbers, nan=-9), t.codes], axis=1).tolist()]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 2 * LANES), st.integers(1, 6), st.integers(1, 25), st.integers(0, 2**31))
def test_the_kernels_equal_brute_force(n: int, m: int, d: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (np.round(rng.normal(0, 1, (size, d)), 1).astype(np.float32) for size in (n, m))
    apart = np.minimum(np.abs(x[:, None] - y[None]), 1).sum(axis=2)
    columns = np.ascontiguousarray(y.T)
    whole = scan(x, columns, d // 2, k)
    for near, at in ((whole.near, whole.near_at), k_nearest(x, columns, k)):
        there = min(k, m)
        assert np.allclose(near[:, :there], np.sort(apart, axis=1)[:, :there], atol=1e-5)
        assert np.allclose(np.take_along_axis(apart, at[:, :there], axis=1), near[:, :there], atol=1e-5)
        assert all(len(set(row)) == there for row in at[:, :there].tolist())
        assert np.isinf(near[:, there:]).all() and (at[:, there:] == -1).all()
    assert np.allclose(whole.row, apart.min(axis=0), atol=1e-5)
    assert np.allclose(apart[whole.row_at, np.arange(m)], apart.min(axis=0), atol=1e-5)


def apart(e: Evidence, x: Table, i: int, y: Table, k: int) -> float:
    """The distance as it is defined, cell by cell."""
    total = float((x.codes[i] != y.codes[k]).sum())
    for j in range(x.numbers.shape[1]):
        a, b = x.numbers[i, j], y.numbers[k, j]
        total += float(np.isnan(a) != np.isnan(b)) if np.isnan(a) or np.isnan(b) else min(abs(a - b) / surroundings(e).scale.unit[j], 1)
    return total / x.width


def all_apart(e: Evidence, x: Table, y: Table) -> np.ndarray:
    return np.array([[apart(e, x, i, y, k) for k in range(len(y))] for i in range(len(x))])


def test_the_distance_equals_its_definition() -> None:
    e = evidence(np.random.default_rng(1))
    assert np.allclose(surroundings(e).scale.unit, np.nanstd(e.pool.numbers, axis=0) / 2)
    to_synthetic, to_reference = (np.sort(all_apart(e, e.pool, t), axis=1) for t in (e.synthetic, e.reference))
    assert np.allclose(neighbours(e).near, to_synthetic[:, :20], atol=1e-5)
    assert np.allclose(surroundings(e).to_reference, to_reference[:, :20], atol=1e-5)
    assert np.allclose(nearest.distance(e, RNG).pooled, to_reference[:, 0] - to_synthetic[:, 0], atol=1e-5)


def test_the_closest_others_leave_out_the_target_itself_and_not_its_equals() -> None:
    e = evidence(np.random.default_rng(2), spread=2)
    slow = all_apart(e, e.pool, e.pool)
    np.fill_diagonal(slow, np.inf)
    assert np.allclose(surroundings(e).to_others, np.sort(slow, axis=1)[:, :5], atol=1e-5)
    assert (surroundings(e).to_others[:, 0] == 0).any()
    crowd = Table(np.zeros((40, 1)), np.zeros((40, 0), dtype=np.int32))
    assert (Surroundings(crowd, crowd).to_others == 0).all()


def test_every_synthetic_row_has_one_vote_and_equal_targets_share_it() -> None:
    e = evidence(np.random.default_rng(3), spread=2)
    votes, slow = nearest.dcr_share(e, RNG).pooled, all_apart(e, e.pool, e.synthetic)
    assert votes.sum() == pytest.approx(len(e.synthetic))
    least, most = np.zeros(len(votes)), np.zeros(len(votes))
    known = rows(e.pool)
    equal = np.array([known.count(row) for row in known])
    for k in range(len(e.synthetic)):
        tied = np.isclose(slow[:, k], slow[:, k].min(), atol=1e-6)
        most[tied] += 1 / equal[tied]
        if len({known[i] for i in np.flatnonzero(tied)}) == 1:
            least[tied] += 1 / equal[tied]
    assert (least <= votes + 1e-9).all() and (votes <= most + 1e-9).all()
    assert all(votes[i] == votes[k] for i in range(len(votes)) for k in range(len(votes)) if known[i] == known[k])


def test_where_two_people_are_as_close_a_vote_falls_by_lot_and_not_by_side() -> None:
    """Strangers' rows, in a table so coarse that most have several people equally near: half of the votes for either side."""
    rng = np.random.default_rng(12)

    def strangers() -> Table:
        return Table(np.empty((150, 0)), rng.integers(0, 6, (150, 4)).astype(np.int32))

    shares = []
    for _ in range(20):
        members, controls, synthetic = strangers(), strangers(), strangers()
        shares.append(nearest.dcr_share(Evidence(members, controls, members, synthetic, members, tuple("abcd")), RNG).members.mean())
    assert abs(np.mean(shares) - 0.5) < 0.06


def test_two_synthetic_rows_that_equal_the_target_are_no_evidence_for_the_ratio() -> None:
    e = evidence(np.random.default_rng(4), spread=9)
    slow = np.sort(all_apart(e, e.pool, e.synthetic), axis=1)
    ratio = np.where(slow[:, 1] > 0, slow[:, 0] / np.where(slow[:, 1] > 0, slow[:, 1], 1), 1)
    assert np.allclose(-nearest.nndr(e, RNG).pooled, ratio, atol=1e-4)
    twice = e.against(e.members.then(e.members))
    assert (nearest.nndr(twice, RNG).members == -1).all() and (nearest.distance(twice, RNG).members >= 0).all()
    one = e.against(e.synthetic.take(np.arange(1)))
    assert (nearest.nndr(one, RNG).pooled == 0).all()


def test_the_synthetic_row_is_closer_than_any_other_person() -> None:
    e = evidence(np.random.default_rng(5), spread=9)
    slow, others = all_apart(e, e.pool, e.synthetic).min(axis=1), all_apart(e, e.pool, e.pool)
    np.fill_diagonal(others, np.inf)
    found, clear = nearest.adversarial_accuracy(e, RNG).pooled, np.abs(slow - others.min(axis=1)) > 1e-5
    assert (found[clear] == (slow < others.min(axis=1))[clear]).all()
    tied = e.against(e.pool)
    alone = surroundings(tied).to_others[:, 0] > 0
    halves = nearest.adversarial_accuracy(tied, RNG).pooled
    assert (halves[alone] == 1).all() and set(halves[~alone].tolist()) <= {0.0, 1.0}


def test_rare_rows_differ_in_two_columns_from_all_others() -> None:
    e = evidence(np.random.default_rng(2), 20)
    pool = rows(e.pool)
    slow = [all(sum(a != b for a, b in zip(x, y, strict=True)) >= 2 for k, y in enumerate(pool) if k != i) for i, x in enumerate(pool)]
    assert nearest.rare_rows(e).tolist() == slow and 0 < sum(slow) < len(slow)


def test_exact_match_finds_equal_rows_only() -> None:
    e = evidence(np.random.default_rng(3), 60, 40)
    scores = nearest.exact_match(e.against(e.members.take(np.arange(25))), np.random.default_rng(0))
    known = set(rows(e.members)[:25])
    hit, expected = scores.pooled, [r in known for r in rows(e.pool)]
    assert all(h == x for h, x in zip(hit, expected, strict=True) if not np.isnan(h)) and np.nansum(hit) > 10


def test_a_trace_of_noise_makes_a_copy_no_other_row() -> None:
    e = evidence(np.random.default_rng(4), 60, 40)
    traced = e.against(Table(e.members.numbers * (1 + 1e-8), e.members.codes))
    assert nearest.met(traced)[: len(e.members)].all() and nearest.met(e.against(e.members))[: len(e.members)].all()
    assert not nearest.met(e.against(Table(e.members.numbers * (1 + 1e-3) + 1e-3, e.members.codes))).all()


def test_a_near_match_is_a_synthetic_row_twenty_times_closer_than_any_other_person() -> None:
    e = evidence(np.random.default_rng(6), 60, 40)
    copies = e.members.take(np.arange(25))
    e = e.against(e.synthetic.then(Table(copies.numbers + 0.01 * RNG.uniform(-1, 1, copies.numbers.shape), copies.codes)))
    slow, others = all_apart(e, e.pool, e.synthetic).min(axis=1), all_apart(e, e.pool, e.pool)
    np.fill_diagonal(others, np.inf)
    found, rare = nearest.near_match(e, RNG).pooled, nearest.rare_rows(e)
    assert np.isnan(found).tolist() == (~rare).tolist()
    assert found[rare].tolist() == (20 * slow < others.min(axis=1))[rare].tolist()
    assert found[:25][rare[:25]].all() and np.nansum(nearest.exact_match(e, RNG).pooled) == 0 < np.nansum(found[:25])


def test_rows_without_numbers_are_matched_whole_or_not_at_all() -> None:
    e = evidence(np.random.default_rng(7), 60, 60)
    bare = {part: Table(np.empty((60, 0)), np.column_stack([getattr(e, part).codes] * 2)) for part in ("members", "controls", "synthetic", "train")}
    e = replace(e, **bare, reference=bare["controls"])
    planted = e.against(near_copies_of_rare_rows(e, np.random.default_rng(0)))
    exact, near = (score(planted, RNG).members for score in (nearest.exact_match, nearest.near_match))
    assert np.array_equal(exact, near, equal_nan=True) and np.nansum(near) > 0


def few_rare() -> tuple[Evidence, np.ndarray]:
    """A crowd of equals among whom six members and six controls stand alone, in numbers too; where these are."""
    codes = np.zeros((400, 3), dtype=np.int32)
    codes[:6], codes[200:206] = 10 + np.arange(18).reshape(6, 3), 40 + np.arange(18).reshape(6, 3)
    pool = Table(np.where(codes[:, :1] > 0, 1_000.0 * codes[:, :1], RNG.integers(0, 3, (400, 1)).astype(float)), codes)
    members, controls = pool.take(np.arange(200)), pool.take(np.arange(200, 400))
    return Evidence(members, controls, controls, members.take(np.arange(50)), members, ("n", "a", "b", "c")), codes[:, 0] > 0


@pytest.mark.parametrize("score", [nearest.exact_match, nearest.near_match, nearest.rare_value])
def test_of_few_rare_rows_hits_are_a_share_of_everybody(score: Callable[[Evidence, np.random.Generator], Scores]) -> None:
    e, rare = few_rare()
    found = score(e, np.random.default_rng(0))
    assert found.judged_below == 0.05 and found.pooled.tolist() == [1.0] * 6 + [0.0] * 394
    assert among(lambda e: rare, score)(e, np.random.default_rng(0)).judged_below == 0.05
    assert among(lambda e: rare, score)(e, np.random.default_rng(0)).targets()[0].tolist() == [1.0] * 6
    assert score(evidence(np.random.default_rng(4), 60, 400), np.random.default_rng(0)).judged_below == math.inf


def test_whether_few_are_rare_does_not_hang_on_whose_side_they_are() -> None:
    """Thirty of 120 who stand alone, all of them members or all of them controls: fifteen a side, were they split by lot."""
    alone = Table(np.empty((30, 0)), np.arange(1, 91, dtype=np.int32).reshape(30, 3))
    alike = Table(np.empty((90, 0)), np.zeros((90, 3), dtype=np.int32))
    for pool in (alone.then(alike), alike.then(alone)):
        members, controls = pool.take(np.arange(60)), pool.take(np.arange(60, 120))
        assert nearest.exact_match(Evidence(members, controls, controls, alike, members, tuple("abc")), RNG).judged_below == 0.05


def test_a_rare_number_stands_a_hundred_steps_apart() -> None:
    numbers = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [400.0], [900.0], [900.0], [950.0], [np.nan]])
    none = np.empty((0, 1)), np.empty((0, 0), dtype=np.int32)
    members = Table(numbers, np.empty((10, 0), dtype=np.int32))
    e = Evidence(members, Table(*none), Table(*none), members, members, ("a",))
    assert np.flatnonzero(nearest.rare_cells(e)[:, 0]).tolist() == [5]


def close_values(hours: np.ndarray) -> Evidence:
    """Whole hours and a code, of people on two sides; the synthetic table has every third hour, and the missing."""
    codes = np.where(np.arange(len(hours)) < 4, np.arange(len(hours)) - 1, 9).astype(np.int32)
    pool = Table(hours[:, None], codes[:, None])
    members, controls = (pool.take(part) for part in np.array_split(np.arange(len(hours)), 2))
    seen = np.append(np.arange(0.0, 99.0, 3.0), np.nan)
    synthetic = Table(seen[:, None], np.where(np.arange(len(seen)) < 2, np.arange(len(seen)) - 1, 9).astype(np.int32)[:, None])
    return Evidence(members, controls, controls, synthetic, members, ("hours", "job"))


def test_a_single_value_is_one_that_nobody_else_holds_however_near_others_lie() -> None:
    hours = np.append(np.random.default_rng(5).integers(0, 99, 119).astype(float), np.nan)
    e = close_values(hours)
    jobs = e.pool.codes[:, 0].tolist()
    slow = [
        (hours.tolist().count(h) == 1 and h in e.synthetic.numbers) or (j >= 0 and jobs.count(j) == 1 and j in e.synthetic.codes)
        for h, j in zip(hours.tolist(), jobs, strict=True)
    ]
    found = nearest.single_value(e, RNG)
    assert found.pooled.tolist() == list(map(float, slow)) and 5 < sum(slow) < 60 and found.judged_below == 0.01
    assert not nearest.rare_cells(e)[:, 0].any() and not nearest.single_cells(e)[-1, 0]


def test_where_values_enough_are_rare_single_ones_are_left_to_them() -> None:
    e = close_values(np.concatenate([np.arange(60.0), 1e6 * np.arange(1.0, 61.0)]))
    with pytest.raises(UnanswerableError, match="rare values enough"):
        nearest.single_value(e, RNG)


def test_a_missing_cell_equals_a_missing_cell() -> None:
    none = Table(np.array([[np.nan], [np.float64("-nan")]]), np.array([[-1], [-1]], dtype=np.int32))
    assert len(set(nearest._keys(none).tolist())) == 1


def test_near_matches_are_not_judged_where_no_control_stands_alone() -> None:
    rng = np.random.default_rng(8)
    members, synthetic = (Table(rng.normal(size=(40, 3)), np.empty((40, 0), dtype=np.int32)) for _ in range(2))
    alike = Table(np.ones((40, 3)), members.codes)
    with pytest.raises(UnanswerableError, match="no control stands alone"):
        nearest.near_match(Evidence(members, alike, alike, synthetic, members, ("a", "b", "c")), rng)
