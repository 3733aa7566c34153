"""C14 to C17: generators that train. One that does not has no answer to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import chi2

from conformance.rules import FALSE_ALARM, guards
from conformance.sources import Deaf, Real
from conformance.subject import Plan, Subject, Teaches, Training, Trains, able
from conformance.tables import CLOSED, DELTA, EPSILON, WORTH_TRAINING, crowd, filled, more

BATCHES = [frozenset(b) for b in ((0, 1), (1,), (), (0,), (0, 1), (1,))]


@guards("C14")
def teachers_share_neither_rows_nor_weights(subject: Subject) -> None:
    teaching = able(subject, Teaches).teach(crowd(CLOSED, 60), CLOSED, EPSILON, DELTA)
    assert teaching.rounds and all(len(parts) > 1 for parts in teaching.rounds), "there is one teacher only"
    for parts in teaching.rounds:
        assert sum(map(len, parts)) == len(frozenset().union(*parts)), "a row taught two teachers"
        assert list(parts) == list(teaching.rounds[0]), "rows were dealt to teachers anew between rounds"
    for teacher in teaching.teachers:
        for student in teaching.handed_out:
            assert not np.shares_memory(teacher, student), "what is handed out is a teacher's own weights"
            assert teacher.shape != student.shape or not np.array_equal(teacher, student), "what is handed out is a copy of a teacher"


@guards("C15")
def batches_are_drawn_as_the_accountant_was_told(subject: Subject) -> None:
    """Each row in each batch with probability `rate`, independently: the right mean for each row, and binomial spread over steps."""
    train, rows = able(subject, Trains).train, WORTH_TRAINING
    runs = [train(Real(), crowd(CLOSED, rows), CLOSED, EPSILON, DELTA) for _ in range(6)]
    rate = runs[0].plan.rate
    assert 0 < rate <= 1
    assert all(len(run.batches) == run.plan.steps for run in runs), "another number of steps than the plan's"
    if rate == 1:
        assert all(len(batch) == rows for run in runs for batch in run.batches)
        return
    drawn = np.array([[i in batch for i in range(rows)] for run in runs for batch in run.batches])
    for counts, size in ((drawn.sum(axis=0), len(drawn)), (drawn.sum(axis=1), rows)):
        spread = float(np.square((counts - size * rate) / np.sqrt(size * rate * (1 - rate))).sum())
        p = float(chi2.cdf(spread, len(counts)))
        assert FALSE_ALARM < p < 1 - FALSE_ALARM, f"batches do not spread as draws of rate {rate:.3g} do"


@guards("C16")
def parameters_follow_noised_gradients_alone(subject: Subject) -> None:
    table = crowd(CLOSED)
    one, other = (trained(subject, rows) for rows in (table, filled(CLOSED, ["x"] * len(table)).assign(n="99")))
    assert_same(one, other, "rows reached a parameter though all noised gradients were the same")


@guards("C16")
def no_row_moves_a_gradient_by_more_than_was_charged(subject: Subject) -> None:
    table = crowd(CLOSED)
    changed = table.copy()
    changed.iloc[0] = [None, "odd", "1e300"]
    sources = Deaf(), Deaf()
    for source, rows in zip(sources, (table, changed), strict=True):
        able(subject, Trains).train(source, rows, CLOSED, EPSILON, DELTA, BATCHES)
    gradients = [[d for d in source.draws if d.kind == "gradient"] for source in sources]
    assert len(gradients[0]) == len(BATCHES), "not one noised gradient a batch: an empty batch too takes noise and a step"
    for batch, a, b in zip(BATCHES, *gradients, strict=True):
        most = 2 * a.sensitivity * (0 in batch)  # out with the old row, in with the new one
        assert np.linalg.norm(a.exact - b.exact) <= most + 1e-9, "a row moved a gradient by more than the clip, or one it was not drawn for"


@guards("C17")
def nothing_of_a_training_follows_the_number_of_rows(subject: Subject) -> None:
    tables = [crowd(CLOSED, 2), more(crowd(CLOSED, 3), ("x", "p", "5")), *(crowd(CLOSED, rows) for rows in (7, 50))]
    runs = [trained(subject, rows) for rows in tables]
    plans: set[Plan] = {run.plan for run in runs}
    assert len(plans) == 1, "the plan follows the number of rows"
    for run in runs[1:]:
        assert_same(runs[0], run, "steps follow the number of rows though all noised gradients were the same")


def trained(subject: Subject, rows: pd.DataFrame) -> Training:
    return able(subject, Trains).train(Deaf(), rows, CLOSED, EPSILON, DELTA, BATCHES)


def assert_same(one: Training, other: Training, words: str) -> None:
    steps: Sequence[bool] = [np.array_equal(a, b) for a, b in zip(one.parameters, other.parameters, strict=True)]
    assert steps and all(steps), words
