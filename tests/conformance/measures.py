"""Yardsticks of the questions, reckoned apart from what they measure."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.stats import hypergeom, norm

from conformance.rules import FALSE_ALARM
from conformance.sources import Deaf, Draw
from conformance.subject import Answer, CountedIn, Saves, Subject, SwapsNoise, able
from conformance.tables import DELTA, EPSILON, more
from dpsynth.schema import Schema

RUNS = 18  # of each of two tables: a perfect split has probability 2.2e-10 by chance
SLACK = 1 + 1e-6


@cache
def largest_mu(epsilon: float, delta: float) -> float:
    """The mu whose Gaussian-DP curve goes through (epsilon, delta), by bisection in 60 digits (Dong et al. 2019, Cor. 2.13)."""
    with mpmath.workdps(60):
        low, high = mpmath.mpf(0), mpmath.mpf(60)
        for _ in range(120):
            mu = (low + high) / 2
            told_apart = mpmath.ncdf(mu / 2 - epsilon / mu) - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)
            low, high = (mu, high) if told_apart < delta else (low, mu)
        return float(high)


def delta_of_rho(epsilon: float, rho: float) -> float:
    """The delta of rho-zCDP at epsilon (Canonne, Kamath, Steinke 2020, Prop. 7), at the best order."""

    def log_delta(log_order: float) -> float:
        over = np.exp(log_order)
        return float(over * ((over + 1) * rho - epsilon) - np.log(over) + (over + 1) * np.log1p(-1 / (over + 1)))

    return float(np.exp(minimize_scalar(log_delta, bounds=(-10, 25), method="bounded", options={"xatol": 1e-9}).fun))


def is_within(draws: Iterable[Draw], counted_in: CountedIn, epsilon: float, delta: float) -> bool:
    """Whether all that was drawn is (epsilon, delta)-DP, for the sensitivities that were charged, in the one currency that it is counted in.

    The better of the two would not do: a generator whose answers choose between them keeps to neither, though each of its runs keeps to one.
    """
    ratios = {kind: [d.sensitivity / d.scale for d in draws if d.kind == kind] for kind in ("counts", "choice")}
    if counted_in == "zcdp":
        rho = sum(ratio**2 / 2 for kind in ratios for ratio in ratios[kind])  # a choice's bounded range b is twice its ratio, and costs b^2 / 8
        return delta_of_rho(epsilon, rho) <= delta * SLACK
    mu_squared = sum(ratio**2 for ratio in ratios["counts"]) + sum((-2 * norm.ppf(1 / (1 + np.exp(ratio)))) ** 2 for ratio in ratios["choice"])
    return bool(mu_squared <= largest_mu(epsilon, delta) ** 2 * SLACK)


def outcome(subject: Subject, rows: pd.DataFrame, schema: Schema) -> tuple[list[Any], ...]:
    """All that can be seen of a fit whose answers do not depend on the rows: how it asked, what it samples, what it saves.

    Of a schema with open columns the draws are left out: how many values were counted is between the kernel and its noise.
    """
    closed = not any(c.is_open for c in schema.synthesised)
    source = deaf(schema)
    sampler = able(subject, SwapsNoise).fit_with(source, rows, schema, EPSILON, DELTA)
    sample = sampler.sample(60, seed=1)
    asked = [(d.kind, d.exact.shape, d.scale, d.sensitivity) for d in source.draws] if closed else []
    return asked, [*sample.columns], [*map(str, sample.dtypes)], sample.astype(str).to_numpy().tolist(), [saved(subject, sampler)]


def deaf(schema: Schema) -> Deaf:
    """Answers that do not depend on the rows; low ones where values are open, so that none is named."""
    return Deaf(0 if any(c.is_open and not c.is_number for c in schema.synthesised) else 400)


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for a while, in memory where that can be: charges are synced to the medium one by one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def saved(subject: Subject, sampler: Any) -> bytes:
    """The bytes of the saved model; none where the subject does not save."""
    if not isinstance(subject, Saves):
        return b""
    with workplace() as folder:
        subject.save(sampler, folder / "model")
        return next(folder.iterdir()).read_bytes()


def drawn(subject: Subject, rows: pd.DataFrame, schema: Schema, epsilon: float = EPSILON) -> list[Draw]:
    """The charged draws of a fit whose answers do not depend on the rows, so that those of two tables can be held side by side."""
    source = deaf(schema)
    able(subject, SwapsNoise).fit_with(source, rows, schema, epsilon, DELTA)
    return [d for d in source.draws if d.sensitivity > 0]


def neighbours(subject: Subject, rows: pd.DataFrame, *units: Sequence[tuple[Any, ...]]) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The table beside itself with each unit more, or, where the subject replaces, one unit beside each other one."""
    if subject.relation == "add/remove":
        yield from ((rows, more(rows, *unit)) for unit in units)
    else:
        first = more(rows, *units[0])
        yield from ((first, more(rows, *unit)) for unit in units[1:])


def apart(one: Draw, other: Draw) -> float:
    """How far a unit moved a draw: counts in L2, scores by the one that moved most.

    Counts over values that the two tables have not in common are compared in order of size, which moves them no further apart.
    """
    a, b = (np.asarray(d.exact, dtype=float).ravel() for d in (one, other))
    if len(a) != len(b):
        size = max(len(a), len(b))
        a, b = (np.sort(np.pad(v, (0, size - len(v)))) for v in (a, b))
    return float(np.abs(a - b).max() if one.kind == "choice" else np.linalg.norm(a - b))


def is_split(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether runs on two tables fall on two sides of their common median, more clearly than by chance."""
    pooled = np.concatenate([one, other])
    above = pooled > np.median(pooled)
    inside = int(above[: len(one)].sum())
    law = hypergeom(len(pooled), int(above.sum()), len(one))
    return bool(2 * min(law.cdf(inside), law.sf(inside - 1)) < FALSE_ALARM)


def exact_counts(answer: Answer, rows: pd.DataFrame) -> np.ndarray | None:
    """What the answer's cells hold in truth; None unless they are the columns' own values and `missing`."""
    held = {*map(str, rows.to_numpy().ravel()), "missing"}
    if not all(held.issuperset(axis) for axis in answer.labels):
        return None
    places = [[axis.index(str(cell)) for cell in rows[column]] for column, axis in zip(answer.columns, answer.labels, strict=True)]
    counts = np.zeros(answer.values.shape)
    np.add.at(counts, tuple(places), 1)
    return counts
