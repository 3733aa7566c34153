"""The gate's decision: a pure function of endpoints, policy and claim. It fails closed.

    FAIL          the claimed epsilon is above the policy's, or an audit of the code proved a violation, or, where members
                  and controls are alike without the synthetic table: a leak above the tolerance is proved (Holm-adjusted
                  over the endpoints), or the claimed (epsilon, delta) is refuted, or, without a claim of differential
                  privacy, members are told from controls at all
    INCONCLUSIVE  otherwise, if any evidence that a PASS needs is missing, broken, too weak or above the tolerance
    PASS          every required endpoint's upper bound is below its tolerance, every positive control was seen, and
                  an audit of the code came with the build and passed (where our own code made the table)

All upper bounds must be below their tolerances at once, so they need no correction (intersection-union test);
any one proof of a leak suffices for FAIL, so those do. Whatever compares members with controls proves nothing where the
split is biased: what differs between them may be the split's doing. Nor does what compares them with the reference where
people of the control are in it. Such a table is blocked, and nobody is accused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from attacks.claim import Claim
from attacks.policy import MAY_NOT_APPLY, Policy
from attacks.result import Endpoint
from attacks.statistics import holm
from dpsynth.errors import BadInput, Fault

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
AuditFinding = Literal["passed", "failed", "missing"]

KNOWN_CONTROLS = "people of the control are in the reference table as well"  # what `overlap` calls it, in reports too
MOST_ROWS = 20  # synthetic rows for each row of the training table: what they give away adds up, and tolerances are of a table like people's own
ASKS_FOR_OVERLAP = 3  # the format of reports that say whether somebody is on both sides of the split
COUNTS_ROWS = 4  # that of reports that were judged by their number of rows
NEXT = {
    "tolerance_exceeded": "lower epsilon, or coarsen what leaks; do not hand this table out",
    "upper_bound": "hold back more units as controls, or lower epsilon",
    "claim_violated": "the generator or its accounting has a fault: audit it; do not hand this table out",
    "epsilon": "claim and spend less, or use a policy that allows more",
    "delta": "claim, and spend, a delta far below one over the number of people",
    "exchangeability": "train a generator with differential privacy",
    "missing_evidence": "run the whole suite",
    "unreadable": "have the synthetic table spell its cells as the schema does, and as people's tables do",
    "audit": "install a released build, or audit this one: python -m benchmarks.audits",
    "attack_failed": "read the log, mend what broke the attack, and resume",
    "underpowered": "hold back more units as controls",
    "assay_failed": "the attack cannot see a planted leak in this data: hold back more units as controls",
    "split_biased": "split by a secret key per privacy unit, never by time, place or file order",
    "split_overlap": "give each table as what it is, split with a privacy unit on one side only (`dpsynth split`), a household being one",
    "known_controls": "leave the control's people out of the reference",
    "too_many_rows": "release about as many rows as people's table has; the verdict is of these, and of no further ones",
    "no_control": "hold back a control table: `dpsynth split`",
}


@dataclass(frozen=True)
class Reason:
    """Why a verdict is not PASS: a code for machines, words and the next step for people."""

    code: str
    attack: str | None
    column: str | None
    words: str
    next: str

    def document(self) -> dict[str, str | None]:
        return dict(vars(self))


@dataclass(frozen=True)
class Verdict:
    """The outcome, its reasons (none for PASS), and the endpoints with their adjusted p-values."""

    outcome: Outcome
    reasons: tuple[Reason, ...]
    endpoints: tuple[Endpoint, ...]


def decide(
    endpoints: Sequence[Endpoint],
    policy: Policy,
    claim: Claim | None = None,
    *,
    exchangeability_p: float | None,
    blind_p: float | None,
    claim_p: float | None,
    has_control: bool,
    audit: AuditFinding | None = None,
    unreadable: Sequence[str] = (),
    overlap: Sequence[str] | None = (),
    rows_each: float = 1.0,
) -> Verdict:
    """Judge. A p-value that is None was not obtained, which can only count against a PASS.

    `unreadable` names columns in which the synthetic table holds what no attack can read. `audit` is what the build's
    audit says of the code that made the table; None for a table that code of ours did not make. `overlap` says how people are on
    both sides of the split; None where that was not checked. `rows_each` is how many synthetic rows there are for each row of the training table.
    """
    adjusted = _adjusted(endpoints)
    known = KNOWN_CONTROLS in (overlap or ())
    by_comparison = [
        *_leaks([e for e in adjusted if not (known and "reference" in e.knows)], policy),
        *([] if known else [*_claim_refuted(policy, claim, claim_p), *_told_apart(policy, claim, exchangeability_p)]),
    ]
    proofs = [
        *_claim_above(policy, claim),
        *([] if _is_biased(policy, blind_p) else by_comparison),
        *_audit_failed(audit),
    ]
    doubts = [
        *_controls_missing(has_control),
        *_split_biased(policy, blind_p, has_control),
        *_split_overlaps(overlap),
        *_tests_missing(claim, claim_p, exchangeability_p, has_control),
        *_audit_missing(audit),
        *_too_many_rows(rows_each),
        *(
            Reason(
                "missing_evidence",
                None,
                name,
                "cells of this column are like nobody's, so that no attack can compare them, or hardly one holds a value",
                NEXT["unreadable"],
            )
            for name in unreadable
        ),
        *_doubts(adjusted, policy),
    ]
    outcome: Outcome = "FAIL" if proofs else "INCONCLUSIVE" if doubts else "PASS"
    return Verdict(outcome, (*proofs, *doubts), adjusted)


def replay(document: Mapping[str, Any], policy: Policy) -> Verdict:
    """The verdict again, from a parsed attacks.json and the policy that it was judged by, by today's rule.

    What was blocked stays blocked: a report from before format 3 may have said FAIL of a biased split and reads INCONCLUSIVE now.

    Raises:
        BadInput: it is no such report, or was judged by another policy, whose bounds are of another confidence.
    """
    try:
        if document["policy"]["hash"] != policy.hash:
            raise BadInput(Fault("attacks.json", "was judged by another policy", "give the one whose hash it names"))
        endpoints = [Endpoint.from_document(d) for d in document["attacks"]]
        claim = None if document["claim"] is None else Claim(document["claim"]["epsilon"], document["claim"]["delta"])
        tests = document["tests"]
        return decide(
            endpoints,
            policy,
            claim,
            exchangeability_p=_p(tests["exchangeability_p"]),
            blind_p=_p(tests["blind_p"]),
            claim_p=_p(tests["claim_p"]),
            has_control=tests["has_control"],
            audit=tests["audit"],
            unreadable=tests["unreadable"],
            overlap=tests["overlap"] if document["format"] >= ASKS_FOR_OVERLAP else (),
            rows_each=rows_each(document["sizes"]) if document["format"] >= COUNTS_ROWS else 1.0,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        what = f"not a report of attacks ({type(error).__name__})"
        raise BadInput(Fault("attacks.json", what, "give the file that `dpsynth attack` wrote")) from None


def rows_each(sizes: Mapping[str, int]) -> float:
    """Synthetic rows for each row of the training table; of a table that nobody was trained on none are too many.

    Raises:
        ValueError: sizes that are no numbers of rows.
    """
    rows, train = sizes["synthetic"], sizes["train"]
    if not all(type(n) is int and n >= 0 for n in (rows, train)):
        raise ValueError("not a number of rows")
    return rows / train if train else 0.0


def _p(value: float | None) -> float | None:
    """Raises `ValueError` for what is no probability: nothing is below a level that cannot be compared with it."""
    if value is not None and not 0 <= value <= 1:
        raise ValueError("not a p-value")
    return value


def _judged(endpoint: Endpoint) -> bool:
    return endpoint.role != "descriptive" and endpoint.estimate is not None and endpoint.tolerance is not None


def _adjusted(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    p = {e.name: e.estimate.p for e in endpoints if _judged(e) and e.estimate}
    adjusted = dict(zip(p, holm(list(p.values())), strict=True))
    return tuple(replace(e, p_adjusted=adjusted.get(e.name)) for e in endpoints)


def _leaks(endpoints: Sequence[Endpoint], policy: Policy) -> Iterator[Reason]:
    for e in endpoints:
        if e.p_adjusted is not None and e.p_adjusted < policy.alpha:
            yield Reason("tolerance_exceeded", e.name, e.column, "a leak above the tolerance is proved", NEXT["tolerance_exceeded"])


def _claim_above(policy: Policy, claim: Claim | None) -> Iterator[Reason]:
    if claim and claim.epsilon > policy.max_epsilon:
        yield Reason("claim_violated", None, None, f"the claimed epsilon is above the policy's {policy.max_epsilon:g}", NEXT["epsilon"])
    if claim and claim.delta >= policy.max_delta:
        words = f"the claimed delta is not below {policy.max_delta:g}, the share of people whom the policy lets come out as they are"
        yield Reason("claim_violated", None, None, words, NEXT["delta"])


def _claim_refuted(policy: Policy, claim: Claim | None, claim_p: float | None) -> Iterator[Reason]:
    if claim and claim_p is not None and claim_p < policy.claim_alpha:
        yield _reason("claim_violated", None, "more membership guesses are right than the claimed epsilon and delta allow")


def _told_apart(policy: Policy, claim: Claim | None, exchangeability_p: float | None) -> Iterator[Reason]:
    if claim is None and exchangeability_p is not None and exchangeability_p < policy.exchangeability_alpha:
        words = "members are told from controls, and nothing bounds by how much"
        yield Reason("tolerance_exceeded", "exchangeability", None, words, NEXT["exchangeability"])


def _audit_failed(audit: AuditFinding | None) -> Iterator[Reason]:
    if audit == "failed":
        yield _reason("claim_violated", "audit", "an audit of this code proved that it leaks more than it charges")


def _audit_missing(audit: AuditFinding | None) -> Iterator[Reason]:
    if audit not in (None, "passed", "failed"):
        yield Reason("missing_evidence", "audit", None, "no audit of this very code came with the build", NEXT["audit"])


def _too_many_rows(rows_each: float) -> Iterator[Reason]:
    if not rows_each <= MOST_ROWS:
        words = (
            f"more than {MOST_ROWS} synthetic rows for each row of the training table: what they give away adds up, and fewer people can be attacked"
        )
        yield Reason("underpowered", None, None, words, NEXT["too_many_rows"])


def _controls_missing(has_control: bool) -> Iterator[Reason]:
    if not has_control:
        yield _reason("no_control", None, "without rows that were held back, a leak cannot be told from what the population shares")


def _is_biased(policy: Policy, blind_p: float | None) -> bool:
    return blind_p is not None and blind_p < policy.blind_alpha


def _split_biased(policy: Policy, blind_p: float | None, has_control: bool) -> Iterator[Reason]:
    if _is_biased(policy, blind_p):
        yield _reason("split_biased", "blind", "members differ from controls without the synthetic table")
    elif blind_p is None and has_control:
        yield _reason("attack_failed", "blind", "the split was not checked")


def _split_overlaps(overlap: Sequence[str] | None) -> Iterator[Reason]:
    if overlap is None:
        yield _reason("attack_failed", "overlap", "whether somebody is on both sides of the split was not checked")
    for words in overlap or ():
        yield Reason("split_overlap", None, None, words, NEXT["known_controls" if words == KNOWN_CONTROLS else "split_overlap"])


def _tests_missing(claim: Claim | None, claim_p: float | None, exchangeability_p: float | None, has_control: bool) -> Iterator[Reason]:
    if has_control and claim is None and exchangeability_p is None:
        yield _reason("missing_evidence", "exchangeability", "whether members are told from controls was not tested")
    if has_control and claim is not None and claim_p is None:
        yield _reason("missing_evidence", "claim", "the claim was not put to the test")


def _doubts(endpoints: Sequence[Endpoint], policy: Policy) -> Iterator[Reason]:
    by_name = {e.name: e for e in endpoints}
    for name in policy.required:
        if name not in by_name or by_name[name].role != "required":
            yield _reason("missing_evidence", name, "a required attack is not among the results")
    for e in endpoints:
        void = e.status == "error" or e.control_detected is False
        if e.role == "required" or (e.role == "may_fail" and void):
            yield from _doubt(e, policy)


def _doubt(e: Endpoint, policy: Policy) -> Iterator[Reason]:
    """What stands between an endpoint and a PASS."""
    if e.status in ("error", "missing"):
        yield _reason("attack_failed" if e.status == "error" else "missing_evidence", e.name, e.words or "the attack did not run")
    elif e.status == "not_applicable" and e.name not in MAY_NOT_APPLY:
        yield _reason("missing_evidence", e.name, "there is always something of this kind to attack")
    elif e.status == "underpowered":
        yield _reason("underpowered", e.name, e.words or "too few targets for this tolerance")
    elif e.status == "ok":
        tolerance = policy.tolerance.get(e.name)
        if e.control_detected is not True:
            yield _reason("assay_failed", e.name, "the attack did not see the leak planted for it")
        if tolerance is None or e.estimate is None or e.tolerance != tolerance:
            yield _reason("missing_evidence", e.name, "not judged by this policy's tolerance")
        elif e.role == "required" and not e.estimate.upper < tolerance:
            words = "the upper bound is not below the tolerance"
            yield Reason("tolerance_exceeded", e.name, e.column, words, NEXT["upper_bound"])


def _reason(code: str, attack: str | None, words: str) -> Reason:
    return Reason(code, attack, None, words, NEXT[code])
