"""All attacks on one synthetic table, and the verdict.

Each attack gives a score per target; endpoints are read off the scores; the same attack is then run on the
same data with a leak planted in it, and is void if it misses that. An attack that raises is evidence missing.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from attacks import controls, inference, linkability, membership, nearest, statistics
from attacks.claim import Claim, claim_p
from attacks.evidence import MAX_POOL, Evidence, Table
from attacks.policy import MAY_FAIL_ONLY, Policy
from attacks.result import Endpoint, Role, Status
from attacks.scores import Floats, Scores, UnanswerableError
from attacks.singling_out import singling_out
from attacks.statistics import Estimate
from attacks.verdict import AuditFinding, Outcome, Reason, decide
from dpsynth.schema.schema import Schema

FORMAT = 2
DETECTED = 0.05
LEAST_POOL = 1_000
DISTANCE_WORK = 2e10
NEEDED = ("anonymeter", "numba", "polars", "sklearn")

Score = Callable[[Evidence, np.random.Generator], Scores]
Plant = Callable[[Evidence, np.random.Generator], Table]
Measure = Callable[[Scores, float, float], Estimate]


@dataclass(frozen=True)
class Attack:
    """How to score targets, which leak the attack must be able to see, and what is read off the scores."""

    name: str
    score: Score
    plant: Plant
    measures: Mapping[str, Measure]
    needs_control: bool = True


@dataclass(frozen=True)
class Report:
    """Everything the suite found. `scores` (custodian only) hold what ROC curves are drawn from."""

    verdict: Outcome
    reasons: tuple[Reason, ...]
    endpoints: tuple[Endpoint, ...]
    policy: Policy
    claim: Claim | None
    tests: Mapping[str, Any]
    sizes: Mapping[str, int]
    seconds: float
    scores: Mapping[str, Scores]

    def document(self) -> dict[str, Any]:
        """The contents of attacks.json: numbers and codes, no cell of the data."""
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "reasons": [r.document() for r in self.reasons],
            "attacks": [e.document() for e in self.endpoints],
            "tests": dict(self.tests),
            "claim": None if self.claim is None else {"epsilon": self.claim.epsilon, "delta": self.claim.delta},
            "policy": {"name": self.policy.name, "version": self.policy.version, "hash": self.policy.hash},
            "sizes": dict(self.sizes),
            "seconds": round(self.seconds, 3),
        }


def required_imports() -> list[str]:
    """The modules that a required attack needs and that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def evaluate(
    train: pd.DataFrame,
    control: pd.DataFrame | None,
    synthetic: pd.DataFrame,
    schema: Schema,
    reference: pd.DataFrame | None = None,
    policy: Policy | str = "partner-contract",
    claim: Claim | None = None,
    seed: int | None = None,
    progress: Callable[[str], None] | None = None,
    audit: AuditFinding | None = None,
) -> Report:
    """Attack `synthetic`, which was made from `train`, and judge it by `policy`.

    The tables hold raw-looking cells, text or typed, in the columns of `schema`. `control` was held back from
    the generator; `reference` is what an attacker knows from elsewhere (without it half of the control stands
    in). `claim` is the (epsilon, delta) that the maker states. `seed=None` draws from the operating system.
    `progress` hears the name of each step. `audit` is what the build says of the code that made the table,
    if it was ours. Raises `BadInput` for tables without the schema's columns and for faults of the policy; never
    for what cells hold.
    """
    started = time.perf_counter()
    rules = policy if isinstance(policy, Policy) else Policy.load(policy)
    tell = progress or (lambda step: None)
    attacks = suite(rules)
    streams = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(len(attacks) + 4))
    tell("evidence")
    evidence = Evidence.collect(train, control, synthetic, schema, reference, next(streams), _pool(len(synthetic), len(schema.synthesised)))
    endpoints: list[Endpoint] = []
    scores: dict[str, Scores] = {}
    for attack in attacks:
        tell(attack.name)
        found, score = run(attack, evidence, rules, next(streams))
        endpoints += found
        scores |= {attack.name: score} if score else {}
    tell("tests")
    endpoints += _described(evidence, scores, rules)
    tests = _tests(evidence, scores, claim, *streams) | {"audit": audit, "unreadable": list(evidence.unreadable)}
    verdict = decide(endpoints, rules, claim, **tests)
    seconds = time.perf_counter() - started
    return Report(verdict.outcome, verdict.reasons, verdict.endpoints, rules, claim, tests, _sizes(evidence), seconds, scores)


