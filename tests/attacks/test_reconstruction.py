"""Linear reconstruction: the equations against a slow twin, a copy reconstructed, strangers no better than controls."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from attacks import controls
from attacks.evidence import Evidence, Table
from attacks.membership import Coding
from attacks.reconstruction import MOST_SETS, Equations, _secrets, column_sets, reconstruction
from attacks.scores import Scores, UnanswerableError
from attacks.statistics import excess

RNG = np.random.default_rng(0)


def table(rng: np.random.Generator, n: int, numbers: int = 2, codes: int = 4, spread: int = 3) -> Table:
    x = np.round(rng.normal(0, 3, (n, numbers)), 1)
    x[rng.random((n, numbers)) < 0.1] = np.nan
    return Table(x, rng.integers(-1, spread, (n, codes)).astype(np.int32))


def evidence(seed: int, n: int = 500, **shape: int) -> Evidence:
    rng = np.random.default_rng(seed)
    members, others, reference, synthetic = (table(rng, n, **shape) for _ in range(4))
    return Evidence(members, others, reference, synthetic, members, tuple(f"c{j}" for j in range(members.width)))


def worst(scores: Scores) -> tuple[float, float]:
    """The largest lower bound and the least p-value over the columns, for as many columns."""
    pairs, k = list(zip(scores.members.T, scores.controls.T, strict=True)), len(scores.columns)
    found = [excess(m, c, 0.1, 1 - 0.05 / k) for m, c in pairs]
    return max(e.lower for e in found), k * min(e.p_null for e in found)


def slow_rises(people: np.ndarray, synthetic: np.ndarray, column: int, told: np.ndarray, answer: int, sets: list[tuple[int, ...]]) -> np.ndarray:
    """The weighted least squares of the module's first paragraph, one equation at a time, solved densely."""
    share = np.mean(told == answer)
    lines, right = [], []
    for columns in sets:
        for cell in sorted({tuple(row) for row in people[:, columns].tolist()}) if column not in columns else []:
            inside = (people[:, columns] == cell).all(axis=1)
            rows = (synthetic[:, columns] == cell).all(axis=1)
            if rows.any():
                n, m = inside.sum(), rows.sum()
                weight = 1 / np.sqrt(n**2 / m + n)
                lines.append(weight * inside)
                right.append(weight * n * (np.mean(told[rows] == answer) - share))
    lines, right = [*lines, *np.eye(len(people))], [*right, *np.zeros(len(people))]
    return np.asarray(np.linalg.lstsq(np.array(lines), np.array(right), rcond=None)[0])


@pytest.mark.parametrize("seed", range(4))
def test_the_solution_is_that_of_a_slow_twin(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attacks.reconstruction.STEPS", 500)
    rng = np.random.default_rng(seed)
    people, synthetic = (rng.integers(0, 3, (n, 4)) for n in (9, 14))
    coding = Coding((), tuple(np.arange(2, dtype=np.int32) for _ in range(4)))
    sets = [c for size in (1, 2, 3) for c in combinations(range(4), size)]
    asked = _secrets(synthetic, coding)
    found = Equations.of(people, synthetic, (4,) * 4, asked, tuple(sets))
    for i, secret in enumerate(asked):
        told = secret.answer[synthetic[:, secret.column]]
        for answer in np.flatnonzero(secret.share):
            slow = slow_rises(people, synthetic, secret.column, told, answer, sets)
            assert np.allclose(found.rises(i)[:, answer], slow, atol=1e-5)


def test_members_of_a_copy_are_reconstructed_and_controls_are_not() -> None:
    e = evidence(1)
    scores = reconstruction(e.against(controls.full_copy(e, RNG)), np.random.default_rng(2))
    assert scores.columns == e.names
    assert scores.members.mean() > 0.85 and scores.controls.mean() < 0.6
    lower, p = worst(scores)
    assert lower > 0.1 and p < 1e-9


def test_members_in_counts_alone_are_reconstructed() -> None:
    """No row of it is anyone's: half of the columns belong to one person and half to another. Counts within each half are the training table's."""
    e = evidence(2, 300, numbers=0, codes=10, spread=6)
    codes = e.train.codes.copy()
    codes[:, 5:] = np.roll(codes[:, 5:], 1, axis=0)
    assert not set(map(bytes, codes)) & set(map(bytes, e.train.codes))
    lower, p = worst(reconstruction(e.against(Table(e.train.numbers, codes)), np.random.default_rng(3)))
    assert lower > 0.1 and p < 1e-6


def test_nothing_is_reconstructed_from_strangers_rows() -> None:
    p = [worst(reconstruction(evidence(seed, 200), np.random.default_rng(seed)))[1] for seed in range(40)]
    assert sum(q < 0.05 for q in p) <= 13  # of 40 at a level of 5 %: more happen less than once in a million


def test_members_and_controls_are_treated_alike() -> None:
    """Who is called a member changes no guess."""
    e = evidence(3, 120)
    swapped = replace(e, members=e.controls, controls=e.members)
    one, other = reconstruction(e, np.random.default_rng(1)), reconstruction(swapped, np.random.default_rng(1))
    assert np.array_equal(one.members, other.controls) and np.array_equal(one.controls, other.members)


def test_a_secret_that_is_missing_or_rare_is_an_answer_like_others() -> None:
    e = evidence(4, 400)
    codes = np.where(np.random.default_rng(5).random(e.members.codes.shape) < 0.95, 0, -1).astype(np.int32)
    rare = replace(e, members=Table(e.members.numbers, codes), train=Table(e.members.numbers, codes))
    scores = reconstruction(rare.against(rare.train), np.random.default_rng(2))
    place = scores.columns.index("c2")
    assert scores.members[codes[:, 0] == -1, place].mean() > 0.9


def test_columns_with_one_value_are_no_secrets() -> None:
    e = evidence(5, 60)
    codes = e.synthetic.codes.copy()
    codes[:, 1] = 2
    assert "c3" not in reconstruction(e.against(Table(e.synthetic.numbers, codes)), RNG).columns
    none = e.synthetic.take(np.zeros(60, dtype=np.int64))
    with pytest.raises(UnanswerableError):
        reconstruction(e.against(none), RNG)


def test_one_column_or_no_rows_can_not_be_attacked() -> None:
    with pytest.raises(UnanswerableError):
        reconstruction(evidence(6, 30, numbers=1, codes=0), RNG)
    e = evidence(7, 30)
    with pytest.raises(UnanswerableError):
        reconstruction(e.against(e.synthetic.take(np.arange(0))), RNG)


@pytest.mark.parametrize("width", [2, 3, 15, 40, 300])
def test_sets_of_columns_are_bounded_and_leave_no_column_out(width: int) -> None:
    sets = column_sets(width, np.random.default_rng(0))
    assert len(sets) == len(set(sets)) <= MOST_SETS
    if width <= 40:
        assert {j for s in sets for j in s} == set(range(width))
