"""Fast exact counts against slow ones, over every kind of attribute, with and without room to keep them."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_samples import bounded, listed, schema_of

from dpsynth.privacy import Attribute, Bins, Categories, Merged, tally
from dpsynth.privacy.tally import Tally

SCHEMA = schema_of({"a": listed("x", "y", "z"), "n": bounded(0, 400, bins=300), "b": listed("x")})
A = Categories(SCHEMA.column("a"), ("x", "y", "z"))
N = Bins(SCHEMA.column("n"), tuple(float(e) for e in range(401)))
COARSE = Merged(N, tuple(i // 7 for i in range(N.size)))
COARSER = Merged(COARSE, tuple(i % 3 for i in range(COARSE.size)))
LONE = Merged(A, (0, 0, 0, 0))
EVERY: tuple[Attribute, ...] = (A, N, COARSE, COARSER, LONE, Categories(SCHEMA.column("b"), ("x",)))


def frame(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(rows)
    return pd.DataFrame(
        {"a": rng.choice(["x", "y", "zz", ""], rows), "n": rng.integers(-5, 420, rows).astype(str), "b": rng.choice(["x", None], rows)},
        index=np.full(rows, 7),
    )


def slow(of: pd.DataFrame, clique: tuple[Attribute, ...], weights: np.ndarray | None = None) -> np.ndarray:
    counts = np.zeros([a.size for a in clique], np.int64)
    coded = [a.encode(of[a.column.name], ".").tolist() for a in clique]
    held: Counter[tuple[int, ...]] = Counter()
    for cell, weight in zip(zip(*coded, strict=True), [1] * len(of) if weights is None else weights.tolist(), strict=True):
        held[cell] += weight
    for cell, count in held.items():
        counts[cell] = count
    return counts


@pytest.mark.parametrize("rows", [0, 1, 300, 20_000])
@pytest.mark.parametrize("room", [0, 400 * 2**20])
@pytest.mark.parametrize("one", [1, 1024])
def test_counts_and_distances_are_the_slow_ones(rows: int, room: int, one: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "CACHE_BYTES", room)
    monkeypatch.setattr(tally, "BLOCK", 64)
    of = frame(rows)
    rng = np.random.default_rng(1)
    weights = None if one == 1 else rng.integers(1, one + 1, rows)
    fast = Tally(of, ".", weights, one)
    for clique in [(a,) for a in EVERY] + list(itertools.permutations(EVERY, 2))[::3] + [(A, COARSE, N), (N, LONE, A)]:
        expected = slow(of, clique, weights)
        for _ in range(2):
            assert (fast.counts(clique) == expected).all() and fast.counts(clique).shape == expected.shape
        reference = rng.integers(-3, 90_000, expected.shape)
        apart = sum(abs(int(c) - one * int(r)) for c, r in zip(expected.ravel(), reference.ravel(), strict=True))
        assert fast.distance(clique, reference) == apart


@given(st.integers(2**20, 2**31), st.integers(-(2**50), 2**50), st.integers(1, 2**10))
@settings(deadline=None, max_examples=60)
def test_a_weighted_distance_neither_wraps_nor_rounds_however_heavy(weight: int, reference: int, rows: int) -> None:
    heavy = Tally(frame(rows), ".", np.full(rows, weight * 2**10), 2**10)
    assert heavy.counts((LONE,)).tolist() == [rows * weight * 2**10]
    assert heavy.distance((LONE,), np.array([reference])) == 2**10 * abs(rows * weight - reference)


def test_the_rows_of_the_empty_clique_are_all_rows() -> None:
    assert Tally(frame(300), ".").counts(()).tolist() == 300


@given(st.integers(0, 300), st.integers(-(2**53), 2**53), st.sampled_from([np.int8, np.int16, np.int32, np.int64]))
@settings(deadline=None, max_examples=60)
def test_a_distance_neither_wraps_nor_rounds(rows: int, reference: int, kind: type) -> None:
    held = np.array([min(max(reference, np.iinfo(kind).min), np.iinfo(kind).max)], dtype=kind)
    assert Tally(frame(rows), ".").distance((LONE,), held) == abs(rows - int(held[0]))


def test_what_is_kept_stays_below_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "CACHE_BYTES", 5_000)
    fast = Tally(frame(300), ".")
    for clique in itertools.combinations(EVERY, 2):
        fast.counts(clique)
    assert 0 < sum(c.nbytes for c in fast._counts.values()) == 5_000 - fast._room <= 5_000


def test_each_attribute_is_encoded_once_and_a_merged_one_through_its_base(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    encode = Bins.encode
    monkeypatch.setattr(Bins, "encode", lambda self, cells, decimal: calls.append("n") or encode(self, cells, decimal))
    fast = Tally(frame(300), ".")
    for attribute in (COARSER, COARSE, N, Merged(N, (0,) * N.size)):
        for _ in range(2):
            fast.codes(attribute)
    assert calls == ["n"]


@pytest.mark.parametrize("size", [2, 255, 256, 257, 65_535, 65_536, 65_537])
def test_codes_fit_their_type(size: int) -> None:
    schema = schema_of({"n": bounded(0, size)})
    wide = Bins(schema.column("n"), tuple(float(e) for e in range(size)))
    of = Tally(pd.DataFrame({"n": ["0", str(size - 2), str(size), ""]}), ".")
    assert of.codes(wide).tolist() == [0, size - 2, size - 2, size - 1]
    assert of.counts((wide,)).sum() == 4
