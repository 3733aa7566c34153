"""An earlier model: where AIM starts, and what the rows can still teach it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import OPEN, OPEN_NUMBER, bounded, listed, schema_of, spied

from dpsynth import AIM, MST, Independent, Ledger, Schema
from dpsynth.encoding import released_attributes
from dpsynth.errors import BadInput
from dpsynth.graphical import Graph
from dpsynth.privacy import GDP, Cost, PrivateTable
from dpsynth.synthesizers import Generator, Model
from dpsynth.synthesizers import earlier as start
from dpsynth.synthesizers.bench import Bench
from dpsynth.synthesizers.earlier import _counted, fitting, measured, potentials
from dpsynth.testing import SeededNoise, seeded_table

DELTA, DRAWN = 1e-9, 10_000
A, B, N = listed("x", "y", "z"), listed(*"pqrst"), bounded(0, 39, bins=20)
SCHEMA = schema_of({"a": A, "b": B, "n": N})
BEFORE = [
    ("a", 3008),
    ("b", 3012),
    ("n", 2982),
    ("a", 3010),
    ("b", 3007),
    ("n", 2981),
    ("b", "n", 2895),
    ("a", "b", 2923),
    ("b", "n", 2875),
    ("a", "n", 3015),
    ("b", "n", 2846),
    ("a", "n", 2952),
]


@pytest.fixture(autouse=True)
def fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for tables this small."""
    monkeypatch.setattr(start, "DRAWN", DRAWN)
    monkeypatch.setattr(start, "NOISE", math.sqrt(DRAWN * 1e-4))


def rows(seed: int, number: int = 3_000) -> pd.DataFrame:
    """Three columns that hang on each other."""
    rng = np.random.default_rng(seed)
    a, chance = rng.integers(0, 3, number), rng.random(number)
    b = np.where(chance < 0.8, a, rng.integers(0, 5, number))
    return pd.DataFrame({"a": np.array(list("xyz"))[a], "b": np.array(list("pqrst"))[b], "n": np.clip(8 * b + rng.integers(0, 12, number), 0, 39)})


def paid(frame: pd.DataFrame, schema: Schema = SCHEMA, generator: Generator | None = None) -> Model:
    """A model as an earlier release leaves it."""
    table = PrivateTable(frame, schema, lambda request: request.cost_in(GDP), "ledgered")
    return (generator or AIM(50.0, DELTA)).fit(table)


def begun(seed: int) -> Bench:
    """A bench on which every column is measured."""
    table = seeded_table(rows(seed), SCHEMA, seed)
    generator = Independent(1.0, DELTA)
    table.grant(generator.request(SCHEMA))
    return Bench.begin(table, released_attributes(table))


def pairs_off(made: pd.DataFrame, real: pd.DataFrame) -> float:
    """Total variation over a and b."""
    shares = [frame.groupby(["a", "b"]).size().div(len(frame)) for frame in (made, real)]
    return float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)


def test_the_base_is_what_the_earlier_model_says_and_holds_in_every_fit_after() -> None:
    bench, earlier = begun(1), paid(rows(2))
    base = potentials(earlier, bench.views, 1e6)
    assert [f.domain.names for f in base[:3]] == [(c,) for c in SCHEMA.names]
    assert {f.domain.names for f in base[3:]} == set(measured(earlier, bench.views)) != set()
    answered = len(bench.answers)
    bench.start_from(base)
    for _ in range(2):
        pair = next(f.domain.names for f in base[3:])
        here = bench.model.project(pair) / bench.model.total
        codes = np.ravel_multi_index([a.encode(rows(3, 100_000)[a.column.name], ".") for a in bench.views.attributes(pair)], here.shape)
        assert np.abs(np.bincount(codes, minlength=here.size) / 100_000 - here.ravel()).sum() / 2 < 0.08
        bench.refit()
    assert len(bench.answers) == answered, "nothing was asked for it"
    fitted = bench.finish()
    assert {c for c in fitted.source.model.cliques if len(c) > 1} >= {f.domain.names for f in base[3:]}


def test_without_an_earlier_model_nothing_but_links_is_fixed() -> None:
    bench = begun(1)
    assert bench._fixed == bench.views.links
    assert bench._cliques == {(c,) for c in SCHEMA.names}


