"""Planted leaks are blocked, a fresh sample passes, and whatever goes wrong is never a PASS."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Protocol

import numpy as np
import pandas as pd
import pytest

import attacks
from attacks import suite
from attacks.evidence import Evidence, Table
from attacks.measures import Measure
from attacks.policy import Policy
from attacks.scores import Scores
from attacks.statistics import Estimate
from dpsynth.errors import BadInput
from dpsynth.schema import Schema

SEED = 20


class Split(Protocol):
    """What the fixtures give."""

    train: pd.DataFrame
    control: pd.DataFrame
    reference: pd.DataFrame
    fresh: pd.DataFrame
    schema: Schema


def judge(split: Split, synthetic: pd.DataFrame, **options: object) -> attacks.Report:
    return attacks.evaluate(split.train, split.control, synthetic, split.schema, split.reference, seed=SEED, **options)  # type: ignore[arg-type]


def with_copies(split: Split, rows: np.ndarray) -> pd.DataFrame:
    return pd.concat([split.fresh.iloc[len(rows) :], split.train.iloc[rows]]).sample(frac=1, random_state=1)


def codes(report: attacks.Report) -> set[tuple[str, str | None]]:
    return {(r.code, r.attack) for r in report.reasons}


def evidence_of(split: Split) -> Evidence:
    return Evidence.collect(split.train, split.control, split.fresh, split.schema, split.reference, np.random.default_rng(SEED))


def few_rare_people() -> Evidence:
    """2,000 on either side who are all alike, but for twelve each who are alike nobody."""
    codes = np.zeros((4_000, 3), dtype=np.int32)
    codes[:12], codes[2_000:2_012] = np.arange(1, 37).reshape(12, 3), np.arange(41, 77).reshape(12, 3)
    pool = Table(1_000.0 * codes[:, :1] + np.random.default_rng(0).integers(0, 3, (4_000, 1)), codes)
    members, controls = pool.take(np.arange(2_000)), pool.take(np.arange(2_000, 4_000))
    return Evidence(members, controls, controls, controls.take(np.arange(100, 2_000)), members, tuple("nabc"))


@pytest.mark.parametrize("name", ["exact_match", "near_match", "rare_value"])
def test_few_rare_people_are_judged_where_some_came_out_and_else_do_not_apply(name: str) -> None:
    policy, e = Policy.load("partner-contract"), few_rare_people()
    attack = next(a for a in suite.suite(policy) if a.name == name)
    out, one_out = e.members.take(np.arange(8)), e.members.take(np.arange(1))
    (leaked,), _ = suite.run(attack, e.against(e.synthetic.then(out)), policy, np.random.default_rng(0))
    assert (leaked.status, leaked.control_detected) == ("ok", True)
    assert leaked.estimate is not None and leaked.estimate.effect == pytest.approx(8 / 2_000) and leaked.estimate.upper > 0.005
    for harmless in (e, e.against(e.synthetic.then(one_out)), e.against(e.synthetic.then(out).then(e.controls.take(np.arange(8))))):
        (found,), scores = suite.run(attack, harmless, policy, np.random.default_rng(0))
        assert (found.status, found.estimate) == ("not_applicable", None)
        assert scores is not None and len(scores.pooled) == 4_000, "what found nothing is left out of the joint test by whose labels they are"


def people_of_close_values(seed: int) -> Evidence:
    """Minutes that nobody is far from anybody in, some hundred of them of one person each; the synthetic rows are a stranger's."""
    minutes = np.random.default_rng(seed).geometric(0.03, (4, 2_000)).astype(float)
    members, controls, reference, strangers = (Table(m[:, None], np.zeros((2_000, 1), dtype=np.int32)) for m in minutes)
    return Evidence(members, controls, reference, strangers, members, ("minutes", "code"))


