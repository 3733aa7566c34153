"""A witness: the door to the rows as it is, with a note of each question and of what the caller was told.

What it holds afterwards is all that a generator learnt of the rows, told apart from what the generator made of it: noised counts, choices among
candidates, names found. An audit looks at these from inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dpsynth.privacy import PrivateTable
from dpsynth.privacy.currency import GDP
from dpsynth.privacy.noise import Counts
from dpsynth.privacy.table import Floats
from dpsynth.privacy.tally import Clique
from dpsynth.schema import Column, Schema
from dpsynth.synthesizers.answer import Answer


@dataclass(frozen=True, eq=False)
class Choice:
    """One selection: its candidates, what their scores are made of, what it was to cost, and which of them was taken."""

    cliques: Sequence[Clique]
    references: Sequence[Counts]
    weights: Sequence[int]
    penalties: Sequence[int]
    amount: float
    taken: int


class Witness(PrivateTable):
    """A table with a budget of its own in memory, for one fit.

    Attributes:
        counted: each marginal told.
        choices: each selection made.
        named: the noise scale of each search for names.
    """

    def __init__(self, rows: pd.DataFrame, schema: Schema):
        super().__init__(rows, schema, lambda request: request.cost_in(GDP), "unledgered")
        self.counted: list[Answer] = []
        self.choices: list[Choice] = []
        self.named: list[float] = []

    def marginal(self, clique: Clique, sigma: float) -> Floats:
        values = super().marginal(clique, sigma)
        self.counted.append(Answer(tuple(clique), values, sigma))
        return values

    def select(self, cliques: Sequence[Clique], references: Sequence[Counts], weights: Sequence[int], penalties: Sequence[int], amount: float) -> int:
        taken = super().select(cliques, references, weights, penalties, amount)
        wide = [r.astype(np.int64) for r in references]  # as what is reckoned with them later may be larger than they are
        self.choices.append(Choice(cliques, wide, weights, penalties, amount, taken))
        return taken

    def discover(self, column: Column, sigma: float, delta: float) -> tuple[str, ...]:
        names = super().discover(column, sigma, delta)
        self.named.append(sigma)
        return names
