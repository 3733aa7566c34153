"""SDMetrics: how many rows are closer to train than to control, of a tenth of the rows drawn five times. No criterion of its own."""

from __future__ import annotations

import pandas as pd
from driver import Outcome, drive
from sdmetrics.single_table import DCROverfittingProtection

# All 2,000 rows at once take more than two CPU minutes.
TIMES = 5


def score(train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame, numbers: list[str]) -> Outcome:
    metadata = {"columns": {c: {"sdtype": "numerical" if c in numbers else "categorical"} for c in train}}
    rows = len(synthetic) // 10
    found = DCROverfittingProtection.compute_breakdown(train, synthetic, control, metadata, None, num_rows_subsample=rows, num_iterations=TIMES)
    closer = float(found["synthetic_data_percentages"]["closer_to_training"])
    return {"alarm": None, "scores": {"closer_to_training": closer}}


if __name__ == "__main__":
    drive(score)
