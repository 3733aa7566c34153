"""The closest row of each of 50,000 targets among 50,000 rows of 15 mixed columns: exactly, by all columns and by 17 parts of them at once.

    python -m benchmarks.scan --targets 50000 --rows 50000

Processor seconds on one thread, code loaded from its cache, and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from attacks.distances import neighbours
from attacks.evidence import Evidence, Table

NUMBERS, CATEGORIES, VALUES = 5, 10, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=50_000)
    words = parser.parse_args()
    neighbours(_evidence(10, 10))
    evidence = _evidence(words.targets, words.rows)
    start = time.process_time()
    neighbours(evidence)
    seconds, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{words.targets:,} x {words.rows:,} x {NUMBERS + CATEGORIES}: {seconds:.1f} CPU s, peak {peak:,.0f} MB")


def _evidence(targets: int, rows: int) -> Evidence:
    rng = np.random.default_rng(0)

    def table(n: int) -> Table:
        return Table(rng.normal(size=(n, NUMBERS)), rng.integers(0, VALUES, (n, CATEGORIES)).astype(np.int32))

    members = table(targets)
    names = tuple(f"c{j}" for j in range(NUMBERS + CATEGORIES))
    return Evidence(members, table(0), table(0), table(rows), members, names)


if __name__ == "__main__":
    main()
