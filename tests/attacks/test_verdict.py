"""The decision rule, case by case (privacy.md 15)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from attacks.claim import Claim
from attacks.policy import LATER, MAY_FAIL_ONLY, MAY_NOT_APPLY, REQUIRED, Policy
from attacks.result import Endpoint, Knowledge
from attacks.statistics import Estimate
from attacks.verdict import KNOWN_CONTROLS, MOST_ROWS, Verdict, decide, replay
from dpsynth.errors import BadInput

POLICY = Policy.load("partner-contract")


def good() -> dict[str, Endpoint]:
    def endpoint(name: str, tolerance: float) -> Endpoint:
        base = 0.5 if tolerance > 0.5 else 0.0
        near = Estimate(base, base - 0.001, base + 0.001, 0.9, 0.5, base + 0.001)
        return Endpoint(name, "may_fail" if name in MAY_FAIL_ONLY else "required", "ok", near, tolerance, None, True)

    return {name: endpoint(name, tolerance) for name, tolerance in POLICY.tolerance.items()}


def judge(changed: dict[str, Endpoint | None] | None = None, claim: Claim | None = None, **tests: object) -> Verdict:
    endpoints = [e for e in (good() | (changed or {})).values() if e is not None]
    usual = {"exchangeability_p": 0.5, "blind_p": 0.5, "claim_p": 0.5, "has_control": True}
    return decide(endpoints, POLICY, claim, **(usual | tests))  # type: ignore[arg-type]


def codes(verdict: Verdict) -> list[str]:
    return [r.code for r in verdict.reasons]


def test_all_good_passes() -> None:
    assert judge().outcome == "PASS" and judge(claim=Claim(1.0, 1e-9)).outcome == "PASS"


@pytest.mark.parametrize("name", POLICY.required)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": "error", "estimate": None}, "attack_failed"),
        ({"status": "missing", "estimate": None}, "missing_evidence"),
        ({"status": "underpowered"}, "underpowered"),
        ({"control_detected": False}, "assay_failed"),
        ({"control_detected": None}, "assay_failed"),
        ({"tolerance": 0.99}, "missing_evidence"),
        ({"role": "descriptive"}, "missing_evidence"),
        ({"estimate": Estimate(0.5, 0.4, float("nan"), 0.9, 0.5, 0.0)}, "tolerance_exceeded"),
        ({"estimate": Estimate(0.7, 0.0, 0.9, 0.2, 0.5, 0.0)}, "tolerance_exceeded"),
    ],
)
def test_each_doubt_blocks(name: str, change: dict[str, object], code: str) -> None:
    verdict = judge({name: replace(good()[name], **change)})  # type: ignore[arg-type]
    assert verdict.outcome == "INCONCLUSIVE" and code in codes(verdict)
    assert all(r.next and r.words for r in verdict.reasons)


@pytest.mark.parametrize("name", POLICY.required)
def test_a_required_endpoint_that_is_absent_blocks(name: str) -> None:
    assert codes(judge({name: None})) == ["missing_evidence"]


@pytest.mark.parametrize("name", POLICY.required)
def test_not_applicable_passes_for_copies_of_what_is_rare_alone(name: str) -> None:
    verdict = judge({name: replace(good()[name], status="not_applicable", estimate=None, control_detected=None)})
    assert verdict.outcome == ("PASS" if name in MAY_NOT_APPLY else "INCONCLUSIVE")


@pytest.mark.parametrize("name", POLICY.tolerance)
def test_a_proved_leak_fails_after_holm(name: str) -> None:
    tolerance = POLICY.tolerance[name]
    leak = replace(good()[name], estimate=Estimate(0.9, 0.8, 0.95, 0.05 / (len(POLICY.tolerance) + 1e-6), 0.0, 0.01))
    assert tolerance < 0.8
    assert judge({name: leak}).outcome == "FAIL"
    weaker = judge({name: replace(leak, estimate=replace(leak.estimate, p=0.05 / (len(POLICY.tolerance) - 2)))})  # type: ignore[type-var]
    assert weaker.outcome == ("PASS" if name in MAY_FAIL_ONLY else "INCONCLUSIVE")


def test_distance_may_be_missing_but_not_blind_or_broken() -> None:
    distance = good()["distance"]
    assert judge({"distance": replace(distance, control_detected=False)}).outcome == "INCONCLUSIVE"
    assert judge({"distance": replace(distance, status="error", estimate=None)}).outcome == "INCONCLUSIVE"
    assert judge({"distance": replace(distance, status="underpowered")}).outcome == "PASS"


def test_exchangeability_fails_without_a_claim_only() -> None:
    assert judge(exchangeability_p=0.001).outcome == "FAIL"
    assert judge(exchangeability_p=0.001, claim=Claim(1.0, 1e-9)).outcome == "PASS"
    assert judge(exchangeability_p=None).outcome == "INCONCLUSIVE"


def test_claims() -> None:
    assert codes(judge(claim=Claim(1.0, 1e-9), claim_p=1e-4)) == ["claim_violated"]
    assert judge(claim=Claim(20.0, 1e-9)).outcome == "FAIL"
    assert judge(claim=Claim(1.0, 1e-9), claim_p=None).outcome == "INCONCLUSIVE"
    assert judge(claim=Claim(1.0, POLICY.tolerance["exact_match"] / 2)).outcome == "PASS"
    for delta in (POLICY.tolerance["exact_match"], 0.999):  # (0, delta) allows to publish such a share of all people
        assert codes(judge(claim=Claim(1.0, delta), exchangeability_p=0.001)) == ["claim_violated"]
    for epsilon, delta in ((0.0, 0.0), (1.0, 1.0), (float("nan"), 0.0), (True, 0.0)):
        with pytest.raises(BadInput):
            Claim(epsilon, delta)


def test_split_and_control() -> None:
    assert codes(judge(blind_p=1e-4)) == ["split_biased"]
    assert codes(judge(blind_p=None)) == ["attack_failed"]
    assert codes(judge(has_control=False)) == ["no_control"]


def test_many_rows_for_each_row_trained_on_are_not_judged_fine() -> None:
    assert judge(rows_each=MOST_ROWS).outcome == "PASS"
    for many in (MOST_ROWS + 1e-9, float("inf"), float("nan")):
        verdict = judge(rows_each=many)
        assert verdict.outcome == "INCONCLUSIVE" and codes(verdict) == ["underpowered"]
    assert judge(rows_each=1e3, exchangeability_p=0.001).outcome == "FAIL"


@pytest.mark.parametrize(
    "proof",
    [
        {"changed": {"exact_match": replace(good()["exact_match"], estimate=Estimate(0.9, 0.8, 0.95, 1e-9, 0.0, 0.001))}},
        {"exchangeability_p": 0.001},
        {"claim": Claim(1.0, 1e-9), "claim_p": 1e-9},
    ],
    ids=["leak", "exchangeability", "claim"],
)
def test_no_comparison_with_controls_is_a_proof_where_the_split_is_biased(proof: dict[str, Any]) -> None:
    assert judge(**proof).outcome == "FAIL"
    biased = judge(**proof, blind_p=1e-4)
    assert biased.outcome == "INCONCLUSIVE" and "split_biased" in codes(biased) and "claim_violated" not in codes(biased)


def test_what_needs_no_control_is_a_proof_though_the_split_is_biased() -> None:
    assert judge(audit="failed", blind_p=1e-4).outcome == "FAIL"
    assert judge(claim=Claim(20.0, 1e-9), blind_p=1e-4).outcome == "FAIL"


@pytest.mark.parametrize("proof", [{"exchangeability_p": 0.001}, {"claim": Claim(1.0, 1e-9), "claim_p": 1e-9}], ids=["exchangeability", "claim"])
def test_no_test_that_looks_at_the_reference_is_a_proof_where_controls_are_in_it(proof: dict[str, Any]) -> None:
    assert judge(**proof, overlap=["something else"]).outcome == "FAIL"
    assert codes(judge(**proof, overlap=[KNOWN_CONTROLS])) == ["split_overlap"]


@pytest.mark.parametrize(("knows", "outcome"), [(("synthetic",), "FAIL"), (("synthetic", "reference"), "INCONCLUSIVE")])
def test_nor_is_an_attack_that_does(knows: tuple[Knowledge, ...], outcome: str) -> None:
    leak = replace(good()["distance"], estimate=Estimate(0.9, 0.8, 0.95, 1e-9, 0.0, 0.001), knows=knows)
    assert judge({"distance": leak}).outcome == "FAIL"
    assert judge({"distance": leak}, overlap=[KNOWN_CONTROLS]).outcome == outcome


def test_fail_comes_before_inconclusive() -> None:
    assert judge(exchangeability_p=0.001, blind_p=None, has_control=False).outcome == "FAIL"


@pytest.mark.parametrize("name", MAY_FAIL_ONLY)
def test_what_may_only_fail_a_table_blocks_a_pass_if_it_broke_or_was_blind_and_not_if_it_was_weak(name: str) -> None:
    changes: dict[str, dict[str, object]] = {
        "PASS": {"status": "underpowered"},
        "INCONCLUSIVE": {"control_detected": False},
        "FAIL": {"estimate": Estimate(0.9, 0.8, 0.95, 1e-6, 0.0, 0.01)},
    }
    for outcome, change in changes.items():
        assert judge({name: replace(good()[name], **change)}).outcome == outcome  # type: ignore[arg-type]
    assert judge({name: replace(good()[name], status="error", estimate=None)}).outcome == "INCONCLUSIVE"
    assert judge({name: replace(good()[name], role="descriptive", control_detected=False, tolerance=None)}).outcome == "PASS"


SIZES = {"train": 2_000, "synthetic": 2_000}


def test_what_an_earlier_version_judged_is_judged_again_by_the_policy_that_came_with_it() -> None:
    """A policy may know few endpoints that can only fail a table, and before format 3 no report said what an attacker knows."""
    known = (*REQUIRED, "distance", "attribute_inference_confident")
    lines = [line for line in POLICY.text.splitlines() if line.split(" = ")[0] in known or line.split(" = ")[0] not in (*LATER, *MAY_FAIL_ONLY)]
    policy = Policy.from_text("\n".join(lines).replace("version = 5", "version = 2"))
    attacks = [{k: v for k, v in e.document().items() if k != "knows"} for name, e in good().items() if name in known]
    tests = {"exchangeability_p": 0.5, "blind_p": 0.5, "claim_p": 0.5, "has_control": True, "audit": "passed", "unreadable": []}
    document = {
        "format": 2,
        "policy": {"hash": policy.hash},
        "attacks": attacks,
        "claim": {"epsilon": 1.0, "delta": 1e-9},
        "tests": tests,
        "sizes": SIZES,
    }
    assert set(policy.tolerance) == set(known) and replay(document, policy).outcome == "PASS"
    assert replay(document | {"attacks": attacks[1:]}, policy).outcome == "INCONCLUSIVE"
    with pytest.raises(BadInput):
        replay(document | {"format": 3}, policy)
    with pytest.raises(BadInput, match="another policy"):
        replay(document, Policy.from_text(policy.text.replace("confidence = 0.95", "confidence = 0.9999")))


def test_what_was_judged_by_another_policy_is_not_replayed() -> None:
    tests = {"exchangeability_p": 0.5, "blind_p": 0.5, "claim_p": 0.5, "has_control": True, "audit": "passed", "unreadable": [], "overlap": []}
    found = [e.document() for e in good().values()]
    document = {"format": 3, "policy": {"hash": POLICY.hash}, "attacks": found, "claim": None, "tests": tests, "sizes": SIZES}
    assert replay(document, POLICY).outcome == "PASS"
    many = {"sizes": SIZES | {"synthetic": 1_000_000}}
    assert replay(document | many, POLICY).outcome == "PASS", "as it was judged then"
    assert replay(document | many | {"format": 4}, POLICY).outcome == "INCONCLUSIVE"
    looser = Policy.from_text(POLICY.text.replace("confidence = 0.95", "confidence = 0.6"))
    assert looser.hash != POLICY.hash
    with pytest.raises(BadInput, match="another policy"):
        replay(document, looser)
