"""Columns before a training: what each holds, measured, and its codes put in as few groups as a network can learn something about.

Statement. All that is known here of the rows are noisy one-way marginals of `PrivateTable.marginal`; groups, shares and decoders are made
of these alone, so they are free. Codes that noise hides and codes of less than `COMMON` of the rows go together, neighbours where they are
bins; within a group the marginal says how often each code is, whatever the other columns hold. A network pays for each of its
parameters with noise, and has few rows to learn a rare code from.

Sensitivity: that of a marginal, see `privacy/table.py`.
Reference: McKenna et al. 2021 (arXiv 2108.04978), section 4, for rare values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from dpsynth.deep.network import Margin
from dpsynth.encoding import Codec, Decoder
from dpsynth.graphical import GraphicalModel
from dpsynth.privacy import Attribute, Merged, PrivateTable
from dpsynth.synthesizers.alone import columns_alone
from dpsynth.synthesizers.answer import Answer, measure
from dpsynth.synthesizers.bench import FIRST_LOOK, SAFE, share_of_columns
from dpsynth.synthesizers.generator import Fitted
from dpsynth.synthesizers.source import Graphical
from dpsynth.synthesizers.views import RARE, View

Floats = npt.NDArray[np.float64]
COMMON, MOST_SHARE = 1 / 50, 0.75


@dataclass(frozen=True, eq=False)
class Columns:
    """What is known of the columns, all of it released.

    Attributes:
        answers: noisy marginals, two of each.
        decoders: from the groups that a network sees to a column's own codes.
        shares: of the rows in each group, of each column; they sum to 1.
        total: the noisy number of rows; at least 1.
        alone: the model of independent columns, over their own codes.
        all_there_is: whether they took the whole budget, and nothing is to be learnt between them.
    """

    answers: tuple[Answer, ...]
    decoders: tuple[Decoder, ...]
    shares: tuple[Floats, ...]
    total: float
    alone: GraphicalModel
    all_there_is: bool

    @classmethod
    def measured(cls, table: PrivateTable, attributes: Sequence[Attribute]) -> Self:
        """For what they deserve of what is left; for all of it where there is but one column, or not enough for more."""
        amount = table.left.amount * SAFE
        first = _measured(table, attributes, amount * FIRST_LOOK)
        share = _deserved(first)
        all_there_is = len(attributes) == 1 or share > MOST_SHARE
        answers = (*first, *_measured(table, attributes, amount * ((1.0 if all_there_is else share) - FIRST_LOOK)))
        alone = columns_alone(attributes, answers)
        counts = [np.maximum(alone.project([a.column.name]).ravel(), 0.0) for a in attributes]
        total = max(float(alone.total), 1.0)
        noise = max(answers[-1].sigma, COMMON * total / RARE)
        decoders = tuple(View.of(a, c, noise).decoder(c) for a, c in zip(attributes, counts, strict=True))
        shares = tuple(_shares(d, c) for d, c in zip(decoders, counts, strict=True))
        return cls(answers, decoders, shares, total, alone, all_there_is)

    def independent(self) -> Fitted:
        """What `Independent` makes of these answers."""
        bases = (d.attribute.base if isinstance(d.attribute, Merged) else d.attribute for d in self.decoders)
        return Fitted(Graphical(self.alone), Codec(tuple(map(Decoder, bases))), self.answers)

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The groups, as the kernel's own attributes."""
        return tuple(d.attribute for d in self.decoders)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(a.column.name for a in self.attributes)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(a.size for a in self.attributes)

    @property
    def margins(self) -> tuple[Margin, ...]:
        return tuple(Margin((i,), s) for i, s in enumerate(self.shares))

    @property
    def logits(self) -> Floats:
        """The logarithm of each group's share, one column after the other; none below that of half a row."""
        logits: Floats = np.log(np.maximum(np.concatenate(self.shares), 0.5 / self.total))
        return logits


def _measured(table: PrivateTable, attributes: Sequence[Attribute], amount: float) -> tuple[Answer, ...]:
    return tuple(measure(table, [a], amount * SAFE / len(attributes)) for a in attributes)


def _deserved(first: Sequence[Answer]) -> float:
    """The columns' share of the budget, from a first look at them."""
    rows = max(float(np.mean([a.values.sum() for a in first])), 1.0)
    cells = float(np.mean([a.values.size for a in first]))
    return share_of_columns(cells * first[0].sigma * math.sqrt(FIRST_LOOK) / rows)


def _shares(decoder: Decoder, counts: Floats) -> Floats:
    attribute = decoder.attribute
    grouped = np.bincount(np.array(attribute.groups), counts, attribute.size) if isinstance(attribute, Merged) else counts
    shares: Floats = grouped / grouped.sum() if grouped.sum() > 0 else np.full(attribute.size, 1 / attribute.size)
    return shares
