"""The gate's own room: it reads rows, outside the DP guarantee, and hands the split to the attacks.

What it learns goes to the custodian's folder; to the public goes the one verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dpsynth.releasing.split import Split
from dpsynth.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from attacks.policy import Policy
    from attacks.suite import Report

STEPS = 100


@dataclass(frozen=True)
class Claimed:
    """What a release says of its rows: which generator made them, under which guarantee, from which marginals, each named by its columns."""

    generator: str
    epsilon: float
    delta: float
    marginals: tuple[tuple[str, ...], ...] = ()


def judge(split: Split, candidate: pd.DataFrame, schema: Schema, policy: Policy, claim: Claimed, seed: int) -> dict[str, Any]:
    """Attack the candidate rows with what was held back. The attacks' document, with the verdict and its reasons.

    `claim` says how the rows were made; `seed` is the run's own, so that a resumed run
    can not draw another verdict.
    """
    from attacks.claim import Claim
    from attacks.suite import evaluate
    from dpsynth.releasing.audited import finding

    report = evaluate(
        split.train,
        split.control,
        candidate,
        schema,
        split.reference,
        policy=policy,
        claim=Claim(claim.epsilon, claim.delta),
        seed=seed,
        audit=finding(claim.generator),
        marginals=claim.marginals,
    )
    return report.document() | {"roc": roc_curves(report)}


def roc_curves(report: Report) -> list[dict[str, Any]]:
    """For each attack that scores targets, the share of members above each of a hundred quantiles of the controls."""
    curves = []
    for name, scores in report.scores.items():
        members, controls = scores.targets()
        if len(members) and len(controls) and np.unique(controls).size > STEPS // 10:
            cuts = np.quantile(controls, np.linspace(1, 0, STEPS + 1))
            fpr, tpr = ((1 - np.searchsorted(np.sort(s), cuts, side="left") / len(s)).tolist() for s in (controls, members))
            curves.append({"attack": name, "fpr": fpr, "tpr": tpr})
    return curves
