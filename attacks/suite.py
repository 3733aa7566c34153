"""All attacks on one synthetic table, and the verdict.

Each attack gives a score per target; endpoints are read off the scores; the same attack is then run on the
same data with a leak planted in it, and is void if it misses that. An attack that raises is evidence missing.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from attacks import controls, density, inference, linkability, membership, nearest, reconstruction, statistics
from attacks.claim import Claim, claim_p
from attacks.classifier import classifier
from attacks.evidence import MAX_POOL, Evidence, Table
from attacks.marginals import Marginal, members_themselves, on_marginals
from attacks.measures import AUC, EXCESS, RESIDUAL, SHARE, TPR, WORST_AUC, WORST_EXCESS, Measure
from attacks.overlap import overlap
from attacks.policy import Policy
from attacks.result import Endpoint, Knowledge, Role, Status
from attacks.scores import Floats, Scores, UnanswerableError
from attacks.shadows import shadowed
from attacks.singling_out import singling_out
from attacks.statistics import Estimate
from attacks.targets import Score, among, by_group, holders_of_rare_categories, outliers
from attacks.verdict import AuditFinding, Outcome, Reason, decide, rows_each
from dpsynth.errors import Fault, refuse
from dpsynth.schema.schema import Schema

FORMAT = 4
DETECTED = 0.05
NOTHING = "hardly any member is what this looks for, and no more came out than by chance"
LEAST_POOL = 1_000
DISTANCE_WORK = 2e10
WITH_REFERENCE: tuple[Knowledge, ...] = ("synthetic", "reference")
NEEDED = ("anonymeter", "numba", "polars", "sklearn")

Found = TypeVar("Found")
Plant = Callable[[Evidence, np.random.Generator], Table]


@dataclass(frozen=True)
class Attack:
    """How to score targets, which leak the attack must be able to see, what is read off the scores, and what the attacker knows."""

    name: str
    score: Score
    plant: Plant
    measures: Mapping[str, Measure]
    knows: tuple[Knowledge, ...] = ("synthetic",)
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
    subgroups: Sequence[str] = (),
    generator: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    marginals: Sequence[Marginal] = (),
) -> Report:
    """Attack `synthetic`, which was made from `train`, and judge it by `policy`.

    The tables hold raw-looking cells, text or typed, in the columns of `schema`. `control` was held back from
    the generator; `reference` is what an attacker knows from elsewhere (without it half of the control stands
    in). `claim` is the (epsilon, delta) that the maker states. `seed=None` draws from the operating system.
    `progress` hears the name of each step. `audit` is what the build says of the code that made the table,
    if it was ours. `subgroups` names categorical columns whose groups are attacked each by itself as well.
    `generator`, where the auditor can run the one that made the table, makes synthetic rows of rows like the
    reference's; it is run some thirty times. `marginals`, each named by its columns, are those that the maker
    measured, where that is known. Raises `BadInput` for tables without the schema's columns and for
    faults of the policy; never for what cells hold.
    """
    started = time.perf_counter()
    rules = policy if isinstance(policy, Policy) else Policy.load(policy)
    tell = progress or (lambda step: None)
    refuse([*_not_grouped(schema, subgroups), *_not_columns(schema, marginals)])
    attacks = (*suite(rules, subgroups), *((_run_again(generator, schema),) if generator else ()), *((_knowing(marginals),) if marginals else ()))
    # The tests' streams come before the attacks', so that no subgroup or further attack that is asked for draws them anew.
    first, *others = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(len(attacks) + 4))
    for_tests, streams = others[:3], iter(others[3:])
    tell("evidence")
    evidence = Evidence.collect(train, control, synthetic, schema, reference, first, _pool(len(synthetic), len(schema.synthesised)))
    endpoints: list[Endpoint] = []
    scores: dict[str, Scores] = {}
    for attack in attacks:
        tell(attack.name)
        found, score = run(attack, evidence, rules, next(streams))
        endpoints += found
        scores |= {attack.name: score} if score else {}
    tell("tests")
    tests = _tests(evidence, scores, claim, *for_tests) | {"audit": audit, "unreadable": list(evidence.unreadable)}
    tests["overlap"] = _attempt(lambda: overlap(train, {"control": control, "reference": reference}, schema, evidence, scores))
    sizes = _sizes(evidence)
    verdict = decide(endpoints, rules, claim, **tests, rows_each=rows_each(sizes))
    seconds = time.perf_counter() - started
    return Report(verdict.outcome, verdict.reasons, verdict.endpoints, rules, claim, tests, sizes, seconds, scores)


def _sizes(evidence: Evidence) -> dict[str, int]:
    return {name: len(getattr(evidence, name)) for name in ("train", "members", "controls", "reference", "synthetic")}


def _not_columns(schema: Schema, marginals: Sequence[Marginal]) -> Iterator[Fault]:
    known = [c.name for c in schema.synthesised]
    if any(isinstance(m, str) or not m for m in marginals):
        yield Fault("marginals", "one names no columns", 'write for example [("age", "sex"), ("age",)]')
        return
    for name in sorted({n for m in marginals for n in m} - set(known)):
        yield Fault(f"marginals, {name!r}", "not a synthesised column of the schema", f"name some of {', '.join(known)}")


def _not_grouped(schema: Schema, subgroups: Sequence[str]) -> Iterator[Fault]:
    grouped = [c.name for c in schema.synthesised if not c.is_number]
    for name in subgroups:
        if name not in grouped:
            yield Fault(
                f"subgroups, {name!r}", "not a categorical column of the schema", f"name one of {', '.join(grouped) or 'none: there is none'}"
            )


def suite(policy: Policy, subgroups: Sequence[str] = ()) -> tuple[Attack, ...]:
    """The attacks, in the order they run."""
    guesses = policy.singling_out_guesses
    return (
        Attack("exact_match", nearest.exact_match, controls.copies_of_rare_rows, {"exact_match": EXCESS}, needs_control=False),
        Attack("near_match", nearest.near_match, controls.near_copies_of_rare_rows, {"near_match": EXCESS}),
        Attack("rare_value", nearest.rare_value, controls.copies_of_rare_values, {"rare_value": EXCESS}),
        Attack("membership", membership.membership, controls.unnoised_tree, {"membership_auc": AUC, "membership_tpr": TPR}, WITH_REFERENCE),
        Attack("distance", nearest.distance, controls.noisy_copies, {"distance": AUC, "distance_tpr": TPR}, WITH_REFERENCE),
        _seeing_a_copy("singling_out_univariate", singling_out("univariate", guesses), RESIDUAL),
        _seeing_a_copy("singling_out_multivariate", singling_out("multivariate", guesses), RESIDUAL),
        _seeing_a_copy("linkability", linkability.linkability, EXCESS),
        _seeing_a_copy("attribute_inference", inference.inference, WORST_EXCESS),
        _seeing_a_copy("attribute_inference_confident", inference.confident_inference, WORST_EXCESS),
        _seeing_a_copy("nndr", nearest.nndr, AUC),
        _seeing_a_copy("adversarial_accuracy", nearest.adversarial_accuracy, EXCESS),
        _seeing_a_copy("dcr_share", nearest.dcr_share, SHARE),
        _seeing_a_copy("density_ratio", density.density_ratio, AUC, WITH_REFERENCE),
        _seeing_a_copy("gen_lra", density.gen_lra, AUC, WITH_REFERENCE),
        _seeing_a_copy("plagiarism", density.plagiarism, AUC, WITH_REFERENCE),
        _seeing_a_copy("reconstruction", reconstruction.reconstruction, WORST_EXCESS),
        _seeing_a_copy("classifier", classifier, AUC, WITH_REFERENCE),
        _seeing_a_copy("exact_match_outliers", among(outliers, nearest.exact_match), EXCESS),
        _seeing_a_copy("distance_outliers", among(outliers, nearest.distance), AUC, WITH_REFERENCE),
        _seeing_a_copy("distance_rare", among(holders_of_rare_categories, nearest.distance), AUC, WITH_REFERENCE),
        _seeing_a_copy("membership_outliers", among(outliers, membership.membership), AUC, WITH_REFERENCE),
        _seeing_a_copy("membership_rare", among(holders_of_rare_categories, membership.membership), AUC, WITH_REFERENCE),
        Attack("single_value", nearest.single_value, controls.copies_of_single_values, {"single_value": EXCESS}),
        *(_of_subgroups(subgroups) if subgroups else ()),
    )


def _seeing_a_copy(name: str, score: Score, measure: Measure, knows: tuple[Knowledge, ...] = ("synthetic",)) -> Attack:
    """An attack with one endpoint that must see a full copy."""
    return Attack(name, score, controls.full_copy, {name: measure}, knows)


def _run_again(generator: Callable[[pd.DataFrame], pd.DataFrame], schema: Schema) -> Attack:
    return _seeing_a_copy("shadow", shadowed(generator, schema), AUC, ("synthetic", "reference", "generator"))


def _knowing(measured: Sequence[Marginal]) -> Attack:
    return Attack("marginals", on_marginals(measured), members_themselves, {"marginals": AUC}, ("synthetic", "reference", "mechanism"))


def _of_subgroups(columns: Sequence[str]) -> Iterator[Attack]:
    yield _seeing_a_copy("distance_subgroups", by_group(columns, nearest.distance), WORST_AUC, WITH_REFERENCE)
    yield _seeing_a_copy("membership_subgroups", by_group(columns, membership.membership), WORST_AUC, WITH_REFERENCE)


def run(attack: Attack, evidence: Evidence, policy: Policy, rng: np.random.Generator) -> tuple[list[Endpoint], Scores | None]:
    """One attack and its positive control, and the scores where they are blind. Never raises: what breaks becomes the endpoints' status."""
    started = time.perf_counter()
    try:
        _require_targets(attack, evidence)
        scores = attack.score(evidence, rng)
        measured = {name: measure.of(scores, policy.tolerance.get(name), policy.confidence) for name, measure in attack.measures.items()}
        nothing = all(e.p_null >= scores.judged_below for e in measured.values())
        seen = not nothing and _control_detected(attack, evidence, policy, rng)
    except UnanswerableError as reason:
        return _unmeasured(attack, policy, _status(reason), str(reason), started), None
    except Exception as error:
        return _unmeasured(attack, policy, "error", f"the attack broke ({type(error).__name__})", started), None
    seconds = time.perf_counter() - started
    # What found nothing enters the joint test like the others: whether it did hangs on the labels that are shuffled there.
    blind = scores.overall if scores.blind else None
    if nothing:
        return _unmeasured(attack, policy, "not_applicable", NOTHING, started), blind
    return [_endpoint(name, e, attack, policy, seen, seconds, scores) for name, e in measured.items()], blind


