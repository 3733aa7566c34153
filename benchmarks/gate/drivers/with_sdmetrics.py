"""SDMetrics: its two scores by distance to the closest record, 1 being best. No criterion of its own."""

from __future__ import annotations

import pandas as pd
from driver import Outcome, drive
from sdmetrics.single_table import DCRBaselineProtection, DCROverfittingProtection


def score(train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame, numbers: list[str]) -> Outcome:
    metadata = {"columns": {c: {"sdtype": "numerical" if c in numbers else "categorical"} for c in train}}
    overfit = DCROverfittingProtection.compute_breakdown(train, synthetic, control, metadata, None)
    baseline = DCRBaselineProtection.compute_breakdown(train, synthetic, metadata, None)
    closer = overfit["synthetic_data_percentages"]["closer_to_training"]
    return {"alarm": None, "scores": {"closer_to_training": float(closer), "baseline": -float(baseline["score"])}}


if __name__ == "__main__":
    drive(score)
