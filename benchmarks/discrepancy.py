"""How closely the last estimation should follow the answers: the same answers, followed to several discrepancies, against the rows.

    python -m benchmarks.discrepancy --tables adult_discrete bank_marketing cps_tax_units diabetes130 --seeds 5

The discrepancy is the share of the loss that the truth would have at which estimation ends: a smaller one follows the answers' noise more closely.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from statistics import fmean
from unittest.mock import patch

import pandas as pd

from benchmarks.beyond import DELTA, halves
from benchmarks.marginal.distance import codes, mean_total_variation
from benchmarks.marginal.tables import TABLES
from dpsynth.graphical import GraphicalModel
from dpsynth.schema import Schema
from dpsynth.synthesizers import AIM, MST, Generator, Model
from dpsynth.synthesizers.bench import CLOSE, CLOSE_STEPS, Bench
from dpsynth.synthesizers.source import Graphical

DISCREPANCIES = (1.0, 0.85, CLOSE, 0.4, 0.25)
GENERATORS: dict[str, type[AIM | MST]] = {"aim": AIM, "mst": MST}


def closed(generator: Generator, rows: pd.DataFrame, schema: Schema) -> dict[float, Model]:
    """A fit, and what it would have been had its last estimation ended at each discrepancy; each starts where the one before ended."""
    models: dict[float, GraphicalModel] = {}
    refit = Bench.refit

    def last(bench: Bench, *how: float) -> None:
        if how == (CLOSE, CLOSE_STEPS):
            for discrepancy in DISCREPANCIES:
                refit(bench, discrepancy, CLOSE_STEPS)
                models[discrepancy] = bench.model
        else:
            refit(bench, *how)  # type: ignore[arg-type]

    with patch.object(Bench, "refit", last):
        model = generator.fit(rows, schema)
    return {d: replace(model, source=Graphical(m)) for d, m in models.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.discrepancy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=["adult_discrete", "bank_marketing", "cps_tax_units"])
    parser.add_argument("--generators", nargs="+", choices=GENERATORS, default=list(GENERATORS))
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=5)
    words = parser.parse_args()
    print("| table | generator | error |" + "".join(f" {d:g} |" for d in DISCREPANCIES), f"|{'---|' * (3 + len(DISCREPANCIES))}", sep="\n")
    for name in words.tables:
        for kind in words.generators:
            errors: dict[int, list[list[float]]] = {2: [], 3: []}
            for seed in range(words.seeds):
                rows, _, schema, sizes = halves(name, seed)
                models = closed(GENERATORS[kind](words.epsilon, DELTA), rows, schema)
                real, made = codes(rows, sizes), [codes(models[d].sample(len(rows)), sizes) for d in DISCREPANCIES]
                for ways, found in errors.items():
                    found.append([mean_total_variation(real, m, sizes, ways) for m in made])
            for ways, found in errors.items():
                means = "".join(f" {fmean(column):.4f} |" for column in zip(*found, strict=True))
                print(f"| {name} | {kind} | {ways}-way |{means}", flush=True)


if __name__ == "__main__":
    main()
