"""Noise by its law: whole numbers from the right distribution, fresh everywhere, and nobody's random state touched.

Noise has no seed, so tests of its law fail by chance: all those of `LAWS` together once in a million runs, by Bonferroni. Each lists its
p-value; how many there are is counted, not remembered. That each would notice another law is tested beside it, on draws that repeat.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import OPEN, PERSON, bounded, listed, schema_of
from randomness import a_stream, random_states, seed_all
from scipy.stats import binomtest, chisquare, kstest

from dpsynth.privacy import Bins, Cost, PrivateTable, Request, gdp
from dpsynth.privacy.noise import Noise, SystemNoise
from dpsynth.privacy.table import single_use
from dpsynth.synthesizers.registry import GENERATORS

FALSE_ALARMS = 1e-6
DRAWS = 20_000
RUNS = 2_000
LEAST_EXPECTED = 50


def p_of_counts(seen: np.ndarray, shares: np.ndarray) -> float:
    """Chi-squared, the cells that expect few put together."""
    expected = shares / shares.sum() * seen.sum()
    few = expected < LEAST_EXPECTED
    groups = [(seen[~few], expected[~few])]
    if expected[few].sum() >= LEAST_EXPECTED / 10:
        groups.append((np.array([seen[few].sum()]), np.array([expected[few].sum()])))
    seen, expected = (np.concatenate(g) for g in zip(*groups, strict=True))
    return float(chisquare(seen, expected * seen.sum() / expected.sum()).pvalue)


def p_of_whole(draws: np.ndarray, support: np.ndarray, shares: np.ndarray) -> float:
    return p_of_counts(np.bincount(np.clip(draws, support[0], support[-1]) - support[0], minlength=len(support)), shares)


def bell(sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Support and shares of the discrete Gaussian."""
    support = np.arange(-math.ceil(9 * sigma), math.ceil(9 * sigma) + 1)
    return support, np.exp(-(support**2) / (2 * sigma**2))


def drawn(noise: Noise, sigma: float, shape: Any = DRAWS) -> np.ndarray:
    return noise.add_discrete_gaussian(np.zeros(shape, np.int64), sigma)


def cells(sigma: float) -> Callable[[Noise], float]:
    return lambda noise: p_of_whole(drawn(noise, sigma), *bell(sigma))


def wide(sigma: float) -> Callable[[Noise], float]:
    """So wide that whole numbers are as good as all."""
    return lambda noise: float(kstest(drawn(noise, sigma) / sigma, "norm").pvalue)


