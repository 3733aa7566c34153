"""What a release will be worth and cost, from schema and size alone: no row is read.

Errors follow from the noise scales that `synthesizers/mst.py` and `independent.py` will use; the gate's power from the
policy's tolerances and the control's expected size.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dpsynth.encoding import public_attribute
from dpsynth.encoding.domains import DOMAIN_SHARE
from dpsynth.errors import BadInput, Fault
from dpsynth.privacy import gdp
from dpsynth.privacy.cost import Request, require_budget
from dpsynth.schema import Column, Schema

if TYPE_CHECKING:
    from attacks.policy import Policy

GROUP = 1000
GUESSED_CATEGORIES = 30
CELL_BYTES = 120
BASE_BYTES = 450e6


@dataclass(frozen=True)
class Prediction:
    """One line of a plan.

    Attributes:
        sigma: noise scale of a one-way marginal's cells.
        column_error: expected total variation of one column's distribution from the table's, by noise and split.
        group: a group of 1,000 people is reported within this many, 19 times in 20.
        best_odds: how often an attacker with even odds guesses right about one unit, at best.
        can_pass: whether the control will be large enough for the policy's tolerances; `control_share` the least that is.
    """

    epsilon: float
    sigma: float
    column_error: float
    group: float
    best_odds: float
    can_pass: bool
    control_share: float | None
    seconds: float
    megabytes: float

    def document(self) -> dict[str, Any]:
        return asdict(self)


def predict(schema: Schema, units: int | None, epsilon: float, delta: float, policy: Policy, generator: str) -> Prediction:
    """Predict a release. Raises `BadInput` if the number of units is neither given nor public, or the budget is none."""
    require_budget(epsilon, delta)
    units = units or schema.n_public
    if not units or units < 1:
        raise BadInput(Fault("units", "how many people is the table about? it is not public", "write --units 10000 (a guess does)"))
    rows = units * schema.unit.max_rows
    train = policy.split["train"]
    sigma = _one_way_sigma(schema, epsilon, delta, generator)
    sizes = [_size(c) for c in schema.synthesised]
    noise = sum(0.5 * k * sigma * math.sqrt(2 / math.pi) / (rows * train) for k in sizes) / len(sizes)
    sampling = sum(0.5 * math.sqrt(2 * k * (1 - train) / (math.pi * rows * train)) for k in sizes) / len(sizes)
    spread = math.hypot(sigma, math.sqrt(GROUP * train * (1 - train))) / train
    smallest = _smallest_control(units, policy)
    return Prediction(
        epsilon=epsilon,
        sigma=sigma,
        column_error=min(math.hypot(noise, sampling), 1.0),
        group=1.96 * spread,
        best_odds=gdp.best_odds(epsilon, delta),
        can_pass=epsilon <= policy.max_epsilon and smallest is not None and smallest <= policy.split["control"],
        control_share=smallest,
        seconds=_seconds(rows, sizes, generator),
        megabytes=(BASE_BYTES + CELL_BYTES * rows * len(schema.columns)) / 1e6,
    )


def _one_way_sigma(schema: Schema, epsilon: float, delta: float, generator: str) -> float:
    columns = schema.synthesised
    mu_squared = Request(epsilon, delta, False, "").cost.mu ** 2
    if any(c.is_open for c in columns):
        mu_squared *= 1 - DOMAIN_SHARE
    share = mu_squared / len(columns) / (3 if generator == "mst" and len(columns) > 1 else 1)
    return gdp.discrete_gaussian_sigma(math.sqrt(share) / schema.unit.max_rows)


def _size(column: Column) -> int:
    if column.is_open:
        return column.bins + 2 if column.is_number else GUESSED_CATEGORIES
    return public_attribute(column).size


def _smallest_control(units: int, policy: Policy) -> float | None:
    """The least control share, in steps of .01 up to .5, at which every required tolerance could be certified.

    The train share grows or shrinks by what control gives or takes; None if no share suffices.
    """
    for percent in range(1, 51):
        share = percent / 100
        train = max(policy.split["train"] + policy.split["control"] - share, 0.1)
        if _certifiable(policy, round(units * train), round(units * share)):
            return share
    return None


def _certifiable(policy: Policy, members: int, controls: int) -> bool:
    """Whether the membership tolerances, which need the most people, could be met by a table that leaks nothing."""
    from attacks.evidence import MAX_POOL
    from attacks.statistics import least_auc, least_tpr

    if min(members, controls) < 2:
        return False
    pool = (min(members, MAX_POOL), min(controls, MAX_POOL), policy.confidence)
    return least_auc(*pool) < policy.tolerance["membership_auc"] and least_tpr(*pool) < policy.tolerance["membership_tpr"]


def _seconds(rows: int, sizes: list[int], generator: str) -> float:
    """Fitted to measured runs on two cores; see docs/benchmarks.md."""
    pairs = len(sizes) * (len(sizes) - 1) / 2 if generator == "mst" else 0
    fit = 1 + 2e-6 * rows * len(sizes) + 6e-9 * rows * pairs + 0.02 * len(sizes)
    return 15 + fit + 4e-10 * min(rows, 50_000) ** 2 * len(sizes) + 2e-4 * rows
