"""Fast paths against slow obvious twins, and what counts as rare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import nearest
from attacks.evidence import Evidence, Table
from attacks.kernels import closest
from attacks.scores import UnanswerableError


def table(rng: np.random.Generator, n: int, spread: int = 4) -> Table:
    numbers = rng.integers(0, spread, (n, 2)).astype(float)
    numbers[rng.random((n, 2)) < 0.2] = np.nan
    return Table(numbers, rng.integers(-1, spread, (n, 2)).astype(np.int32))


def evidence(rng: np.random.Generator, n: int = 30, spread: int = 4) -> Evidence:
    members, controls, reference, synthetic = (table(rng, n, spread) for _ in range(4))
    return Evidence(members, controls, reference, synthetic, members, ("a", "b", "c", "d"))


def rows(t: Table) -> list[tuple[float, ...]]:
    return [tuple(r) for r in np.concatenate([np.nan_to_num(t.numbers, nan=-9), t.codes], axis=1).tolist()]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**31))
def test_the_kernel_equals_brute_force(n: int, m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(0, 1, (k, d)).astype(np.float32) for k in (n, m))
    slow = np.minimum(np.abs(x[:, None] - y[None]), 1).sum(axis=2).min(axis=1)
    assert np.allclose(closest(x, np.ascontiguousarray(y.T)), slow, atol=1e-5)


def test_the_distance_equals_its_definition() -> None:
    e = evidence(np.random.default_rng(1))
    every = np.concatenate([e.pool.numbers, e.reference.numbers, e.synthetic.numbers])
    unit = np.nanstd(every, axis=0) / 2

    def apart(x: Table, i: int, y: Table, k: int) -> float:
        total = float((x.codes[i] != y.codes[k]).sum())
        for j in range(2):
            a, b = x.numbers[i, j], y.numbers[k, j]
            total += float(np.isnan(a) != np.isnan(b)) if np.isnan(a) or np.isnan(b) else min(abs(a - b) / unit[j], 1)
        return total / 4

    slow = [min(apart(e.pool, i, e.synthetic, k) for k in range(30)) for i in range(60)]
    assert np.allclose(nearest.closest_distance(e.pool, e.synthetic, e), slow, atol=1e-5)


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


def test_few_rare_rows_are_not_applicable() -> None:
    e = evidence(np.random.default_rng(4), 60, 2)
    with pytest.raises(UnanswerableError) as caught:
        nearest.exact_match(e, np.random.default_rng(0))
    assert caught.value.status == "not_applicable"


def test_a_rare_number_stands_a_hundred_steps_apart() -> None:
    numbers = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [400.0], [900.0], [900.0], [950.0], [np.nan]])
    none = np.empty((0, 1)), np.empty((0, 0), dtype=np.int32)
    members = Table(numbers, np.empty((10, 0), dtype=np.int32))
    e = Evidence(members, Table(*none), Table(*none), members, members, ("a",))
    assert np.flatnonzero(nearest.rare_cells(e)[:, 0]).tolist() == [5]


def test_a_missing_cell_equals_a_missing_cell() -> None:
    none = Table(np.array([[np.nan], [np.float64("-nan")]]), np.array([[-1], [-1]], dtype=np.int32))
    assert len(set(nearest._keys(none).tolist())) == 1
