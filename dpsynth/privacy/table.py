"""The one door to rows of people.

Statement. Each method below charges the filter of a durable grant before it touches a row, and returns only the noised answer.
Neighbouring tables differ in one privacy unit, hence (after bounding, see `unit.py`) in at most m rows.

Sensitivity. A marginal counts rows: m rows of a unit may share a cell, so its L2 sensitivity is m. A selection score
w ||M(D) - ref||_1 - penalty, with whole-numbered w and ref fixed by earlier answers, moves by at most w m. The number of
distinct units that hold each value of an open column moves by 1 in at most m places: L2 sensitivity sqrt(m); the name
of a value that one unit alone holds passes the threshold with probability at most delta.

References: McKenna et al. 2021 (MST); Korolova et al. 2009 (thresholds); `gdp.py` for what each costs.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dpsynth.errors import BudgetExceeded
from dpsynth.privacy import gdp
from dpsynth.privacy.answers import Answers
from dpsynth.privacy.attribute import Attribute, Codes, is_kernels_own
from dpsynth.privacy.cost import Cost, Filter, Request, require_budget
from dpsynth.privacy.noise import Counts, Noise, SystemNoise
from dpsynth.privacy.unit import kept_rows, new_key, unit_ids
from dpsynth.schema.cells import read_text
from dpsynth.schema.column import Column
from dpsynth.schema.schema import Schema

Clique = Sequence[Attribute]
MAX_SCORE = 2.0**53


class PrivateTable:
    """Rows of people behind a budget. Ask for a grant once, then measure.

    Args:
        rows: the table, or a function that fetches it; not touched before a measurement has been charged.
        account: charges a whole request durably and returns the grant; raises `BudgetExceeded`.
        stamp: what the answers may be used for: `ledgered`, `unledgered`, `not private`.
    """

    def __init__(
        self,
        rows: pd.DataFrame | Callable[[], pd.DataFrame],
        schema: Schema,
        account: Callable[[Request], Cost],
        stamp: str,
        key: bytes | None = None,
        answers: Answers | None = None,
        noise: Noise | None = None,
    ):
        self.schema = schema
        self._rows = rows
        self._account = account
        self._noise = noise or SystemNoise()
        self.stamp = stamp if self._noise.private else "not private"
        self._key = key or new_key()
        self._answers = answers or Answers()
        self._filter: Filter | None = None
        self._process = os.getpid()
        self._frame: pd.DataFrame | None = None
        self._codes: dict[Attribute, Codes] = {}
        self._counts: dict[tuple[Attribute, ...], Counts] = {}
        self.events: list[dict[str, Any]] = []

    @property
    def rows_per_unit(self) -> int:
        return self.schema.unit.max_rows

    @property
    def spent(self) -> Cost:
        return self._open().spent

    @property
    def left(self) -> Cost:
        return self._open().left

    def grant(self, request: Request) -> Cost:
        """Charge the whole request, durably, before any row is read. Raises `BudgetExceeded`; a table is granted once."""
        require_budget(request.epsilon, request.delta)
        if self._filter is not None:
            raise BudgetExceeded("this table was granted its budget already; ask the ledger for a new table")
        self._filter = Filter(self._account(replace(request, unit=self.schema.unit.columns)))
        return self._filter.grant

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a table is not copied and not pickled: each copy would spend the same grant")

    def sigma(self, mu_squared: float) -> float:
        """The noise scale at which one marginal of this table costs at most `mu_squared`."""
        return gdp.discrete_gaussian_sigma(math.sqrt(mu_squared) / self.rows_per_unit)

    def marginal(self, clique: Clique, sigma: float) -> Counts:
        """Noisy counts of the clique's cells, shape (size_1, ..., size_k): discrete Gaussian of scale `sigma` on each cell.

        Raises `BudgetExceeded` before any row is touched.
        """
        question = {"marginal": _names(clique), "sizes": [a.size for a in clique], "sigma": sigma}
        cost = Cost.measured(self.rows_per_unit * gdp.discrete_gaussian_mu(sigma))
        answer = self._ask(question, cost, lambda: self._noise.add_discrete_gaussian(self._count(clique), sigma).tolist())
        return np.array(answer, dtype=np.int64).reshape([a.size for a in clique])

    def select(self, cliques: Sequence[Clique], references: Sequence[Counts], penalties: Sequence[int], mu_squared: float) -> int:
        """The index of a clique whose counts are far from its reference, by the exponential mechanism at cost `mu_squared`.

        The score of clique i is ||counts_i - references[i]||_1 - penalties[i]; references (same shapes as the marginals)
        and penalties are whole numbers made from earlier answers only.
        """
        for clique, reference in zip(cliques, references, strict=True):
            if reference.shape != tuple(a.size for a in clique) or reference.dtype.kind != "i" or np.abs(reference.astype(float)).sum() > MAX_SCORE:
                raise ValueError("a reference is whole counts in the shape of its clique: else a row could move its score by more than 1")
        question = {"select": [_names(c) for c in cliques], "mu_squared": mu_squared}
        epsilon = gdp.selection_epsilon(math.sqrt(mu_squared))
        scale = 2 * self.rows_per_unit / epsilon
        cost = Cost.measured(gdp.selection_mu(epsilon))

        def draw() -> int:
            distances = (int(np.abs(self._count(c) - r).sum()) for c, r in zip(cliques, references, strict=True))
            scores = np.array([d - p for d, p in zip(distances, penalties, strict=True)], dtype=np.int64)
            return self._noise.choose(scores, scale)

        return int(self._ask(question, cost, draw))

    def discover(self, column: Column, sigma: float, delta: float) -> tuple[str, ...]:
        """Names of the values of an open column that enough units hold, sorted. Costs event delta `delta`."""
        question = {"discover": column.name, "sigma": sigma, "delta": delta}
        cost = Cost.measured(math.sqrt(self.rows_per_unit) * gdp.discrete_gaussian_mu(sigma), delta)
        least = gdp.threshold(sigma, delta, self.rows_per_unit)

        def draw() -> list[str]:
            values, units = self._units_per_value(column)
            noisy = self._noise.add_discrete_gaussian(units, sigma) if len(units) else units
            return sorted(v for v, n in zip(values, noisy, strict=True) if n >= least)

        return tuple(self._ask(question, cost, draw))

    def _ask(self, question: dict[str, Any], cost: Cost, draw: Callable[[], Any]) -> Any:
        """Charge, then answer: from the journal if the step was answered before, else from the rows."""
        self._open().charge(cost)
        kind = next(iter(question))
        self.events.append({"kind": kind, "what": question[kind], "mu_squared": cost.mu**2, "delta": cost.event_delta})
        known = self._answers.replay(question)
        if known is not None:
            return known
        answer = draw()
        self._answers.record(question, answer)
        return answer

    def _open(self) -> Filter:
        if self._filter is None:
            raise BudgetExceeded("no budget was granted to this table yet; nothing was read")
        if os.getpid() != self._process:
            raise BudgetExceeded("this table's budget is its own process's: a forked child would spend it twice")
        return self._filter

    def _bounded(self) -> pd.DataFrame:
        """The rows that count, fetched on first use. Reached from inside `_ask` only."""
        if self._frame is None:
            frame = self._rows if isinstance(self._rows, pd.DataFrame) else self._rows()
            self._frame = frame.iloc[kept_rows(frame, self.schema, self._key)]
        return self._frame

    def _encode(self, attribute: Attribute) -> Codes:
        if not is_kernels_own(attribute):
            raise TypeError("only the kernel's own attributes are known to be row-wise")
        if attribute not in self._codes:
            codes = attribute.encode(self._bounded()[attribute.column.name], self.schema.file.decimal)
            self._codes[attribute] = np.clip(codes, 0, attribute.size - 1)
        return self._codes[attribute]

    def _count(self, clique: Clique) -> Counts:
        key = tuple(clique)
        if key not in self._counts:
            shape = tuple(a.size for a in key)
            flat = np.ravel_multi_index([self._encode(a) for a in key], shape)
            self._counts[key] = np.bincount(flat, minlength=math.prod(shape)).astype(np.int64).reshape(shape)
        return self._counts[key]

    def _units_per_value(self, column: Column) -> tuple[list[str], Counts]:
        """Distinct values of a column and how many units hold each."""
        frame = self._bounded()
        held = set(zip(read_text(frame[column.name], column), unit_ids(frame, self.schema), strict=True))
        units = Counter(value for value, unit in held if value is not None and unit is not None)
        return list(units), np.array(list(units.values()), dtype=np.int64)


def single_use(rows: pd.DataFrame, schema: Schema, noise: Noise | None = None) -> PrivateTable:
    """A table with a budget of its own in memory, for one fit. Its models are stamped `unledgered` and cannot be released."""
    return PrivateTable(rows, schema, lambda request: request.cost, "unledgered", noise=noise)


def _names(clique: Clique) -> list[str]:
    return [a.column.name for a in clique]
