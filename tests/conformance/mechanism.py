"""C9 to C13, C18 to C20, C25, C26, C28 to C30 and C32: what is drawn, and what is paid for it."""

from __future__ import annotations

import copy
import importlib
import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, chi2

from conformance.domain import is_refused
from conformance.measures import apart, drawn, exact_counts, is_within, largest_mu, neighbours, workplace
from conformance.rules import FALSE_ALARM, guards
from conformance.sources import Deaf, Draw, Real
from conformance.spies import Watch, watched
from conformance.subject import Answer, CannotBeAsked, HasOptions, KeepsBudget, StatesCurrency, Subject, SwapsNoise, TellsAnswers, Trains, able
from conformance.tables import (
    CATEGORIES,
    CLOSED,
    DELTA,
    EIGHT,
    EPSILON,
    KINDS,
    OPENED,
    PEOPLE,
    PERSONS,
    ROOMY,
    WIDE,
    WORTH_TRAINING,
    crowd,
    even,
    frame,
)
from dpsynth.schema import Schema

BUDGETS = ((0.01, 1e-9), (0.3, 1e-6), (0.7, 1e-6), (1.0, 1e-12), (4.0, 1e-3))
ALIKE = 0.008  # what sampling alone moves a share by, seven times over
WAIT_SECONDS = 60


@guards("C9")
def no_budget_and_no_table_makes_it_overspend(subject: Subject) -> None:
    if isinstance(subject, Trains):
        the_plan_fits_the_budget(subject)
    fit, counted_in = able(subject, SwapsNoise).fit_with, able(subject, StatesCurrency).counted_in
    for epsilon, delta in BUDGETS:
        for rows in (0, 60):
            source = Real()
            fit(source, crowd(CLOSED, rows), CLOSED, epsilon, delta)
            assert is_within(source.draws, counted_in, epsilon, delta), f"overspent ({epsilon}, {delta}) in {counted_in} on {rows} rows"


def the_plan_fits_the_budget(subject: Trains) -> None:
    """The steps of a training are priced beforehand, by an accountant of somebody else's."""
    from dp_accounting import PoissonSampledDpEvent, SelfComposedDpEvent
    from dp_accounting.dp_event import GaussianDpEvent
    from dp_accounting.pld import PLDAccountant

    for epsilon, delta in ((0.5, 1e-6), (EPSILON, DELTA)):
        plan = subject.train(Real(), crowd(CLOSED, WORTH_TRAINING), CLOSED, epsilon, delta).plan
        step = PoissonSampledDpEvent(plan.rate, GaussianDpEvent(plan.sigma))
        spent = PLDAccountant().compose(SelfComposedDpEvent(step, plan.steps)).get_epsilon(delta)
        assert spent <= epsilon * (1 + 1e-3), f"the plan spends {spent:.4g} of {epsilon}"


@guards("C10")
def noise_has_the_scale_that_is_told_however_many_rows(subject: Subject) -> None:
    for each in (10, 1000):
        pairs = told(subject, CATEGORIES, EPSILON, each, 12)
        standing = np.concatenate([(answer.values - exact).ravel() / answer.sigma for answer, exact in pairs])
        p = float(chi2.cdf(np.square(standing).sum(), len(standing)))
        if pairs[0][0].law == "Laplace":
            p = float(chi2.cdf(math.sqrt(8) * np.abs(standing).sum(), 2 * len(standing)))
        size = np.square(standing).mean() ** 0.5
        assert FALSE_ALARM / 2 < p < 1 - FALSE_ALARM / 2, f"on {3 * each} rows noise is {size:.3g} times as large as told"


def told(subject: Subject, schema: Schema, epsilon: float, each: int, fits: int) -> list[tuple[Answer, np.ndarray]]:
    """The answers of some fits about the columns' own values, each with the exact counts."""
    answers = able(subject, TellsAnswers).answers
    table = even(schema, each)
    pairs = [(a, exact_counts(a, table)) for _ in range(fits) for a in answers(subject.fit(table, schema, epsilon, DELTA))]
    known = [(a, exact) for a, exact in pairs if exact is not None]
    assert known, "no answer is about the values of a column"
    return known


