"""Somebody on both sides of the split, or in control and reference, is noticed; a fair split of different people never."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import attacks
from attacks.evidence import Evidence
from attacks.overlap import known_controls, shared_rows, shared_units
from attacks.policy import Policy
from attacks.verdict import KNOWN_CONTROLS, NEXT
from dpsynth.schema import Schema

COLUMNS = [
    {"name": "x", "type": "continuous", "bounds": [-9, 9], "bounds_basis": "judgement"},
    {"name": "age", "type": "integer", "bounds": [0, 99], "bounds_basis": "judgement"},
    {"name": "class", "type": "categorical", "categories": list("abcdef"), "categories_basis": "publisher"},
]
ROWS = Schema.from_dict({"name": "rows", "privacy_unit": {"unit": "row"}, "columns": COLUMNS})
HOUSES = Schema.from_dict(
    {
        "name": "houses",
        "privacy_unit": {"unit": "household", "columns": ["town", "house"], "max_rows": 9},
        "columns": [{"name": "town", "type": "id"}, {"name": "house", "type": "id"}, *COLUMNS],
    }
)


def people(seed: int, n: int, digits: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, age = np.round(rng.normal(size=n), digits), rng.integers(0, 100, n)
    return pd.DataFrame({"x": x.astype(str), "age": age.astype(str), "class": rng.choice([*"abcdef", ""], n)})


def evidence(train: pd.DataFrame, control: pd.DataFrame, reference: pd.DataFrame | None = None) -> Evidence:
    return Evidence.collect(train, control, people(99, 50), ROWS, reference, np.random.default_rng(0))


def with_rows_of(train: pd.DataFrame, control: pd.DataFrame, share: float) -> pd.DataFrame:
    copied = round(share * len(control))
    return pd.concat([train.iloc[:copied], control.iloc[copied:]], ignore_index=True)


@pytest.mark.parametrize("digits", [0, 1, 2])
@pytest.mark.parametrize("n", [60, 1_000])
def test_a_fair_split_is_never_an_overlap(digits: int, n: int) -> None:
    """40 splits at a level of 2e-4 each, with hardly any like rows (2 digits) and with many (none)."""
    for seed in range(40 if n < 100 else 10):
        whole = people(seed, n, digits)
        assert not shared_rows(evidence(whole[: n // 2], whole[n // 2 : 3 * n // 4], whole[3 * n // 4 :]))


@pytest.mark.parametrize("part", ["control", "reference"])
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_held_out_rows_that_were_trained_on_are_found(part: str, share: float) -> None:
    for seed in range(20):
        train, control, reference = (people(100 * seed + k, n) for k, n in enumerate((1_000, 400, 400)))
        if part == "control":
            control = with_rows_of(train, control, share)
        else:
            reference = with_rows_of(train, reference, share)
        assert shared_rows(evidence(train, control, reference)), seed


def test_an_overlap_is_found_where_like_rows_are_common() -> None:
    train, control = people(1, 1_500, 0), people(2, 800, 0)
    assert not shared_rows(evidence(train, control))
    assert shared_rows(evidence(train, with_rows_of(train, control, 0.4)))


def test_people_with_several_like_rows_split_by_row_are_found() -> None:
    """Such a split is fair to rows, so that pairs fall on both sides as by lot."""
    twice = pd.concat([people(3, 600)] * 2).sample(frac=1, random_state=1)
    assert shared_rows(evidence(twice[:700], twice[700:]))


def test_a_trace_of_noise_or_another_order_hides_no_overlap() -> None:
    train = people(4, 800)
    noisy = train.assign(x=[repr(float(x) * (1 + 1e-7)) for x in train["x"]])[::-1]
    assert shared_rows(evidence(train, noisy[:300]))


def test_a_household_on_both_sides_is_found_by_its_id() -> None:
    numbers = [str(i) for i in range(300)]
    frames = [people(k, 300).assign(town="T", house=[f"{k}-{i}" for i in numbers]) for k in range(3)]
    assert shared_units(frames[0], {"control": frames[1], "reference": frames[2]}, HOUSES) == ()
    frames[2].loc[7, "house"] = "0-7"
    assert shared_units(frames[0], {"control": frames[1], "reference": frames[2]}, HOUSES) == ("reference",)
    elsewhere = frames[2].assign(town="U")
    assert shared_units(frames[0], {"control": elsewhere}, HOUSES) == ()


def test_ids_are_compared_as_they_are_written_and_absent_ones_not_at_all() -> None:
    train = people(1, 3).assign(town=["T", None, ""], house=["1", "2", "3"])
    other = people(2, 3).assign(town=["T", None, ""], house=[1, "2", "3"])
    assert shared_units(train, {"control": other}, HOUSES) == ("control",)
    numbers = train.assign(town="T", house=[1.0, 2.0, None])
    assert shared_units(numbers, {"control": other.assign(town="T", house="1")}, HOUSES) == ("control",)
    assert shared_units(train[1:], {"control": other[1:]}, HOUSES) == ()
    assert shared_units(train, {"reference": people(3, 5)}, HOUSES) == ()
    assert shared_units(train, {"control": train}, ROWS) == ()


def test_nothing_to_compare_is_no_overlap() -> None:
    assert not shared_rows(evidence(people(1, 50), people(1, 0)))
    assert not shared_rows(evidence(people(1, 0), people(1, 50)))


def controls_are_known(train: pd.DataFrame, control: pd.DataFrame, reference: pd.DataFrame | None) -> bool:
    return known_controls({"control": control, "reference": reference}, ROWS, evidence(train, control, reference))


@pytest.mark.parametrize("digits", [0, 1, 2])
@pytest.mark.parametrize("own_reference", [True, False])
def test_a_fair_split_has_no_control_in_its_reference(digits: int, own_reference: bool) -> None:
    for seed in range(10):
        whole = people(seed, 1_000, digits)
        assert not controls_are_known(whole[:500], whole[500:600], whole[600:] if own_reference else None)


def test_a_large_reference_of_strangers_meets_controls_and_members_alike() -> None:
    """Eight columns of four categories: of people who stand alone one in seven has his like among ten thousand strangers."""
    columns = [{"name": f"k{i}", "type": "categorical", "categories": list("abcd"), "categories_basis": "publisher"} for i in range(8)]
    coarse = Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": columns})
    rng = np.random.default_rng(0)
    train, control, reference, synthetic = (pd.DataFrame({f"k{i}": rng.choice(list("abcd"), n) for i in range(8)}) for n in (500, 300, 10_000, 500))
    collected = Evidence.collect(train, control, synthetic, coarse, reference, rng)
    assert not known_controls({"control": control, "reference": reference}, coarse, collected)
    known = pd.concat([reference, control.iloc[:150]])
    collected = Evidence.collect(train, control, synthetic, coarse, known, rng)
    assert known_controls({"control": control, "reference": known}, coarse, collected)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_controls_in_the_reference_are_found(share: float) -> None:
    for seed in range(20):
        train, control, reference = (people(100 * seed + k, n) for k, n in enumerate((1_000, 400, 400)))
        assert controls_are_known(train, control, with_rows_of(control, reference, share)), seed
    coarse = [people(k, 800, 0) for k in range(3)]
    assert controls_are_known(coarse[0], coarse[1], with_rows_of(coarse[1], coarse[2], 1.0))


def test_a_household_in_control_and_reference_is_found_by_its_id() -> None:
    frames = [people(k, 300).assign(town="T", house=[f"{k}-{i}" for i in range(300)]) for k in range(3)]
    found = Evidence.collect(frames[0], frames[1], people(99, 50), HOUSES, frames[2], np.random.default_rng(0))
    assert not known_controls({"control": frames[1], "reference": frames[2]}, HOUSES, found)
    frames[2].loc[7, "house"] = "1-7"
    assert known_controls({"control": frames[1], "reference": frames[2]}, HOUSES, found)


@pytest.mark.parametrize("claim", [None, attacks.Claim(1.0, 1e-9)])
@pytest.mark.parametrize("known", [1.0, 0.5])
def test_strangers_are_no_leak_where_controls_are_in_the_reference(claim: attacks.Claim | None, known: float) -> None:
    train, control, reference, strangers = (people(k, 400, 4) for k in range(4))
    report = attacks.evaluate(train, control, strangers, ROWS, with_rows_of(control, reference, known), claim=claim, seed=1)
    assert report.verdict == "INCONCLUSIVE" and (KNOWN_CONTROLS, NEXT["known_controls"]) in {(r.words, r.next) for r in report.reasons}
    again = attacks.replay(report.document(), Policy.load("partner-contract"))
    assert (again.outcome, again.reasons) == (report.verdict, report.reasons)


def test_a_copy_is_a_leak_also_where_controls_are_in_the_reference() -> None:
    train, control = people(1, 400, 4), people(2, 400, 4)
    report = attacks.evaluate(train, control, train, ROWS, control, seed=1)
    assert report.verdict == "FAIL" and "exact_match" in {r.attack for r in report.reasons}
