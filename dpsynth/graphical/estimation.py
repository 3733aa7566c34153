"""Estimation: the graphical model that explains noisy marginals.

Among the models over the measured cliques it lowers the weighted squared error
L(p) = 1/2 sum_i sum_cells ((N p_i - y_i) / sigma_i)^2 by mirror descent on the potentials, with Nesterov momentum.

References: McKenna, Sheldon, Miklau 2019 (arXiv 1901.09136), Algorithm 1; O'Donoghue, Candes 2015 for restarts. Stopping: at
the truth the expected L is half the number of measured cells, so going far below that fits the noise; the descent ends
at .85 of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dpsynth.graphical.belief import LEAST_LOG, Belief, Plan, plan_for
from dpsynth.graphical.domain import Clique, Domain
from dpsynth.graphical.factor import Array, Factor
from dpsynth.graphical.junction_tree import JunctionTree
from dpsynth.graphical.model import GraphicalModel

DISCREPANCY = 0.85
MOST_STEPS = 1000
LEAST_GAIN = 1e-4
FIRST_GROWTH, GROWTH = 2.0, 1.01
GAIN_STEPS = 10
MAX_LOG = 100.0


@dataclass(frozen=True, eq=False)
class Measurement:
    """Noisy counts of a clique's cells; `sigma` is their noise scale, one number or one a cell."""

    clique: Clique
    values: Array
    sigma: float | Array

    def __post_init__(self) -> None:
        sigma = np.asarray(self.sigma)
        if not (np.isfinite(self.values).all() and np.isfinite(sigma).all() and (sigma > 0).all()):
            raise ValueError("a measurement needs finite values and noise scales above 0")

    @property
    def total(self) -> tuple[float, float]:
        """The noisy number of rows and its variance."""
        return float(self.values.sum()), float(np.broadcast_to(np.square(self.sigma), self.values.shape).sum())


@dataclass(frozen=True, eq=False)
class Target:
    """All measurements pooled: for each measured clique the mean of its answers by precision; flat, one clique after the other.

    An answer about a cell that can not occur is noise alone, and pulls nowhere.
    """

    cliques: tuple[Clique, ...]
    counts: Array
    precision: Array

    @classmethod
    def of(cls, domain: Domain, measurements: Sequence[Measurement], fixed: Sequence[Factor] = ()) -> Target:
        pooled: dict[Clique, tuple[Array, Array]] = {}
        for m in measurements:
            clique = domain.ascending(m.clique)
            axes = [m.clique.index(n) for n in clique]
            precision = np.broadcast_to(1 / np.square(m.sigma), m.values.shape).transpose(axes).ravel()
            weighted = m.values.transpose(axes).ravel() * precision
            before = pooled.get(clique, (0.0, 0.0))
            pooled[clique] = (before[0] + weighted, before[1] + precision)
        for factor in fixed:
            clique = domain.ascending(factor.domain.names)
            sums, precision = pooled.get(clique, (np.zeros(factor.domain.cells), np.zeros(factor.domain.cells)))
            possible = factor.transpose(clique).values.ravel() > -MAX_LOG
            pooled[clique] = (sums * possible, precision * possible)
        sums, precisions = (np.concatenate(part) for part in zip(*pooled.values(), strict=True))
        return cls(tuple(pooled), np.divide(sums, precisions, out=np.zeros_like(sums), where=precisions > 0), precisions)

    def loss(self, expected: Array) -> tuple[float, Array]:
        """L of expected counts and its gradient, a number a cell."""
        residual = expected - self.counts
        gradient = residual * self.precision
        return float(residual @ gradient) / 2, gradient


def total_of(measurements: Sequence[Measurement]) -> float:
    """The number of rows, pooled over measurements by inverse variance; at least 1."""
    totals, variances = np.array([m.total for m in measurements]).T
    return max(float(np.average(totals, weights=1 / variances)), 1.0)


def estimate(
    domain: Domain,
    measurements: Sequence[Measurement],
    start: GraphicalModel | None = None,
    fixed: Sequence[Factor] = (),
    discrepancy: float = DISCREPANCY,
    steps: int = MOST_STEPS,
) -> GraphicalModel:
    """The model over the measured cliques that fits `measurements`, in the total they pool to.

    Args:
        start: a model to start from; the uniform one otherwise.
        fixed: potentials that hold from the outset and stay: over cliques of their own; or, of a measured clique, cells that can not occur.
        discrepancy: ends the descent at this share of the loss that the truth is expected to have.
        steps: at most so many.
    """
    target = Target.of(domain, measurements, fixed)
    tree = start.tree if start and all(start.tree.find(c) is not None for c in target.cliques) else JunctionTree.build(domain, target.cliques)
    plan = plan_for(tree, target.cliques)
    total = total_of(measurements)
    enough = discrepancy * int((target.precision > 0).sum()) / 2
    potentials = _descend(plan, target, _started(plan, target, start, fixed), total, enough, steps)
    return GraphicalModel(tree, plan.cliques, potentials, total)


def _started(plan: Plan, target: Target, start: GraphicalModel | None, fixed: Sequence[Factor]) -> Array:
    """Potentials that are known already, and the constant 1 elsewhere."""
    held = {plan.tree.domain.ascending(f.domain.names): f for f in fixed}
    stays = {clique: factor.transpose(clique).values.ravel() for clique, factor in held.items()}
    known = stays | ({} if start is None else dict(zip(start.cliques, start.parts, strict=True)))
    started = np.concatenate([known.get(c, np.zeros(s.stop - s.start)) for c, s in zip(plan.cliques, plan.slices, strict=True)])
    for clique, place in zip(plan.cliques, plan.slices, strict=True):
        if clique in stays:
            started[place] = np.where(target.precision[place] > 0, started[place], stays[clique])
    bounded: Array = np.maximum(started, LEAST_LOG)
    return bounded


def _descend(plan: Plan, target: Target, start: Array, total: float, enough: float, steps: int) -> Array:
    """Mirror descent with momentum, one belief a step: where the loss rises it goes back to the best point with half the step."""
    best = last = ahead = start
    slope = np.zeros(plan.cells)
    limit = np.where(target.precision > 0, MAX_LOG, np.inf)
    lowest, momentum, step, growth = np.inf, 0, 1 / (total * float(target.precision.max())), FIRST_GROWTH
    history: list[float] = []
    for _ in range(steps):
        loss, gradient = target.loss(total * Belief(plan, ahead).measured)
        if loss > lowest:
            step, growth, momentum, ahead, last = step / 2, GROWTH, 0, best, best
            loss, gradient = lowest, slope
        else:
            lowest, best, slope, step = loss, ahead, gradient, step * growth
        history.append(lowest)
        stalled = len(history) > GAIN_STEPS and history[-GAIN_STEPS - 1] - lowest < LEAST_GAIN * lowest
        if lowest <= enough or stalled:
            break
        point = np.clip(ahead - step * gradient, -limit, limit)
        momentum += 1
        ahead, last = point + (momentum - 1) / (momentum + 2) * (point - last), point
    return best