def _require_targets(attack: Attack, evidence: Evidence) -> None:
    if len(evidence.members) < 2 or not len(evidence.synthetic):
        raise UnanswerableError("underpowered", "fewer than two members, or no synthetic rows")
    if len(evidence.controls) < 2 and (attack.needs_control or len(evidence.controls)):
        raise UnanswerableError("underpowered", "fewer than two controls")


def _control_detected(attack: Attack, evidence: Evidence, policy: Policy, rng: np.random.Generator) -> bool:
    """Whether the attack sees its planted leak, by any of its measures (Bonferroni)."""
    planted = attack.score(evidence.against(attack.plant(evidence, rng)), rng)
    p = [measure.of(planted, policy.tolerance.get(name), policy.confidence).p_null for name, measure in attack.measures.items()]
    return min(p) * len(p) < DETECTED


def _endpoint(name: str, estimate: Estimate, attack: Attack, policy: Policy, seen: bool, seconds: float, scores: Scores) -> Endpoint:
    tolerance = policy.tolerance.get(name)
    weak = tolerance is not None and not estimate.minimum_detectable < tolerance
    words = "the least tolerance that this many targets can certify is larger than the policy's" if weak else ""
    column = None if estimate.at is None else scores.columns[estimate.at]
    status: Status = "underpowered" if weak else "ok"
    return Endpoint(name, _role(name, policy), status, estimate, tolerance, None, seen, seconds, words, column, attack.knows)


