"""What exact noise costs: microseconds a cell, and its share of a fit.

    python -m benchmarks.noise                                               # the demo's survey
    python -m benchmarks.noise --table adult.csv.gz --schema adult.schema.json

Seconds are those of the processor, so that what else the machine does counts for little.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

from dpsynth.privacy.noise import Counts, SystemNoise
from dpsynth.privacy.table import single_use
from dpsynth.schema import Schema
from dpsynth.synthesizers.registry import GENERATORS
from dpsynth.tables import open_table
from dpsynth.tables.survey import SurveyTable, survey_schema

SIGMAS = (0.5, 1.0, 3.0, 30.0, 1e3, 1e9)
SIZES = (1, 10, 100, 10_000)
EPSILON, DELTA = 1.0, 1e-9


class TimedNoise(SystemNoise):
    """Exact noise that counts its calls, cells and seconds."""

    def __init__(self) -> None:
        self.calls, self.cells, self.seconds, self.choosing = 0, 0, 0.0, 0.0

    def add_discrete_gaussian(self, counts: Counts, sigma: float) -> Counts:
        start = time.process_time()
        noisy = super().add_discrete_gaussian(counts, sigma)
        self.seconds += time.process_time() - start
        self.calls, self.cells = self.calls + 1, self.cells + counts.size
        return noisy

    def choose(self, scores: Counts, scale: float) -> int:
        start = time.process_time()
        chosen = super().choose(scores, scale)
        self.choosing += time.process_time() - start
        return chosen


def a_cell(sigma: float, size: int, cells: int = 10_000) -> float:
    """Microseconds for each cell of a vector of `size`."""
    noise = TimedNoise()
    for _ in range(max(1, cells // size // 10)):
        noise.add_discrete_gaussian(np.zeros(size, dtype=np.int64), sigma)
    return noise.seconds / noise.cells * 1e6


def report(people: pd.DataFrame, schema: Schema) -> None:
    """Of each generator's fit, how much is noise and how much is choosing."""
    print(f"\n{len(people):,} rows at ({EPSILON:g}, {DELTA:g})     calls     cells   noise s  choice s     fit s   share")
    for name, kind in GENERATORS.items():
        for fresh in (True, False):  # the first fit compiles the engine's kernels
            noise, start = TimedNoise(), time.process_time()
            kind(EPSILON, DELTA).fit(single_use(people, schema, noise))
            fit = time.process_time() - start
            if not fresh:
                share = (noise.seconds + noise.choosing) / fit
                print(f"{name:24s} {noise.calls:8,} {noise.cells:9,} {noise.seconds:9.2f} {noise.choosing:9.2f} {fit:9.2f} {share:7.1%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table")
    parser.add_argument("--schema")
    words = parser.parse_args()
    a_cell(1.0, 1)
    print("microseconds a cell", *(f"{size:>8,} cells" for size in SIZES))
    for sigma in SIGMAS:
        print(f"sigma {sigma:<13g}", *(f"{a_cell(sigma, size):14.1f}" for size in SIZES))
    schema = Schema.load(words.schema) if words.schema else survey_schema()
    people = open_table(words.table, schema).rows() if words.table else SurveyTable(schema).rows()
    report(people, schema)


if __name__ == "__main__":
    main()
