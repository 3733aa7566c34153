"""What a look at the rows costs: integer ticks that add up exactly, requests, and the filter inside a grant.

Costs are pairs (mu squared, event delta). Both are kept as whole ticks: a capacity and a request are rounded
down, a measurement is rounded up, so no sum of roundings ever exceeds what was promised.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from dpsynth.errors import BadInput, BudgetExceeded, Fault
from dpsynth.privacy import gdp

MU_TICK = Fraction(1, 2**100)
DELTA_TICK = Fraction(1, 2**100)
EVENT_SHARE = 0.1
MAX_EPSILON = 100.0


@dataclass(frozen=True, order=False)
class Cost:
    """A cost in ticks: `mu_squared` and `delta` (probability of an event outside the curve) in units of 2^-100."""

    mu_squared: int = 0
    delta: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.mu_squared + other.mu_squared, self.delta + other.delta)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.mu_squared - other.mu_squared, self.delta - other.delta)

    def fits(self, room: Cost) -> bool:
        return self.mu_squared <= room.mu_squared and self.delta <= room.delta

    @property
    def mu(self) -> float:
        return math.sqrt(self.mu_squared * MU_TICK)

    @property
    def event_delta(self) -> float:
        return float(self.delta * DELTA_TICK)

    def epsilon(self, delta: float) -> float:
        """The epsilon that this cost amounts to at `delta`, with the ledger's share of delta kept for events."""
        return gdp.epsilon_of(delta * (1 - EVENT_SHARE), self.mu)

    @classmethod
    def promised(cls, epsilon: float, delta: float) -> Cost:
        """The most that (epsilon, delta)-DP allows: a tenth of delta for events, the rest for the curve; rounded down."""
        mu = gdp.mu_of(epsilon, delta * (1 - EVENT_SHARE))
        return cls(math.floor(Fraction(mu) ** 2 / MU_TICK), math.floor(Fraction(delta * EVENT_SHARE) / DELTA_TICK))

    @classmethod
    def measured(cls, mu: float, delta: float = 0.0) -> Cost:
        """What a measurement costs; rounded up. Raises `ValueError` for a negative one: nothing refunds."""
        if mu < 0 or delta < 0:
            raise ValueError("a measurement costs at least nothing")
        return cls(math.ceil(Fraction(mu) ** 2 / MU_TICK), math.ceil(Fraction(delta) / DELTA_TICK))


@dataclass(frozen=True)
class Request:
    """What a release asks for. `events` says whether it needs event delta (thresholds on unknown categories); `unit` names the
    columns of the privacy unit, none where it is the row.

    The mu of a request is that of (epsilon, .9 delta) with or without events, so that a request equal to a
    ledger's capacity fits it exactly.
    """

    epsilon: float
    delta: float
    events: bool
    purpose: str
    unit: tuple[str, ...] = ()

    @property
    def cost(self) -> Cost:
        full = Cost.promised(self.epsilon, self.delta)
        return full if self.events else Cost(full.mu_squared, 0)


class Filter:
    """Meters measurements inside a grant; refuses what does not fit (Smith, Thakurta 2022: valid when each measurement is
    chosen from the answers before it)."""

    def __init__(self, grant: Cost):
        self.grant = grant
        self.spent = Cost()
        self._alone = threading.Lock()

    @property
    def left(self) -> Cost:
        return self.grant - self.spent

    def charge(self, cost: Cost) -> None:
        """Raises `BudgetExceeded` before anything is spent if `cost` does not fit."""
        with self._alone:
            if not cost.fits(self.left):
                raise BudgetExceeded("a measurement asks for more than is left of the grant; nothing was read for it")
            self.spent = self.spent + cost


def check_budget(epsilon: Any, delta: Any, where: str = "") -> list[Fault]:
    """Faults of a privacy budget: each of the two has to be a finite positive number and not a bool."""
    prefix = f"{where}: " if where else ""
    faults = []
    if not _is_positive(epsilon) or epsilon > MAX_EPSILON:
        faults.append(Fault(f"{prefix}epsilon", f"not a number above 0 and up to {MAX_EPSILON:g}", "write for example 1.0"))
    if not _is_positive(delta) or delta >= 0.1:
        faults.append(Fault(f"{prefix}delta", "not a number above 0 and below 0.1", "write for example 1e-9"))
    elif delta < 1e-20:
        faults.append(Fault(f"{prefix}delta", "below 1e-20, finer than the ledger counts", "write for example 1e-9"))
    return faults


def require_budget(epsilon: Any, delta: Any) -> None:
    """Raises `BadInput` naming what is wrong with a budget."""
    faults = check_budget(epsilon, delta)
    if faults:
        raise BadInput(faults)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
