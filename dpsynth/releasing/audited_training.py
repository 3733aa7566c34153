"""Audits of generators that train: their counts as those of any other, and the trainer's steps where one unit shows most.

The steps are looked at from inside, with the smallest tables that can tell. The units of a crowd have gradients that all point one way, and
in the other table there is one unit more, whose gradient points another way that is nobody else's, or the opposite way, which tells
most where batches have a fixed size or sums are divided by it; all are far above the clipping norm. What is trained is as small; the
steps are those that serve every network (`dpsynth/privacy/training.py`). Each case is held against the charge of its own plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from attacks.audit import Audit, Floats, audit
from dpsynth.encoding import public_attribute
from dpsynth.privacy import PrivateTable, Request
from dpsynth.privacy.currency import GDP
from dpsynth.privacy.dpsgd import Plan, cost_of
from dpsynth.schema import Schema
from dpsynth.synthesizers import Generator

DELTA, CLIP, FAR = 1e-4, 1.0, 1e3
SCHEMA = Schema.from_dict(
    {
        "name": "audit of steps",
        "privacy_unit": {"unit": "row"},
        "columns": [{"name": "one", "type": "categorical", "categories": ["crowd", "canary"], "categories_basis": "publisher"}],
    }
)
COLUMNS, EACH = 3, 100
COUNTED_ONE_IN = 4  # each run solves a plan, and counts are asked as those generators ask that are audited at every run
COUNTED = Schema.from_dict(
    {
        "name": "audit of counts",
        "privacy_unit": {"unit": "row"},
        "target": "c0",
        "columns": [{"name": f"c{i}", "type": "categorical", "categories": ["a", "b", "c"], "categories_basis": "publisher"} for i in range(COLUMNS)],
    }
)


@dataclass(frozen=True)
class Case:
    """A plan, how many the crowd are, and the gradients of one of them and of the added unit, in thousands of clipping norms."""

    name: str
    plan: Plan
    crowd: int
    gradients: tuple[tuple[float, ...], tuple[float, ...]]


OWN, OPPOSITE = ((1.0, 0.0), (0.0, 50.0)), ((1.0,), (-1.0,))
CASES = (
    Case("own direction", Plan(0.5, 1.0, 4), 8, OWN),
    Case("opposite, by chance", Plan(0.5, 2.0, 16), 50, OPPOSITE),
    Case("opposite, all", Plan(1.0, 2.0, 4), 8, OPPOSITE),
)


def audit_steps(runs: int, alpha: float, cases: tuple[Case, ...] = CASES) -> Audit:
    """Take the steps of each case's plan `runs` times on each of its two tables and bound their mu from below; the case that shows most."""
    return _worst([_audited(case, runs, alpha / len(cases)) for case in cases], alpha)


def _worst(audits: Sequence[Audit], alpha: float) -> Audit:
    """The one that shows most, which all of them together show at `alpha`."""
    return replace(max(audits, key=lambda a: a.mu_low / a.mu_charged), alpha=alpha)


def _audited(case: Case, runs: int, alpha: float) -> Audit:
    rows = pd.DataFrame({"one": ["crowd"] * case.crowd})
    more = pd.concat([rows, pd.DataFrame({"one": ["canary"]})], ignore_index=True)
    sides = [{case.name: _looks(case, frame, runs)} for frame in (rows, more)]
    return audit(sides[0], sides[1], math.sqrt(cost_of(case.plan, DELTA).amount), alpha)


def _looks(case: Case, frame: pd.DataFrame, runs: int) -> Floats:
    """The sum of each run's noised gradients along the added unit's, shape (runs,). Nothing is learnt, so a step is as good as any other."""
    table = PrivateTable(frame, SCHEMA, lambda _: cost_of(case.plan, DELTA), "unledgered")
    table.grant(Request(1.0, 1e-2, True, "audit"))
    network, attribute = nn.Linear(len(case.gradients[0]), 1, bias=False), public_attribute(SCHEMA.columns[0])
    gradients = torch.tensor([*case.gradients, *[case.gradients[0]] * (attribute.size - 2)])
    along = nn.functional.normalize(gradients[1], dim=0)

    def loss(held: nn.Module, codes: Tensor) -> Tensor:
        far: Tensor = FAR * held(gradients[codes[:, 0]]).squeeze(1)
        return far

    def step() -> float:
        table._put_gradients(network, loss, [attribute], case.plan, CLIP, case.crowd)
        assert network.weight.grad is not None
        return float(network.weight.grad[0] @ along)

    seen: Floats = np.array([[step() for _ in range(case.plan.steps)] for _ in range(runs)]).sum(axis=1)
    return seen


class _Untrained(PrivateTable):
    """A table on which a training is charged whole and read once, and takes no step: for looks at what a generator counts."""

    def train(self, *words: Any, **options: Any) -> Iterator[Any]:
        next(iter(super().train(*words, **options)))
        return iter(())


def audit_counts(kind: type[Generator], runs: int, epsilon: float, delta: float, alpha: float) -> Audit:
    """Fit `runs` times on each of two tables, without training, and bound the mu of what was counted from below."""
    generator = kind(epsilon, delta)
    crowd = pd.DataFrame([["a"] * COLUMNS, ["c"] * COLUMNS] * EACH, columns=list(COUNTED.names))
    canary = pd.DataFrame([["b"] * COLUMNS], columns=crowd.columns)
    sides = [np.array([_standing(generator, rows) for _ in range(runs)]) for rows in (crowd, pd.concat([crowd, canary], ignore_index=True))]
    mu = math.sqrt(generator.request(COUNTED).cost_in(GDP).amount)
    return audit({"all measurements": sides[0]}, {"all measurements": sides[1]}, mu, alpha)


def _standing(generator: Generator, rows: pd.DataFrame) -> float:
    """The noisy counts of the added row's own cells, which nobody else is in, each weighed by how sharp it is."""
    model = generator.fit(_Untrained(rows, COUNTED, lambda request: request.cost_in(GDP), "unledgered"))
    own = [(float(a.values[(1,) * len(a.attributes)]) / a.sigma, 1 / a.sigma) for a in model.answers]
    z, weight = (np.array(part) for part in zip(*own, strict=True))
    return float(z @ weight / np.sqrt(weight @ weight))


def audit_trained(kind: type[Generator], runs: int, epsilon: float, delta: float, alpha: float) -> Audit:
    """The worse of the two looks, which share `alpha`: at its counts, and at the steps of the trainer that it shares with all others that train."""
    counts = audit_counts(kind, runs // COUNTED_ONE_IN, epsilon, delta, alpha / 2)
    return _worst([counts, _steps_of_all(runs, alpha / 2)], alpha)


@cache
def _steps_of_all(runs: int, alpha: float) -> Audit:
    """One trainer serves all generators that train."""
    return audit_steps(runs, alpha)