def test_values_drawn_back_are_seen_where_none_stands_apart_and_strangers_are_let_be() -> None:
    """Of 200 tables of strangers at most 7 are judged at a level of .01: by chance more are in one of nine hundred such tests."""
    policy = Policy.load("partner-contract")
    by_name = {a.name: a for a in suite.suite(policy)}

    def status(name: str, e: Evidence) -> str:
        (found,), _ = suite.run(by_name[name], e, policy, np.random.default_rng(0))
        if found.status == "ok":
            assert found.control_detected and found.role == "required" and found.estimate is not None and found.estimate.upper > 0.005
        return found.status

    leaking = [e.against(e.members) for e in map(people_of_close_values, range(10))]
    assert [status("single_value", e) for e in leaking] == ["ok"] * 10
    assert [status("rare_value", e) for e in leaking].count("not_applicable") >= 8
    assert [status("single_value", people_of_close_values(seed)) for seed in range(200)].count("ok") <= 7


@pytest.fixture(scope="module")
def passed(nhanes: Split) -> attacks.Report:
    return judge(nhanes, nhanes.fresh)


def test_a_fresh_real_sample_passes(passed: attacks.Report) -> None:
    assert passed.verdict == "PASS", passed.reasons
    assert {e.name for e in passed.endpoints} >= set(passed.policy.tolerance) - {"distance_subgroups", "shadow"}


def test_no_score_whose_targets_were_chosen_side_by_side_enters_a_test_that_shuffles_labels(passed: attacks.Report) -> None:
    assert len(passed.scores) > 15 and all(scores.blind for scores in passed.scores.values())


def test_replay_agrees_and_the_document_is_json(passed: attacks.Report) -> None:
    document = json.loads(json.dumps(passed.document(), allow_nan=False))
    again = attacks.replay(document, passed.policy)
    assert (again.outcome, again.reasons) == (passed.verdict, passed.reasons)
    with pytest.raises(BadInput):
        attacks.replay({"attacks": [{}]}, passed.policy)


def test_a_tampered_document_is_not_replayed_as_pass(passed: attacks.Report) -> None:
    document = json.loads(json.dumps(passed.document()))
    document["attacks"] = [a for a in document["attacks"] if a["name"] != "membership_tpr"]
    assert attacks.replay(document, passed.policy).outcome == "INCONCLUSIVE"
    document = json.loads(json.dumps(passed.document()))
    for a in document["attacks"]:
        a["tolerance"] = 0.9
    assert attacks.replay(document, passed.policy).outcome == "INCONCLUSIVE"


def test_the_same_seed_gives_the_same_report(nhanes: Split, passed: attacks.Report) -> None:
    again = judge(nhanes, nhanes.fresh)
    assert [e.estimate for e in again.endpoints] == [e.estimate for e in passed.endpoints]


@pytest.mark.parametrize("shuffled", [True, False])
def test_a_copy_fails(nhanes: Split, shuffled: bool) -> None:
    copy = nhanes.train.sample(frac=1, random_state=1) if shuffled else nhanes.train
    report = judge(nhanes, copy, claim=attacks.Claim(1.0, 1e-9))
    assert report.verdict == "FAIL"
    assert {("claim_violated", None), ("tolerance_exceeded", "exact_match"), ("tolerance_exceeded", "distance")} <= codes(report)


