"""mostlyai-qa: the share of rows closer to train than to control, which "should not be significantly larger than 50%".

Its report's step of distances alone; accuracy, similarity and the page take minutes and say nothing of privacy.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from driver import Outcome, drive
from mostlyai.qa._distances import calculate_dcr_share, calculate_distances
from mostlyai.qa._sampling import prepare_data_for_embeddings

LEVEL = 1.645


def score(train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame, numbers: list[str]) -> Outcome:
    synthetic_rows, trained, held_back = prepare_data_for_embeddings(syn_tgt_data=synthetic, trn_tgt_data=train, hol_tgt_data=control)
    found = calculate_distances(syn_embeds=synthetic_rows, trn_embeds=trained, hol_embeds=held_back)
    share = float(calculate_dcr_share(found["dcr_syn_trn"], found["dcr_syn_hol"]))
    identical = [float(np.mean(found[side] <= 1e-6)) for side in ("dcr_syn_trn", "dcr_syn_hol")]
    alarm = share > 0.5 + LEVEL * math.sqrt(0.25 / len(synthetic_rows))
    return {"alarm": alarm, "scores": {"dcr_share": share, "identical": identical[0] - identical[1]}}


if __name__ == "__main__":
    drive(score)
