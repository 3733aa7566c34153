"""anonymeter: its three evaluators with default numbers of attacks. An alarm is a risk beyond the control's with its whole interval above zero."""

from __future__ import annotations

import pandas as pd
from anonymeter.evaluators import InferenceEvaluator, LinkabilityEvaluator, SinglingOutEvaluator
from driver import Outcome, drive

ATTEMPTS = 100_000


def score(train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame, numbers: list[str]) -> Outcome:
    columns = list(train.columns)
    halves = columns[::2], columns[1::2]
    evaluators = {
        "univariate": (SinglingOutEvaluator(train, synthetic, control=control, max_attempts=ATTEMPTS, seed=0), {"mode": "univariate"}),
        "multivariate": (SinglingOutEvaluator(train, synthetic, n_cols=4, control=control, max_attempts=ATTEMPTS, seed=0), {"mode": "multivariate"}),
        "linkability": (LinkabilityEvaluator(train, synthetic, halves, n_attacks=500, control=control), {}),
        "inference": (InferenceEvaluator(train, synthetic, columns[:-1], columns[-1], regression=columns[-1] in numbers, control=control), {}),
    }
    scores, alarms = {}, []
    for name, (evaluator, how) in evaluators.items():
        try:
            evaluator.evaluate(**how)
            risk = evaluator.risk()
        except Exception:
            continue
        scores[name] = float(risk.value)
        alarms.append(bool(risk.ci[0] > 0))
    return {"alarm": any(alarms) if alarms else None, "scores": scores}


if __name__ == "__main__":
    drive(score)