CROWD = [("x", "p", "5"), ("x", "p", "5"), ("y", "q", "50"), ("z", "q", "95"), ("y", "p", "70")]
UNITS = [[("x", "p", "5")], [("z", "p", "0")], [("odd", None, "1e9")], [(None, None, None)]]


def row_neighbours(subject: Subject) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    return neighbours(subject, frame(CLOSED, CROWD * 8), *UNITS)


def moved_too_far(one: list[Draw], other: list[Draw], kind: str) -> list[str]:
    """The draws of a kind that one unit moves by more than was charged for."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a.kind == kind]
    return [f"by {apart(a, b):.3g}, charged for {a.sensitivity:.3g}" for a, b in pairs if apart(a, b) > a.sensitivity * (1 + 1e-6)]


@guards("C11", {"closed": CLOSED, **PEOPLE})
def no_unit_moves_a_score_by_more_than_was_charged(subject: Subject, schema: Schema) -> None:
    for without, within in row_neighbours(subject) if schema.unit.is_row else person_neighbours(subject, schema):
        draws = (drawn(subject, table, schema, epsilon=20.0) for table in (without, within))
        wrong = moved_too_far(*draws, kind="choice")
        assert not wrong, f"a unit moved a score {wrong[0]}" if wrong else ""


@guards("C12")
def two_fits_have_two_noises_whatever_the_global_seeds(subject: Subject) -> None:
    def seeded() -> list[float]:
        with kept_random_state():
            random.seed(1)
            np.random.seed(1)  # noqa: NPY002
            return shares(subject)

    assert not have_one_noise(subject, [seeded() for _ in range(4)]), "four fits had the same noise"


def shares(subject: Subject) -> list[float]:
    """The shares of eight categories in a large sample of a fit: its noise, to the eye."""
    return shares_of(subject, even(EIGHT, 50))


def shares_of(subject: Subject, table: pd.DataFrame) -> list[float]:
    cells = subject.fit(table, EIGHT, EPSILON, DELTA).sample(160_000)["a"].astype(str)
    return [float((cells == c).mean()) for c in "abcdefgh"]


def have_one_noise(subject: Subject, fits: list[list[float]]) -> bool:
    """Whether the fits are alike. Raises `CannotBeAsked` if one of quite other rows is like them, too."""
    if not all_alike(fits):
        return False
    if all_alike([*fits, shares_of(subject, even(EIGHT, 50).assign(a="a"))]):
        raise CannotBeAsked(f"its samples show nothing of the rows at epsilon {EPSILON:g}, and so nothing of its noise")
    return True


def all_alike(fits: list[list[float]]) -> bool:
    return all(np.abs(np.subtract(a, b)).max() < ALIKE for a, b in combinations(fits, 2))


@guards("C12")
def global_random_states_are_left_alone(subject: Subject) -> None:
    with kept_random_state():
        before = random_state()
        subject.fit(crowd(CLOSED), CLOSED, EPSILON, DELTA).sample(20)
        assert random_state() == before, "a fit or a sample moved or set a global random state"
    assert imports_quietly(type(subject).__module__), "importing the generator moved or set a global random state"


def random_state() -> tuple[Any, ...]:
    torch = sys.modules.get("torch")
    states = random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2]  # noqa: NPY002
    return (*states, torch.random.get_rng_state().tolist()) if torch else states


@contextmanager
def kept_random_state() -> Iterator[None]:
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002


IMPORTED = """
import importlib, random, sys
import numpy as np
random.seed(5); np.random.seed(5)
sys.path[:0] = sys.argv[2:]
importlib.import_module(sys.argv[1])
assert random.random() == random.Random(5).random()
assert np.random.random() == np.random.RandomState(5).random()
if "torch" in sys.modules:
    assert importlib.import_module("torch").initial_seed() == 67280421310721, "torch starts from this"