def _sizes(evidence: Evidence) -> dict[str, int]:
    return {name: len(getattr(evidence, name)) for name in ("train", "members", "controls", "reference", "synthetic")}


def suite(policy: Policy) -> tuple[Attack, ...]:
    """The attacks, in the order they run."""
    guesses = policy.singling_out_guesses
    return (
        Attack("exact_match", nearest.exact_match, controls.copies_of_rare_rows, {"exact_match": _excess}, needs_control=False),
        Attack("rare_value", nearest.rare_value, controls.copies_of_rare_values, {"rare_value": _excess}),
        Attack("membership", membership.membership, controls.unnoised_tree, {"membership_auc": _auc, "membership_tpr": _tpr}),
        Attack("distance", nearest.distance, controls.noisy_copies, {"distance": _auc, "distance_tpr": _tpr}),
        *(
            Attack(f"singling_out_{mode}", singling_out(mode, guesses), controls.full_copy, {f"singling_out_{mode}": _residual})
            for mode in ("univariate", "multivariate")
        ),
        Attack("linkability", linkability.linkability, controls.full_copy, {"linkability": _excess}),
        Attack("attribute_inference", inference.inference, controls.full_copy, {"attribute_inference": _worst}),
        Attack("attribute_inference_confident", inference.confident_inference, controls.full_copy, {"attribute_inference_confident": _worst}),
    )


def run(attack: Attack, evidence: Evidence, policy: Policy, rng: np.random.Generator) -> tuple[list[Endpoint], Scores | None]:
    """One attack and its positive control. Never raises: what breaks becomes the endpoints' status."""
    started = time.perf_counter()
    try:
        _require_targets(attack, evidence)
        scores = attack.score(evidence, rng)
        measured = {name: measure(scores, policy.tolerance[name], policy.confidence) for name, measure in attack.measures.items()}
        seen = _control_detected(attack, evidence, policy, rng)
    except UnanswerableError as reason:
        return _unmeasured(attack, policy, _status(reason), str(reason), started), None
    except Exception as error:
        return _unmeasured(attack, policy, "error", f"the attack broke ({type(error).__name__})", started), None
    seconds = time.perf_counter() - started
    return [_endpoint(name, e, policy.tolerance[name], seen, seconds, scores) for name, e in measured.items()], scores.overall


def _require_targets(attack: Attack, evidence: Evidence) -> None:
    if len(evidence.members) < 2 or not len(evidence.synthetic):
        raise UnanswerableError("underpowered", "fewer than two members, or no synthetic rows")
    if len(evidence.controls) < 2 and (attack.needs_control or len(evidence.controls)):
        raise UnanswerableError("underpowered", "fewer than two controls")


def _control_detected(attack: Attack, evidence: Evidence, policy: Policy, rng: np.random.Generator) -> bool:
    """Whether the attack sees its planted leak, by any of its measures (Bonferroni)."""
    planted = attack.score(evidence.against(attack.plant(evidence, rng)), rng)
    p = [measure(planted, policy.tolerance[name], policy.confidence).p_null for name, measure in attack.measures.items()]
    return min(p) * len(p) < DETECTED


def _endpoint(name: str, estimate: Estimate, tolerance: float, seen: bool, seconds: float, scores: Scores) -> Endpoint:
    weak = not estimate.minimum_detectable < tolerance
    words = "the least tolerance that this many targets can certify is larger than the policy's" if weak else ""
    column = None if estimate.at is None else scores.columns[estimate.at]
    return Endpoint(name, _role(name), "underpowered" if weak else "ok", estimate, tolerance, None, seen, seconds, words, column)


def _role(name: str) -> Role:
    return "may_fail" if name in MAY_FAIL_ONLY else "required"


def _unmeasured(attack: Attack, policy: Policy, status: Status, words: str, started: float) -> list[Endpoint]:
    seconds = time.perf_counter() - started
    return [Endpoint(name, _role(name), status, None, policy.tolerance[name], None, None, seconds, words) for name in attack.measures]


