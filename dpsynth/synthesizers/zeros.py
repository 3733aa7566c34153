"""Structural zeros of a model: pairs of codes that the schema's rules of two columns never let meet, as factors.

Statement. What is here is a function of the schema and of the columns' released domains: it reads no row and no answer, so a model that is
multiplied by it costs nothing (post-processing; Dwork, Roth 2014, Proposition 2.1).

A code may stand for many cells. Two codes never meet where a rule forbids every cell of the one beside every cell of the other. What a rule
says of a part of a bin, or of three columns and more, is left to `possible.py`; so are rules for which a model has no room.

Reference: McKenna, Mullins, Sheldon, Miklau 2022 (arXiv 2201.12677), the appendix on structural zeros: fixed potentials of a graphical model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.encoding import Decoder
from dpsynth.graphical import Clique, Domain, Factor, Graph
from dpsynth.privacy import Attribute, Bins, Categories, Merged
from dpsynth.schema.impossible import Impossible, Span, are

Flags = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]
NEVER = -1e6  # more than all else that a model of thousands of columns may say for a cell
MOST_CELLS = 2.0**18


@dataclass(frozen=True, eq=False)
class Zeros:
    """For pairs of columns which of their codes never meet, shape of the two attributes' sizes."""

    never: Mapping[Clique, Flags]

    @classmethod
    def of(cls, rules: Sequence[Impossible], attributes: Sequence[Attribute], most: float = MOST_CELLS) -> Zeros:
        """The rules of two columns, pair by pair as long as a model over all pairs has at most `most` cells."""
        named = {a.column.name: a for a in attributes}
        domain = Domain(tuple(named), tuple(a.size for a in attributes))
        graph, never = Graph.of(domain, []), dict[Clique, Flags]()
        for rule in rules:
            pair = domain.sorted(name for name, _ in rule.cells)
            if len(pair) != 2 or (pair not in never and graph.plus(pair).cells > most):
                continue
            graph = graph.plus(pair)
            said = dict(rule.cells)
            inside = np.outer(*(_inside(named[name], said[name]) for name in pair))
            never[pair] = never.get(pair, np.zeros_like(inside)) | inside
        return cls({pair: flags for pair, flags in never.items() if flags.any()})

    def kinds(self, attribute: Attribute) -> Whole:
        """A number for each code of an attribute: the same for codes that may meet the same."""
        name = attribute.column.name
        about = [flags if pair[0] == name else flags.T for pair, flags in self.never.items() if name in pair]
        if not about:
            return np.zeros(attribute.size, dtype=np.int64)
        return np.unique(np.concatenate(about, axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def factors(self, groups: Mapping[str, Whole]) -> tuple[Factor, ...]:
        """A factor for each pair, over groups of codes of one kind each; `groups` has the group of each of a column's codes."""
        return tuple(_factor(pair, flags, *(groups[name] for name in pair)) for pair, flags in self.never.items())


NONE = Zeros({})


def _factor(pair: Clique, never: Flags, rows: Whole, columns: Whole) -> Factor:
    domain = Domain(pair, (int(rows.max()) + 1, int(columns.max()) + 1))
    values = np.zeros(domain.sizes)
    values[rows[:, None], columns] = np.where(never, NEVER, 0.0)
    return Factor(domain, values)


def _inside(attribute: Attribute, values: tuple[str | Span, ...]) -> Flags:
    """Of which codes all cells are among `values`, shape (size,)."""
    if isinstance(attribute, Merged):
        outside = ~_inside(attribute.base, values)
        return np.asarray(np.bincount(attribute.groups, weights=outside) == 0)
    if isinstance(attribute, Bins):
        spans = _joined([v for v in values if isinstance(v, Span)])
        bins = [any(s.low <= low and high <= s.high for s in spans) for low, high in pairwise(attribute.edges)]
        if attribute.column.type == "continuous":  # the last bin of such a column holds its upper bound too, which a span leaves out
            bins[-1] &= any(s.low <= attribute.edges[-1] < s.high for s in spans)
        return np.array([*bins, *(any(s.low <= n < s.high for s in spans) for n in attribute.special), False])
    assert isinstance(attribute, Categories)
    cells = Decoder(attribute).decode(np.arange(attribute.size), np.random.default_rng(0))
    return are(pd.Series(cells), attribute.column, values)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans that touch, as one."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda s: s.low):
        if joined and span.low <= joined[-1].high:
            joined[-1] = Span(joined[-1].low, max(joined[-1].high, span.high))
        else:
            joined.append(span)
    return joined
