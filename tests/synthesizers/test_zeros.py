"""Structural zeros in the model: against every pair of cells, against proportional fitting over all cells, and a table of little else."""

from __future__ import annotations

import json
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpsynth.cli import main
from dpsynth.encoding import public_attribute
from dpsynth.graphical import Domain, Factor, JunctionTree, Measurement, estimate
from dpsynth.privacy import Cost, Ledger
from dpsynth.privacy.attribute import Bins
from dpsynth.schema import Schema
from dpsynth.schema.impossible import impossible_rows
from dpsynth.synthesizers import AIM, MST, Independent, PrivBayes
from dpsynth.synthesizers.alone import columns_alone
from dpsynth.synthesizers.answer import Answer
from dpsynth.synthesizers.bench import Bench
from dpsynth.synthesizers.generator import Generator
from dpsynth.synthesizers.mwem import MWEM
from dpsynth.synthesizers.zeros import MOST_CELLS, NEVER, Zeros
from dpsynth.testing import seeded_table


def categorical(name: str, values: list[str]) -> dict[str, Any]:
    return {"name": name, "type": "categorical", "categories": values, "categories_basis": "publisher"}


def schema_of(columns: list[dict[str, Any]], cells: list[dict[str, Any]]) -> Schema:
    rules = [{"basis": "publisher", "cells": c} for c in cells]
    unit = {"privacy_unit": {"unit": "row"}, "one_row_per_person": {"basis": "publisher"}}
    return Schema.from_dict({"name": "people", **unit, "columns": columns, "impossible": rules})


AGE = {"name": "age", "type": "integer", "bounds": [0, 9], "bounds_basis": "publisher", "special": [-1]}
SMALL = [categorical("sex", ["f", "m", "2"]), categorical("sick", ["no", "yes", "hurt"]), AGE]


@pytest.mark.parametrize(
    "cells",
    [
        [{"sex": ["m"], "sick": ["yes"]}],
        [{"sex": ["m", "2"], "sick": ["yes"]}, {"sick": ["yes", "no"], "sex": ["f"]}],
        [{"age": {"below": 5}, "sick": ["yes"]}, {"age": [7, 8, 9], "sick": ["hurt"]}, {"age": [-1], "sick": ["no"]}],
        [{"age": {"from": 4}, "sex": ["2"]}, {"sex": ["f"], "sick": ["no"], "age": {"below": 9}}],
    ],
)
def test_codes_never_meet_where_a_rule_forbids_all_their_cells(cells: list[dict[str, Any]]) -> None:
    schema = schema_of(SMALL, cells)
    sex, sick, age = (public_attribute(c) for c in schema.columns)
    age = Bins(age.column, (0.0, 2.0, 5.0, 7.0, 10.0), (-1.0,))
    held: dict[str, list[list[Any]]] = {n: [[v] for v in [*(schema.column(n).categories or ()), None]] for n in ("sex", "sick")}
    held["age"] = [[0, 1], [2, 3, 4], [5, 6], [7, 8, 9], [-1], [None]]
    never = Zeros.of(schema.impossible, (sex, sick, age)).never
    columns = {c.name: c for c in schema.columns}
    for pair in combinations(("sex", "sick", "age"), 2):
        rules = [r for r in schema.impossible if {n for n, _ in r.cells} == {*pair}]
        wanted = [
            [
                any(r.holds(pd.DataFrame(list(product(one, other)), columns=list(pair), dtype=object), columns).all() for r in rules)
                for other in held[pair[1]]
            ]
            for one in held[pair[0]]
        ]
        assert never.get(pair, np.zeros_like(wanted)).tolist() == wanted


def test_the_columns_alone_under_rules_are_those_of_proportional_fitting() -> None:
    """Over all cells: from one where a row is possible and zero elsewhere, scaled to each column's counts in turn."""
    schema = schema_of(SMALL, [{"sex": ["m"], "sick": ["yes"]}, {"sex": ["f"], "sick": ["hurt"]}, {"age": {"below": 3}, "sick": ["yes", "hurt"]}])
    attributes = tuple(public_attribute(c) for c in schema.columns)
    zeros = Zeros.of(schema.impossible, attributes)
    mask = np.ones([a.size for a in attributes])
    mask *= ~zeros.never["sex", "sick"][:, :, None] * ~zeros.never["sick", "age"][None]
    true = np.random.default_rng(0).dirichlet(np.ones(mask.size)).reshape(mask.shape) * mask * 10_000
    ones = [true.sum(axis=tuple({0, 1, 2} - {i})) for i in range(3)]
    fitted = mask.copy()
    for i in [*range(3)] * 2_000:
        shape = [-1 if j == i else 1 for j in range(3)]
        fitted *= (ones[i] / fitted.sum(axis=tuple({0, 1, 2} - {i}))).reshape(shape)
    model = columns_alone(attributes, [Answer((a,), y, 0.3) for a, y in zip(attributes, ones, strict=True)], zeros)
    found = model.project(("sex", "sick", "age"))
    assert found[mask == 0].max() == 0
    np.testing.assert_allclose(found, fitted, atol=3)
    assert np.abs(fitted - np.einsum("i,j,k->ijk", *ones) / true.sum() ** 2).max() > 30  # which independence would miss


