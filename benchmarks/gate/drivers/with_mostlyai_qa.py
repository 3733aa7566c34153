"""mostlyai-qa: the share of rows closer to train than to control, which "should not be significantly larger than 50%"."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pandas as pd
from driver import Outcome, drive
from mostlyai import qa

LEVEL = 1.645


def score(train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame, numbers: list[str]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        _, metrics = qa.report(syn_tgt_data=synthetic, trn_tgt_data=train, hol_tgt_data=control, report_path=report, max_sample_size_accuracy=100)
    share = metrics.distances.dcr_share
    return {
        "alarm": bool(share > 0.5 + LEVEL * math.sqrt(0.25 / len(synthetic))),
        "scores": {"dcr_share": float(share), "ims": float(metrics.distances.ims_training - metrics.distances.ims_holdout)},
    }


if __name__ == "__main__":
    drive(score)