def _role(name: str, policy: Policy) -> Role:
    return "required" if name in policy.required else "may_fail" if name in policy.tolerance else "descriptive"


def _unmeasured(attack: Attack, policy: Policy, status: Status, words: str, started: float) -> list[Endpoint]:
    seconds, of = time.perf_counter() - started, policy.tolerance
    return [Endpoint(n, _role(n, policy), status, None, of.get(n), None, None, seconds, words, knows=attack.knows) for n in attack.measures]


def _status(reason: UnanswerableError) -> Status:
    return "not_applicable" if reason.status == "not_applicable" else "underpowered"


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


def _attempt(test: Callable[[], Found]) -> Found | None:
    try:
        return test()
    except Exception:
        return None


def _blind_p(evidence: Evidence, rng: np.random.Generator) -> float:
    from attacks.blind import blind_p

    return blind_p(evidence, rng)


def _exchangeability_p(evidence: Evidence, scores: Mapping[str, Scores], rng: np.random.Generator) -> float:
    """All attacks at once, and copies by themselves: they are what is looked for first, and one among so many would need to be seen twice as well."""
    from attacks.copies import copies

    rows = [row for score in scores.values() for row in _linear(score.pooled)]
    p = [statistics.exchangeability(np.array(asked), len(evidence.members), rng) for asked in (rows, [copies(evidence)])]
    return min(1.0, 2 * min(p))


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
