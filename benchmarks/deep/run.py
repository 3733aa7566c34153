"""A cell, measured: driven and watched as in benchmarks.marginal, judged by pairs, by sets of four columns and by a classifier."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.marginal.cell import Cell, Line
from benchmarks.marginal.distance import Codes, auroc, codes, mean_total_variation
from benchmarks.marginal.run import Bench
from benchmarks.marginal.tables import Prepared, prepare

FOURS, FOURS_SEED = 300, 6


class DeepBench(Bench):
    """The marginal bench with other measures: all sets of four are too many on a wide table, and too large to lay out."""

    def measure(self, cell: Cell) -> Line:
        table = prepare(cell.table, self.data)
        with tempfile.TemporaryDirectory(prefix="deep-") as folder:
            out = Path(folder) / "synthetic.csv"
            watched = self._drive(cell, table, out)
            outcome = self._judged(watched)
            if outcome["status"] == "ok":
                outcome |= json.loads(out.with_suffix(".json").read_text())
                outcome |= _distances(table, pd.read_csv(out))
            outcome["peak_mb"] = max(round(watched.peak_mb), outcome["peak_mb"])
        return outcome | {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1), "on": time.strftime("%Y-%m-%d")}


def _distances(table: Prepared, synthetic: pd.DataFrame) -> Line:
    domain = json.loads(table.domain.read_text())
    sizes = domain["sizes"]
    real, held_out = (codes(pd.read_csv(path), sizes) for path in (table.train, table.held_out))
    made = codes(synthetic, sizes)
    line: Line = {f"tv{ways}": round(mean_total_variation(real, made, sizes, ways), 5) for ways in (1, 2)}
    learnt = auroc(made, held_out, sizes, domain["target"])
    return line | {"tv4": round(total_variation_of_fours(real, made, sizes), 5), "auroc": learnt and round(learnt, 4)}


def total_variation_of_fours(real: Mapping[str, Codes], synthetic: Mapping[str, Codes], sizes: Mapping[str, int]) -> float:
    """Half the L1 distance, as a mean over all sets of four columns, or over `FOURS` of them, the same each time."""
    columns = list(sizes)
    if comb(len(columns), 4) <= FOURS:
        sets = list(combinations(columns, 4))
    else:
        rng = np.random.default_rng(FOURS_SEED)
        sets = [tuple(rng.choice(columns, 4, replace=False)) for _ in range(FOURS)]
    return float(np.mean([_apart([real[c] for c in s], [synthetic[c] for c in s], [sizes[c] + 1 for c in s]) for s in sets]))


def _apart(real: list[Codes], synthetic: list[Codes], shape: list[int]) -> float:
    """By the cells that hold a row of either."""
    left, right = (np.ravel_multi_index(tuple(table), tuple(shape)) for table in (real, synthetic))
    _, cell = np.unique(np.concatenate([left, right]), return_inverse=True)
    held = [np.bincount(part, minlength=int(cell.max()) + 1) / len(part) for part in (cell[: len(left)], cell[len(left) :])]
    return float(np.abs(held[0] - held[1]).sum() / 2)
