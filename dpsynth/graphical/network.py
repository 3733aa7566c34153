"""Bayesian networks: each attribute's distribution given its parents, as the potentials of a graphical model.

Such a product sums to 1 already: nothing is estimated. On the way into a graphical model it costs what a junction tree over the families does.

Reference: Koller, Friedman 2009, chapters 3.2 (the chain rule) and 9.4 (families as factors).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter

import numpy as np

from dpsynth.graphical.belief import LEAST_LOG
from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.factor import Array, Factor
from dpsynth.graphical.junction_tree import JunctionTree
from dpsynth.graphical.model import GraphicalModel


def network(domain: Domain, tables: Mapping[Clique, Array], total: float, fixed: Sequence[Factor] = ()) -> GraphicalModel:
    """The product over `tables` of the first attribute's distribution given the others, for `total` rows.

    Args:
        tables: counts of at least 0 for each attribute (the first axis) and its parents (the others).
        fixed: potentials that the product is multiplied by, such as cells that can not occur.

    Raises:
        ValueError: the tables are not one for each attribute, parents run in a circle, or some values of the parents have no count.
    """
    parents = {family[0]: family[1:] for family in tables}
    if len(parents) < len(tables) or set(parents) != set(domain.names):
        raise ValueError("a network needs one table for each attribute")
    TopologicalSorter(parents).prepare()
    potentials = {family: Factor(domain.project(family), _log_given(counts)) for family, counts in tables.items()}
    for factor in fixed:
        names = factor.domain.names
        potentials[names] = potentials[names].times(factor) if names in potentials else factor
    return GraphicalModel.from_potentials(JunctionTree.build(domain, potentials), potentials, total)


def _log_given(counts: Array) -> Array:
    sums = counts.sum(axis=0)
    if not (counts.min() >= 0 and sums.min() > 0):
        raise ValueError("a conditional distribution needs counts of at least 0, and some for all values of the parents")
    shares = counts / sums
    logs: Array = np.log(shares, out=np.full(shares.shape, LEAST_LOG), where=shares > 0)
    return logs
