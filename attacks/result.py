"""What became of one endpoint of one attack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from attacks.statistics import Estimate

Status = Literal["ok", "error", "underpowered", "not_applicable", "missing"]
Role = Literal["required", "may_fail", "descriptive"]
Knowledge = Literal["synthetic", "reference", "generator", "mechanism", "model"]


@dataclass(frozen=True)
class Endpoint:
    """One measured effect and what it takes to judge it again.

    Attributes:
        name: the endpoint, a key of the policy's tolerances if it is judged.
        role: `required` for a PASS; `may_fail`, which can stop a release but not let it out; `descriptive`.
        status: `ok`; `error` (the attack broke); `underpowered` (too few targets or guesses); `not_applicable`
            (nothing of the kind to attack); `missing` (not run).
        estimate: the effect, its one-sided bounds and p-values; None where there is none.
        tolerance: what the upper bound has to stay below; None for a descriptive endpoint.
        p_adjusted: `estimate.p`, adjusted over all judged endpoints (Holm).
        control_detected: whether the attack saw the leak planted for it; None where none could be planted.
        seconds: wall time of the attack with its positive control.
        words: why the status is what it is, without any value of the data.
        column: which column the effect is of, where each was attacked by itself: that which decides.
        knows: what the attacker has: the synthetic table, reference rows, the generator to run, what its mechanism measured, its model.
    """

    name: str
    role: Role
    status: Status
    estimate: Estimate | None = None
    tolerance: float | None = None
    p_adjusted: float | None = None
    control_detected: bool | None = None
    seconds: float = 0.0
    words: str = ""
    column: str | None = None
    knows: tuple[Knowledge, ...] = ()

    def document(self) -> dict[str, Any]:
        """JSON-ready: the contract's keys, and those that `from_document` needs."""
        e = self.estimate
        return {
            "name": self.name,
            "status": self.status,
            "effect": _finite(e.effect) if e else None,
            "ci": [_finite(e.lower), _finite(e.upper)] if e else None,
            "p": _finite(e.p) if e else None,
            "p_adjusted": self.p_adjusted,
            "tolerance": self.tolerance,
            "minimum_detectable": _finite(e.minimum_detectable) if e else None,
            "control_detected": self.control_detected,
            "seconds": round(self.seconds, 3),
            "role": self.role,
            "p_no_effect": _finite(e.p_null) if e else None,
            "words": self.words,
            "column": self.column,
            "knows": list(self.knows),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Endpoint:
        """The endpoint that `document` described. Raises `KeyError` or `TypeError` on another document."""
        estimate = None
        if document["ci"] is not None:
            lower, upper = map(_known, document["ci"])
            numbers = [_known(document[k]) for k in ("effect", "p", "p_no_effect", "minimum_detectable")]
            estimate = Estimate(numbers[0], lower, upper, numbers[1], numbers[2], numbers[3])
        role, status = document["role"], document["status"]
        if role not in get_args(Role) or status not in get_args(Status):
            raise KeyError("role or status")
        return cls(
            name=document["name"],
            role=role,
            status=status,
            estimate=estimate,
            tolerance=document["tolerance"],
            p_adjusted=document["p_adjusted"],
            control_detected=document["control_detected"],
            seconds=document["seconds"],
            words=document["words"],
            column=document["column"],
            knows=tuple(document.get("knows", ())),
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _known(value: float | None) -> float:
    return math.nan if value is None else float(value)