def test_a_fit_without_an_earlier_model_is_what_it_was() -> None:
    """From before there was this option: which marginals are measured, in which order, with what noise."""
    answers = AIM(3.0, DELTA).fit(seeded_table(rows(1), SCHEMA, 7)).answers
    assert [(*a.columns, int(a.values.sum())) for a in answers] == BEFORE


def test_the_base_keeps_to_its_cells_in_a_fixed_order() -> None:
    views, earlier = begun(1).views, paid(rows(2))
    known = measured(earlier, views)
    sizes = [Graph.of(views.domain, [*(f.domain.names for f in views.links), *known[:i]]).cells for i in range(len(known) + 1)]
    assert sizes[0] < sizes[-1]
    for cells in (0.0, *sizes):
        kept = list(fitting(known, views, cells))
        assert kept == list(fitting(known, views, cells)) == [c for c in known if c in kept]
        assert not kept or Graph.of(views.domain, [*(f.domain.names for f in views.links), *kept]).cells <= cells
    assert list(fitting(known, views, sizes[-1])) == known
    assert [f.domain.names for f in potentials(earlier, views, 0.0)] == [(c,) for c in SCHEMA.names]


def test_a_small_limit_is_kept_whatever_the_earlier_model_measured() -> None:
    megabytes = 0.0008
    model = AIM(5.0, DELTA, max_model_size=megabytes, earlier=paid(rows(2))).fit(seeded_table(rows(1), SCHEMA, 1))
    assert sum(np.prod([model.graphical.domain.size(n) for n in c]) for c in model.graphical.tree.cliques) <= megabytes * 2**20 / 8


def test_a_cell_that_the_earlier_model_rules_out_is_learnt() -> None:
    schema = schema_of({"a": listed("x", "y"), "b": listed("p", "q")})
    same = pd.DataFrame({"a": ["x", "y"] * 2_000, "b": ["p", "q"] * 2_000})
    other = pd.DataFrame({"a": ["x", "y"] * 2_000, "b": ["q", "p"] * 2_000})
    earlier = paid(same, schema, MST(50.0, DELTA))
    model = AIM(10.0, DELTA, earlier=earlier).fit(seeded_table(other, schema, 1))
    assert pairs_off(earlier.sample(4_000, seed=1), same) < 0.05
    assert pairs_off(model.sample(4_000, seed=1), other) < 0.05


def test_no_cell_is_taken_for_empty() -> None:
    """Of rows that are all alike, as an earlier model sure of one value draws them, each other cell has an even part of a thousandth."""
    views, alike = begun(1).views, pd.DataFrame({"a": ["x"], "b": ["p"], "n": [3]})
    made = alike.loc[[0] * DRAWN]
    for clique in (("a",), ("b",), ("a", "b"), ("b", "n")):
        counted = _counted(made, clique, views).values
        assert counted.min() == pytest.approx(1e-3 * DRAWN / counted.size) and counted.sum() == pytest.approx(DRAWN)
    sure = paid(alike.loc[[0] * 4_000], SCHEMA, Independent(50.0, DELTA))
    assert all(np.ptp(f.values) < 30 for f in potentials(sure, views, 1e6)), "no odds beyond what answers can turn"


def test_what_this_schema_calls_impossible_stays_so() -> None:
    rule = {"basis": "judgement", "cells": {"a": ["x"], "b": ["p", "q"]}}
    ruled = schema_of({"a": A, "b": B, "n": N}, impossible=[rule])
    made = AIM(5.0, DELTA, earlier=paid(rows(2))).fit(seeded_table(rows(1), ruled, 1)).sample(2_000, seed=1)
    assert not ((made["a"] == "x") & made["b"].isin(["p", "q"])).any()
    assert ((paid(rows(2)).sample(2_000, seed=1)[["a", "b"]] == ["x", "p"]).all(axis=1)).any(), "the earlier model holds such rows"


def test_an_earlier_model_of_the_same_people_lowers_the_error() -> None:
    """At a budget too small for structure; the noise of both is far from what would turn this round."""
    earlier, real = paid(rows(2)), rows(1)
    found = {
        known: [pairs_off(AIM(0.05, DELTA, earlier=known).fit(seeded_table(real, SCHEMA, seed)).sample(3_000, seed=1), real) for seed in range(3)]
        for known in (None, earlier)
    }
    assert max(found[earlier]) < 0.7 * min(found[None])


