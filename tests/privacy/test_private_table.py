"""The one door: nothing read before a grant, each question charged its cost, sensitivities by brute force over neighbouring tables."""

from __future__ import annotations

import copy
import gc
import itertools
import math
import os
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import OPEN, PERSON, Silent, bounded, listed, schema_of, spied
from scipy.stats import chi2

from dpsynth.errors import BadInput, BudgetExceeded
from dpsynth.privacy import GDP, Categories, Cost, Merged, PrivateTable, Request, gdp
from dpsynth.privacy.answers import Answers
from dpsynth.privacy.table import single_use
from dpsynth.privacy.unit import kept_rows, keyed_uniform, unit_ids
from dpsynth.schema import Schema
from dpsynth.schema.cells import read_text

EXACT = Request(50.0, 1e-3, True, "test")
EMPTY = np.zeros((), int)


def people(*rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["id", "a", "b"], dtype=object)


def person_schema(max_rows: int = 2, null_ids: str = "drop") -> Schema:
    unit = PERSON | {"max_rows": max_rows, "null_ids": null_ids}
    return schema_of({"id": {"type": "id"}, "a": listed("x", "y"), "b": OPEN}, unit)


def exact_table(frame: pd.DataFrame, schema: Schema, noise: Any = None, key: bytes = b"k" * 32) -> PrivateTable:
    table = PrivateTable(frame, schema, lambda request: request.cost_in(GDP), "ledgered", key=key, noise=noise or Silent())
    table.grant(EXACT)
    return table


def test_nothing_is_read_before_a_grant_nor_by_a_charge_that_does_not_fit() -> None:
    frame = spied(people(("1", "x", "p"), ("2", "y", "p")))
    frame.seen.clear()
    schema = person_schema()
    attribute = Categories(schema.column("a"), ("x", "y"))
    table = single_use(frame, schema)
    asks = (
        lambda: table.marginal([attribute], 10.0),
        lambda: table.select([[attribute]], [np.zeros(3, int)], [1], [0], 0.1),
        lambda: table.discover(schema.column("b"), 10.0, 1e-6),
        lambda: table.left,
    )
    for ask in asks:
        with pytest.raises(BudgetExceeded):
            ask()
    assert frame.seen == []
    table.grant(Request(1e-4, 1e-9, False, "test"))
    table.sigma(0.01)
    for ask in asks[:3]:
        with pytest.raises(BudgetExceeded):
            ask()
    assert frame.seen == []
    assert table.spent == Cost()
    table.marginal([attribute], 1e6)
    assert "iloc" in frame.seen


def test_a_refused_grant_reads_nothing_and_a_second_one_is_refused() -> None:
    def refuse(request: Request) -> Cost:
        raise BudgetExceeded("no")

    frame = spied(people(("1", "x", "p")))
    frame.seen.clear()
    with pytest.raises(BudgetExceeded):
        PrivateTable(frame, person_schema(), refuse, "ledgered").grant(EXACT)
    assert frame.seen == []
    table = single_use(frame, person_schema())
    table.grant(EXACT)
    with pytest.raises(BudgetExceeded, match="already"):
        table.grant(EXACT)
    with pytest.raises(BadInput):
        single_use(frame, person_schema()).grant(Request(-1.0, 1e-9, False, "test"))


def test_a_fetched_table_is_not_fetched_before_a_measurement() -> None:
    calls: list[int] = []

    def fetch() -> pd.DataFrame:
        calls.append(1)
        return people(("1", "x", "p"))

    schema = person_schema()
    table = PrivateTable(fetch, schema, lambda request: request.cost_in(GDP), "ledgered")
    table.grant(EXACT)
    assert not calls
    for _ in range(2):
        table.marginal([Categories(schema.column("a"), ("x", "y"))], 50.0)
    assert calls == [1]


def test_a_granted_table_is_not_copied_pickled_or_forked() -> None:
    schema = person_schema()
    table = exact_table(people(("1", "x", "p")), schema)
    for double in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="same grant"):
            double(table)
    child = os.fork()
    if child == 0:
        try:
            table.marginal([Categories(schema.column("a"), ("x", "y"))], 50.0)
        except BudgetExceeded:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


