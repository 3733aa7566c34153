"""Generators that train beside those that count and a public rival, on the same tables, with the same measures; and what privacy adds to a step.

    python -m benchmarks.marginal environments
    python -m benchmarks.deep run --tables adult_discrete --epsilons 1 8 --generators ours-diffusion ours-aim smartnoise-dpctgan --seeds 5
    python -m benchmarks.deep table
    python -m benchmarks.deep steps

Each cell is a line of benchmarks/results/deep.jsonl; one that is there is not done again. Tables, environments, drivers and the names of
generators are those of benchmarks.marginal; delta is 1e-5 throughout, noise of ours has no seed.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

from benchmarks.deep.run import DeepBench
from benchmarks.deep.steps import times
from benchmarks.deep.summary import markdown
from benchmarks.marginal.cell import Cell, done, keep
from benchmarks.marginal.rivals import ENVIRONMENTS, LIBRARIES
from benchmarks.marginal.tables import TABLES

RESULTS = Path(__file__).parents[1] / "results" / "deep.jsonl"
DATA = Path(__file__).parents[2].parent / "shared" / "data"
DELTA = 1e-5


def main() -> int:
    words = _words()
    if words.command == "table":
        print(markdown(done(words.results)))
    elif words.command == "steps":
        print(times())
    else:
        _run(words)
    return 0


def _run(words: argparse.Namespace) -> None:
    bench = DeepBench(words.data, words.environments, words.cap)
    for seed, table, epsilon, generator in product(range(words.seeds), words.tables, words.epsilons, words.generators):
        cell = Cell(table, generator, seed, epsilon, DELTA, 2 if generator.endswith("-aim") else None)
        # Read again each time: another run may have done it meanwhile.
        if words.again or cell not in done(words.results):
            outcome = bench.measure(cell)
            keep(words.results, cell, outcome)
            facts = "{status} {reason} cpu {cpu_s} s, {peak_mb} MB".format(**outcome)
            print(f"{cell}: {facts}, tv2 {outcome.get('tv2')}, tv4 {outcome.get('tv4')}, auroc {outcome.get('auroc')}", flush=True)


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "table", "steps"):
        command = commands.add_parser(name)
        command.add_argument("--results", type=Path, default=RESULTS)
        if name == "run":
            command.add_argument("--tables", nargs="+", default=["adult_discrete"])
            command.add_argument("--epsilons", nargs="+", type=float, default=[1.0])
            command.add_argument("--generators", nargs="+", required=True)
            command.add_argument("--seeds", type=int, default=1, help="how many runs")
            command.add_argument("--cap", type=float, default=900.0, help="CPU seconds a cell may take")
            command.add_argument("--environments", type=Path, default=ENVIRONMENTS)
            command.add_argument("--data", type=Path, default=DATA)
            command.add_argument("--again", action="store_true", help="measure cells that are there already")
    words = parser.parse_args()
    if words.command == "run":
        for generator in words.generators:
            if generator.partition("-")[0] not in LIBRARIES:
                parser.error(f"{generator}: write one of {', '.join(LIBRARIES)}, a dash and a method")
        for table in words.tables:
            if table.partition("@")[0] not in TABLES:
                parser.error(f"{table}: write one of {', '.join(TABLES)}, or one of these @ROWS")
    return words


if __name__ == "__main__":
    sys.exit(main())
