"""What a release will be worth and cost, from schema and size alone: no row is read.

Errors follow from the noise scales that the generators will use (`closeness.py`), time and memory from what they do (`effort.py`); the
gate's power from the policy's tolerances and the control's expected size. How near these come: `python -m benchmarks.plan table`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dpsynth.errors import BadInput, Fault
from dpsynth.privacy import gdp
from dpsynth.privacy.cost import require_budget
from dpsynth.releasing.closeness import column_error, noise_error
from dpsynth.releasing.effort import fit_megabytes, fit_seconds, least_fit_seconds, least_release_seconds, release_megabytes, release_seconds
from dpsynth.releasing.outline import Outline
from dpsynth.releasing.standing import loses, standings
from dpsynth.schema import Schema
from dpsynth.synthesizers.registry import DEEP

if TYPE_CHECKING:
    from attacks.policy import Policy

GROUP = 1000


@dataclass(frozen=True)
class Prediction:
    """One line of a plan.

    Attributes:
        sigma: noise scale of a one-way marginal's cells.
        column_error: expected total variation of one column's distribution from the table's, by noise and split; where a unit
            has more rows than `max_rows`, from that of the rows that count. `noise_error` is from the training part's, by noise alone.
        group: a group of 1,000 people is reported within this many, 19 times in 20.
        best_odds: how often an attacker with even odds guesses right about one unit, at best.
        can_pass: whether the control will be large enough for the policy's tolerances; `control_share` the least that is.
        seconds: of CPU on one core, for the whole release; `fit_seconds` for fitting and sampling alone. They are those of a table with as
            much structure as most have; `least_seconds` and `least_fit_seconds` those of a table without: a schema does not tell which it is.
        megabytes: the most memory that the release holds; `fit_megabytes` for fitting and sampling alone.
        standing: of AIM and the generators that train, the two-way error in parts of that of independent columns, as measured where rows told no
            more; None where none was. Of one column nothing.
        structure: whether the budget is expected to tell more than each column by itself.
        not_offered: those that train and lose to independent columns so, or were not measured; they are planned if asked for by name.
    """

    epsilon: float
    sigma: float
    column_error: float
    noise_error: float
    group: float
    best_odds: float
    can_pass: bool
    control_share: float | None
    seconds: float
    megabytes: float
    fit_seconds: float
    fit_megabytes: float
    least_seconds: float
    least_fit_seconds: float
    standing: Mapping[str, float | None]
    not_offered: tuple[str, ...]
    structure: bool

    def document(self) -> dict[str, Any]:
        return asdict(self)


def predict(schema: Schema, units: int | None, epsilon: float, delta: float, policy: Policy, generator: str) -> Prediction:
    """Predict a release. Raises `BadInput` if the number of units is neither given nor public, or the budget is none."""
    require_budget(epsilon, delta)
    units = units or schema.n_public
    if not units or units < 1:
        raise BadInput(Fault("units", "how many people is the table about? it is not public", "write --units 10000 (a guess does)"))
    train = policy.split["train"]
    outline = Outline(schema, units, epsilon, delta, train, generator)
    smallest = _smallest_control(units, policy)
    standing = standings(outline.loudness) if outline.columns > 1 else {}
    return Prediction(
        epsilon=epsilon,
        sigma=outline.column_sigma,
        column_error=column_error(outline),
        noise_error=noise_error(outline),
        group=1.96 * math.hypot(outline.column_sigma, math.sqrt(GROUP * train * (1 - train))) / train,
        best_odds=gdp.best_odds(epsilon, delta),
        can_pass=epsilon <= policy.max_epsilon and smallest is not None and smallest <= policy.split["control"],
        control_share=smallest,
        seconds=release_seconds(outline),
        megabytes=release_megabytes(outline),
        fit_seconds=fit_seconds(outline),
        fit_megabytes=fit_megabytes(outline),
        least_seconds=least_release_seconds(outline),
        least_fit_seconds=least_fit_seconds(outline),
        standing=standing,
        not_offered=tuple(g for g, error in standing.items() if g in DEEP and loses(error)),
        structure=outline.columns > 1 and generator != "independent" and outline.buys_structure,
    )


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
    """Whether the tolerances that need the most people could be met by a table that leaks nothing.

    Without a hit, matches need fewer people than these; how many have rare values is not known from a schema.
    """
    from attacks.evidence import MAX_POOL
    from attacks.statistics import least_auc, least_excess, least_tpr

    if min(members, controls) < 2:
        return False
    pool = (min(members, MAX_POOL), min(controls, MAX_POOL), policy.confidence)
    least = {"membership_auc": least_auc, "membership_tpr": least_tpr, "attribute_inference": least_excess}
    return all(of(*pool) < policy.tolerance[name] for name, of in least.items())
