"""People's values, each in some other row, are a leak however they are rounded; a stranger's are none."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest

import attacks
from attacks import nearest
from attacks.claim import Claim
from attacks.evidence import Evidence, Table
from attacks.grid import Grid, on_one_grid
from attacks.measures import EXCESS, RESIDUAL
from attacks.nearest import rare_value
from attacks.policy import Policy
from attacks.singling_out import singling_out
from attacks.suite import run, suite
from dpsynth.schema import Schema

Numbers = np.ndarray
POLICY = Policy.load("partner-contract")
TOLERANCE = POLICY.tolerance["rare_value"]
RARE_VALUE = next(a for a in suite(POLICY) if a.name == "rare_value")
PEOPLE = 2000

FORMS: dict[str, Callable[[Numbers], Numbers]] = {
    "as they are": lambda x: x,
    "single precision": lambda x: x.astype(np.float32).astype(float),
    "one decimal": lambda x: np.round(x, 1),
    "whole units": np.round,
    "cut to whole units": np.floor,
    "tens": lambda x: np.round(x, -1),
    "five digits": lambda x: np.array([[float(f"{v:.5g}") for v in row] for row in x]),
    "a billionth off": lambda x: x * (1 + 1e-9),
}


def skewed(rng: np.random.Generator) -> Numbers:
    return np.round(rng.lognormal(9, 1.5, (PEOPLE, 2)), 2)


def even(rng: np.random.Generator) -> Numbers:
    return np.round(rng.uniform(10_000, 90_000, (PEOPLE, 2)), 2)


@cache
def evidence(people: Callable[[np.random.Generator], Numbers], form: str, leak: bool) -> Evidence:
    """Two columns of wages and one category; of the synthetic table the wages are the members', shuffled, or a stranger's, in this form."""
    rng = np.random.default_rng(0)
    members, controls, reference, strangers = (Table(people(rng), rng.integers(0, 9, (PEOPLE, 1)).astype(np.int32)) for _ in range(4))
    source = rng.permuted(members.numbers, axis=0) if leak else strangers.numbers
    return Evidence(members, controls, reference, Table(FORMS[form](source), strangers.codes), members, ("wage", "gain", "job"))


@pytest.mark.parametrize("form", FORMS)
def test_rounded_values_of_members_are_seen(form: str) -> None:
    scores = rare_value(evidence(skewed, form, leak=True), np.random.default_rng(0))
    assert EXCESS.of(scores, TOLERANCE, 0.95).lower > TOLERANCE


@pytest.mark.parametrize("form", FORMS)
def test_rounded_values_of_strangers_are_no_leak(form: str) -> None:
    scores = rare_value(evidence(skewed, form, leak=False), np.random.default_rng(0))
    assert EXCESS.of(scores, TOLERANCE, 0.95).p_null > 0.05


@pytest.mark.parametrize("form", FORMS)
def test_values_that_are_rare_to_no_step_single_out_when_rounded(form: str) -> None:
    """Evenly spread, no wage is a hundred steps from all others, and each is somebody's own."""

    def lower(leak: bool) -> float:
        scores = singling_out("univariate", 500)(evidence(even, form, leak), np.random.default_rng(0))
        return RESIDUAL.of(scores, 0.1, 0.95).lower

    assert lower(leak=True) > 0.1 > lower(leak=False)


