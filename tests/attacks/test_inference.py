"""Attribute inference and linkability: fast paths against slow twins, planted leaks seen, none seen where there is none."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import controls, statistics
from attacks.distances import neighbours, neighbours_by_parts, spread
from attacks.evidence import Evidence, Table
from attacks.inference import confident_inference, inference
from attacks.kernels import LANES, scan
from attacks.linkability import linkability
from attacks.measures import WORST_EXCESS
from attacks.scores import Scores, UnanswerableError
from attacks.statistics import Estimate, excess, worst
from attacks.targets import Score

RNG = np.random.default_rng(0)


def worst_of(scores: Scores, tolerance: float, confidence: float) -> Estimate:
    return WORST_EXCESS.of(scores, tolerance, confidence)


def table(rng: np.random.Generator, n: int, numbers: int = 2, codes: int = 3, spread: int = 4) -> Table:
    x = rng.normal(0, 3, (n, numbers))
    x[rng.random((n, numbers)) < 0.1] = np.nan
    return Table(x, rng.integers(-1, spread, (n, codes)).astype(np.int32))


def evidence(seed: int, n: int = 400, **shape: int) -> Evidence:
    rng = np.random.default_rng(seed)
    members, others, reference, synthetic = (table(rng, n, **shape) for _ in range(4))
    names = tuple(f"c{j}" for j in range(members.width))
    return Evidence(members, others, reference, synthetic, members, names)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 3 * LANES), st.integers(1, 6), st.data())
def test_one_pass_equals_brute_force_on_every_set_of_columns(n: int, m: int, d: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, d))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    x, y = (np.round(rng.normal(0, 1, (k, d)), 1).astype(np.float32) for k in (n, m))
    y += data.draw(st.sampled_from((0, 0.3, 5))) * (np.arange(m) // LANES)[:, None].astype(np.float32)  # blocks that are farther and farther off
    apart = np.minimum(np.abs(x[:, None] - y[None]), np.float32(1))
    sets = [[c for c in range(d) if c != j] for j in range(d)] + [list(range(first)), list(range(first, d)), list(range(d))]
    found = scan(x, np.ascontiguousarray(y.T), first, 3)
    far, rows = np.column_stack([found.parts, found.near[:, 0]]), np.column_stack([found.parts_at, found.near_at[:, 0]])
    for s, columns in enumerate(sets):
        slow = apart[:, :, columns].sum(axis=2)
        assert np.allclose(far[:, s], slow.min(axis=1), atol=1e-5)
        assert np.allclose(slow[np.arange(n), rows[:, s]], slow.min(axis=1), atol=1e-5)


def test_a_row_that_is_far_by_one_column_alone_may_be_the_closest_without_it() -> None:
    far, near, without = np.full(8, 0.9), np.array([0.5] + [0] * 7), np.array([0.45 / 7] * 3 + [9] + [0.45 / 7] * 4)
    y = np.vstack([near, *[far] * (3 * LANES - 1), without, *[far] * LANES]).astype(np.float32)
    found = scan(np.zeros((1, 8), dtype=np.float32), np.ascontiguousarray(y.T), 4, 3)
    assert found.near_at[0, 0] == 0 and found.parts_at[0, 3] == 3 * LANES and found.parts_at[0, 2] == 0
    assert found.parts[0, 3] == pytest.approx(0.45)


def test_a_guess_is_the_cell_of_the_row_that_is_closest_by_the_other_columns() -> None:
    e = evidence(1, 60)
    found, rows = inference(e, RNG).pooled, neighbours(e).without
    unit = spread(e)
    for i in range(len(e.pool)):
        for j in range(2):
            a, b = e.pool.numbers[i, j], e.synthetic.numbers[rows[i, j], j]
            right = bool(np.isnan(a) and np.isnan(b)) or bool(abs(a - b) <= 0.1 * unit[j])
            assert found[i, j] == right
        for j in range(3):
            assert found[i, 2 + j] == (e.pool.codes[i, j] == e.synthetic.codes[rows[i, 2 + j], j])


def test_a_missing_number_is_guessed_as_missing_and_as_nothing_else() -> None:
    e = evidence(3, 50, numbers=2, codes=3)
    holes = np.column_stack([np.full(len(e.members), np.nan), e.members.numbers[:, 1:]])
    missing = replace(e, members=Table(holes, e.members.codes))
    assert inference(missing.against(missing.members), RNG).members[:, 0].all()
    known = replace(missing, synthetic=Table(np.nan_to_num(e.synthetic.numbers), e.synthetic.codes))
    assert not inference(known, RNG).members[:, 0].any()


def test_a_negative_number_is_not_guessed_by_any_guess() -> None:
    e = evidence(2, 50, numbers=1, codes=4)
    far = replace(e, synthetic=Table(np.full_like(e.synthetic.numbers, -1000.0), e.synthetic.codes))
    assert np.nansum(inference(far, RNG).pooled[:, 0]) == 0


@pytest.mark.parametrize("score", [inference, confident_inference])
def test_nothing_is_inferred_from_strangers_rows(score: Score) -> None:
    p = [worst_of(score(evidence(seed), RNG), 0.1, 0.95).p_null for seed in range(60)]
    assert sum(q < 0.05 for q in p) <= 9  # of 60 at a level of 5 %: more than 9 happen once in 1,000


def test_the_surest_tenth_is_a_tenth_of_each_side_however_many_are_equally_close() -> None:
    """Once a tenth of the controls was half of them: those of a distance that a little less than a tenth of the members had, and its ties."""
    e = evidence(9, 200, numbers=0, codes=3, spread=2)
    for found in (confident_inference(e, np.random.default_rng(seed)) for seed in range(5)):
        assert all((~np.isnan(side)).sum(axis=0).tolist() == [20] * 3 for side in (found.members, found.controls))
        assert not found.blind and np.isnan(found.overall.members).any()


def test_what_is_drawn_among_the_equally_close_is_drawn_by_lot() -> None:
    e = evidence(9, 200, numbers=0, codes=3, spread=2)
    first, second = (~np.isnan(confident_inference(e, np.random.default_rng(seed)).members[:, 0]) for seed in (0, 1))
    far = neighbours_by_parts(e).how_far_without[:200, 0]
    assert (first != second).any() and max(far[first]) == max(far[second]) == np.sort(far)[19]


@pytest.mark.parametrize("score", [inference, confident_inference])
def test_a_copy_is_seen(score: Score) -> None:
    e = evidence(3)
    found = worst_of(score(e.against(controls.full_copy(e, RNG)), RNG), 0.1, 0.95)
    assert found.p_null < 1e-6 and found.lower > 0.1


def test_one_column_that_leaks_is_found_and_named() -> None:
    """Rows of members with all columns as they are but one that is drawn anew: that one can not be inferred, each of the others can."""
    e = evidence(4)
    codes = e.members.codes.copy()
    codes[:, 2] = np.random.default_rng(1).permutation(codes[:, 2])
    scores = inference(e.against(Table(e.members.numbers, codes)), RNG)
    m, c = scores.members.mean(axis=0), scores.controls.mean(axis=0)
    assert (m - c)[4] < 0.1 < (m - c)[:4].min()
    assert scores.columns[worst_of(scores, 0.1, 0.95).at or 0] != "c4"


def test_two_halves_are_linked_where_rows_were_copied_and_not_else() -> None:
    e = evidence(5)
    fresh, copied = linkability(e, RNG), linkability(e.against(controls.full_copy(e, RNG)), RNG)
    assert abs(fresh.members.mean() - fresh.controls.mean()) < 0.1
    assert copied.members.mean() > 0.8 and copied.controls.mean() < 0.3


def test_people_with_missing_cells_are_linked_too() -> None:
    e = evidence(6, codes=6, spread=12)
    absent = Table(np.full_like(e.members.numbers, np.nan), e.members.codes)
    holes = replace(e, members=absent, train=absent, synthetic=absent)
    assert linkability(holes, RNG).members.mean() > 0.3


@pytest.mark.parametrize("score", [inference, confident_inference, linkability])
def test_one_column_or_no_rows_can_not_be_attacked(score: Score) -> None:
    e = evidence(7, 30)
    with pytest.raises(UnanswerableError):
        score(e.against(e.synthetic.take(np.arange(0))), RNG)
    thin = evidence(8, 30, numbers=1, codes=0)
    with pytest.raises(UnanswerableError):
        score(thin, RNG)


@pytest.mark.parametrize("absurd", [1e12, 1e150])
def test_absurd_synthetic_rows_do_not_blind_the_distance(absurd: float) -> None:
    rng = np.random.default_rng(11)
    members, others, reference = (Table(rng.normal(size=(600, 6)), np.zeros((600, 0), dtype=np.int32)) for _ in range(3))
    near = members.numbers + rng.normal(scale=0.05, size=members.numbers.shape)
    near[0], near[1] = absurd, -absurd
    e = Evidence(members, others, reference, Table(near, others.codes), members, tuple("abcdef"))
    linked = linkability(e, RNG)
    assert linked.members.mean() - linked.controls.mean() > 0.5
    assert worst_of(inference(e, RNG), 0.1, 0.95).lower > 0.2


def test_tiny_numbers_are_not_all_guessed() -> None:
    e = evidence(12, 80)
    tiny = replace(
        e, **{part: Table(getattr(e, part).numbers * 1e-163, getattr(e, part).codes) for part in ("members", "controls", "synthetic", "reference")}
    )
    assert inference(tiny, RNG).pooled[:, :2].mean() < 0.5


def test_what_decides_is_named_not_what_looks_largest() -> None:
    few = ((np.r_[np.ones(7), np.zeros(13)]), np.r_[np.ones(1), np.zeros(19)])
    many = ((np.r_[np.ones(1400), np.zeros(3600)]), np.r_[np.ones(600), np.zeros(4400)])
    largest = worst(excess, [few, many], 0.1, 0.95)
    assert largest.at == 1 and largest.p < 0.05 and largest.effect < few[0].mean() - few[1].mean()


def test_the_rows_are_let_go_with_the_evidence() -> None:
    e = evidence(13, 30)
    copied = e.against(controls.full_copy(e, RNG))
    assert neighbours(copied) is neighbours(copied)
    held = weakref.ref(e), weakref.ref(copied)
    del e, copied
    gc.collect()
    assert [of() for of in held] == [None, None]


def test_the_worst_of_several_covers_all_of_them() -> None:
    rng = np.random.default_rng(9)
    hits = [((rng.random(500) < 0.4).astype(float), (rng.random(300) < base).astype(float)) for base in (0.4, 0.2, 0.45)]
    each = [statistics.excess(m, c, 0.1, 0.95) for m, c in hits]
    largest = worst(excess, hits, 0.1, 0.95)
    assert largest.at == 1 and largest.effect == each[1].effect
    assert largest.upper == max(e.upper for e in each)
    assert largest.lower < each[1].lower
    assert largest.p == min(1.0, 3 * each[1].p)
