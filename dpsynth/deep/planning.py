"""How many steps, of which rate, with how much noise: from released numbers and the budget alone.

A rate is a power of a half, at most a half, and the steps follow from the size of the table in powers of two, so that tables of about the
same size have the same plan: solving for its noise takes a second, and is remembered.
"""

from __future__ import annotations

import math

from dpsynth.errors import BadInput, Fault
from dpsynth.privacy.dpsgd import MOST_SIGMA, ROUNDING, Plan, mu_of, sigma_of

LEAST_RATE = 2.0**-10
LEAST_STEPS, MOST_STEPS = 16, 512
# A step for so many rows (`gan.py`), or for so much as all rows are louder than the noise on one step of them all (`learning.py`).
ROWS_A_STEP, SIGNAL = 64, 16
# Of a DPGAN's budget, what columns get, and what columns beside the target get.
COLUMNS, PAIRS = 0.15, 0.35
SAFE = 1 - 1e-9


def plan_for(amount: float, delta: float, units: float, batch: float, steps: int) -> Plan:
    """A plan of at most `amount` (mu squared, or 2 rho) and the event delta `delta`.

    Args:
        units: how many there are, a released number.
        batch, steps: what is wanted; fewer where the budget does not carry them.

    Raises:
        BadInput: it does not carry a single step.
    """
    rate = 2.0 ** -max(1.0, min(round(math.log2(max(units, 1.0) / batch)), -math.log2(LEAST_RATE)))
    most = math.floor(delta / ROUNDING / 2)
    taken = min(steps, most)
    while taken >= 1:
        for tried in (rate, LEAST_RATE):
            try:
                return Plan(tried, sigma_of(math.sqrt(amount) * SAFE, tried, taken, delta), taken)
            except ValueError:
                continue
        taken //= 4
    raise too_small()


def steps_for(worth: float) -> int:
    """About as many as the table is worth, in powers of two."""
    return int(2 ** round(math.log2(min(max(worth, LEAST_STEPS), MOST_STEPS))))


def carries_a_step(amount: float, delta: float) -> bool:
    """Whether the budget carries one step of the least rate and the most noise."""
    return delta > 4 * ROUNDING and mu_of(Plan(LEAST_RATE, MOST_SIGMA, 1), delta) ** 2 <= amount * SAFE


def too_small() -> BadInput:
    return BadInput(Fault("epsilon", "too small for one step of training", "ask for more, or take a generator that counts: mst, aim"))
