"""Which rows of a unit count and for how much; and how many, where that is measured: one charged question, then final, told once."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_samples import OPEN, PERSON, Silent, listed, schema_of, spied

from dpsynth.errors import BudgetExceeded
from dpsynth.privacy import GDP, ZCDP, Categories, Cost, Currency, Ledger, PrivateTable, Request, bounding
from dpsynth.privacy.answers import Answers
from dpsynth.privacy.table import single_use
from dpsynth.privacy.unit import bound, rows_of_units, unit_ids
from dpsynth.schema import Schema

KEY = b"k" * 32
REQUEST = Request(1.0, 1e-6, False, "test")
MEASURED = PERSON | {"max_rows": "measure", "most_rows": 12, "keep": 0.9}


def schema(unit: dict[str, Any], null_ids: str = "drop") -> Schema:
    return schema_of({"id": {"type": "id"}, "a": listed("x", "y"), "b": OPEN}, unit | {"null_ids": null_ids})


def units(*rows: int) -> pd.DataFrame:
    """A table of units with so many rows each, all different."""
    made = [(f"u{i}", "xy"[k % 2], f"{i} {k}") for i, n in enumerate(rows) for k in range(n)]
    return pd.DataFrame(made, columns=["id", "a", "b"], dtype=object)


def weighed(frame: pd.DataFrame, of: Schema, key: bytes = KEY) -> dict[str, list[tuple[str, int]]]:
    """The rows of each unit that count, with their parts."""
    kept = bound(frame, of, key)
    assert kept.parts is not None
    held: dict[str, list[tuple[str, int]]] = {}
    for position, parts in zip(kept.positions, kept.parts.tolist(), strict=True):
        held.setdefault(frame["id"].iloc[position], []).append((frame["b"].iloc[position], parts))
    return {unit: sorted(rows) for unit, rows in held.items()}


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 40, 41, 1023, 1024, 1500])
@pytest.mark.parametrize("most", [1, 3, 40, 1024])
def test_a_units_parts_are_shared_evenly_over_its_rows_and_none_is_lost(rows: int, most: int) -> None:
    held = weighed(units(rows, 2), schema(PERSON | {"max_rows": most, "count": "units"}))
    for unit, had in (("u0", rows), ("u1", 2)):
        parts = [p for _, p in held[unit]]
        assert len(parts) == min(had, most)
        assert sum(parts) == 1024
        assert min(parts) > 0 and max(parts) <= min(parts) + 1


def test_rows_and_their_parts_depend_on_the_units_own_rows_and_the_key_only() -> None:
    of = schema(PERSON | {"max_rows": 5, "count": "units"})
    frame = units(9, 7, 3, 1)
    alone = {u: weighed(frame[frame["id"] == u], of)[u] for u in frame["id"].unique()}
    for seed in range(10):
        shuffled = frame.sample(frac=1, random_state=seed)
        for gone in ("u0", "u1", "u2", "u3"):
            assert weighed(shuffled[shuffled["id"] != gone], of) == {u: rows for u, rows in alone.items() if u != gone}
    others = [weighed(frame, of, bytes([i]) * 32)["u2"] for i in range(20)]
    assert len({tuple(rows) for rows in others}) == 3, "the one part that is over goes to each of three rows under some key"


def test_ids_that_a_point_and_a_nought_set_apart_are_one_unit() -> None:
    """As a table has them whose ids were whole numbers in one file, and numbers with gaps, so floating-point ones, in another."""
    frame = units(6, 2)
    for ids in (["7"] * 3 + ["7.0"] * 3 + ["8", "8.0"], [7, 7.0] * 3 + [8.0, "8"], ["-7", "-7.0"] * 3 + [None, float("nan")]):
        held = frame.assign(id=pd.Series(ids, dtype=object))
        assert len(set(unit_ids(held, schema(PERSON)))) == 2
        assert sorted(rows_of_units(held, schema(PERSON, "one-unit"))) == [2, 6]
        kept = bound(held, schema(PERSON | {"max_rows": 2}), KEY).positions
        assert sum(kept < 6) == 2
    others = ["7", "07", "7.", "7.00", "7.1", "x.0", ".0", "7.0.0"]
    assert len(set(unit_ids(units(*[1] * 8).assign(id=others), schema(PERSON)))) == 8


def test_the_bins_are_public_and_hold_every_number_of_rows_once() -> None:
    assert bounding.ladder(64).tolist() == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    assert bounding.ladder(1).tolist() == [1]
    for most in range(1, 200):
        rungs = bounding.ladder(most)
        assert rungs[-1] == most and (np.diff(rungs) > 0).all()
        every = np.arange(1, 2 * most + 1)
        assert (bounding.histogram(every, most) == np.diff([0, *rungs[:-1], 2 * most])).all()


def test_a_unit_moves_one_bin_by_one() -> None:
    """All tables of up to three units of up to three rows, the third that of the rows without an id, and far larger units; equal rows too."""
    sets = [(), *(u for k in (1, 2) for u in combinations_with_replacement("xy", k)), ("x", "x", "y"), ("x",) * 30]
    for null_ids in ("drop", "one-unit"):
        of = schema(MEASURED, null_ids)
        sizes = {}
        for rows in product(sets, repeat=3):
            made = [(owner, a, "q") for owner, own in zip(("1", "2", None), rows, strict=True) for a in own]
            sizes[rows] = rows_of_units(pd.DataFrame(made, columns=["id", "a", "b"], dtype=object), of)
        for most in (1, 2, 3):
            told = {rows: bounding.histogram(of_units, most) for rows, of_units in sizes.items()}
            for rows, i in product(sizes, range(3)):
                moved = told[rows] - told[tuple(() if i == j else r for j, r in enumerate(rows))]
                counts = bool(rows[i]) and not (i == 2 and null_ids == "drop")
                assert sorted(moved) == [0] * (most - 1) + [int(counts)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.sampled_from([1, 2, 5, 12, 64]), st.sampled_from([0.5, 0.9, 0.95, 1.0]))
@settings(deadline=None, max_examples=200)
def test_without_noise_it_is_the_least_rung_that_leaves_enough_units_whole(rows: list[int], most: int, share: float) -> None:
    rungs = bounding.ladder(most).tolist()
    whole = {r: sum(n <= r for n in rows) for r in rungs}
    least = next((r for r in rungs if whole[r] >= share * len(rows) - 1e-9), most)
    assert bounding.enough(bounding.histogram(np.array(rows), most), 1e-12, most, share) == least


def test_what_the_noise_may_have_made_calls_for_no_more_rows() -> None:
    """The table of a hundred units is hidden by the noise: one row each. In that of a million, .95 have at most four."""
    rng = np.random.default_rng(0)
    shares = np.array([60, 20, 10, 5, 3, 2, 0, 0, 0, 0, 0, 0])
    for times, expected in ((1, 1), (10_000, 4)):
        chosen = Counter(bounding.enough(times * shares + np.rint(rng.normal(0, 55, 12)).astype(int), 55.0, 64, 0.95) for _ in range(400))
        assert chosen[expected] >= 0.95 * 400, chosen


def opened(frame: Any, of: Schema, noise: Any = None, answers: Answers | None = None, currency: Currency = GDP) -> PrivateTable:
    table = PrivateTable(frame, of, lambda r: r.cost_in(currency), "test", key=KEY, answers=answers, noise=noise)
    table.grant(REQUEST)
    return table


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
def test_it_is_the_first_question_of_a_grant_and_final_after_it(currency: Currency) -> None:
    of = schema(MEASURED)
    frame = units(*[1] * 500, *[4] * 700, 90)
    table = opened(frame, of, Silent(), currency=currency)
    assert table.rows_per_unit == table.sensitivity == 4
    assert (table.schema.unit.max_rows, table.schema.unit.keep) == (4, None)
    assert of.unit.keep == 0.9, "what was declared is as it was"
    (event,) = table.events
    assert (event["kind"], event["what"]) == ("rows per unit", "person")
    assert 0.0099 * table.granted.amount <= event["amount"] == table.spent.amount <= 0.01 * table.granted.amount
    a = Categories(of.column("a"), ("x", "y"))
    sigma = table.sigma(table.left.amount / 2)
    assert sigma == currency.noise_sigma(table.left.amount / 2, 16)
    assert table.marginal([a], sigma).sum() == 500 + 4 * 700 + 4


def test_nothing_is_read_before_the_grant_nor_after_a_refused_one() -> None:
    def refuse(request: Request) -> Cost:
        raise BudgetExceeded("no")

    frame = spied(units(1, 2))
    frame.seen.clear()
    with pytest.raises(BudgetExceeded):
        PrivateTable(frame, schema(MEASURED), refuse, "test").grant(REQUEST)
    with pytest.raises(BudgetExceeded, match="no budget"):
        _ = single_use(frame, schema(MEASURED)).left
    assert frame.seen == []


def test_rows_are_fetched_once() -> None:
    fetched: list[int] = []

    def fetch() -> pd.DataFrame:
        fetched.append(1)
        return units(1, 2, 3)

    table = opened(fetch, schema(MEASURED))
    table.marginal([Categories(table.schema.column("a"), ("x", "y"))], 50.0)
    assert fetched == [1]


def unread() -> pd.DataFrame:
    raise AssertionError("rows were read")


def test_a_resumed_release_is_told_the_same_number_without_reading(tmp_path: Path) -> None:
    of = schema(MEASURED)
    ledger = Ledger.create(tmp_path / "ledger.db", "people", 3.0, 1e-6)
    frame = units(*[2] * 4500, *[7] * 2500)  # so many that the number is 8 whatever the noise: of a fifth of them one run in sixty found 2

    def asked(rows: Any) -> tuple[int, list[float]]:
        table = ledger.resumable_table(rows, of, "the release", tmp_path / "answers.jsonl")
        table.grant(REQUEST)
        return table.rows_per_unit, table.marginal([Categories(of.column("a"), ("x", "y"))], table.sigma(table.left.amount / 2)).tolist()

    first = asked(lambda: frame)
    assert first[0] == 8
    assert asked(unread) == first
    assert len([e for e in ledger.events() if e.kind == "grant"]) == 1


def test_a_measurement_that_failed_leaves_the_table_bounded_by_its_cap(tmp_path: Path) -> None:
    """The charge stays, the number stays unknown; what is asked all the same is charged for the most rows there may be."""

    def broken(counts: np.ndarray, sigma: float) -> np.ndarray:
        raise OSError("the device is gone")

    noise = Silent()
    noise.add_discrete_gaussian = broken  # type: ignore[method-assign]
    table = PrivateTable(units(30), schema(MEASURED), lambda r: r.cost_in(GDP), "test", noise=noise)
    with pytest.raises(OSError, match="device"):
        table.grant(REQUEST)
    assert table.rows_per_unit == 12
    assert table.spent.amount > 0
    with pytest.raises(BudgetExceeded, match="already"):
        table.grant(REQUEST)
    del noise.add_discrete_gaussian
    assert table.marginal([Categories(table.schema.column("a"), ("x", "y"))], 500.0).sum() == 12


@pytest.mark.parametrize("null_ids", ["drop", "one-unit"])
@pytest.mark.parametrize("rows", [(), (1,), (500,), (1,) * 50])
def test_what_the_rows_are_never_refuses(rows: tuple[int, ...], null_ids: str) -> None:
    frame = pd.concat([units(*rows), pd.DataFrame({"id": [None] * 40, "a": "x", "b": "q"})], ignore_index=True)
    for held in (frame, frame.iloc[:0], frame.assign(id=None)):
        table = opened(held, schema(MEASURED, null_ids))
        assert 1 <= table.rows_per_unit <= 12
        table.marginal([Categories(table.schema.column("a"), ("x", "y"))], 50.0)


def test_no_question_of_another_thread_comes_before_the_number_of_rows_is_final() -> None:
    """The grant waits while its first question fetches the rows; a second thread asks meanwhile, and is answered by the final number."""
    fetching, asked = threading.Event(), threading.Event()

    def rows() -> pd.DataFrame:
        if not fetching.is_set():
            fetching.set()
            asked.wait(0.5)  # longer than the other thread needs, were it let in
        return units(*[1] * 300, 12)

    table = PrivateTable(rows, schema(MEASURED), lambda request: request.cost_in(GDP), "test", noise=Silent())

    def ask() -> None:
        fetching.wait()
        table.marginal([Categories(table.schema.column("a"), ("x", "y"))], table.sigma(0.01))
        asked.set()

    other = threading.Thread(target=ask)
    other.start()
    table.grant(REQUEST)
    other.join()
    kept = table._kept()[0]
    assert table.rows_per_unit == 1 and len(kept) == kept["id"].nunique() == 301
