"""AIM's own rules, read off every round of seeded fits: what a round may cost and how large it may make the model, and when it grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from kernel_samples import listed, schema_of

from dpsynth import AIM
from dpsynth.graphical import Clique, GraphicalModel
from dpsynth.synthesizers import bench as shared
from dpsynth.synthesizers.aim import ANNEALING, LEARNT, MEASURING, ROUNDS_A_COLUMN
from dpsynth.synthesizers.answer import Answer
from dpsynth.synthesizers.bench import FRESH_FOR, Bench, cells_of, whole
from dpsynth.testing import seeded_table

COLUMNS = tuple("abcdef")
SCHEMA = schema_of({c: listed(*"uvwxyz") for c in COLUMNS})
ROWS = 3000
MEGABYTES = 0.004
SEEDS = (0, 3, 5)
each_fit = pytest.mark.parametrize("seed", SEEDS)


def chained(seed: int) -> pd.DataFrame:
    """Each column follows the one before it in seven rows of ten."""
    rng = np.random.default_rng(seed)
    codes = [rng.integers(0, 6, ROWS)]
    for _ in COLUMNS[1:]:
        codes.append(np.where(rng.random(ROWS) < 0.7, codes[-1], rng.integers(0, 6, ROWS)))
    return pd.DataFrame({c: np.array(list("uvwxyz"))[held] for c, held in zip(COLUMNS, codes, strict=True)})


@dataclass
class Round:
    """A round as it was seen: before anything was paid, and what it chose."""

    left: float
    spent: float
    model: GraphicalModel
    limit: float
    offered: Mapping[Clique, int]
    choosing: float = 0.0
    measuring: float = 0.0
    chosen: Clique | None = None
    answer: Answer | None = None


@dataclass
class Seen:
    rounds: list[Round]
    bench: Bench
    last: GraphicalModel


@cache
def fit(seed: int) -> Seen:
    """A fit, watched from outside of the code that decides."""
    rounds: list[Round] = []
    ends: list[tuple[Bench, GraphicalModel]] = []
    plain = {name: getattr(Bench, name) for name in ("within", "choose", "measure", "finish")}

    def within(self: Bench, weights: Mapping[Clique, int], limit: float) -> dict[Clique, int]:
        offered: dict[Clique, int] = plain["within"](self, weights, limit)
        rounds.append(Round(self.left, self.table.spent.amount, self.model, limit, offered))
        return offered

    def choose(self: Bench, weights: Mapping[Clique, int], amount: float, measuring: float) -> Clique | None:
        rounds[-1].choosing, rounds[-1].measuring = amount, measuring
        rounds[-1].chosen = plain["choose"](self, weights, amount, measuring)
        return rounds[-1].chosen

    def measure(self: Bench, clique: Clique, amount: float) -> Answer:
        assert (clique, amount) == (rounds[-1].chosen, rounds[-1].measuring)
        rounds[-1].answer = plain["measure"](self, clique, amount)
        return rounds[-1].answer

    def finish(self: Bench) -> shared.Fitted:
        ends.append((self, self.model))
        fitted: shared.Fitted = plain["finish"](self)
        return fitted

    with pytest.MonkeyPatch.context() as patched:
        for watched in (within, choose, measure, finish):
            patched.setattr(Bench, watched.__name__, watched)
        AIM(2.0, 1e-9, max_model_size=MEGABYTES).fit(seeded_table(chained(seed), SCHEMA, seed))
    (end,) = ends
    return Seen(rounds, *end)


@each_fit
def test_the_models_limit_grows_with_the_budget_as_if_the_round_were_paid_already(seed: int) -> None:
    """Algorithm 1, line 11: a model may be as large a part of the largest as the budget that is gone once the round is over."""
    seen = fit(seed)
    granted = seen.bench.table.granted.amount
    for done in seen.rounds:
        gone = done.spent + done.choosing + done.measuring
        assert done.limit == pytest.approx(cells_of(MEGABYTES) * gone / granted, rel=1e-6)
    assert seen.rounds[-1].limit == pytest.approx(cells_of(MEGABYTES), rel=1e-6)


@each_fit
def test_no_model_is_larger_than_its_rounds_limit(seed: int) -> None:
    seen = fit(seed)
    after = [*(r.model for r in seen.rounds[1:]), seen.last]
    before = [r.model.tree.cells for r in seen.rounds]
    assert all(m.tree.cells <= max(r.limit, cells) for r, m, cells in zip(seen.rounds, after, before, strict=True))
    assert any(set(r.offered) < set(later.offered) for r, later in pairwise(seen.rounds)), "a limit that never bound"


def outcome_of(done: Round, after: GraphicalModel) -> str:
    if done.chosen is None or done.answer is None:
        return "nothing"
    moved = np.abs(after.project(done.chosen) - done.model.project(done.chosen)).sum()
    noise = np.sqrt(2 / np.pi) * done.answer.sigma * done.answer.values.size
    return "much" if moved > LEARNT * noise else "little"


def test_rounds_grow_where_nothing_was_chosen_or_little_moved_and_else_not() -> None:
    """All but the last, which takes the rest. Little: less than so much of the L1 norm that the noise alone is expected to have."""
    met = set[str]()
    for seed in SEEDS:
        rounds = fit(seed).rounds
        for done, following in pairwise(rounds[:-1]):
            outcome = outcome_of(done, following.model)
            growth = 1.0 if outcome == "much" else ANNEALING
            assert following.measuring == pytest.approx(growth * done.measuring)
            assert following.choosing == pytest.approx(growth * done.choosing)
            met.add(outcome)
    assert met == {"nothing", "little", "much"}


@each_fit
def test_the_first_round_is_a_share_for_sixteen_a_column_and_the_last_one_takes_the_rest(seed: int) -> None:
    seen = fit(seed)
    granted = seen.bench.table.granted.amount
    first, last = seen.rounds[0], seen.rounds[-1]
    assert first.choosing + first.measuring == pytest.approx(granted / (ROUNDS_A_COLUMN * len(COLUMNS)))
    assert last.choosing + last.measuring == pytest.approx(last.left)
    assert all(r.measuring == pytest.approx(MEASURING * (r.choosing + r.measuring)) for r in seen.rounds)
    for done, following in pairwise(seen.rounds):
        cost = done.choosing + done.measuring
        assert done.left >= 2 * cost, "the rest would not have paid for another"
        assert following.left == pytest.approx(done.left - (cost if done.chosen else done.choosing), rel=1e-6)
    assert seen.bench.table.spent.amount >= (1 - 1e-6) * granted


@each_fit
def test_references_are_of_a_recent_model_and_of_the_present_one_where_it_was_touched(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that a choice is told is what one of the last models says, to the row; of a clique that the tree holds or that has a view of
    the last measurement the last one's."""
    models: dict[int, list[GraphicalModel]] = {}
    ages = set[int]()
    refit, reference = Bench.refit, Bench.reference

    def refitted(self: Bench, *how: float) -> None:
        models.setdefault(id(self), [self.model])
        refit(self, *how)
        models[id(self)].append(self.model)
        assert all(self._refits - known.made < FRESH_FOR for known in self._references.values()), "kept, and not to be used again"

    def referred(self: Bench, clique: Clique) -> np.ndarray:
        told: np.ndarray = reference(self, clique)
        recent = models.get(id(self), [self.model])[::-1][:FRESH_FOR]
        alike = [(told == np.rint(m.project(clique))).all() for m in recent]
        assert any(alike)
        touched = self.views.clique(self.answers[-1]) if id(self) in models else ()
        if self.model.tree.find(clique) is not None or not set(touched).isdisjoint(clique):
            assert alike[0]
        ages.add(alike.index(True))
        return told

    monkeypatch.setattr(Bench, "refit", refitted)
    monkeypatch.setattr(Bench, "reference", referred)
    AIM(2.0, 1e-9).fit(seeded_table(chained(seed), SCHEMA, seed))
    assert ages == set(range(FRESH_FOR)), "none was kept for as long as it may be"


@pytest.mark.parametrize("most", [0, 1, 127, 128, 32_767, 32_768, 2**31 - 1, 2**31, 2**45])
def test_a_reference_is_whole_and_to_the_row_in_the_smallest_type_that_holds_it(most: int) -> None:
    counts = np.array([0.0, 0.4, 0.6, most])
    told = whole(counts)
    assert told.tolist() == [0, 0, 1, most]
    assert told.dtype.kind == "i"
    smaller = {2: np.int8, 4: np.int16, 8: np.int32}.get(told.itemsize)
    assert smaller is None or most > np.iinfo(smaller).max


def test_no_reference_is_kept_once_there_is_nothing_left_to_choose() -> None:
    assert fit(0).bench._references == {}