@pytest.mark.parametrize("warm", [False, True])
def test_noise_on_cells_that_can_not_occur_pulls_nowhere(warm: bool) -> None:
    domain = Domain(("a", "b"), (3, 4))
    never = np.zeros((3, 4), dtype=bool)
    never[0, 1:] = never[2, 0] = True
    fixed = [Factor(domain, np.where(never, NEVER, 0.0))]
    counts = np.where(never, 0.0, 100.0 + np.arange(12).reshape(3, 4))
    found = []
    for noise in (0.0, 90.0):
        values = np.where(never, noise * np.array([[0, 1, 2, -2], [0, 0, 0, 0], [-1, 0, 0, 0]]), counts)
        measurement = Measurement(("a", "b"), values, 1.0)
        model = estimate(domain, [measurement], None, fixed, 1e-6)
        found.append((estimate(domain, [measurement], model, fixed, 1e-6) if warm else model).project(("a", "b")))
        assert found[-1][never].max() == 0
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], counts, atol=1)


def test_rules_that_the_model_has_no_room_for_are_left_out() -> None:
    schema = schema_of(SMALL, [{"sex": ["m"], "sick": ["yes"]}, {"age": {"below": 5}, "sick": ["yes"]}])
    attributes = tuple(public_attribute(c) for c in schema.columns)
    domain = Domain(tuple(a.column.name for a in attributes), tuple(a.size for a in attributes))
    pairs = [("sex", "sick"), ("sick", "age")]
    for kept in range(3):
        most = JunctionTree.build(domain, pairs[:kept]).cells
        assert list(Zeros.of(schema.impossible, attributes, most).never) == pairs[:kept]


STATES, CODES = [f"s{i}" for i in range(40)], [f"c{i}" for i in range(40)]
TIED = schema_of(
    [categorical("state", STATES), categorical("code", CODES), categorical("sex", ["f", "m"])],
    [{"state": [s], "code": [c for c in CODES if c[1:] != s[1:]]} for s in STATES],
)


def tied_people(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    home = rng.choice(40, rows, p=rng.dirichlet(np.full(40, 3.0)))
    return pd.DataFrame({"state": np.array(STATES)[home], "code": np.array(CODES)[home], "sex": rng.choice(["f", "m"], rows)})


@pytest.mark.parametrize("rows", [500, 6_000])
@pytest.mark.parametrize(
    "generator",
    [Independent(1, 1e-9), MST(1, 1e-9), AIM(1, 1e-9), MWEM(1, 1e-9), PrivBayes(1, 1e-9), PrivBayes(1, 1e-9, fitting="ancestral")],
    ids=["independent", "mst", "aim", "mwem", "privbayes", "ancestral"],
)
def test_states_with_a_code_each_give_rows_under_every_generator(generator: Generator, rows: int) -> None:
    """Each code belongs to one state: of rows drawn without that knowledge one in forty would be possible."""
    frame = tied_people(rows)
    model = generator.fit(seeded_table(frame, TIED, 5))
    made = model.sample(rows, seed=0)
    assert len(made) == rows and not impossible_rows(TIED.impossible, made, {c.name: c for c in TIED.columns}).any()
    assert made[["state", "code"]].isna().mean().max() < (0.1 if rows == 500 else 0.02)
    for name in ("state", "code"):
        shares = made[name].value_counts(normalize=True).sub(frame[name].value_counts(normalize=True), fill_value=0)
        assert shares.abs().sum() / 2 < (0.35 if rows == 500 else 0.06)


@pytest.mark.parametrize("fitting", ["estimated", "ancestral"])
def test_what_a_rule_says_of_an_edge_is_not_bought_at_any_resolution(fitting: str) -> None:
    """One state has more than a sixteenth of the people, so that both columns have coarse views, which the rule is not written in."""
    model = PrivBayes(1, 1e-9, fitting=fitting).fit(seeded_table(tied_people(6_000), TIED, 5))
    asked = [{a.column.name for a in answer.attributes} for answer in model.answers]
    assert {"state"} in asked and not any({"state", "code"} <= columns for columns in asked)


def ordered(tmp_path: Path, schema: Schema, frame: pd.DataFrame) -> tuple[list[str], Ledger]:
    """The words of a release, and its ledger. A release needs the attacks."""
    pytest.importorskip("anonymeter")
    ledger = Ledger.create(tmp_path / "ledger.db", "people", 3.0, 1e-6)
    frame.to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "schema.json").write_text(schema.to_json())
    files = [str(tmp_path / "people.csv"), "--schema", str(tmp_path / "schema.json"), "--ledger", str(tmp_path / "ledger.db")]
    return ["release", *files, "--generator", "independent", "--epsilon", "1", "--delta", "1e-9", "--out", str(tmp_path / "out"), "--json"], ledger