ROWS = [(i, a, b) for i in ("1", "2", None) for a in ("x", "y", "zz") for b in ("p", None)]


def neighbours(null_ids: str) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Tables with and without one unit: every unit of up to three rows beside a fixed crowd."""
    crowd = [("8", "x", "p"), ("8", "y", "q"), ("8", "x", "r"), ("9", "y", "p"), ("9", "y", "p")]
    pairs = []
    for name in ("1", None) if null_ids == "one-unit" else ("1",):
        own = [r for r in ROWS if r[0] == name]
        for size in (1, 2, 3):
            for unit in itertools.combinations_with_replacement(own, size):
                for place in (0, 3, 5):
                    pairs.append((people(*crowd), people(*crowd[:place], *unit, *crowd[place:])))
    return pairs


@pytest.mark.parametrize("null_ids", ["drop", "one-unit"])
def test_one_unit_moves_each_answer_by_no_more_than_is_charged(null_ids: str) -> None:
    m = 2
    schema = person_schema(m, null_ids)
    a, b = Categories(schema.column("a"), ("x", "y")), Categories(schema.column("b"), ("p",))
    reference = np.array([[1, 0], [2, 5], [0, 0]])
    widest, most = 0.0, np.zeros(4)
    for without, within in neighbours(null_ids):
        noises = Silent(), Silent()
        tables = [exact_table(f, schema, n) for f, n in zip((without, within), noises, strict=True)]
        for clique in ([a], [b], [a, b]):
            apart = np.linalg.norm(np.subtract(*(t.marginal(clique, 50.0) for t in tables)))
            widest = max(widest, float(apart))
            assert apart <= m
        for t in tables:
            t.select([[a, b], [b, a], [a], []], [reference, reference.T, reference[:, 0], EMPTY], [1, 5, 2, 1], [3, 0, 1, 7], 0.01)
        moved = np.abs(noises[0].scores[0] - noises[1].scores[0])
        assert (moved <= np.array([1, 5, 2, 0]) * m).all()
        most = np.maximum(most, moved)
        counts = [dict(zip(*t._support(schema.column("b")), strict=True)) for t in tables]
        moved = [counts[1].get(v, 0) - counts[0].get(v, 0) for v in {*counts[0], *counts[1]}]
        assert np.linalg.norm(moved) <= math.sqrt(m)
        assert max(map(abs, moved), default=0) <= 1
    assert widest == m
    assert (most == np.array([1, 5, 2, 0]) * m).all()


def test_rows_without_an_id_are_dropped_or_one_unit_as_the_schema_says() -> None:
    frame = people((None, "x", "p"), ("", "x", "p"), (math.nan, "y", "p"), ("1", "y", "p"))
    key = b"k" * 32
    assert list(kept_rows(frame, person_schema(2, "drop"), key)) == [3]
    kept = kept_rows(frame, person_schema(2, "one-unit"), key)
    assert len(kept) == 3
    assert 3 in kept


def test_the_rows_that_count_of_a_unit_depend_on_its_own_rows_and_the_key_only() -> None:
    schema = schema_of({"id": {"type": "id"}, "a": bounded(0, 9, "continuous")}, PERSON | {"max_rows": 2})
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"id": np.repeat(["u", "v", "w"], 6), "a": rng.choice([0.0, -0.0, 1.0, 2.5], 18)})
    key = b"k" * 32

    def kept(of: pd.DataFrame, unit: str) -> list[str | None]:
        """As they are read: 0.0 and -0.0 are one cell, and which of them it was nobody is told."""
        rows = of.iloc[kept_rows(of, schema, key)]
        return sorted(read_text(rows[rows["id"] == unit]["a"], schema.column("a")))

    alone = {u: kept(frame[frame["id"] == u], u) for u in "uvw"}
    for seed in range(20):
        shuffled = frame.sample(frac=1, random_state=seed)
        for others in itertools.combinations("uvw", 2):
            part = shuffled[shuffled["id"].isin(others)]
            assert {u: kept(part, u) for u in others} == {u: alone[u] for u in others}
        assert all(len(k) == 2 for k in alone.values())
    assert len({tuple(kept_rows(frame, schema, bytes([i]) * 32)) for i in range(20)}) > 5


def test_equal_rows_are_distinct_units_where_the_unit_is_the_row() -> None:
    schema = schema_of({"a": listed("x"), "b": listed("x")})
    ids = unit_ids(pd.DataFrame({"a": ["x", "x", "xx", ""], "b": ["x", "x", "", "xx"]}), schema)
    assert len(set(ids)) == 4


def test_composite_ids_do_not_run_together() -> None:
    schema = schema_of({"p": {"type": "id"}, "q": {"type": "id"}, "a": listed("x")}, PERSON | {"columns": ["p", "q"]})
    frame = pd.DataFrame({"p": ["1", "11", "1", "-"], "q": ["11", "1", None, "1"], "a": ["x"] * 4})
    ids = unit_ids(frame, schema)
    assert ids[2] is None
    assert len({*ids}) == 4


def test_keyed_draws_are_uniform_below_one() -> None:
    draws = keyed_uniform(b"k" * 32, "split", (b"%d" % i for i in range(20_000)))
    assert 0 <= draws.min() < draws.max() < 1
    counts = np.bincount((draws * 20).astype(int), minlength=20)
    assert ((counts - 1000) ** 2 / 1000).sum() < chi2.isf(1e-8, 19)


@pytest.mark.parametrize("reference", [np.zeros((1, 3), int), np.zeros((1000, 3), int), np.zeros(3), np.array([2**62, 0, 0]), np.zeros((), int)])
def test_a_reference_that_would_amplify_a_row_is_refused_and_nothing_is_spent(reference: np.ndarray) -> None:
    schema = person_schema()
    table = exact_table(people(("1", "x", "p")), schema)
    with pytest.raises(ValueError, match="reference"):
        table.select([[Categories(schema.column("a"), ("x", "y"))]], [reference], [1], [0], 0.1)
    assert table.spent == Cost()


@pytest.mark.parametrize("groups", [(0,), (0, 1, -1), (0, 1, 1, 1)])
def test_merged_codes_cover_their_base(groups: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="group"):
        Merged(Categories(person_schema().column("a"), ("x", "y")), groups)


def test_each_question_is_charged_its_cost() -> None:
    schema = person_schema(2)
    a = Categories(schema.column("a"), ("x", "y"))
    table = exact_table(people(("1", "x", "p")), schema)
    table.marginal([a], 7.0)
    first = table.spent
    assert first == Cost.measured(GDP, 4 * Fraction(gdp.discrete_gaussian_mu(7.0)) ** 2)
    table.select([[a]], [np.zeros(3, int)], [1], [0], 0.04)
    second = table.spent - first
    assert 0.04 * (1 - 1e-7) <= second.amount <= 0.04
    table.discover(schema.column("b"), 9.0, 1e-6)
    assert table.spent - first - second == Cost.measured(GDP, 2 * Fraction(gdp.discrete_gaussian_mu(9.0)) ** 2, 1e-6)
    assert sum(e["amount"] for e in table.events) == pytest.approx(table.spent.amount)
    for wrong in (-1e-3, -1.0):
        with pytest.raises(ValueError, match=r".*"):
            table.discover(schema.column("b"), 9.0, wrong)


def test_buying_nothing_reads_no_row() -> None:
    def unread() -> pd.DataFrame:
        raise AssertionError("rows were read")

    table = PrivateTable(unread, person_schema(), lambda request: request.cost_in(GDP), "ledgered")
    table.grant(EXACT)
    assert table.select([[], []], [EMPTY, EMPTY], [1, 1], [10**6, 0], 1.0) == 1
    assert table.spent != Cost()


@pytest.mark.parametrize(
    ("weights", "penalties"),
    [
        ([0], [0]),
        ([-1], [0]),
        ([1.0], [0]),
        ([True], [0]),
        ([2**20 + 1], [0]),
        ([1], [0.5]),
        ([1], [2**50 + 1]),
        ([1], [None]),
        ([], [0]),
        ([1, 1], [0]),
    ],
)
def test_weights_and_penalties_that_are_not_whole_are_refused_and_nothing_is_spent(weights: list[Any], penalties: list[Any]) -> None:
    schema = person_schema()
    table = exact_table(people(("1", "x", "p")), schema)
    with pytest.raises(ValueError, match=r".*"):
        table.select([[Categories(schema.column("a"), ("x", "y"))]], [np.zeros(3, int)], weights, penalties, 0.1)
    assert table.spent == Cost()


def test_a_weighted_reference_that_might_wrap_is_refused() -> None:
    schema = person_schema()
    table = exact_table(people(("1", "x", "p")), schema)
    reference = np.array([2**40, 0, 0])
    clique = [Categories(schema.column("a"), ("x", "y"))]
    assert table.select([clique], [reference], [2**10], [0], 0.1) == 0
    with pytest.raises(ValueError, match="wrap"):
        table.select([clique], [reference], [2**10 + 1], [0], 0.1)


def test_a_value_that_many_units_hold_is_found_and_a_lone_one_is_not() -> None:
    schema = person_schema(2)
    frame = people(*[(str(i), "x", "common") for i in range(400)], *[("one", "x", f"mine {i}") for i in range(300)], *[("two", "x", "often")] * 500)
    table = single_use(frame, schema)
    table.grant(Request(1.0, 1e-6, True, "test"))
    assert table.discover(schema.column("b"), 10.0, 1e-8) == ("common",)


def _asked(path: Path, noise: Any = None, steps: int = 3) -> list[list[int]]:
    schema = person_schema()
    table = PrivateTable(people(("1", "x", "p")), schema, lambda r: r.cost_in(GDP), "ledgered", answers=Answers(path), noise=noise)
    table.grant(EXACT)
    a = Categories(schema.column("a"), ("x", "y"))
    answers: list[list[int]] = [table.marginal([a], 50.0 + i).tolist() for i in range(steps - 1)]
    return [*answers, [table.select([[a], [a]], [np.zeros(3, int)] * 2, [1, 1], [0, 0], 0.1)]]


def test_what_was_answered_is_answered_again_from_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first = _asked(path)
    assert path.stat().st_mode & 0o777 == 0o600

    class Deaf(Silent):
        def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
            raise AssertionError("drew again")

        choose = add_discrete_gaussian  # type: ignore[assignment]

    content = path.read_bytes()
    assert _asked(path, Deaf()) == first
    assert path.read_bytes() == content


def test_a_torn_last_line_is_drawn_again_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first = _asked(path)
    path.write_bytes(path.read_bytes()[:-7])
    again = _asked(path)
    assert again[:2] == first[:2]
    assert len(path.read_bytes().splitlines()) == 3


@pytest.mark.parametrize("spoil", [lambda b: b.replace(b"50.0", b"49.0"), lambda b: b"{}\n" + b, lambda b: b"[1\n" + b, lambda b: b"\xff\xfe\n" + b])
def test_a_journal_of_other_questions_is_refused(tmp_path: Path, spoil: Any) -> None:
    path = tmp_path / "answers.jsonl"
    _asked(path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(BadInput, match=r"answers"):
        _asked(path)


def test_an_answer_that_cannot_be_written_is_not_given(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r".*"):
        _asked(tmp_path / "no folder" / "answers.jsonl")


def test_a_repeatable_noise_source_stamps_what_it_makes() -> None:
    assert single_use(people(), person_schema(), Silent()).stamp == "not private"
    assert single_use(people(), person_schema()).stamp == "unledgered"


def test_the_rows_are_let_go_with_the_table() -> None:
    import weakref

    frame = people(("1", "x", "p"))
    gone = weakref.ref(frame)
    table = exact_table(frame, person_schema())
    table.marginal([Categories(person_schema().column("a"), ("x", "y"))], 50.0)
    del frame, table
    gc.collect()
    assert gone() is None
