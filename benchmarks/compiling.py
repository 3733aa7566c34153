"""What compiling costs: the first fit and the first samples where numba's cache of compiled code is empty, less the second ones.

    python -m benchmarks.compiling

Processor seconds, on a model of three columns. Some .3 of them, in the first line, are numba's own start, which each process pays.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator

import numba
import numpy as np

from dpsynth.graphical import Domain, GraphicalModel, Measurement, draw, estimate, sample, sampling

DOMAIN = Domain(("a", "b", "c"), (2, 3, 4))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        numba.config.CACHE_DIR = folder  # looked at when the kernels are imported: by the first call, not yet
        costs = dict(first_calls())
    for what, seconds in {**costs, "all": sum(costs.values())}.items():
        print(f"{what:28s} {seconds:5.2f} s")


def first_calls() -> Iterator[tuple[str, float]]:
    """What is called, and what its first call costs more than its second. Numba compiles for good, so once a process."""
    yield "fit", _first(_fitted)
    model, large = _fitted(), sampling.BALANCED + 1
    yield "sample", _first(lambda: sample(model, 1_000, np.random.default_rng(0)))
    yield f"sample, {large:,} rows", _first(lambda: sample(model, large, np.random.default_rng(0)))
    yield "draw", _first(lambda: draw(model, 1_000, np.random.default_rng(0)))


def _fitted() -> GraphicalModel:
    pairs = [("a", "b"), ("b", "c")]
    return estimate(DOMAIN, [Measurement(p, np.full(DOMAIN.project(p).sizes, 100.0), 1.0) for p in pairs])


def _first(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    between = time.process_time()
    call()
    return 2 * between - start - time.process_time()


if __name__ == "__main__":
    main()
