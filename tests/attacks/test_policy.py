"""Policies load whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from attacks.policy import SHIPPED, Policy
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
        "rare_value": 0.005,
        "distance": 0.57,
        "distance_tpr": 0.03,
        "linkability": 0.10,
        "attribute_inference": 0.10,
        "attribute_inference_confident": 0.10,
    }
    assert all(strict[k] < partner[k] for k in partner)


def test_every_fault_at_once_with_its_place(tmp_path: Path) -> None:
    text = Policy.load("internal").text
    text = text.replace("max_epsilon = 100.0", "max_epsilon = true").replace("version = 2", "vresion = 2")
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
