"""What is read off an attack's scores: one effect with its bounds, each with the value it has when nothing leaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attacks import statistics
from attacks.scores import Floats, Scores, UnanswerableError
from attacks.statistics import Estimate

Judge = Callable[[Floats, Floats, float, float], Estimate]


@dataclass(frozen=True)
class Measure:
    """What is read off scores, and what it is when nothing leaks."""

    estimate: Callable[[Scores, float, float], Estimate]
    nothing: float

    def of(self, scores: Scores, tolerance: float | None, confidence: float) -> Estimate:
        """Against the tolerance, or against nothing at all where an endpoint is not judged."""
        return self.estimate(scores, self.nothing if tolerance is None else tolerance, confidence)


def _enough(scores: Scores) -> tuple[Floats, Floats]:
    members, others = scores.targets()
    if min(len(members), len(others)) < 2:
        raise UnanswerableError("underpowered", "fewer than two members or controls to attack")
    return members, others


def _of(estimate: Judge) -> Callable[[Scores, float, float], Estimate]:
    return lambda scores, tolerance, confidence: estimate(*_enough(scores), tolerance, confidence)


def _worst(estimate: Judge) -> Callable[[Scores, float, float], Estimate]:
    def largest(scores: Scores, tolerance: float, confidence: float) -> Estimate:
        columns = zip(scores.members.T, scores.controls.T, strict=True)
        return statistics.worst(estimate, [_enough(Scores(m, c)) for m, c in columns], tolerance, confidence)

    return largest


def _excess(scores: Scores, tolerance: float, confidence: float) -> Estimate:
    return statistics.excess(*scores.targets(), tolerance, confidence, scores.chance)


def _residual(scores: Scores, tolerance: float, confidence: float) -> Estimate:
    return statistics.residual_risk(*_enough(scores), scores.guesses, tolerance, confidence)


AUC = Measure(_of(statistics.auc), 0.5)
TPR = Measure(_of(statistics.tpr_at_fpr), statistics.FPR)
SHARE = Measure(_of(statistics.share), 0.5)
EXCESS = Measure(_excess, 0.0)
RESIDUAL = Measure(_residual, 0.0)
WORST_AUC = Measure(_worst(statistics.auc), 0.5)
WORST_EXCESS = Measure(_worst(statistics.excess), 0.0)
