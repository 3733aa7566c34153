"""Predicates that single out a row, from `anonymeter`. The only module that needs anonymeter and polars.

Anonymeter writes the predicates; who they isolate is counted here, because its evaluator divides by the
guesses asked for instead of those made, corrects for unequal sizes by an extrapolation, clips at zero, and
draws needless random queries. What its writers get wrong with is kept from them: columns are renamed
(its renaming mends nothing), categories become plain tokens (it escapes quotes and then finds no match),
NaN becomes null, a column never has more than some thousand values to try, and attempts are finite.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import polars as pl
from anonymeter.evaluators.singling_out_evaluator import multivariate_singling_out_queries, univariate_singling_out_queries

from attacks.evidence import Table

BATCH = 250
ATTEMPTS = 20_000
SPARE = 2


def as_frame(table: Table) -> pl.DataFrame:
    """Columns c0, c1, ...: numbers as floats, categories as tokens, null where missing."""
    numbers = {f"c{j}": pl.Series(x, dtype=pl.Float64).fill_nan(None) for j, x in enumerate(table.numbers.T)}
    first = len(numbers)
    codes = {f"c{first + j}": pl.Series([None if k < 0 else f"v{k}" for k in x.tolist()], dtype=pl.Utf8) for j, x in enumerate(table.codes.T)}
    return pl.DataFrame(numbers | codes)


def univariate(synthetic: pl.DataFrame, guesses: int, rng: np.random.Generator) -> list[pl.Expr]:
    """At most `guesses` predicates on one column: anonymeter's (values seen once, extremes), then the next rarest values.

    All of them are written, sorted and drawn from here: polars gives groups in an order that no seed repeats.
    """
    with _quietly():
        written = univariate_singling_out_queries(_thinned(synthetic, SPARE * guesses, rng), synthetic.width * (synthetic.height + 3), rng)
    written = sorted(written, key=str)
    found: list[pl.Expr] = [written[i] for i in rng.permutation(len(written))[:guesses]]
    return found + _next_rarest(synthetic, guesses - len(found), rng)


def multivariate(synthetic: pl.DataFrame, guesses: int, rng: np.random.Generator) -> list[pl.Expr]:
    """At most `guesses` predicates that isolate a synthetic row: on one column more than half of them, then on all where those do not suffice.

    Fewer columns see no more of a leak, and of predicates on a third of them most match several rows and are written in vain.
    """
    width = synthetic.width
    found: dict[str, pl.Expr] = {}
    with _quietly():
        for columns in sorted({width // 2 + 1, width}):
            missing = guesses - len(found)
            if missing > 0:
                new = multivariate_singling_out_queries(synthetic, missing, columns, ATTEMPTS, rng)
                found |= {str(q): q for q in new}
    return list(found.values())


def isolations(queries: list[pl.Expr], pool: pl.DataFrame) -> npt.NDArray[np.float64]:
    """For each row of the pool, how many of the queries match it and no other; shape (pool,)."""
    counts = np.zeros(pool.height)
    for start in range(0, len(queries), BATCH):
        batch = queries[start : start + BATCH]
        matches = pool.select([q.fill_null(False).alias(str(i)) for i, q in enumerate(batch)]).to_numpy()
        counts += matches[:, matches.sum(axis=0) == 1].sum(axis=1)
    return counts


def _thinned(frame: pl.DataFrame, keep: int, rng: np.random.Generator) -> pl.DataFrame:
    """Blank all but `keep` values that occur once in a column, extremes apart: anonymeter tries them all at one go."""
    return frame.with_columns([_thin(frame[c], keep, rng) for c in frame.columns])


def _thin(column: pl.Series, keep: int, rng: np.random.Generator) -> pl.Series:
    once = np.flatnonzero(column.is_unique().to_numpy() & column.is_not_null().to_numpy())
    if len(once) <= keep:
        return column
    extremes = {column.arg_min(), column.arg_max()}
    surplus = [int(i) for i in rng.permutation(once)[keep:] if i not in extremes]
    return column.scatter(surplus, None)


def _next_rarest(frame: pl.DataFrame, guesses: int, rng: np.random.Generator) -> list[pl.Expr]:
    """Equality with values seen twice or more, the rarest first."""
    if guesses <= 0:
        return []
    counted = ((name, value, count) for name in frame.columns for value, count in sorted(frame[name].drop_nulls().value_counts().rows()))
    values = [(count, rng.random(), name, value) for name, value, count in counted if count > 1]
    return [pl.col(name) == value for _, _, name, value in sorted(values, key=lambda v: v[:2])[:guesses]]


@contextmanager
def _quietly() -> Iterator[None]:
    """Anonymeter logs and warns what is answered here by counting the guesses it made."""
    log = logging.getLogger("anonymeter.evaluators.singling_out_evaluator")
    before = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before
