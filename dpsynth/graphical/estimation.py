"""Estimation: the graphical model that explains noisy marginals.

Among the models over the measured cliques it lowers the weighted squared error
L(p) = 1/2 sum_i sum_cells ((N p_i - y_i) / sigma_i)^2 by mirror descent on the potentials, with Nesterov momentum.

References: McKenna, Sheldon, Miklau 2019 (arXiv 1901.09136), Algorithm 1. Stopping: at the truth the expected L is half
the number of measured cells, so going far below that fits the noise; the descent ends at .85 of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.factor import Array, Factor
from dpsynth.graphical.junction_tree import JunctionTree
from dpsynth.graphical.model import GraphicalModel

DISCREPANCY = 0.85
MAX_STEPS = 1000
LEAST_GAIN = 1e-5
MAX_LOG = 200.0


@dataclass(frozen=True, eq=False)
class Measurement:
    """Noisy counts of a clique's cells; `sigma` is their noise scale, one number or one a cell."""

    clique: Clique
    values: Array
    sigma: float | Array

    @property
    def total(self) -> tuple[float, float]:
        """The noisy number of rows and its variance."""
        return float(self.values.sum()), float(np.broadcast_to(np.square(self.sigma), self.values.shape).sum())


def total_of(measurements: Sequence[Measurement]) -> float:
    """The number of rows, pooled over measurements by inverse variance; at least 1."""
    totals, variances = np.array([m.total for m in measurements]).T
    return max(float(np.average(totals, weights=1 / variances)), 1.0)


def estimate(domain: Domain, measurements: Sequence[Measurement], start: Mapping[Clique, Factor] | None = None) -> GraphicalModel:
    """The model over the measured cliques that fits `measurements`, in the total they pool to.

    Args:
        start: potentials to start from, over cliques among the measured ones; the uniform model otherwise.
    """
    tree = JunctionTree.build(domain, [m.clique for m in measurements])
    total = total_of(measurements)
    potentials = {m.clique: Factor.zeros(domain.project(m.clique)) for m in measurements} | dict(start or {})
    return _descend(tree, measurements, potentials, total)


def _descend(tree: JunctionTree, measurements: Sequence[Measurement], start: dict[Clique, Factor], total: float) -> GraphicalModel:
    """Accelerated mirror descent with an Armijo test from the look-ahead point; momentum restarts when the loss rises."""
    target = DISCREPANCY * sum(m.values.size for m in measurements) / 2
    model = GraphicalModel.from_potentials(tree, start, total)
    loss, _ = _loss(model, measurements)
    point = last = start
    step, momentum, stalled = _first_step(measurements, total), 0, 0
    for _ in range(MAX_STEPS):
        ahead = _moved(point, last, momentum / (momentum + 3))
        base, gradient = _loss(GraphicalModel.from_potentials(tree, ahead, total), measurements)
        slope = sum(float(np.square(g).sum()) for g in gradient.values())
        if slope == 0:
            break
        candidate = {c: Factor(f.domain, np.clip(f.values - step * gradient[c], -MAX_LOG, MAX_LOG)) for c, f in ahead.items()}
        tried = GraphicalModel.from_potentials(tree, candidate, total)
        reached, _ = _loss(tried, measurements)
        if reached > max(loss, base):
            step, momentum, last = step / 2, 0, point
            stalled += 1
        else:
            gain = (loss - reached) / max(loss, 1e-300)
            point, last, model, loss = candidate, point, tried, reached
            step, momentum = step * 1.3, momentum + 1
            stalled = stalled + 1 if gain < LEAST_GAIN else 0
        if loss <= target or stalled > 25:
            break
    return model


def _first_step(measurements: Sequence[Measurement], total: float) -> float:
    """A step that changes a potential by about 1 when a whole table's counts are misplaced."""
    precision = max(float(np.max(1 / np.square(m.sigma))) for m in measurements)
    return 1 / (total * precision)


def _moved(point: Mapping[Clique, Factor], last: Mapping[Clique, Factor], share: float) -> dict[Clique, Factor]:
    return {c: Factor(f.domain, f.values + share * (f.values - last[c].values)) for c, f in point.items()}


def _loss(model: GraphicalModel, measurements: Sequence[Measurement]) -> tuple[float, dict[Clique, Array]]:
    """L and its gradient with respect to each measured clique's expected counts."""
    loss = 0.0
    gradient: dict[Clique, Array] = {}
    for measurement in measurements:
        residual = (model.project(measurement.clique) - measurement.values) / measurement.sigma
        loss += float(np.square(residual).sum()) / 2
        slope = residual / measurement.sigma
        gradient[measurement.clique] = gradient.get(measurement.clique, 0.0) + slope
    return loss, gradient