def _status(reason: UnanswerableError) -> Status:
    return "not_applicable" if reason.status == "not_applicable" else "underpowered"


def _described(evidence: Evidence, scores: dict[str, Scores], policy: Policy) -> list[Endpoint]:
    """Membership among the tenth of the people least like the others; says where to look, decides nothing."""
    name = "membership_vulnerable"
    if "membership" not in scores:
        return []
    started = time.perf_counter()
    try:
        scores[name] = membership.vulnerable(scores["membership"], evidence)
        estimate = _auc(scores[name], 0.5, policy.confidence)
    except Exception as error:
        return [Endpoint(name, "descriptive", "error", words=type(error).__name__)]
    return [Endpoint(name, "descriptive", "ok", estimate, seconds=time.perf_counter() - started)]


def _tests(evidence: Evidence, scores: Mapping[str, Scores], claim: Claim | None, *streams: np.random.Generator) -> dict[str, Any]:
    """The three tests beside the endpoints; None where one could not run."""
    has_control = len(evidence.controls) > 0
    ranked = [scores[name] for name in ("membership", "distance") if name in scores]
    tests: dict[str, Any] = {"exchangeability_p": None, "blind_p": None, "claim_p": None, "has_control": has_control}
    if has_control and len(evidence.members):
        tests["exchangeability_p"] = _attempt(lambda: _exchangeability_p(evidence, scores, streams[0]))
        tests["blind_p"] = _attempt(lambda: _blind_p(evidence, streams[1]))
        if claim and ranked:
            tests["claim_p"] = _attempt(lambda: claim_p(ranked, claim, streams[2]))
    return tests


def _attempt(test: Callable[[], float]) -> float | None:
    try:
        return test()
    except Exception:
        return None


def _blind_p(evidence: Evidence, rng: np.random.Generator) -> float:
    from attacks.blind import blind_p

    return blind_p(evidence, rng)


def _exchangeability_p(evidence: Evidence, scores: Mapping[str, Scores], rng: np.random.Generator) -> float:
    rows = [row for score in scores.values() for row in _linear(score.pooled)]
    return statistics.exchangeability(np.array(rows), len(evidence.members), rng)


def _linear(pooled: Floats) -> list[Floats]:
    """Centred ranks (as in AUC) and the top hundredth (as in TPR), zero for rows that are no targets."""
    known = ~np.isnan(pooled)
    if not known.any():
        return []
    ranks, top = np.zeros(len(pooled)), np.zeros(len(pooled))
    ranks[known] = pd.Series(pooled[known]).rank().to_numpy() - (known.sum() + 1) / 2
    top[known] = pooled[known] > np.quantile(pooled[known], 1 - statistics.FPR)
    return [ranks, top]


def _pool(synthetic: int, columns: int) -> int:
    """How many targets of a kind are attacked: all up to 8,000, fewer where a distance to each synthetic row would take minutes."""
    return int(np.clip(DISTANCE_WORK / max(synthetic * columns, 1), LEAST_POOL, MAX_POOL))


def _auc(scores: Scores, tolerance: float, confidence: float) -> Estimate:
    return statistics.auc(*_enough(scores), tolerance, confidence)


def _tpr(scores: Scores, tolerance: float, confidence: float) -> Estimate:
    return statistics.tpr_at_fpr(*_enough(scores), tolerance, confidence)


def _excess(scores: Scores, tolerance: float, confidence: float) -> Estimate:
    return statistics.excess(*scores.targets(), tolerance, confidence)


def _worst(scores: Scores, tolerance: float, confidence: float) -> Estimate:
    columns = zip(scores.members.T, scores.controls.T, strict=True)
    return statistics.worst_excess([_enough(Scores(m, c)) for m, c in columns], tolerance, confidence)


def _residual(scores: Scores, tolerance: float, confidence: float) -> Estimate:
    return statistics.residual_risk(*_enough(scores), scores.guesses, tolerance, confidence)


def _enough(scores: Scores) -> tuple[Floats, Floats]:
    members, others = scores.targets()
    if min(len(members), len(others)) < 2:
        raise UnanswerableError("underpowered", "fewer than two members or controls to attack")
    return members, others