def test_a_one_percent_copy_fails_without_a_claim_and_is_blocked_with_one(nhanes: Split) -> None:
    copied = np.random.default_rng(0).permutation(len(nhanes.train))[: len(nhanes.train) // 100]
    table = with_copies(nhanes, copied)
    assert judge(nhanes, table).verdict == "FAIL"
    claimed = judge(nhanes, table, claim=attacks.Claim(1.0, 1e-9))
    assert claimed.verdict in ("FAIL", "INCONCLUSIVE")
    assert ("tolerance_exceeded", "exact_match") in codes(claimed)


def test_an_outlier_only_copy_fails(nhanes: Split) -> None:
    numbers = nhanes.train[[c.name for c in nhanes.schema.columns if c.is_number]].apply(pd.to_numeric, errors="coerce")
    far = ((numbers - numbers.mean()) / numbers.std()).abs().max(axis=1).to_numpy()
    assert judge(nhanes, with_copies(nhanes, np.argsort(-far)[: len(far) // 100])).verdict == "FAIL"


def test_half_redrawn_copies_fail(nhanes: Split) -> None:
    rng = np.random.default_rng(3)
    noisy = nhanes.train.copy()
    for name in noisy.columns:
        redrawn = rng.random(len(noisy)) < 0.5
        noisy.loc[redrawn, name] = rng.choice(nhanes.fresh[name].to_numpy(), redrawn.sum())
    assert judge(nhanes, noisy).verdict == "FAIL"


def test_no_control_is_never_a_pass_but_a_copy_still_fails(nhanes: Split) -> None:
    fresh = attacks.evaluate(nhanes.train, None, nhanes.fresh, nhanes.schema, seed=SEED)
    copy = attacks.evaluate(nhanes.train, None, nhanes.train, nhanes.schema, seed=SEED)
    assert fresh.verdict == "INCONCLUSIVE" and ("no_control", None) in codes(fresh)
    assert copy.verdict == "FAIL"


def test_a_split_by_time_is_biased(nhanes: Split) -> None:
    old = pd.to_numeric(nhanes.train["AgeInYearsAtScreening"]) > 40
    report = attacks.evaluate(nhanes.train[old], nhanes.train[~old], nhanes.fresh, nhanes.schema, nhanes.reference, seed=SEED)
    assert report.verdict != "PASS" and ("split_biased", "blind") in codes(report)


@pytest.mark.parametrize("dead", ["raises", "constant", "nan"])
@pytest.mark.parametrize("name", ["exact_match", "membership", "singling_out_multivariate"])
def test_a_dead_attack_is_inconclusive(nhanes: Split, monkeypatch: pytest.MonkeyPatch, dead: str, name: str) -> None:
    def score(evidence: Evidence, rng: np.random.Generator) -> Scores:
        if dead == "raises":
            raise ValueError("SECRET cell")
        value = 0.0 if dead == "constant" else np.nan
        return Scores(np.full(len(evidence.members), value), np.full(len(evidence.controls), value), 2000)

    whole = suite.suite
    monkeypatch.setattr(suite, "suite", lambda *p: tuple(replace(a, score=score) if a.name == name else a for a in whole(*p)))
    report = judge(nhanes, nhanes.fresh)
    assert report.verdict == "INCONCLUSIVE"
    assert "SECRET" not in json.dumps(report.document())
    assert {c for c, a in codes(report) if a and a.startswith(name)} & {"attack_failed", "assay_failed", "underpowered"}


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_tiny_tables_are_inconclusive(small: Split, rows: int) -> None:
    for train, control, synthetic in ((rows, 240, 240), (240, rows, 240), (240, 240, rows), (rows, rows, rows)):
        report = attacks.evaluate(small.train[:train], small.control[:control], small.fresh[:synthetic], small.schema, small.reference[:rows], seed=1)
        assert report.verdict == "INCONCLUSIVE", (train, control, synthetic)


@pytest.mark.parametrize("cell", ["", "same", "2020-01-31", "nan", "1e400", "\N{SNOWMAN}"])
def test_constant_and_missing_columns_never_raise(small: Split, cell: str) -> None:
    frames = [f.assign(x=cell, y=cell) for f in (small.train, small.control, small.fresh, small.reference)]
    frames[0]["class"] = frames[1]["class"] = frames[2]["class"] = cell
    report = attacks.evaluate(*frames[:3], small.schema, frames[3], seed=1)
    assert report.verdict != "PASS"
    assert not [e for e in report.endpoints if e.status == "error"], report.endpoints


def test_odd_column_names_and_typed_cells(small: Split) -> None:
    odd = {"x": "date of birth (d-m/y) 'é'", "y": 'lambda"'}
    document = small.schema.to_dict()
    for column in document["columns"]:
        column["name"] = odd.get(column["name"], column["name"])
    schema = Schema.from_dict(document)
    frames = [
        f.rename(columns=odd).astype({odd["x"]: float, odd["y"]: "Int64", "class": "category"})
        for f in (small.train, small.control, small.fresh, small.reference)
    ]
    typed = attacks.evaluate(*frames[:3], schema, frames[3], seed=1)
    text = judge(small, small.fresh)
    assert not [e for e in typed.endpoints if e.status == "error"]
    assert [e.name for e in typed.endpoints] == [e.name for e in text.endpoints]
    assert attacks.evaluate(frames[0], frames[1], frames[0], schema, frames[3], seed=1).verdict == "FAIL"


def test_a_table_without_a_column_is_bad_input(small: Split) -> None:
    with pytest.raises(BadInput) as caught:
        judge(small, small.fresh.drop(columns=["x", "y"]))
    assert len(caught.value.faults) == 2


def test_a_column_that_no_attack_looks_at_is_bad_input(small: Split) -> None:
    document = small.schema.to_dict() | {"privacy_unit": {"unit": "person", "columns": ["id"], "max_rows": 1}}
    schema = Schema.from_dict(document | {"columns": [{"name": "id", "type": "id"}, *document["columns"]]})
    train, control = (f.assign(id=[f"{k}{i}" for i in range(len(f))]) for k, f in enumerate((small.train, small.control)))
    with pytest.raises(BadInput, match="'id': no attack looks at it"):
        attacks.evaluate(train, control, small.fresh.assign(id=train["id"]), schema, seed=1)


def test_a_unit_with_several_rows_is_one_target(small: Split) -> None:
    document = small.schema.to_dict() | {"privacy_unit": {"unit": "person", "columns": ["id"], "max_rows": 4}}
    schema = Schema.from_dict(document | {"columns": [{"name": "id", "type": "id"}, *document["columns"]]})
    frames = [f.assign(id=[f"{k}{i // 4}" for i in range(len(f))]) for k, f in enumerate((small.train, small.control, small.reference))]
    frames[0].loc[:3, "id"] = None
    evidence = Evidence.collect(frames[0], frames[1], small.fresh, schema, frames[2], np.random.default_rng(0))
    assert (len(evidence.members), len(evidence.controls), len(evidence.train)) == (59 + 4, 60, 240)
    report = attacks.evaluate(frames[0], frames[1], small.train, schema, frames[2], seed=1)
    assert report.sizes["members"] == 63 and report.verdict != "PASS"


def test_no_cell_is_in_the_document(small: Split) -> None:
    frames = [f.assign(**{"class": "TOKEN"}) for f in (small.train, small.control, small.fresh, small.reference)]
    report = attacks.evaluate(*frames[:3], small.schema, frames[3], seed=1)
    assert "TOKEN" not in json.dumps(report.document())


def test_named_groups_are_targets_and_only_of_categories(small: Split) -> None:
    report = judge(small, small.train, subgroups=("class",))
    grouped = {e.name: e for e in report.endpoints if e.name.endswith("subgroups")}
    assert grouped["distance_subgroups"].role == "may_fail" and grouped["membership_subgroups"].role == "descriptive"
    assert grouped["distance_subgroups"].control_detected and {e.column for e in grouped.values()} == {"class"}
    assert ("tolerance_exceeded", "distance_subgroups") in codes(report)
    for name in ("x", "nobody"):
        with pytest.raises(BadInput, match=name):
            judge(small, small.fresh, subgroups=(name,))


def test_what_is_asked_for_beside_draws_no_test_anew(small: Split) -> None:
    """Who names a group, and another, until the blind classifier finds the split fair has one draw all the same."""
    plain, grouped = judge(small, small.fresh), judge(small, small.fresh, subgroups=("class",))
    for name in ("blind_p", "exchangeability_p"):
        assert 0 < plain.tests[name] < 1
    assert plain.tests["blind_p"] == grouped.tests["blind_p"]


@pytest.mark.parametrize(("p_null", "seen"), [(0.02, True), (0.04, False)])
def test_a_control_is_seen_by_either_measure_at_half_the_level(p_null: float, seen: bool, small: Split) -> None:
    membership = next(a for a in suite.suite(Policy.load("partner-contract")) if a.name == "membership")
    measures = {name: Measure(lambda *_, p=p: Estimate(0.6, 0.5, 0.7, 0.5, p, 0.5), 0.5) for name, p in (("one", 0.5), ("other", p_null))}  # type: ignore[misc]
    found, _ = suite.run(replace(membership, measures=measures), evidence_of(small), Policy.load("partner-contract"), np.random.default_rng(0))
    assert [e.control_detected for e in found] == [seen, seen]


def test_nothing_is_missing_here() -> None:
    assert attacks.required_imports() == []