def test_rules_that_allow_no_row_are_refused_before_the_charge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nine columns of eight values, all different: too many ways to try, so it is not known, and not charged."""
    names, values = [f"c{i}" for i in range(9)], list("abcdefgh")
    schema = schema_of([categorical(n, values) for n in names], [{m: [v], n: [v]} for m, n in combinations(names, 2) for v in values])
    words, ledger = ordered(tmp_path, schema, pd.DataFrame([dict.fromkeys(names, "a")] * 20))
    assert main(words) == 2
    assert "too entangled to show that each value has a row" in json.loads(capsys.readouterr().out)["error"]
    assert ledger.spent == Cost() and not (tmp_path / "out").exists()


def test_a_release_that_runs_dry_is_blocked_in_words_and_keeps_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third column that the other two decide: a rule of three columns is left to drawing again, and of rows drawn one in 36 is possible, beside
    those that noise leaves a missing cell; in this test one of two would have to be."""
    monkeypatch.setattr("dpsynth.synthesizers.possible.MOST_DRAWS", 2)
    left, codes = list("abcdef"), [f"c{i}" for i in range(36)]
    cells = [{"x": [a], "y": [b], "z": [c for c in codes if c != codes[6 * i + j]]} for i, a in enumerate(left) for j, b in enumerate(left)]
    schema = schema_of([categorical("x", left), categorical("y", left), categorical("z", codes)], cells)
    i, j = np.random.default_rng(0).integers(0, 6, (2, 4_000))
    words, ledger = ordered(tmp_path, schema, pd.DataFrame({"x": np.array(left)[i], "y": np.array(left)[j], "z": np.array(codes)[6 * i + j]}))
    for again in (words, ["release", "--resume", str(tmp_path / "out"), "--json"]):
        assert main(again) == 4
        said = json.loads(capsys.readouterr().out)["error"]
        assert "fewer than one row in 2 keeps to the rules" in said and "(x, y, z)" in said and "another generator" in said
        assert ledger.spent == Independent(1.0, 1e-9).asked(schema).cost_in(ledger.currency)
        assert (tmp_path / "out" / "custodian" / "model.npz").exists() and not (tmp_path / "out" / "public").exists()
        monkeypatch.setattr("dpsynth.schema.contradictions.MOST_TRIED", 0)  # later code that would refuse these rules: they are charged by now


def test_a_tree_closes_a_circle_with_rules_only_where_the_model_stays_small() -> None:
    """Three large columns tied in a row by rules, and one beside that depends on all: each pair is worth its noise."""
    names, values = list("abc"), [f"v{i}" for i in range(30)]
    shifted = [values[(i + 1) % 30] for i in range(30)]
    cells = [{m: [v], n: [shifted[i]]} for m, n in (("a", "b"), ("b", "c")) for i, v in enumerate(values)]
    schema = schema_of([*(categorical(n, values) for n in names), categorical("d", values)], cells)
    home = np.random.default_rng(0).integers(0, 30, 20_000)
    frame = pd.DataFrame({n: np.array(values)[home] for n in [*names, "d"]})
    model = MST(3, 1e-9).fit(seeded_table(frame, schema, 0))
    chosen = {frozenset(a.columns) for a in model.answers if len(a.columns) > 1}
    assert len(chosen) == 3
    assert model.graphical.tree.cells < 2 * MOST_CELLS
    made = model.sample(1_000, seed=0)
    assert not impossible_rows(schema.impossible, made, {c.name: c for c in schema.columns}).any()
    assert (made.nunique(axis=1) == 1).mean() > 0.8


def test_the_last_bin_of_a_continuous_column_holds_its_upper_bound_which_no_span_below_it_forbids() -> None:
    number = {"name": "x", "type": "continuous", "bounds": [0, 10], "bounds_basis": "publisher", "bins": 2}
    schema = schema_of([number, categorical("y", list("ab"))], [{"x": {"from": 5, "below": 10}, "y": ["b"]}])
    assert not Zeros.of(schema.impossible, list(map(public_attribute, schema.columns))).never
    over = schema_of([number, categorical("y", list("ab"))], [{"x": {"from": 5, "below": 10.5}, "y": ["b"]}])
    assert Zeros.of(over.impossible, list(map(public_attribute, over.columns))).never[("x", "y")].sum() == 1


def test_rules_take_half_of_the_model_at_most() -> None:
    """With all of it taken nothing could be bought."""
    columns = [categorical(n, [f"{n}{i}" for i in range(20)]) for n in "ab"]
    schema = schema_of(columns, [{"a": ["a0"], "b": ["b0"]}])
    frame = pd.DataFrame({n: [f"{n}{1 + i % 19}" for i in range(200)] for n in "ab"})
    for limit, held in ((2.5 * 21**2, True), (1.5 * 21**2, False)):
        table = seeded_table(frame, schema, 3)
        table.grant(Independent(1.0, 1e-9).request(schema))
        assert bool(Bench.begin(table, tuple(map(public_attribute, schema.columns)), limit).views.zeros) == held