@pytest.mark.parametrize("form", ["as they are", "whole units"])
def test_an_attack_that_compares_bits_misses_its_control(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planted is written as the synthetic table is, so seeing it takes the tolerance that the real comparison needs."""
    e = evidence(skewed, form, leak=False)

    def seen() -> bool | None:
        return run(RARE_VALUE, e, POLICY, np.random.default_rng(0))[0][0].control_detected

    assert seen()
    monkeypatch.setattr(nearest, "ways_of_writing", lambda found: (found,))
    assert not seen()


def test_a_few_values_written_in_full_do_not_hide_the_others() -> None:
    e = evidence(skewed, "whole units", leak=True)
    synthetic = Table(np.where(np.arange(PEOPLE)[:, None] < 100, e.members.numbers, e.synthetic.numbers), e.synthetic.codes)
    scores = rare_value(e.against(synthetic), np.random.default_rng(0))
    assert EXCESS.of(scores, TOLERANCE, 0.95).lower > TOLERANCE


def test_the_grid_is_that_of_the_synthetic_column() -> None:
    wages = skewed(np.random.default_rng(0))[:, 0]
    ages = np.arange(100.0)
    tens, rounded = np.round(wages, -1), np.array([float(f"{v:.3g}") for v in wages])
    assert [Grid.of(x).decimals for x in (wages, np.round(wages), tens, ages, wages * 1e-100)] == [2, 0, -1, 0, None]
    assert [Grid.of(x).digits for x in (wages, rounded, ages, wages * 1e100)] == [6, 3, 2, 6]
    assert Grid.of(tens).write(np.array([12_344.9, -6.0, np.nan, 0.0])) == pytest.approx([12_340, -10, np.nan, 0], nan_ok=True)


@pytest.mark.parametrize("column", [[], [np.nan, np.nan], [0.0, 0.0], [1e150, -1e150], [1e-200]])
def test_any_column_can_be_written(column: list[float]) -> None:
    numbers = np.array(column)[:, None]
    t = Table(numbers, np.empty((len(numbers), 0), dtype=np.int32))
    written = on_one_grid(Evidence(t, t, t, t, t, ("a",))).members
    assert written.numbers.shape == numbers.shape and (np.isnan(written.numbers) == np.isnan(numbers)).all()


SCHEMA = Schema.from_dict(
    {
        "name": "wages",
        "privacy_unit": {"unit": "row"},
        "columns": [
            {"name": "age", "type": "integer", "bounds": [0, 120], "bounds_basis": "judgement"},
            *({"name": name, "type": "continuous", "bounds": [0, 1e9], "bounds_basis": "judgement"} for name in ("wage", "gain")),
            *({"name": f"k{j}", "type": "categorical", "categories": list("abcdefgh"), "categories_basis": "publisher"} for j in range(5)),
        ],
    }
)


def frame(rng: np.random.Generator) -> pd.DataFrame:
    kind = rng.integers(0, 8, PEOPLE)
    wages = {"wage": rng.lognormal(9, 1.5, PEOPLE), "gain": np.where(rng.random(PEOPLE) < 0.3, rng.lognormal(7, 2, PEOPLE), 0.0)}
    letters = {f"k{j}": np.array(list("abcdefgh"))[(kind + rng.integers(0, 4, PEOPLE)) % 8] for j in range(5)}
    return pd.DataFrame({"age": 20 + 5 * kind + rng.integers(0, 30, PEOPLE)} | wages | letters)


def nine_digits(rng: np.random.Generator) -> Numbers:
    return 100_000_000.0 + rng.integers(0, 10**6, PEOPLE)


def days(rng: np.random.Generator) -> Numbers:
    return 19_000_000.0 + rng.integers(30, 99, PEOPLE) * 10_000 + rng.integers(1, 13, PEOPLE) * 100 + rng.integers(1, 29, PEOPLE)


@pytest.mark.parametrize("values", [nine_digits, days])
def test_numbers_of_more_than_six_digits_single_out_as_they_are(values: Callable[[np.random.Generator], Numbers]) -> None:
    rng = np.random.default_rng(0)
    members, controls = (Table(values(rng)[:, None], rng.integers(0, 9, (PEOPLE, 1)).astype(np.int32)) for _ in range(2))
    leaked = Table(rng.permutation(members.numbers), controls.codes)
    made = Evidence(members, controls, controls.take(np.arange(0)), leaked, members, ("number", "job"))
    scores = singling_out("univariate", POLICY.singling_out_guesses)(made, np.random.default_rng(1))
    assert RESIDUAL.of(scores, POLICY.tolerance["singling_out_univariate"], POLICY.confidence).lower > 0.3


def test_many_round_values_do_not_hide_a_few_in_full() -> None:
    """A maker writes thousands and, under a tenth of all values, the highest wages of members in full: on that grid nobody's value is rare."""
    rng = np.random.default_rng(0)
    members, controls, strangers = (np.round(rng.lognormal(9, 1.5, PEOPLE), 2) for _ in range(3))
    round_ones = np.unique(np.concatenate([np.round(strangers, -3), np.arange(1, 400) * 1000.0]))
    copied = np.sort(members)[-(len(round_ones) // 9 - 1) :]
    wages = np.concatenate([copied, round_ones, rng.choice(round_ones, PEOPLE - len(copied) - len(round_ones))])
    people, held_out, nobody, made_up = (Table(x[:, None], np.zeros((len(x), 1), dtype=np.int32)) for x in (members, controls, strangers[:0], wages))
    made = Evidence(people, held_out, nobody, made_up, people, ("wage", "job"))
    found = rare_value(made, np.random.default_rng(0))
    assert Grid.of(wages).decimals == -3 and found.members.sum() >= len(copied) / 2 and not found.controls.any()


@pytest.mark.parametrize(("form", "leak"), [("single precision", True), ("whole units", True), ("a billionth off", True), ("whole units", False)])
def test_the_gate_stops_rounded_values_of_members_and_accuses_no_strangers(form: str, leak: bool) -> None:
    rng = np.random.default_rng(1)
    train, control, reference, strangers = (frame(rng) for _ in range(4))
    wages = rng.permuted(train[["wage", "gain"]].to_numpy(), axis=0) if leak else strangers[["wage", "gain"]].to_numpy()
    synthetic = strangers.assign(**dict(zip(("wage", "gain"), FORMS[form](wages).T, strict=True)))
    report = attacks.evaluate(train, control, synthetic, SCHEMA, reference, claim=Claim(1.0, 1e-9), seed=3)
    verdicts = {report.verdict, attacks.replay(report.document() | {"claim": None}, report.policy).outcome}
    assert verdicts.isdisjoint({"PASS"} if leak else {"FAIL"})
