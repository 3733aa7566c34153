"""Ideas beyond AIM, each beside AIM as it is, on the same rows: what the two- and three-way error would be.

    python -m benchmarks.beyond --tables adult_discrete bank_marketing cps_tax_units --seeds 3

    aim             as it is
    noised scores   each choice is the largest of all scores with Gaussian noise, in place of the exponential mechanism, at equal cost
    prior choices   an earlier release on as many other rows, free now, says which marginals to measure first: no choices are paid for them
    prior model     it says what these marginals are, too: the model starts from them and buys what differs
    two a round     two marginals, neither within the other's columns, are chosen and measured before each fit, at the price of two

The rows are half of a table's, so that there are other ones for the earlier release. Not part of the product: a trial of what it leaves out.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import fmean, stdev
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.marginal.distance import codes, mean_total_variation
from benchmarks.marginal.tables import TABLES, prepare
from dpsynth.graphical import Clique, Factor, Measurement, estimate
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.privacy.cost import Cost
from dpsynth.schema import Schema
from dpsynth.synthesizers import AIM, Model
from dpsynth.synthesizers.aim import ANNEALING, GROUP, LEARNT, MEASURING, ROUNDS_A_COLUMN
from dpsynth.synthesizers.bench import MEAN_NOISE, Bench, Floats, cells_of
from dpsynth.synthesizers.generator import Fitted
from dpsynth.synthesizers.workload import closure

DATA = Path(__file__).parents[1].parent / "shared" / "data"
DELTA = 1e-9
FOR_PRIOR, DRAWN = 0.5, 100_000

Fit = Callable[[pd.DataFrame, Model, Schema, float], Model]


def aim(rows: pd.DataFrame, earlier: Model, schema: Schema, epsilon: float) -> Model:
    return AIM(epsilon, DELTA).fit(rows, schema)


def noised_scores(rows: pd.DataFrame, earlier: Model, schema: Schema, epsilon: float) -> Model:
    with patch.object(Bench, "choose", _largest_noised):
        return AIM(epsilon, DELTA).fit(rows, schema)


def _largest_noised(bench: Bench, weights: Mapping[Clique, int], amount: float, measuring: float) -> Clique | None:
    """K scores, of which a row moves each by its weight at most: in L2 all of them by sqrt(sum of squares). Nothing is worth what noise
    alone makes the largest of K."""
    if not weights:
        return None
    table, sigma = bench.table, bench.table.sigma(measuring)
    table._open().charge(Cost.measured(table.currency, Fraction(amount)))
    noise = [bench.penalty(math.prod(map(bench.views.domain.size, r)), sigma) for r in weights]
    scores = [
        w * (table._tally().distance(bench.views.attributes(r), bench.reference(r)) - n) for (r, w), n in zip(weights.items(), noise, strict=True)
    ]
    scale = math.sqrt(sum(w**2 for w in weights.values()) / amount)
    noisy = np.array(scores) + np.random.default_rng().normal(0, scale, len(scores))
    best = int(np.argmax(noisy))
    return list(weights)[best] if noisy[best] > scale * math.sqrt(2 * math.log(len(scores) + 1)) else None


def prior_choices(rows: pd.DataFrame, earlier: Model, schema: Schema, epsilon: float) -> Model:
    def warm(bench: Bench) -> None:
        known = _known(bench, earlier)
        for i, clique in enumerate(known):
            bench.measure(clique, FOR_PRIOR * bench.left / (len(known) - FOR_PRIOR * i))
        bench.refit()

    return _warmed(warm, rows, schema, epsilon)


def prior_model(rows: pd.DataFrame, earlier: Model, schema: Schema, epsilon: float) -> Model:
    def warm(bench: Bench) -> None:
        """What the earlier rows show of the marginals measured then holds from the outset, as structural potentials do."""
        views, made = bench.views, earlier.sample(DRAWN, seed=0)
        measurements = [_counted(made, bench, clique) for clique in [(c,) for c in views.columns] + _known(bench, earlier)]
        known = estimate(views.domain, measurements, fixed=views.links)
        links = {views.domain.ascending(f.domain.names) for f in views.links}
        parts = [Factor(views.domain.project(c), v.reshape(views.domain.project(c).sizes)) for c, v in zip(known.cliques, known.parts, strict=True)]
        views.__dict__["links"] = (*views.links, *(f for f in parts if f.domain.names not in links))
        bench.refit()

    return _warmed(warm, rows, schema, epsilon)


def _warmed(warm: Callable[[Bench], None], rows: pd.DataFrame, schema: Schema, epsilon: float) -> Model:
    begin = Bench.begin

    def begun(table: PrivateTable, attributes: Sequence[Attribute], limit: float, group: float) -> Bench:
        bench = begin(table, attributes, limit, group)
        warm(bench)
        return bench

    with patch.object(Bench, "begin", begun):
        return AIM(epsilon, DELTA).fit(rows, schema)


def _counted(made: pd.DataFrame, bench: Bench, clique: Clique) -> Measurement:
    held = [a.encode(made[a.column.name], ".") for a in bench.views.attributes(clique)]
    sizes = [bench.views.domain.size(name) for name in clique]
    counts = np.bincount(np.ravel_multi_index(held, sizes), minlength=math.prod(sizes)).reshape(sizes)
    scale = bench.model.total / len(made)
    return Measurement(clique, counts * scale, math.sqrt(DRAWN) * scale / 100)


def _known(bench: Bench, earlier: Model) -> list[Clique]:
    """The marginals that the earlier release measured, in the views of this one."""
    return list(dict.fromkeys(_clique(bench, answer.attributes) for answer in earlier.answers if len(answer.attributes) > 1))


def _clique(bench: Bench, attributes: Sequence[Attribute]) -> Clique:
    """The views that are nearest in size to those of the earlier release."""
    size = bench.views.domain.size

    def nearest(attribute: Attribute) -> str:
        return min(bench.views.levels(attribute.column.name), key=lambda name: abs(size(name) - attribute.size))

    return bench.views.domain.ascending(map(nearest, attributes))


class _Two(AIM):
    """AIM that fits its model once for two marginals, and anneals where neither taught it anything."""

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        budget, size = table.left.amount, cells_of(self.max_model_size)
        bench = Bench.begin(table, attributes, size, GROUP)
        weights = bench.views.candidates(closure(self.workload, bench.views.columns))
        rounds = ROUNDS_A_COLUMN * len(attributes)
        measuring, choosing = MEASURING * budget / rounds, (1 - MEASURING) * budget / rounds
        last = not bench.affords_structure
        while not last:
            if bench.left < 4 * (measuring + choosing):
                measuring, choosing, last = MEASURING * bench.left / 2, (1 - MEASURING) * bench.left / 2, True
            used = 1 - (bench.left - 2 * (measuring + choosing)) / budget
            if not self._learnt(bench, bench.within(weights, used * size), choosing, measuring):
                measuring, choosing = ANNEALING * measuring, ANNEALING * choosing
        return bench.finish()

    def _learnt(self, bench: Bench, weights: dict[Clique, int], choosing: float, measuring: float) -> bool:
        before: dict[Clique, Floats] = {}
        for _ in range(2):
            # What holds a chosen one's columns, at whatever resolution, or is held by them, may be right once that is measured.
            told = [_columns(bench, r) for r in before]
            others = {r: w for r, w in weights.items() if not any(_columns(bench, r) <= t or t <= _columns(bench, r) for t in told)}
            chosen = bench.choose(others, choosing, measuring)
            if chosen is not None:
                before[chosen] = bench.model.project(chosen)
        answers = [bench.measure(clique, measuring) for clique in before]
        bench._touched = frozenset().union(*before)
        bench.refit()
        moved = [float(np.abs(bench.model.project(r) - b).sum()) for r, b in before.items()]
        return any(m > LEARNT * MEAN_NOISE * a.sigma * a.values.size for m, a in zip(moved, answers, strict=True))


def _columns(bench: Bench, clique: Clique) -> frozenset[str]:
    return frozenset(a.column.name for a in bench.views.attributes(clique))


def two_a_round(rows: pd.DataFrame, earlier: Model, schema: Schema, epsilon: float) -> Model:
    return _Two(epsilon, DELTA).fit(rows, schema)


WAYS: dict[str, Fit] = {
    "aim": aim,
    "noised scores": noised_scores,
    "prior choices": prior_choices,
    "prior model": prior_model,
    "two a round": two_a_round,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beyond", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=["adult_discrete", "bank_marketing", "cps_tax_units"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    words = parser.parse_args()
    print("| table | rows | way | two-way | three-way | CPU s |", f"|{'---|' * 6}", sep="\n")
    for name in words.tables:
        found: dict[str, list[tuple[float, ...]]] = {way: [] for way in words.ways}
        for seed in range(words.seeds):
            train, earlier, schema, sizes = halves(name, seed)
            release = AIM(words.epsilon, DELTA).fit(earlier, schema)
            for way in words.ways:
                found[way].append(_measured(WAYS[way], train, release, schema, sizes, words.epsilon))
        for way, runs in found.items():
            two, three, seconds = zip(*runs, strict=True)
            print(f"| {name} | {len(train):,} | {way} | {_said(two)} | {_said(three)} | {fmean(seconds):.0f} |", flush=True)


def halves(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, Schema, dict[str, int]]:
    """Half of the rows, the other half, and how they are coded."""
    table = prepare(name, DATA)
    domain, rows = json.loads(table.domain.read_text()), pd.read_csv(table.train).sample(frac=1, random_state=seed)
    columns = [_number(c, n) if c in domain["numbers"] else _names(c, n) for c, n in domain["sizes"].items()]
    schema = Schema.from_dict({"name": "benchmark", "privacy_unit": {"unit": "row"}, "columns": columns})
    half = len(rows) // 2
    return rows.iloc[:half], rows.iloc[half : 2 * half], schema, domain["sizes"]


def _number(column: str, size: int) -> dict[str, Any]:
    return {"name": column, "type": "integer", "bounds": [0, size - 1], "bounds_basis": "publisher", "bins": size}


def _names(column: str, size: int) -> dict[str, Any]:
    return {"name": column, "type": "categorical", "categories": list(map(str, range(size))), "categories_basis": "publisher"}


def _measured(way: Fit, rows: pd.DataFrame, release: Model, schema: Schema, sizes: dict[str, int], epsilon: float) -> tuple[float, float, float]:
    start = time.process_time()
    made = way(rows, release, schema, epsilon).sample(len(rows))
    seconds = time.process_time() - start
    real, synthetic = codes(rows, sizes), codes(made, sizes)
    two, three = (mean_total_variation(real, synthetic, sizes, ways) for ways in (2, 3))
    return two, three, seconds


def _said(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{fmean(values):.4f}{spread}"


if __name__ == "__main__":
    main()