"""


@cache
def imports_quietly(module: str) -> bool:
    """Whether a process that imports a module draws the same afterwards."""
    importlib.import_module(module)
    return subprocess.run([sys.executable, "-c", IMPORTED, module, *sys.path], check=False, capture_output=True).returncode == 0


@guards("C13")
def forked_processes_have_noises_of_their_own(subject: Subject) -> None:
    shares(subject)
    assert not have_one_noise(subject, [in_a_child(lambda: shares(subject)) for _ in range(3)]), "forked processes drew the same noise"


@guards("C13")
def threads_have_noises_of_their_own(subject: Subject) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert not have_one_noise(subject, list(pool.map(lambda _: shares(subject), range(3)))), "threads drew the same noise"


def in_a_child(act: Callable[[], list[float]]) -> list[float]:
    """What `act` returns in a forked process, which starts from the memory of this one."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(WAIT_SECONDS)
        try:
            os.write(write, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    found: list[float] = json.loads(result)
    return found


@guards("C18")
def sampling_neither_reads_nor_draws_nor_counts_wrong(subject: Subject) -> None:
    watch = Watch()
    rows = watched(crowd(CLOSED), watch)
    sampler = subject.fit(rows, CLOSED, EPSILON, DELTA)
    looks = len(watch.looks)
    assert [len(sampler.sample(n)) for n in (0, 1, 7, 300)] == [0, 1, 7, 300], "another number of rows than was asked for"
    assert len(watch.looks) == looks, "sampling looked at the rows"
    if isinstance(subject, SwapsNoise):
        source = Real()
        sampler = subject.fit_with(source, crowd(CLOSED), CLOSED, EPSILON, DELTA)
        draws = len(source.draws)
        sampler.sample(50)
        assert len(source.draws) == draws, "sampling ran the mechanism again"


@guards("C18")
def sampling_is_free(subject: Subject) -> None:
    with opened(subject, CLOSED, 2.0) as budget:
        sampler = budget.fit(crowd(CLOSED), CLOSED, EPSILON, DELTA)
        spent = budget.spent()
        sampler.sample(100)
        sampler.sample(100)
        assert budget.spent() == spent, "sampling was charged, or gave something back"


@contextmanager
def opened(subject: Subject, schema: Schema, epsilon: float, delta: float = DELTA) -> Iterator[Any]:
    with workplace() as folder:
        yield able(subject, KeepsBudget).budget(folder, schema, epsilon, delta)


@guards("C19", KINDS)
def every_draw_is_charged(subject: Subject, schema: Schema) -> None:
    source = Real()
    able(subject, SwapsNoise).fit_with(source, crowd(schema, 60), schema, 20.0, DELTA)
    free = [i for i, draw in enumerate(source.draws) if not draw.sensitivity > 0]
    assert source.draws, "no noise was drawn at all"
    assert not free, f"draw {free[0] + 1} of {len(source.draws)} was not charged" if free else ""


@guards("C20")
def each_option_changes_what_is_asked_or_made_of_it(subject: Subject) -> None:
    configured = able(subject, HasOptions)
    able(subject, SwapsNoise)
    for option, values in configured.options().items():
        kept = copy.deepcopy(list(values))
        asked = [asked_and_made(configured.with_option(option, value)) for value in values]
        same = [(values[i], values[j]) for i, j in combinations(range(len(asked)), 2) if asked[i] == asked[j]]
        assert not same, f"{option}={same[0][0]!r} and {same[0][1]!r} do the same" if same else ""
        again = [asked_and_made(configured.with_option(option, value)) for value in values]
        assert list(values) == kept, f"{option} was changed by a fit"
        assert again == asked, f"{option} of one generator changed another"


@guards("C20")
def epsilon_and_delta_change_the_noise(subject: Subject) -> None:
    asked = [questions(subject, epsilon, delta) for epsilon, delta in ((1.0, 1e-6), (2.0, 1e-6), (1.0, 1e-3))]
    assert asked[0] != asked[1], "epsilon changes nothing"
    assert asked[0] != asked[2], "delta changes nothing"


def questions(subject: Subject, epsilon: float, delta: float) -> list[tuple[Any, ...]]:
    """What a fit asks, on a table whose answers are always the same."""
    source = Deaf()
    able(subject, SwapsNoise).fit_with(source, crowd(ROOMY), ROOMY, epsilon, delta)
    return _asked(source)


def asked_and_made(subject: Subject) -> tuple[list[tuple[Any, ...]], str]:
    """The same, with the rows that are made of those answers."""
    source = Deaf()
    fitted = able(subject, SwapsNoise).fit_with(source, crowd(ROOMY), ROOMY, 20.0, DELTA)
    return _asked(source), fitted.sample(400, seed=1).to_csv()


def _asked(source: Deaf) -> list[tuple[Any, ...]]:
    return [(d.kind, d.exact.shape, d.scale, d.sensitivity) for d in source.draws]


@guards("C25")
def answers_are_whole_numbers(subject: Subject) -> None:
    for epsilon in (0.1, EPSILON, 50.0):
        for answer, _ in told(subject, CATEGORIES, epsilon, 12, 2):
            assert (answer.values == np.round(answer.values)).all(), "noisy counts are not on the lattice of whole numbers"


@guards("C25")
def small_noise_follows_the_discrete_law(subject: Subject) -> None:
    """Rounded normal noise of scale .5 is 0 two times in three, the discrete Gaussian four times in five."""
    pairs = told(subject, WIDE, 80.0, 1, 40)
    zeros = sum(int((a.values == exact).sum()) for a, exact in pairs)
    cells = sum(a.values.size for a, _ in pairs)
    share = float(np.average([mass_at_zero(a) for a, _ in pairs], weights=[a.values.size for a, _ in pairs]))
    p = min(binom.cdf(zeros, cells, share), binom.sf(zeros - 1, cells, share))
    assert p > FALSE_ALARM / 2, f"noise is 0 in {zeros / cells:.3f} of cells, by its discrete law in {share:.3f}"


def mass_at_zero(answer: Answer) -> float:
    if answer.law == "Laplace":
        return math.tanh(1 / (math.sqrt(2) * answer.sigma))
    reach = np.arange(-int(40 * answer.sigma) - 2, int(40 * answer.sigma) + 3)
    return float(1 / np.exp(-np.square(reach) / (2 * answer.sigma**2)).sum())


@guards("C26")
def charges_add_up_exactly(subject: Subject) -> None:
    rows = crowd(CLOSED, 3)
    with opened(subject, CLOSED, 3.0) as budget:
        steps = [budget.spent()]
        tiny = max(1e-6, getattr(subject, "least_epsilon", 0.0))
        for epsilon in (1e-3, 1e-3, 1e-3, tiny, 1.0, tiny, 1e-3):
            budget.fit(rows, CLOSED, epsilon, DELTA / 100)
            steps.append(budget.spent())
    charges = differences(steps)
    small, tiny = charges[0], charges[3]
    assert any(part > 0 for part in tiny), "a small charge was lost"
    assert charges[1] == charges[2] == charges[6] == small, "equal charges do not add up equally"
    assert charges[5] == tiny, "a small charge was lost in a large sum"


def differences(steps: list[tuple[Fraction, ...]]) -> list[tuple[Fraction, ...]]:
    return [tuple(b - a for a, b in zip(before, after, strict=True)) for before, after in pairwise(steps)]


@guards("C28")
def no_row_moves_a_count_by_more_than_was_charged(subject: Subject) -> None:
    require_counts_to_move_little(subject, CLOSED, row_neighbours(subject))


@guards("C28")
def no_row_moves_a_count_of_an_open_column_by_more_than_was_charged(subject: Subject) -> None:
    units = [[("x", "p", "red", "5")], [("y", "q", "new", "1e12")], [(None, None, None, "-1e12")]]
    require_counts_to_move_little(subject, OPENED, neighbours(subject, crowd(OPENED, 40), *units))


@guards("C29", PEOPLE)
def no_person_moves_a_count_by_more_than_was_charged(subject: Subject, schema: Schema) -> None:
    require_counts_to_move_little(subject, schema, person_neighbours(subject, schema))


def require_counts_to_move_little(subject: Subject, schema: Schema, pairs: Iterable[tuple[pd.DataFrame, pd.DataFrame]]) -> None:
    for without, within in pairs:
        wrong = moved_too_far(*(drawn(subject, table, schema) for table in (without, within)), kind="counts")
        assert not wrong, f"under {subject.relation} of a unit counts moved {wrong[0]}" if wrong else ""


def person_neighbours(subject: Subject, schema: Schema) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """A crowd with and without a person of one row, of two, of forty equal ones, of forty different ones."""
    cells = {"a": ["x", "y", "z", None], "b": ["p", "q"], "n": ["5", "95", "1e9"], "o": ["red", "mine", "other"]}

    def person(rows: int, equal: bool) -> list[tuple[Any, ...]]:
        named = [name for name in schema.names if name != "id"]
        return [("me", *(cells[name][0 if equal else i % len(cells[name])] for name in named)) for i in range(rows)]

    units = [person(rows, equal) for rows, equal in ((1, True), (2, True), (40, True), (40, False))]
    return neighbours(subject, crowd(schema, 40), *units)


@guards("C29")
def a_person_of_many_rows_weighs_as_few_as_the_schema_keeps(subject: Subject) -> None:
    crowded = [(f"u{i}", "x", "p", "5") for i in range(40)]
    for name in ("me", None):
        table = frame(PERSONS, [*crowded, *[(name, "z", "q", "95")] * 400])
        made = subject.fit(table, PERSONS, 50.0, DELTA).sample(1000)
        assert list(made.columns) == ["a", "b", "n"], "an id was synthesised"
        assert (made["a"] == "z").mean() < 0.4, "one person of many rows, or rows without an id, fill the sample"


@guards("C30")
def counts_of_two_crowds_add_up(subject: Subject) -> None:
    """Any map that looks at more than one row (dropping duplicates, filling by the mean, clipping at quantiles) breaks this."""
    one, two = frame(CLOSED, CROWD * 3), frame(CLOSED, [*CROWD, *(unit[0] for unit in UNITS)])
    parts, whole = ([drawn(subject, t, CLOSED) for t in (one, two)], drawn(subject, pd.concat([one, two], ignore_index=True), CLOSED))
    nobody = drawn(subject, one.iloc[:0], CLOSED)
    for a, b, both, none in zip(*parts, whole, nobody, strict=True):
        if a.kind == "counts" and a.exact.shape == b.exact.shape == both.exact.shape == none.exact.shape:  # else C8 is broken, not this
            assert (a.exact + b.exact == both.exact).all() and not none.exact.any(), "counts of two crowds together are not their sum"


@guards("C32")
def every_attempt_is_charged_until_the_budget_refuses(subject: Subject) -> None:
    most = math.floor((largest_mu(2 * EPSILON, DELTA) / largest_mu(EPSILON, DELTA)) ** 2 * 1.05)
    with opened(subject, CLOSED, 2 * EPSILON) as budget:
        spent = [budget.spent()]
        while len(spent) <= most + 1 and not is_refused(budget.fit, crowd(CLOSED), CLOSED, EPSILON, DELTA):
            spent.append(budget.spent())
        charges = set(differences(spent))
        assert 1 < len(spent) <= most + 1, f"{len(spent) - 1} attempts at epsilon {EPSILON} on a budget of {2 * EPSILON}"
        assert len(charges) == 1 and any(next(iter(charges))), "attempts were not charged alike"
        watch = Watch()
        assert is_refused(budget.fit, watched(crowd(CLOSED), watch), CLOSED, EPSILON, DELTA)
        assert not watch.looks, "a refused attempt looked at the rows"
        assert budget.spent() == spent[-1], "a refused attempt was charged"
