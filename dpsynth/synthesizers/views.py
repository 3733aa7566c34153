"""Views: each column at the resolution that noise allows, and once more in a few groups.

From the noisy counts of a column alone, which are released: values that the noise hides are put together (the *fine* view, what the
model is over), and the fine codes are put together again into groups of a share of the rows and more (the *coarse* view). A
pair of columns can then be measured in as few cells as its strength deserves: a table of 16 x 85 cells under noise of twenty
rows a cell says less than one of 6 x 6. Neighbouring bins of a number go together; of categories the rare ones do.
Codes that the schema's rules tell apart (`zeros.py`) stay apart in the fine view.

References: McKenna et al. 2021 (arXiv 2108.04978), section 4 (rare values). Coarse views are new here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from dpsynth.encoding import Decoder
from dpsynth.graphical import Clique, Domain, Factor, Measurement
from dpsynth.privacy import Attribute, Bins, Merged
from dpsynth.synthesizers.alone import columns_alone
from dpsynth.synthesizers.answer import Answer
from dpsynth.synthesizers.zeros import NEVER, NONE, Zeros

Floats = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]
RARE = 3.0
GROUP = 1 / 16
MOST_CELLS = 20_000
MOST_OF_A_PAIR = 1 << 17  # of two columns of many evenly spread categories, which nothing in fewer cells could tell of


@dataclass(frozen=True, eq=False)
class View:
    """A column as the model sees it: `fine`, and `coarse`, None where that would say no less."""

    column: Attribute
    fine: Attribute
    coarse: Merged | None

    @classmethod
    def of(cls, attribute: Attribute, counts: Floats, sigma: float, kinds: Groups | int = 0, group: float = GROUP) -> View:
        """`kinds` has a number for each code, and codes that differ in it stay apart in the fine view; `group` is the least share of the rows
        that a coarse code has, where possible."""
        fine = _grouped(attribute, counts, RARE * sigma, kinds)
        groups = np.arange(attribute.size) if fine is None else np.array(fine.groups)
        held = np.bincount(groups, weights=counts).astype(np.float64)
        rough = _groups(attribute, groups, held, group * max(held.sum(), 0.0))
        useful = rough.max() >= 1 and rough.max() + 1 <= 0.75 * len(held)
        return cls(attribute, fine or attribute, Merged(attribute, tuple(rough[groups].tolist())) if useful else None)

    @property
    def groups(self) -> Groups:
        """The fine code of each of the column's own codes."""
        return np.array(self.fine.groups) if isinstance(self.fine, Merged) else np.arange(self.fine.size)

    def decoder(self, counts: Floats) -> Decoder:
        """Undoes the groups of the fine view by `counts` of the column's own codes."""
        return Decoder(self.fine, counts if isinstance(self.fine, Merged) else None)


