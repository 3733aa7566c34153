"""C1 to C8: what may be known of a table before it is measured."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import chain, islice, repeat

import numpy as np
import pandas as pd

from conformance.measures import RUNS, is_split, is_within, outcome, workplace
from conformance.rules import guards
from conformance.sources import Real
from conformance.spies import Watch, watched
from conformance.subject import CannotBeAsked, KeepsBudget, StatesCurrency, Subject, SwapsNoise, WatchesReads, able
from conformance.tables import (
    CALM,
    CLOSED,
    DELTA,
    EPSILON,
    KINDS,
    MEASURED,
    NUMBERS,
    OPENED,
    OUTSIDE,
    PEOPLE,
    crowd,
    filled,
    frame,
)
from dpsynth.schema import Column, Schema

VANISHING = 1e-3
ANSWERED = {"closed": CLOSED, "open": OPENED}
FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)


@guards("C1", KINDS)
def rows_are_touched_only_inside_paid_measurements(subject: Subject, schema: Schema) -> None:
    watch = Watch()
    able(subject, WatchesReads).fit_watched(watch, watched(crowd(schema), watch), schema, EPSILON, DELTA)
    assert not watch.unpaid, f"rows were touched unpaid: {sorted(set(watch.unpaid))}"
    assert watch.looks, "the rows were not touched at all"


@guards("C1")
def a_declared_domain_is_the_domain_whatever_the_rows_hold(subject: Subject) -> None:
    table = crowd(CLOSED, 400)
    plain = subject.fit(table, CLOSED, EPSILON, DELTA).sample(300)
    for kind, cells in OUTSIDE.items():
        odd = pd.concat([table, filled(CLOSED, cells * 40)], ignore_index=True)
        made = subject.fit(odd, CLOSED, EPSILON, DELTA).sample(300)
        assert list(made.dtypes) == list(plain.dtypes), f"{kind}: other types of columns"
        for column in CLOSED.synthesised:
            assert is_inside(made[column.name], column), f"{kind}: {column.name} left its declared domain"


def is_inside(cells: pd.Series, column: Column) -> bool:
    """Whether sampled cells are listed, bounded, or missing."""
    held = cells[cells.notna() & (cells.astype(str) != column.marker)]
    if column.is_number:
        low, high = column.bounds or (-np.inf, np.inf)
        return bool(pd.to_numeric(held).between(low, high).all())
    return set(held) <= {*(column.categories or ()), "other"}


@guards("C1", ANSWERED)
def what_cells_hold_shows_in_answers_only(subject: Subject, schema: Schema) -> None:
    """Odd cells, and columns in which all cells are the same: a constant or a column without missing cells is not known for one."""
    table = crowd(schema)
    plain = outcome(subject, table, schema)
    for kind, cells in (OUTSIDE | {"constant": ["x"] * len(table), "all missing": [None] * len(table)}).items():
        odd = pd.concat([table.iloc[: -len(cells)], filled(schema, cells)], ignore_index=True)
        assert outcome(subject, odd, schema) == plain, f"{kind}: seen though all answers were the same"


@guards("C2", CALM)
def odd_cells_are_not_met_by_a_warning(subject: Subject, schema: Schema) -> None:
    subject.fit(crowd(schema), schema, EPSILON, DELTA)
    for kind, cells in OUTSIDE.items():
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            attempt(subject, pd.concat([crowd(schema, 6), filled(schema, cells)], ignore_index=True), schema)
        loud = [w.category.__name__ for w in said if not issubclass(w.category, FOR_DEVELOPERS)]
        assert not loud, f"{kind}: {loud} and went on"


def attempt(subject: Subject, rows: pd.DataFrame, schema: Schema) -> None:
    """A fit that may be refused for what the rows hold."""
    try:
        subject.fit(rows, schema, EPSILON, DELTA).sample(5)
    except CannotBeAsked:
        raise
    except Exception:
        return


@guards("C3", KINDS)
def all_that_is_drawn_costs_no_more_than_was_asked_for(subject: Subject, schema: Schema) -> None:
    source, counted_in = Real(), able(subject, StatesCurrency).counted_in
    able(subject, SwapsNoise).fit_with(source, crowd(schema), schema, EPSILON, DELTA)
    assert source.draws, "no noise was drawn at all"
    assert is_within(source.draws, counted_in, EPSILON, DELTA), f"the noise drawn does not buy ({EPSILON}, {DELTA}) in {counted_in}"


@guards("C3", KINDS)
def a_budget_of_one_request_is_one_fit_and_nothing_more(subject: Subject, schema: Schema) -> None:
    with workplace() as folder:
        budget = able(subject, KeepsBudget).budget(folder, schema, EPSILON, DELTA)
        budget.fit(crowd(schema), schema, EPSILON, DELTA)
        spent = budget.spent()
        assert any(spent), "a fit cost nothing"
        assert is_refused(budget.fit, crowd(schema), schema, VANISHING, DELTA), "another fit on a spent budget"
        assert budget.spent() == spent


def is_refused(act: Callable[..., object], *words: object) -> bool:
    try:
        act(*words)
    except CannotBeAsked:
        raise
    except Exception:
        return True
    return False


def raw_numbers(rows: int) -> list[float]:
    """Numbers that no rule of rounding makes, each once."""
    return [3.000123456789 + 0.470000137 * i for i in range(rows)]


@guards("C4")
def no_real_cell_fills_what_is_missing(subject: Subject) -> None:
    real = raw_numbers(8)
    table = frame(MEASURED, [("x", "p", str(real[i]) if i < len(real) else None) for i in range(80)])
    assert not copies(subject, table, real), "a real cell stands for missing ones"


@guards("C5")
def no_number_of_a_row_comes_out_as_it_was(subject: Subject) -> None:
    real = raw_numbers(200)
    table = frame(MEASURED, [("xyz"[i % 3], "p", str(v)) for i, v in enumerate(real)])
    assert not copies(subject, table, real), "real numbers come out as they were"


def copies(subject: Subject, table: pd.DataFrame, real: list[float]) -> set[float]:
    made = subject.fit(table, MEASURED, 10.0, DELTA).sample(3000)["v"]
    return set(pd.to_numeric(made, errors="coerce").dropna().astype(float)) & set(real)


def at(value: float, schema: Schema, rows: int = 24) -> pd.DataFrame:
    """A crowd whose numbers all lie about `value`."""
    return crowd(schema, rows).assign(v=[str(value + i / 16) for i in range(rows)])


@guards("C6", NUMBERS)
def where_numbers_lie_moves_no_bin(subject: Subject, schema: Schema) -> None:
    outlier = at(5, schema)
    outlier.loc[3, "v"] = "99.5"
    low, *others = (outcome(subject, table, schema) for table in (at(5, schema), at(90, schema), outlier))
    assert all(other == low for other in others), "bins or bounds follow the rows though all answers were the same"


@guards("C6", NUMBERS)
def at_a_vanishing_budget_numbers_say_nothing(subject: Subject, schema: Schema) -> None:
    """Whoever reads quantiles or extremes raw tells the tables apart in every run."""
    means = [numbers_made(subject, at(value, schema), schema) for value in (5, 90)]
    assert not is_split(*means), f"sampled numbers tell two tables apart at epsilon {VANISHING}"


def numbers_made(subject: Subject, table: pd.DataFrame, schema: Schema) -> list[float]:
    """The mean number of each of `RUNS` fits; one in sixteen makes missing cells only and says nothing, it is made again."""
    made = (subject.fit(table, schema, VANISHING, DELTA).sample(100)["v"] for _ in range(3 * RUNS))
    means = (float(pd.to_numeric(column, errors="coerce").astype(float).mean()) for column in made)
    return list(islice(chain(filter(math.isfinite, means), repeat(0.0)), RUNS))


@guards("C7")
def a_value_that_one_unit_holds_is_not_named(subject: Subject) -> None:
    alone = [f"alone {i}" for i in range(400)]
    table = frame(OPENED, [("x", "p", value, "5") for value in [*alone, *["common"] * 400]])
    named = [v for _ in range(2) for v in set(subject.fit(table, OPENED, EPSILON, DELTA).sample(20_000)["o"].dropna()) & set(alone)]
    assert len(named) < 3, f"{len(named)} of {2 * len(alone)} values were named that one row alone held, at a delta of {DELTA}"


@guards("C7", {kind: PEOPLE[kind] for kind in ("persons, open", "persons, weighed")})
def a_value_of_one_person_is_not_named_however_often_it_stands(subject: Subject, schema: Schema) -> None:
    table = frame(schema, [("me", "x", "p", "mine")] * 4000 + [(f"u{i}", "y", "q", "common") for i in range(600)])
    made = subject.fit(table, schema, EPSILON, 1e-9).sample(5000)["o"].dropna()
    assert "mine" not in set(made), "a value that one person alone held was named"


@guards("C7")
def an_open_column_without_delta_is_refused(subject: Subject) -> None:
    assert is_refused(subject.fit, crowd(OPENED), OPENED, EPSILON, 0.0), "values were discovered at a delta of 0"


@guards("C8", ANSWERED)
def how_many_rows_there_are_shows_in_answers_only(subject: Subject, schema: Schema) -> None:
    if subject.relation != "add/remove":
        raise CannotBeAsked("the number of rows is public where neighbours replace a row")
    table = crowd(schema)
    sizes = [pd.concat([table] * times) if times else table.iloc[:0] for times in (0, 1, 3, 20)]
    first, *others = [outcome(subject, rows.reset_index(drop=True), schema) for rows in sizes]
    assert all(other == first for other in others), "a parameter follows the number of rows though all answers were the same"
