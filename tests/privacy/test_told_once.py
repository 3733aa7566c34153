"""A release pays once, so each of its steps is told once: whoever asks, in whatever copy of its folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier
from time import sleep
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpsynth.errors import BadInput, BudgetExceeded
from dpsynth.privacy import Bins, Categories, Cost, Ledger, Merged, PrivateTable, Request
from dpsynth.privacy.attribute import Codes
from dpsynth.schema import Column, Schema

DELTA = 1e-6
COLUMNS = [{"name": "sex", "type": "categorical", "categories": ["f", "m"], "categories_basis": "publisher"}, {"name": "who", "type": "id"}]
BY_ROW = Schema.from_dict({"name": "people", "privacy_unit": {"unit": "row"}, "one_row_per_person": {"basis": "survey"}, "columns": COLUMNS})
BY_PERSON = Schema.from_dict({"name": "people", "privacy_unit": {"unit": "person", "columns": ["who"], "max_rows": 3}, "columns": COLUMNS})
FRAME = pd.DataFrame({"sex": ["f", "m"] * 40, "who": [str(i // 2) for i in range(80)]})
SEX = Categories(BY_ROW.column("sex"), ("f", "m"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.db", "people", 3.0, DELTA)


def opened(ledger: Ledger, journal: Path, rows: Callable[[], pd.DataFrame] = lambda: FRAME) -> PrivateTable:
    table = ledger.resumable_table(rows, BY_ROW, "the release", journal)
    table.grant(Request(1.0, DELTA, False, "test"))
    return table


def unread() -> pd.DataFrame:
    raise AssertionError("rows were read")


def test_a_resumed_table_tells_the_same_without_reading(ledger: Ledger, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    first = opened(ledger, journal).marginal([SEX], 50.0)
    assert (opened(ledger, journal, unread).marginal([SEX], 50.0) == first).all()
    assert len([e for e in ledger.events() if e.kind == "grant"]) == 1


def test_a_lost_journal_is_not_answered_anew(ledger: Ledger, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    opened(ledger, journal).marginal([SEX], 50.0)
    journal.unlink()
    with pytest.raises(BudgetExceeded, match="lacks answers that this release was already told"):
        opened(ledger, journal, unread).marginal([SEX], 50.0)


def test_a_copy_of_the_folder_cannot_go_its_own_way(ledger: Ledger, tmp_path: Path) -> None:
    journal, copy = tmp_path / "answers.jsonl", tmp_path / "copy.jsonl"
    opened(ledger, journal).marginal([SEX], 50.0)
    shutil.copy(journal, copy)
    ahead = opened(ledger, journal)
    ahead.marginal([SEX], 50.0)
    ahead.marginal([SEX], 60.0)
    behind = opened(ledger, copy, unread)
    behind.marginal([SEX], 50.0)
    with pytest.raises(BudgetExceeded, match="lacks answers"):
        behind.marginal([SEX], 60.0)


def test_two_at_once_one_is_told(ledger: Ledger, tmp_path: Path) -> None:
    """Both passed the look at what was told; the one that comes second to tell is not told."""
    one = opened(ledger, tmp_path / "one.jsonl")

    def overtaken() -> pd.DataFrame:
        one.marginal([SEX], 50.0)
        return FRAME

    two = opened(ledger, tmp_path / "two.jsonl", overtaken)
    with pytest.raises(BudgetExceeded, match="told another answer at step 1"):
        two.marginal([SEX], 50.0)


def test_an_answer_that_was_written_but_not_told_is_told_as_written(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dpsynth.privacy.answers import Answers

    journal = tmp_path / "answers.jsonl"
    monkeypatch.setattr(Answers, "_told", lambda self, line: None)
    drawn = opened(ledger, journal).marginal([SEX], 50.0)
    monkeypatch.undo()
    assert (opened(ledger, journal, unread).marginal([SEX], 50.0) == drawn).all()
    journal.unlink()
    with pytest.raises(BudgetExceeded):
        opened(ledger, journal, unread).marginal([SEX], 50.0)


def test_a_ledger_protects_one_unit(ledger: Ledger) -> None:
    table = ledger.table(FRAME, BY_PERSON)
    table.grant(Request(1.0, DELTA, False, "test"))
    spent = ledger.spent
    with pytest.raises(BadInput, match=r"protects each who, the schema's unit is row"):
        ledger.table(FRAME, BY_ROW)
    with pytest.raises(BadInput, match="protects each who"):
        ledger.grant(Request(0.1, DELTA, False, "test"))
    assert ledger.spent == spent


def test_the_table_says_the_unit_whatever_the_request_says(ledger: Ledger) -> None:
    ledger.table(FRAME, BY_PERSON).grant(Request(1.0, DELTA, False, "test", unit=()))
    assert ledger.events()[-1].body["unit"] == ["who"]


@dataclass(frozen=True)
class Ranks:
    """A map that is not row-wise: each row moves all others."""

    column: Column
    size: int = 3

    def encode(self, cells: pd.Series, decimal: str) -> Codes:
        return np.full(len(cells), len(cells) % 3, dtype=np.int64)


class Subtle(Bins):
    """A subclass could be anything too."""


@pytest.mark.parametrize(
    "attribute", [Ranks(BY_ROW.column("sex")), Subtle(BY_ROW.column("sex"), (0.0, 1.0, 2.0)), Merged(Ranks(BY_ROW.column("sex")), (0, 0, 1))]
)
def test_only_the_kernels_own_attributes(ledger: Ledger, attribute: Ranks) -> None:
    table = ledger.table(unread, BY_ROW)
    table.grant(Request(1.0, DELTA, False, "test"))
    for ask in (lambda: table.marginal([attribute], 50.0), lambda: table.select([[attribute]], [np.zeros(attribute.size, int)], [1], [0], 0.01)):
        with pytest.raises(TypeError, match="kernel's own"):
            ask()
    assert table.spent == Cost()


def test_a_resume_under_other_bounds_buys_no_more_answers(ledger: Ledger, tmp_path: Path) -> None:
    """What was told when three rows of a person counted cost nine times what it would at one; told again it still does."""

    def opened_at(rows: int) -> PrivateTable:
        schema = BY_PERSON.with_unit(replace(BY_PERSON.unit, max_rows=rows))
        table = ledger.resumable_table(lambda: FRAME, schema, "the release", tmp_path / "answers.jsonl")
        table.grant(Request(1.0, DELTA, False, "test"))
        return table

    first = opened_at(3)
    sigma = first.sigma(first.granted.amount * 0.999)
    first.marginal([SEX], sigma)
    with pytest.raises(BadInput, match="holds the answers to other questions"):
        opened_at(1).marginal([SEX], sigma)
    assert ledger.spent == opened_at(3).granted


def test_threads_that_share_a_table_share_its_grant(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each asks for the whole grant while the charge is under way: one is answered."""
    real, table, every = Ledger.grant, ledger.table(FRAME, BY_ROW), Barrier(4)

    def slow(ledger: Ledger, *words: Any) -> Any:
        granted = real(ledger, *words)
        sleep(0.1)
        return granted

    def spend(_: int) -> bool:
        every.wait()
        try:
            table.grant(Request(1.0, DELTA, False, "test"))
            table.marginal([SEX], table.sigma(table.granted.amount * 0.999))
        except BudgetExceeded:
            return False
        return True

    monkeypatch.setattr(Ledger, "grant", slow)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(spend, range(4))) == 1
