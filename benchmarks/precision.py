"""One calibration of a fitted model in double and in single precision: milliseconds, and how far the marginals are apart.

    python -m benchmarks.precision --tables adult_discrete bank_marketing --epsilon 10

The model is AIM's of half of a table's rows. The kernel takes either kind of number; the product uses double precision only.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.beyond import DELTA, halves
from benchmarks.marginal.tables import TABLES
from dpsynth.graphical import GraphicalModel
from dpsynth.graphical.belief import Plan, _scaled, plan_for
from dpsynth.graphical.kernels import calibrate
from dpsynth.synthesizers import AIM
from dpsynth.synthesizers.source import Graphical

REPEATS = 15
Floats = npt.NDArray[np.floating[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=["adult_discrete", "bank_marketing"])
    parser.add_argument("--epsilon", type=float, default=10.0)
    words = parser.parse_args()
    print("| table | cells held | cells swept | double, ms | single, ms | largest relative difference |", f"|{'---|' * 6}", sep="\n")
    for name in words.tables:
        rows, _, schema, _ = halves(name, 0)
        source = AIM(words.epsilon, DELTA).fit(rows, schema).source
        assert isinstance(source, Graphical)
        print(f"| {name} | {_measured(source.model)} |", flush=True)


def _measured(model: GraphicalModel) -> str:
    plan = plan_for(model.tree, model.cliques)
    steps = plan.sweeps[-1]
    begun = np.zeros(plan.length)
    _scaled(np.concatenate([p.ravel() for p in model.parts]), plan, begun)
    longest = int(steps[:, 1].max(initial=0))
    (double, exact), (single, near) = (_timed(plan, begun.astype(kind), np.empty(longest, dtype=kind)) for kind in (np.float64, np.float32))
    told = exact > 1e-9
    apart = np.max(np.abs(near[told] - exact[told]) / exact[told])
    return f"{plan.length:,} | {int(steps[:, :2].prod(axis=1).sum()):,} | {double:.2f} | {single:.2f} | {apart:.0e}"


def _timed(plan: Plan, begun: Floats, row: Floats) -> tuple[float, Floats]:
    """Milliseconds of one calibration, the median of several, and the marginals that it leaves; the first call compiles."""
    times = []
    for _ in range(REPEATS):
        store = begun.copy()
        start = time.perf_counter()
        assert calibrate(store, *plan.sweeps, plan.links, row), "vanished or overflowed"
        times.append(time.perf_counter() - start)
    return 1e3 * median(times), store[plan.cells : 2 * plan.cells].astype(np.float64)


if __name__ == "__main__":
    main()