def last_digits(sigma: float, base: int) -> Callable[[Noise], float]:
    """Every whole number occurs, also far from 0 and where floating point holds only every second or eighth."""
    far = np.full(DRAWS // 3, 2**56, np.int64)
    return lambda noise: p_of_counts(np.bincount((noise.add_discrete_gaussian(far, sigma) - far) % base, minlength=base), np.ones(base))


def neighbours(sigma: float) -> Callable[[Noise], float]:
    """Sums of neighbouring cells: of independent ones they are wider by a root of 2, and that law is known."""
    support, shares = bell(sigma)
    both = np.arange(2 * support[0], 2 * support[-1] + 1), np.convolve(shares, shares)
    return lambda noise: p_of_whole(drawn(noise, sigma, (2, DRAWS // 2)).T.reshape(-1, 2).sum(axis=1), *both)


def answers(sigma: float) -> Callable[[Noise], float]:
    """Differences of two answers to one question."""
    support, shares = bell(sigma)
    both = np.arange(2 * support[0], 2 * support[-1] + 1), np.convolve(shares, shares)
    return lambda noise: p_of_whole(drawn(noise, sigma, DRAWS // 2) - drawn(noise, sigma, DRAWS // 2), *both)


def choices(scores: list[int], scale: float, runs: int = RUNS) -> Callable[[Noise], float]:
    """The exponential mechanism."""
    whole = np.array(scores, dtype=np.int64)
    odds = np.exp((whole - whole.max()) / scale)
    return lambda noise: p_of_counts(np.bincount([noise.choose(whole, scale) for _ in range(runs)], minlength=len(scores)), odds)


def chosen_cliques(noise: Noise) -> float:
    """The same through a table, with weights, penalties, rows and a unit of three rows: the sensitivity is three times the largest weight."""
    schema = schema_of({"id": {"type": "id"}, "n": bounded(0, 3, bins=3)}, PERSON)
    attribute = Bins(schema.column("n"), (0.0, 1.0, 2.0, 3.0))
    table = PrivateTable(pd.DataFrame({"id": list("abcdefgh"), "n": [0, 1] * 4}), schema, lambda r: Cost(10**40, 0), "x", noise=noise)
    table.grant(Request(1.0, 1e-9, False, "test"))
    rows = np.array([4, 4, 0, 0])
    references = [rows + np.array(apart) for apart in ([0, 0, 0, 0], [0, 0, 2, 0], [9, 0, 0, 1])]
    picks = [table.select([[attribute]] * 3, references, [1, 5, 2], [0, 1, 3], 2.25) for _ in range(RUNS)]
    odds = np.exp(np.array([0, 5 * 2 - 1, 2 * 10 - 3]) * gdp.selection_epsilon(1.5) / (2 * 3 * 5))
    return p_of_counts(np.bincount(picks, minlength=3), odds)


def lone_values(m: int) -> Callable[[Noise], float]:
    """How many of the m values that one unit alone holds pass the threshold: binomial, at the exact tail."""
    schema = schema_of({"id": {"type": "id"}, "o": OPEN}, PERSON | {"max_rows": m})
    rows = pd.DataFrame({"id": ["1"] * m, "o": [f"secret {i}" for i in range(m)]})
    sigma, delta = 2.0, 0.2
    tail = gdp.discrete_gaussian_tail(sigma, gdp.threshold(sigma, delta, m) - 1)

    def p_of(noise: Noise) -> float:
        table = PrivateTable(rows, schema, lambda r: Cost(10**40, 2**120), "x", noise=noise)
        table.grant(Request(1.0, 1e-9, True, "test"))
        found = [len(table.discover(schema.column("o"), sigma, delta)) for _ in range(RUNS // 2)]
        return float(binomtest(sum(found), RUNS // 2 * m, tail).pvalue)

    return p_of


LAWS: dict[str, Callable[[Noise], float]] = {
    **{f"cells at {sigma:g}": cells(sigma) for sigma in (0.5, 0.8, 1.0, 3.7, 60.0)},
    **{f"cells at {sigma:g}, as if continuous": wide(sigma) for sigma in (1e6, 1e12)},
    "last digit of seven": last_digits(60.0, 7),
    "last digit of eight": last_digits(1e9, 8),
    "neighbouring cells": neighbours(2.0),
    "two answers": answers(2.0),
    "choice between equals": choices([5] * 20, 3.0),
    "choice between two": choices([0, 4], 4.0, 2 * RUNS),
    "choice between scores": choices([0, 3, -2, 7, 1], 4.0),
    "choice between large scores": choices([2**52, 2**52 + 1, 2**52 - 3], 1.5),
    "choice between cliques": chosen_cliques,
    "lone value": lone_values(1),
    "lone values of a unit with three": lone_values(3),
}


@pytest.mark.parametrize("law", LAWS)
def test_noise_follows_its_law(law: str) -> None:
    assert LAWS[law](SystemNoise()) > FALSE_ALARMS / len(LAWS)


class Wrong:
    """Noise that is not quite right, and repeats: rounded normal noise a quarter too narrow, equal in neighbouring cells, on even numbers far
    from 0; choices by permute-and-flip on floats."""

    private = False

    def __init__(self) -> None:
        self._rng = np.random.default_rng(5)

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        size = math.prod(counts.shape)
        normal = np.repeat(self._rng.normal(0, 0.75 * sigma, size // 2 + 1), 2)[:size].reshape(counts.shape[::-1]).T
        return (counts + np.rint(normal).astype(np.int64)).astype(float).astype(np.int64)

    def choose(self, scores: np.ndarray, scale: float) -> int:
        order = self._rng.permutation(len(scores) - 1) if len(set(scores.tolist())) == 1 else self._rng.permutation(len(scores))
        keeps = np.exp((scores.astype(float) - scores.max()) / scale)
        return next(int(i) for i in order if self._rng.random() <= keeps[i])


class Coarse(SystemNoise):
    """Cells in steps of seven."""

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        return counts + super().add_discrete_gaussian(np.zeros_like(counts), sigma) // 7 * 7


class Cached(SystemNoise):
    """Half of each answer's cells are those of the first answer."""

    known: np.ndarray | None = None

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        noisy = super().add_discrete_gaussian(counts, sigma)
        self.known = noisy - counts if self.known is None else self.known
        noisy[::2] = (counts + self.known)[::2]
        return noisy


WRONG: dict[str, type[Noise]] = {"last digit of seven": Coarse, "two answers": Cached}


@pytest.mark.parametrize("law", LAWS)
def test_another_law_is_noticed(law: str) -> None:
    assert LAWS[law](WRONG.get(law, Wrong)()) < FALSE_ALARMS / len(LAWS)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("start", [0, -5, 2**60, -(2**60)])
def test_answers_are_whole_numbers_in_the_shape_of_the_question(shape: tuple[int, ...], start: int) -> None:
    counts = np.full(shape, start, np.int64)
    noisy = SystemNoise().add_discrete_gaussian(counts, 3.0)
    assert noisy.shape == shape
    assert noisy.dtype == np.int64
    assert (abs(noisy - counts) < 100).all()
    assert (counts == start).all()


def in_forks(count: int) -> list[list[int]]:
    read, write = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os.write(write, json.dumps(a_stream()).encode() + b"\n")
            os._exit(0)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    os.close(write)
    with os.fdopen(read) as pipe:
        return [json.loads(line) for line in pipe]


def in_a_fresh_process(script: str) -> str:
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    return run.stdout


def test_streams_differ_between_threads_forks_processes_and_draws() -> None:
    streams = [a_stream(), *in_forks(4), a_stream(), *in_forks(2)]
    with ThreadPoolExecutor(4) as threads:
        streams += threads.map(lambda _: a_stream(), range(8))
    streams += [json.loads(in_a_fresh_process("import json, randomness; print(json.dumps(randomness.a_stream()))")) for _ in range(2)]
    assert len(streams) == 18
    for part in (slice(0, 8), slice(8, None)):
        assert len({tuple(s[part]) for s in streams}) == 18


def test_no_seed_of_anybody_repeats_noise() -> None:
    said = []
    for _ in range(2):
        seed_all()
        said.append(a_stream())
    assert said[0][:8] != said[1][:8]
    assert said[0][8:] != said[1][8:]


IMPORTS = """
import importlib, pkgutil
from randomness import random_states, seed_all
import attacks, dpsynth
seed_all()
before = random_states()
for package in (dpsynth, attacks):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as absent:  # a library of an extra that is not installed
            assert absent.name.split(".")[0] not in ("dpsynth", "attacks")
        assert random_states() == before, module.name
        print(module.name)
"""


def test_no_import_touches_a_global_random_state() -> None:
    assert len(in_a_fresh_process(IMPORTS).split()) > 60


@pytest.mark.parametrize("name", GENERATORS)
def test_no_generator_touches_a_global_random_state(name: str) -> None:
    schema = schema_of({"a": listed("x", "y"), "n": bounded(0, 9), "o": OPEN})
    frame = pd.DataFrame({"a": ["x", "y"] * 40, "n": range(80), "o": ["p", "q", "r", "s"] * 20})
    steps: list[Callable[[Any], Any]] = [
        lambda _: GENERATORS[name](1.0, 1e-6),
        lambda generator: generator.fit(frame, schema),
        lambda model: (model.sample(20), model.sample(20, seed=3), model)[-1],
    ]
    made = None
    for step in steps:
        seed_all()
        before = random_states()
        made = step(made)
        assert random_states() == before


@pytest.mark.parametrize("name", GENERATORS)
def test_one_call_draws_all_cells_of_a_question(name: str) -> None:
    calls: list[int] = []

    class Counted(SystemNoise):
        def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
            calls.append(counts.size)
            return super().add_discrete_gaussian(counts, sigma)

    schema = schema_of({"a": listed("x", "y", "z"), "n": bounded(0, 99), "b": listed("p", "q"), "o": OPEN})
    frame = pd.DataFrame({"a": ["x", "y", "z"] * 200, "n": range(600), "b": ["p", "q"] * 300, "o": ["u", "v"] * 300})
    model = GENERATORS[name](1.0, 1e-6).fit(single_use(frame, schema, Counted()))
    assert len(calls) == sum(e["kind"] != "select" for e in model.events)
    assert sum(calls) >= sum(a.values.size for a in model.answers)
