"""The one door to rows of people.

Statement. Each method below charges the filter of a durable grant before it touches a row, and returns only the noised answer.
Neighbouring tables differ in one privacy unit, hence (after bounding, see `unit.py`) in at most m rows.

Sensitivity, where rows are counted. A marginal counts rows: m rows of a unit may share a cell, so its L2 sensitivity is m. A selection
score w ||M(D) - ref||_1 - penalty, with whole-numbered w, ref and penalty fixed by earlier answers, moves by at most w m; all scores of
a selection by at most m times the largest w among its candidates. The number of distinct units that hold each value of an open
column moves by 1 in at most m places: L2 sensitivity sqrt(m); the name of a value that one unit alone holds passes the threshold
with probability at most delta.

Where units are counted. Counts are whole numbers of parts, PARTS to a count of one, and noise is added to these; a unit moves any
table of them by PARTS parts in L1, so by 1 in L2. The same holds of a column's values: their support is counted in parts too, L2
sensitivity 1 in place of sqrt(m). A unit that alone holds some values holds at most m of them, none by more than PARTS parts: by
the union bound one of their names passes with probability at most m P[noise >= threshold - PARTS] <= delta. What callers see is in
counts (parts / PARTS, exact in floating point, as PARTS is a power of two), sigma too.

Training. A whole plan of noised steps is one charge (`dpsgd.py`), made before a row is read; what a step makes of rows is in `training.py`.
Steps are written down as spent, a block at a time, before they read rows, each block under a number that only its taker drew: whoever
goes on after a crash begins at the next block, and of two processes at one block the keeper lets one go on. So no step is taken twice.

Where m itself is measured (`bounding.py`), that is the first question of a grant, asked as it is granted; all others use the answer.

References: McKenna et al. 2021 (MST); Korolova et al. 2009 (thresholds); `currency.py` for what each costs.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.errors import BadInput, BudgetExceeded, Diverged, Fault
from dpsynth.privacy import bounding, gdp
from dpsynth.privacy.answers import Answers
from dpsynth.privacy.attribute import is_kernels_own
from dpsynth.privacy.cost import Cost, Filter, Request, require_budget
from dpsynth.privacy.currency import GDP, Currency
from dpsynth.privacy.noise import Counts, Noise, SystemNoise
from dpsynth.privacy.tally import Clique, Tally
from dpsynth.privacy.unit import Kept, bound, most_moved, new_key, parts_of_one, rows_of_units, unit_ids
from dpsynth.schema.cells import read_text
from dpsynth.schema.column import Column
from dpsynth.schema.schema import Schema

if TYPE_CHECKING:
    from torch import nn

    from dpsynth.privacy.checkpoint import Kept as Remembered
    from dpsynth.privacy.dpsgd import Plan
    from dpsynth.privacy.training import Loss, Step, Units

BLOCKS = 20

# In counts. Times the 2^10 parts of a count, and beside the heaviest weight on 2^31 units, scores stay below 2^62.
MAX_SCORE = 2**50
MAX_WEIGHT = 2**20

Floats = npt.NDArray[np.float64]


class PrivateTable:
    """Rows of people behind a budget. Ask for a grant once, then measure.

    `schema` is public; once granted, its unit's `max_rows` is final.

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
        self._turn = threading.RLock()
        self._process = os.getpid()
        self._frame: pd.DataFrame | None = None
        self._bounded: tuple[pd.DataFrame, Kept] | None = None
        self._counted: Tally | None = None
        self._coded: tuple[Clique, Units] | None = None
        self.events: list[dict[str, Any]] = []
        self.progress: Callable[[str], None] = _silent

    @property
    def rows_per_unit(self) -> int:
        """The most rows of one unit that count."""
        return self.schema.unit.max_rows

    @property
    def sensitivity(self) -> int:
        """By how much one unit moves the counts of a marginal at most, in L1 and in L2."""
        return most_moved(self.schema.unit)

    @property
    def granted(self) -> Cost:
        return self._open().grant

    @property
    def currency(self) -> Currency:
        """The grant's, which is its ledger's."""
        return self._open().grant.currency

    @property
    def spent(self) -> Cost:
        return self._open().spent

    @property
    def left(self) -> Cost:
        return self._open().left

    def grant(self, request: Request) -> Cost:
        """Charge the whole request, durably, before any row is read; then measure max_rows, if the schema leaves it to be measured.

        Raises `BudgetExceeded`; a table is granted once.
        """
        require_budget(request.epsilon, request.delta)
        with self._turn:  # a second filter on one grant would meter it twice, and no question may come before max_rows is final
            if self._filter is not None:
                raise BudgetExceeded("this table was granted its budget already; ask the ledger for a new table")
            self._filter = Filter(self._account(replace(request, unit=self.schema.unit.columns)))
            unit = self.schema.unit
            if unit.keep is not None:
                enough = self._enough_rows(unit.keep)
                self.schema = self.schema.with_unit(replace(unit, max_rows=enough, keep=None))
            return self._filter.grant

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a table is not copied and not pickled: each copy would spend the same grant")

    def sigma(self, amount: float) -> float:
        """The noise scale, in counts, at which one marginal of this table costs at most `amount`."""
        return self.currency.noise_sigma(amount, self._marginal_squared) / self._one

    def discovery_sigma(self, amount: float) -> float:
        """The noise scale, in counts, at which one discovery in this table costs at most `amount`."""
        return self.currency.noise_sigma(amount, self._discovery_squared) / self._one

    def marginal(self, clique: Clique, sigma: float) -> Floats:
        """Noisy counts of the clique's cells, shape (size_1, ..., size_k): discrete Gaussian of scale `sigma` on each cell.

        They are whole numbers where rows are counted, multiples of 1 / PARTS where units are. Raises `BudgetExceeded` before any
        row is touched.
        """
        _require_own(clique)
        question = {"marginal": _names(clique), "sizes": [a.size for a in clique], "sigma": sigma}
        scale = sigma * self._one
        cost = self._cost(self.currency.noise_cost(scale, self._marginal_squared))
        answer = self._ask(question, cost, lambda: self._noise.add_discrete_gaussian(self._tally().counts(clique).astype(np.int64), scale).tolist())
        return np.array(answer, dtype=np.float64).reshape([a.size for a in clique]) / self._one

    def select(self, cliques: Sequence[Clique], references: Sequence[Counts], weights: Sequence[int], penalties: Sequence[int], amount: float) -> int:
        """The index of a clique whose counts are far from its reference, by the exponential mechanism at a cost of at most `amount`.

        The score of clique i is weights[i] * ||counts_i - references[i]||_1 - penalties[i]; references (same shapes as the
        marginals, in counts), weights (at least 1) and penalties are whole numbers made from earlier answers only. The score of the
        empty clique (reference of shape ()) is -penalties[i], and no row is read for it: the option of buying nothing.
        """
        for clique, reference, weight, penalty in zip(cliques, references, weights, penalties, strict=True):
            _require_candidate(clique, reference, weight, penalty)
        question = {"select": len(cliques), "among": _digest(cliques), "amount": amount}
        epsilon = self.currency.selection_epsilon(amount)
        scale = 2 * self.sensitivity * self._one * int(max(weights)) / epsilon
        scale = math.nextafter(scale, math.inf)  # a quotient that was rounded down would choose more sharply than is charged
        cost = self._cost(self.currency.selection_cost(epsilon))

        def draw() -> int:
            candidates = zip(cliques, references, weights, penalties, strict=True)
            scores = [int(w) * (self._tally().distance(c, r) if len(c) else 0) - self._one * int(p) for c, r, w, p in candidates]
            return self._noise.choose(np.array(scores, dtype=np.int64), scale)

        return int(self._ask(question, cost, draw))

    def discover(self, column: Column, sigma: float, delta: float) -> tuple[str, ...]:
        """Names of the values of an open column that enough units hold, sorted. Costs event delta `delta`."""
        question = {"discover": column.name, "sigma": sigma, "delta": delta}
        scale = sigma * self._one
        cost = self._cost(self.currency.noise_cost(scale, self._discovery_squared), delta)
        least = self._one - 1 + gdp.threshold(scale, delta, self.rows_per_unit)

        def draw() -> list[str]:
            values, support = self._support(column)
            noisy = self._noise.add_discrete_gaussian(support, scale) if len(support) else support
            return sorted(v for v, n in zip(values, noisy, strict=True) if n >= least)

        return tuple(self._ask(question, cost, draw))

    def train(
        self,
        network: nn.Module,
        loss: Loss,
        attributes: Clique,
        plan: Plan,
        *,
        delta: float,
        clip: float,
        declared: float,
        keep: Sequence[Remembered] = (),
        saying: Callable[[], str] | None = None,
    ) -> Iterator[Step]:
        """Take the plan's steps: in each, the parameters' `.grad` are the noised sum of clipped gradients over `plan.rate * declared`.

        The caller lets its optimiser take the step, and does what it likes that reads no rows. The number of rows in a batch is told nobody.

        Args:
            loss: of the network and codes, int64 of shape (rows, attributes), a number for each row; see `training.py` for what it may do.
            delta: the event delta of the plan's charge.
            clip: the norm to which each unit's gradient is clipped.
            declared: how many units the table is taken to have, a public or a released number.
            keep: whatever else, beside the network, has to be as it was when a killed run is resumed.
            saying: a few words on how it goes, made of what reads no rows, for those who watch `progress`.

        Raises:
            BadInput: `require_rowwise` refuses, the declared units make no batch of one, or a state can not be written down; nothing was spent.
            BudgetExceeded: before any row is read; or another process has taken these steps of this release.
            Diverged: a parameter is no number after a step; the charge stays.
        """
        from dpsynth.privacy import checkpoint, training
        from dpsynth.privacy.dpsgd import cost_of

        attributes, states = tuple(attributes), [network, *keep]
        _require_own(attributes)
        _require_batch(plan, clip, declared)
        training.require_rowwise(network, loss, [a.size for a in attributes])
        checkpoint.outlined(states)
        words = f"{plan.steps:,} steps, each of a unit with probability {plan.rate:.4g}, noise of {plan.sigma:.4g} clipping norms"
        exactly = [plan.rate, plan.sigma, plan.steps, delta, clip, declared]
        question = {"train": words, "plan": exactly, "of": _names(attributes), "sizes": [a.size for a in attributes]}
        cost = cost_of(plan, delta, self.currency)
        self._ask(question, cost, _token)
        epsilon = self.currency.epsilon_of(min(9 * delta, 0.5), cost.amount)
        clock = training.Clock(plan.steps, epsilon)
        place = self._answers.beside(checkpoint.name_of(sum(e["kind"] == "train" for e in self.events)))
        resumed = False
        for block in training.blocks_of(plan.steps, BLOCKS):
            spent = {"steps": [block.start, block.stop]}
            if self._replayed(spent):
                resumed = True
                continue
            if resumed:
                checkpoint.restore(place, states)
                resumed = False
            checkpoint.save(place, states)
            self._answers.record(spent, _token())
            self.progress(clock.words(block.start, saying() if saying else ""))
            for number in block:
                self._put_gradients(network, loss, attributes, plan, clip, declared)
                yield training.Step(number + 1, plan.steps)
            if not training.is_finite(network):
                raise Diverged("training ended in parameters that are no numbers; its charge stays. Learn more slowly, or clip to a smaller norm")
        (checkpoint.restore if resumed else checkpoint.save)(place, states)

    def _put_gradients(self, network: nn.Module, loss: Loss, attributes: Clique, plan: Plan, clip: float, declared: float) -> None:
        """One paid step: read a batch, leave its noised mean gradient with the network."""
        from dpsynth.privacy import training

        with self._turn:
            self._open()
            units = self._units(attributes)
            device = next(network.parameters()).device
            batch = [piece.to(device) for piece in units.pieces(self._noise.include(len(units.ends), plan.rate), training.MOST_ROWS)]
            with training.chance(self._noise.seed(), device):
                exact = training.flat(list(training.clipped_sum(network, loss, batch, clip).values()))
            training.put_gradients(network, self._noise.add_gaussian(exact, plan.sigma * clip) / (plan.rate * declared))

    def _replayed(self, spent: dict[str, Any]) -> bool:
        with self._turn:
            self._open()
            return self._answers.replay(spent) is not None

    def _enough_rows(self, share: float) -> int:
        """The rows of a unit that are to count: the first question of a table whose schema leaves them to be measured."""
        unit = self.schema.unit
        sigma = self.currency.noise_sigma(self.left.amount * bounding.SHARE, 1)
        question = {"rows per unit": unit.name, "most": unit.max_rows, "sigma": sigma}

        def draw() -> Any:
            units = bounding.histogram(rows_of_units(self._whole(), self.schema), unit.max_rows)
            return self._noise.add_discrete_gaussian(units, sigma).tolist()

        noisy = self._ask(question, self._cost(self.currency.noise_cost(sigma, 1)), draw)
        return bounding.enough(np.array(noisy, dtype=np.int64), sigma, unit.max_rows, share)

    def _ask(self, question: dict[str, Any], cost: Cost, draw: Callable[[], Any]) -> Any:
        """Charge, then answer: from the journal if the step was answered before, else from the rows. One question at a time."""
        with self._turn:
            self._open().charge(cost)
            kind = next(iter(question))
            self.events.append({"kind": kind, "what": question[kind], "amount": cost.amount, "delta": cost.event_delta})
            asked = question | {"cost": [cost.amount_ticks, cost.delta_ticks]}  # told again at what it cost, whatever the schema says by now
            known = self._answers.replay(asked)
            if known is not None:
                return known
            answer = draw()
            self._answers.record(asked, answer)
            return answer

    def _cost(self, amount: Fraction, delta: float = 0.0) -> Cost:
        return Cost.measured(self.currency, amount, delta)

    @property
    def _one(self) -> int:
        """The parts of a count of one."""
        return parts_of_one(self.schema.unit)

    @property
    def _marginal_squared(self) -> int:
        """A marginal's L2 sensitivity in parts, squared."""
        return (self.sensitivity * self._one) ** 2

    @property
    def _discovery_squared(self) -> int:
        """A discovery's L2 sensitivity in parts, squared: that of a marginal where units are counted, else sqrt(m)."""
        return self._marginal_squared if self.schema.unit.count == "units" else self.rows_per_unit

    def _open(self) -> Filter:
        if self._filter is None:
            raise BudgetExceeded("no budget was granted to this table yet; nothing was read")
        if os.getpid() != self._process:
            raise BudgetExceeded("this table's budget is its own process's: a forked child would spend it twice")
        return self._filter

    def _whole(self) -> pd.DataFrame:
        """All rows, fetched on first use. Reached from inside `_ask` only."""
        if self._frame is None:
            self._frame = self._rows if isinstance(self._rows, pd.DataFrame) else self._rows()
        return self._frame

    def _kept(self) -> tuple[pd.DataFrame, Kept]:
        """The rows that count. Reached from inside `_ask` only."""
        if self._bounded is None:
            kept = bound(self._whole(), self.schema, self._key)
            self._bounded = self._whole().iloc[kept.positions], kept
            self._frame = None
        return self._bounded

    def _tally(self) -> Tally:
        """Exact counts, in parts. Reached from inside `_ask` only."""
        if self._counted is None:
            frame, kept = self._kept()
            self._counted = Tally(frame, self.schema.file.decimal, kept.parts, self._one)
        return self._counted

    def _units(self, attributes: Clique) -> Units:
        """The rows that count, as codes, unit by unit. Reached from inside a paid step only."""
        from dpsynth.privacy.training import Units

        if self._coded is None or self._coded[0] != tuple(attributes):
            frame, kept = self._kept()
            codes = np.stack([self._tally().codes(a) for a in attributes], axis=1).astype(np.int64)
            owners = np.arange(len(frame)) if self.schema.unit.is_row else pd.factorize(np.array(unit_ids(frame, self.schema), dtype=object))[0]
            self._coded = tuple(attributes), Units.of(codes, owners, None if kept.parts is None else kept.parts / self._one)
        return self._coded[1]

    def _support(self, column: Column) -> tuple[list[str], Counts]:
        """Distinct values of a column and how many units hold each; where units are counted, how many parts of them."""
        frame, kept = self._kept()
        values = read_text(frame[column.name], column)
        held: Counter[str | None] = Counter()
        if kept.parts is None:
            held.update(value for value, _ in set(zip(values, unit_ids(frame, self.schema), strict=True)))
        else:
            for value, parts in zip(values, kept.parts.tolist(), strict=True):
                held[value] += parts
        support = {value: count for value, count in held.items() if value is not None}
        return list(support), np.array(list(support.values()), dtype=np.int64)