def _grouped(attribute: Attribute, counts: Floats, least: float, kinds: Groups | int) -> Merged | None:
    groups = _groups(attribute, np.arange(attribute.size), counts, least)
    groups = np.unique([groups, np.broadcast_to(kinds, groups.shape)], axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return Merged(attribute, tuple(groups.tolist())) if groups.max() + 1 < attribute.size else None


def _groups(attribute: Attribute, codes: Groups, counts: Floats, least: float) -> Groups:
    """A group for each of `len(counts)` codes, each group of at least `least` where that is possible; `codes` says which of them each
    of the attribute's own codes belongs to."""
    bins = attribute.bins if isinstance(attribute, Bins) else 0
    ordered = len(np.unique(codes[:bins])) if bins else 0
    neighbours = _neighbours(counts[:ordered], least)
    first = neighbours.max() + 1 if ordered else 0
    grouped: Groups = np.concatenate([neighbours, first + _rare_together(counts[ordered:], least)]).astype(np.int64)
    return grouped


def _neighbours(counts: Floats, least: float) -> Groups:
    """Runs of neighbouring codes that reach `least`; what is left at the end joins the last run."""
    groups, group, held = np.zeros(len(counts), dtype=np.int64), 0, 0.0
    for i, count in enumerate(counts):
        groups[i] = group
        held += count
        if held >= least:
            group, held = group + 1, 0.0
    return np.minimum(groups, max(group - 1, 0)) if len(groups) else groups


def _rare_together(counts: Floats, least: float) -> Groups:
    """Each code that reaches `least` alone, the others in one last group."""
    common = counts >= least
    return np.where(common, np.cumsum(common) - 1, common.sum()).astype(np.int64)


class Views:
    """The views of all columns, as the domain of one graphical model: fine ones under their columns' names, coarse ones after them."""

    def __init__(self, attributes: Sequence[Attribute], ones: Sequence[Answer], zeros: Zeros = NONE, group: float = GROUP):
        answers = [[one for one in ones if one.attributes == (a,)] for a in attributes]
        self.views = tuple(View.of(a, *_pooled(about), zeros.kinds(a), group) for a, about in zip(attributes, answers, strict=True))
        self.columns = tuple(a.column.name for a in attributes)
        self._attributes: dict[str, Attribute] = {c: v.fine for c, v in zip(self.columns, self.views, strict=True)}
        self._coarse: dict[str, str] = {}
        for column, view in zip(self.columns, self.views, strict=True):
            if view.coarse is not None:
                self._coarse[column] = _unused(f"{column}, coarse", self._attributes)
                self._attributes[self._coarse[column]] = view.coarse
        self.domain = Domain(tuple(self._attributes), tuple(a.size for a in self._attributes.values()))
        self.zeros = zeros.factors({c: v.groups for c, v in zip(self.columns, self.views, strict=True)})

    def attributes(self, clique: Clique) -> tuple[Attribute, ...]:
        return tuple(self._attributes[name] for name in clique)

    def asked(self, clique: Clique) -> tuple[Attribute, ...]:
        """What to measure for a clique: its views, or one column with all its own codes, which costs no more."""
        if len(clique) == 1 and clique[0] in self.columns:
            return (self.views[self.columns.index(clique[0])].column,)
        return self.attributes(clique)

    def levels(self, column: str) -> tuple[str, ...]:
        """The names of a column's views."""
        return (column, self._coarse[column]) if column in self._coarse else (column,)

    def decoders(self, answers: Sequence[Answer]) -> tuple[Decoder, ...]:
        """How to go back to each column's own codes, by all the answers about that column alone."""
        model = columns_alone([v.column for v in self.views], answers)
        return tuple(view.decoder(model.project([column])) for view, column in zip(self.views, self.columns, strict=True))

    def column(self, name: str) -> str:
        """The column that a view is of."""
        return self._attributes[name].column.name

    def candidates(self, weights: Mapping[Clique, int]) -> dict[Clique, int]:
        """Cliques of views for cliques of columns: single columns as they are, pairs at each resolution, larger ones at the coarsest; none of
        too many cells."""
        return {view: weight for clique, weight in weights.items() for view in ([clique] if len(clique) == 1 else self._small(clique))}

    def _small(self, clique: Clique) -> list[Clique]:
        levels = [self.levels(c) if len(clique) == 2 else self.levels(c)[-1:] for c in clique]
        cells = {view: math.prod(map(self.domain.size, view)) for view in product(*levels)}
        most = MOST_CELLS if len(clique) > 2 or min(cells.values()) <= MOST_CELLS else min(min(cells.values()), MOST_OF_A_PAIR)
        return [view for view, size in cells.items() if size <= most]

    @cached_property
    def links(self) -> tuple[Factor, ...]:
        """Pairs of codes that never meet: what ties a coarse view to its fine one, and the rules of the schema."""
        return (*self.resolutions, *self.zeros)

    @cached_property
    def resolutions(self) -> tuple[Factor, ...]:
        """What ties a coarse view to its fine one."""
        return tuple(self._link(view, column, self._coarse[column]) for column, view in zip(self.columns, self.views, strict=True) if view.coarse)

    def _link(self, view: View, fine: str, coarse: str) -> Factor:
        assert view.coarse is not None
        values = np.full((view.fine.size, view.coarse.size), NEVER)
        values[view.groups, np.array(view.coarse.groups)] = 0.0
        return Factor(self.domain.project((fine, coarse)), values)

    def clique(self, answer: Answer) -> Clique:
        """The views that an answer is about: of an unmerged column its fine one."""
        return tuple(self._names.get(a, a.column.name) for a in answer.attributes)

    def measurement(self, answer: Answer) -> Measurement:
        """An answer in the model's terms: an unmerged column's counts added up in the groups of its fine view."""
        if any(a not in self._names for a in answer.attributes):
            (column,) = self.clique(answer)
            fine = self._attributes[column]
            assert isinstance(fine, Merged)
            groups = np.array(fine.groups)
            counts = np.bincount(groups, weights=answer.values).astype(np.float64)
            return Measurement((column,), counts, answer.sigma * np.sqrt(np.bincount(groups)))
        return Measurement(self.clique(answer), answer.values, answer.sigma)

    @cached_property
    def _names(self) -> dict[Attribute, str]:
        return {a: name for name, a in self._attributes.items()}


def _pooled(answers: Sequence[Answer]) -> tuple[Floats, float]:
    """The counts of one column, weighted by precision, and their noise scale."""
    precisions = [1 / np.square(a.sigma) for a in answers]
    return np.average([a.values for a in answers], axis=0, weights=precisions), 1 / math.sqrt(sum(precisions))


def _unused(name: str, taken: dict[str, Attribute]) -> str:
    return name if name not in taken else _unused(name + "'", taken)
