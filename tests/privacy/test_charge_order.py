"""What a question costs is spent before it is answered, and stays spent whatever becomes of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import OPEN, Silent, bounded, listed, schema_of, spied

from dpsynth.errors import BudgetExceeded
from dpsynth.privacy import GDP, Categories, PrivateTable, Request
from dpsynth.privacy.answers import Answers
from dpsynth.synthesizers.registry import GENERATORS

SCHEMA = schema_of({"a": listed("x", "y"), "o": OPEN})
A = Categories(SCHEMA.column("a"), ("x", "y"))
FRAME = pd.DataFrame({"a": ["x"], "o": ["p"]})
QUESTIONS: dict[str, Callable[[PrivateTable], Any]] = {
    "marginal": lambda table: table.marginal([A], 9.0),
    "select": lambda table: table.select([[A]], [np.zeros(3, int)], [1], [0], 0.05),
    "discover": lambda table: table.discover(SCHEMA.column("o"), 9.0, 1e-5),
}
each_question = pytest.mark.parametrize("question", QUESTIONS)


def opened(rows: Any = FRAME, noise: Any = None, answers: Answers | None = None) -> PrivateTable:
    table = PrivateTable(rows, SCHEMA, lambda request: request.cost_in(GDP), "test", noise=noise, answers=answers)
    table.grant(Request(3.0, 1e-3, True, "test"))
    return table


def failing(*_: Any) -> Any:
    raise OSError("gone")


@each_question
def test_a_question_that_fails_stays_charged(question: str) -> None:
    """Whether the rows, the noise or the journal fails: who could fail it at will would else ask until an answer pleases."""
    ask = QUESTIONS[question]
    paid = opened()
    ask(paid)
    noise = Silent()
    noise.add_discrete_gaussian = noise.choose = failing  # type: ignore[method-assign]
    answers = Answers()
    answers.record = failing  # type: ignore[method-assign]
    for table in (opened(failing), opened(noise=noise), opened(answers=answers)):
        for times in (1, 2):
            with pytest.raises(OSError, match="gone"):
                ask(table)
            assert table.spent.amount_ticks == times * paid.spent.amount_ticks > 0
            assert table.spent.delta_ticks == times * paid.spent.delta_ticks


@each_question
def test_rows_are_fetched_after_the_charge(question: str) -> None:
    paid = opened()
    QUESTIONS[question](paid)
    seen = []

    def fetch() -> pd.DataFrame:
        seen.append(table.spent)
        return FRAME

    table = opened(fetch)
    QUESTIONS[question](table)
    assert seen == [paid.spent]


@each_question
def test_a_question_asked_again_is_charged_again(question: str) -> None:
    table = opened()
    QUESTIONS[question](table)
    once = table.spent
    QUESTIONS[question](table)
    assert table.spent == once + once


@pytest.mark.parametrize("rows", [0, 1, 2, 50])
def test_how_many_rows_there_are_refuses_no_grant(rows: int) -> None:
    """A refusal that depends on the rows would be an answer about them, and one that nobody paid for."""
    frame = pd.concat([FRAME] * rows) if rows else FRAME.iloc[:0]
    table = opened(frame)
    for ask in QUESTIONS.values():
        ask(table)
    assert table.left.fits(table.granted)
    with pytest.raises(BudgetExceeded):
        table.marginal([A], 0.5)


@pytest.mark.parametrize("name", GENERATORS)
def test_what_a_generator_builds_between_questions_is_built_without_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor from their number: on a table that affords more than single columns, so that references, weights and penalties are made."""
    schema = schema_of({"a": listed("x", "y"), "b": listed("p", "q"), "n": bounded(0, 9)})
    spy = spied(pd.DataFrame({"a": ["x", "y"] * 2_000, "b": ["p", "q"] * 2_000, "n": [str(i % 10) for i in range(4_000)]}))
    looks: list[str] = []
    ask = PrivateTable._ask

    def watched(self: PrivateTable, question: dict[str, Any], cost: Any, draw: Callable[[], Any]) -> Any:
        def drawn() -> Any:
            looks.extend(spy.seen)
            answer = draw()
            spy.seen.clear()
            return answer

        return ask(self, question, cost, drawn)

    monkeypatch.setattr(PrivateTable, "_ask", watched)
    table = PrivateTable(spy, schema, lambda request: request.cost_in(GDP), "test")
    spy.seen.clear()
    model = GENERATORS[name](3.0, 1e-6).fit(table)
    assert looks + spy.seen == []
    assert name == "independent" or any(e["kind"] == "select" for e in model.events)