def single_use(rows: pd.DataFrame, schema: Schema, noise: Noise | None = None, currency: Currency = GDP) -> PrivateTable:
    """A table with a budget of its own in memory, for one fit. Its models are stamped `unledgered` and cannot be released."""
    return PrivateTable(rows, schema, lambda request: request.cost_in(currency), "unledgered", noise=noise)


def _require_own(clique: Clique) -> None:
    """Raises `TypeError` for another map than the kernel's four: it might move every row's code for one row's sake."""
    if not all(map(is_kernels_own, clique)):
        raise TypeError("only the kernel's own attributes are known to be row-wise")


def _require_candidate(clique: Clique, reference: Counts, weight: int, penalty: int) -> None:
    """Raises `ValueError` unless a row moves the candidate's score by at most `weight`, and 64 bits hold the score."""
    _require_own(clique)
    if reference.shape != tuple(a.size for a in clique) or reference.dtype.kind != "i":
        raise ValueError("a reference is whole counts in the shape of its clique: else a row could move its score by more than its weight")
    if not (_is_whole(weight) and 1 <= weight <= MAX_WEIGHT and _is_whole(penalty)):
        raise ValueError(f"a weight is a whole number from 1 to {MAX_WEIGHT}, a penalty a whole number")
    if int(weight) * np.abs(reference.astype(float)).sum() > MAX_SCORE or abs(int(penalty)) > MAX_SCORE:
        raise ValueError("a reference or a penalty so large that its score might wrap")


def _token() -> str:
    """An answer that no other process gives: of two that take the same steps, the keeper refuses the second."""
    return secrets.token_hex(16)


def _silent(words: str) -> None:
    return None


def _require_batch(plan: Plan, clip: float, declared: float) -> None:
    """Raises `BadInput` unless the declared units make a batch, and the clipping norm is one that floating point holds well."""
    if not (math.isfinite(declared) and declared * plan.rate >= 1):
        raise BadInput(Fault("declared", "so few units that a batch is expected to have less than one", "declare more units, or take a larger rate"))
    if not 1e-6 <= clip <= 1e6:
        raise BadInput(Fault("clip", "is no norm", "write a number from 1e-6 to 1e6, for example 1.0"))


def _is_whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def _digest(cliques: Sequence[Clique]) -> str:
    """Of the candidates' names and sizes: hundreds of them a round are too many to write down each time."""
    return hashlib.sha256(json.dumps([[_names(c), [a.size for a in c]] for c in cliques]).encode()).hexdigest()


def _names(clique: Clique) -> list[str]:
    return [a.column.name for a in clique]
