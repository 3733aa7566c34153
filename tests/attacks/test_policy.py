"""Policies load whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from attacks.policy import LATER, MAY_FAIL_ONLY, REQUIRED, SHIPPED, Policy
from dpsynth.errors import BadInput


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_load(name: str) -> None:
    policy = Policy.load(name)
    assert policy.name == name and policy.publishes == (name != "internal")
    assert policy.hash == hashlib.sha256(policy.text.encode()).hexdigest()
    assert sum(policy.split.values()) == pytest.approx(1) and policy.singling_out_guesses >= 2000


def test_the_stated_tolerances() -> None:
    strict, partner = (Policy.load(n).tolerance for n in ("strict-public", "partner-contract"))
    assert dict(partner) == {
        "membership_auc": 0.57,
        "membership_tpr": 0.03,
        "singling_out_univariate": 0.10,
        "singling_out_multivariate": 0.10,
        "exact_match": 0.005,
        "near_match": 0.005,
        "rare_value": 0.005,
        "single_value": 0.005,
        "distance": 0.57,
        "distance_tpr": 0.03,
        "linkability": 0.10,
        "attribute_inference": 0.10,
        "attribute_inference_confident": 0.10,
        "nndr": 0.57,
        "adversarial_accuracy": 0.10,
        "dcr_share": 0.57,
        "density_ratio": 0.57,
        "gen_lra": 0.57,
        "reconstruction": 0.10,
        "exact_match_outliers": 0.005,
        "distance_outliers": 0.57,
        "distance_rare": 0.57,
        "distance_subgroups": 0.57,
        "shadow": 0.57,
    }
    assert set(partner) == {*REQUIRED, *LATER, *MAY_FAIL_ONLY}
    assert all(strict[k] < partner[k] for k in partner)


def test_every_fault_at_once_with_its_place(tmp_path: Path) -> None:
    text = Policy.load("internal").text
    text = text.replace("max_epsilon = 100.0", "max_epsilon = true").replace("version = 5", "vresion = 5")
    text = text.replace("confidence = 0.95", "confidence = 95").replace("train = 0.7", "train = 0.8")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        Policy.load(path)
    places = [f.where for f in caught.value.faults]
    for key in ("max_epsilon", "vresion", "version", "confidence", "[split]"):
        assert any(key in p for p in places), key
    assert len(places) == 5 and all(f.instead for f in caught.value.faults)


@pytest.mark.parametrize("text", ["", "name = ", "tolerance = 3", "[tests]\nconfidence = nan"])
def test_broken_policies_are_bad_input(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(BadInput):
        Policy.load(path)


def test_a_missing_file_is_bad_input() -> None:
    with pytest.raises(BadInput):
        Policy.load("no-such-policy")


def test_what_may_only_fail_a_table_can_be_left_out_and_what_a_pass_needs_can_not() -> None:
    text = Policy.load("partner-contract").text
    kept = [line for line in text.splitlines() if line.split(" = ")[0] not in (*LATER, *MAY_FAIL_ONLY)]
    assert set(Policy.from_text("\n".join(kept)).tolerance) == set(REQUIRED)
    for name in REQUIRED:
        with pytest.raises(BadInput, match=name):
            Policy.from_text("\n".join(line for line in kept if line.split(" = ")[0] != name))


def test_what_came_later_is_needed_for_a_pass_where_a_policy_states_it() -> None:
    policy = Policy.load("partner-contract")
    older = Policy.from_text("\n".join(line for line in policy.text.splitlines() if line.split(" = ")[0] not in LATER))
    assert set(policy.required) == {*REQUIRED, *LATER} and set(older.required) == set(REQUIRED)
