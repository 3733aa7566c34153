"""SynthEval: the losses of its privacy preset, with a holdout. No criterion of its own."""

from __future__ import annotations

import pandas as pd
from driver import Outcome, drive
from syntheval import SynthEval

METRICS = {"nndr": {}, "nnaa": {"n_resample": 5}, "dcr": {}, "hit_rate": {}, "eps_risk": {}, "mia": {"num_eval_iter": 5}}


def score(train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame, numbers: list[str]) -> Outcome:
    cats = [c for c in train if c not in numbers]
    judge = SynthEval(train, holdout_dataframe=control, cat_cols=cats, verbose=False, enable_plots=False, console="off")
    found = judge.evaluate(synthetic, **METRICS)
    values = found.set_index("metric")["val"].dropna().to_dict()
    # Of these less is worse: distances, and their ratio.
    less = ("dcr", "median_DCR", "nndr")
    return {"alarm": None, "scores": {name: float(-v if name in less else v) for name, v in values.items()}}


if __name__ == "__main__":
    drive(score)