def test_another_coding_of_open_columns_is_read_anew() -> None:
    opened = schema_of({"a": OPEN, "b": B, "n": OPEN_NUMBER | {"type": "integer"}})
    for before, now in ((opened, SCHEMA), (SCHEMA, opened), (opened, opened)):
        model = AIM(5.0, 1e-6, earlier=paid(rows(2), before, AIM(50.0, 1e-6))).fit(seeded_table(rows(1), now, 1))
        assert pairs_off(model.sample(3_000, seed=1), rows(1)) < 0.2


UNSUITED: dict[str, tuple[Callable[[Model], Any], str]] = {
    "no model": (lambda model: "model.npz", "is not a model; give one that was released"),
    "unledgered": (lambda model: replace(model, stamp="unledgered"), "this model is unledgered; give one whose fit a ledger paid for"),
    "not private": (lambda model: replace(model, stamp="not private"), "this model is not private; give one whose fit a ledger paid for"),
    "a network": (lambda model: replace(model, source=Drawn()), "no model of marginals; give one of aim"),
    "a column less": (lambda model: _of(model, {"a": A, "b": B}), "column 'n': is not in its schema"),
    "a column more": (lambda model: _of(model, {"a": A, "b": B, "n": N, "m": N}), "column 'm': is not in this schema"),
    "another type": (lambda model: _of(model, {"a": A, "b": B, "n": listed("x")}), "column 'n': is categorical there and integer here"),
    "other categories": (lambda model: _of(model, {"a": listed("x", "y"), "b": B, "n": N}), "column 'a': has other categories there than here"),
    "other bounds": (lambda model: _of(model, {"a": A, "b": B, "n": bounded(0, 99)}), "column 'n': has other bounds there than here"),
    "other special values": (lambda model: _of(model, {"a": A, "b": B, "n": N | {"special": [-1]}}), "column 'n': has other special values"),
}


class Drawn:
    """What is drawn from no graphical model."""

    kind = "network"


def _of(model: Model, columns: dict[str, Any]) -> Model:
    return replace(model, schema=schema_of(columns))


@pytest.mark.parametrize("case", UNSUITED)
def test_an_unsuited_model_is_refused_before_any_charge(case: str, tmp_path: Path) -> None:
    change, words = UNSUITED[case]
    earlier = change(paid(rows(2, 200), SCHEMA, Independent(1.0, DELTA)))
    ledger = Ledger.create(tmp_path / "l.db", SCHEMA.name, 1.0, DELTA)
    spy = spied(rows(1, 50))
    with pytest.raises(BadInput, match=words):
        AIM(1.0, DELTA, earlier=earlier).fit(ledger.table(spy, SCHEMA))
    assert ledger.spent == Cost() and spy.seen == []


def test_all_faults_are_told_at_once() -> None:
    earlier = replace(_of(paid(rows(2, 200), SCHEMA, Independent(1.0, DELTA)), {"a": listed("x"), "b": B, "m": N}), stamp="unledgered")
    faults = AIM(1.0, DELTA, earlier=earlier, max_model_size=-1.0).check(SCHEMA)
    assert [f.where for f in faults] == ["max_model_size", "earlier", "earlier: column 'a'", "earlier: column 'n'", "earlier: column 'm'"]


def test_a_fit_from_an_earlier_model_spends_its_grant_and_repeats() -> None:
    earlier = paid(rows(2))
    fits = [AIM(1.0, DELTA, earlier=earlier).fit(PrivateTable(rows(1), SCHEMA, _grant, "", noise=SeededNoise(3))) for _ in range(2)]
    assert (fits[0].graphical.potentials == fits[1].graphical.potentials).all()
    assert 0.999 * fits[0].granted.amount_ticks <= fits[0].spent.amount_ticks <= fits[0].granted.amount_ticks


def _grant(request: Any) -> Cost:
    cost: Cost = request.cost_in(GDP)
    return cost


def test_views_nearest_in_size() -> None:
    views = begun(1).views
    for name in views.domain.names:
        (attribute,) = views.attributes((name,))
        (found,) = views.nearest([attribute])
        assert views.domain.size(found) == attribute.size and views.column(found) == views.column(name)
