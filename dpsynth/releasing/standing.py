"""Where generators that train stand beside AIM and beside independent columns, as measured: what `plan` shows, and what it does not offer.

Nothing here reads rows. Each line is one measured setting (`python -m benchmarks.deep`): a table's shape, a budget, and each generator's
mean total variation over all pairs of columns, in parts of that of independent columns fitted with the same budget.

What decides is how loud the rows are: their number times mu, over the cells of all columns together and what one unit can move. Of two measured
settings around a table's the quieter one speaks; where none is as quiet, nothing is said. Two-way errors hang on more than that: they are
figures of other tables, not bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """Attributes:
    table: which one was measured.
    rows, columns, cells: its shape; cells are those of all columns together, missing ones included.
    mu: what the budget is worth.
    errors: of each generator, over that of independent columns.
    """

    table: str
    rows: int
    columns: int
    cells: int
    mu: float
    errors: Mapping[str, float]

    @property
    def loudness(self) -> float:
        return self.rows * self.mu / self.cells


MEASURED = (
    Setting("adult_discrete@1000", 1_000, 14, 602, 0.266, {"diffusion": 1.06, "vae": 1.15, "aim": 0.98}),
    Setting("adult_discrete@3000", 3_000, 14, 602, 0.266, {"diffusion": 1.03, "vae": 0.97, "aim": 1.00}),
    Setting("adult_discrete@1000", 1_000, 14, 602, 1.659, {"diffusion": 1.04, "vae": 1.10, "aim": 0.73}),
    Setting("adult_discrete@10000", 10_000, 14, 602, 0.266, {"diffusion": 0.90, "vae": 0.97, "aim": 0.63}),
    Setting("adult_discrete@3000", 3_000, 14, 602, 1.659, {"diffusion": 0.76, "vae": 0.89, "aim": 0.62}),
    Setting("cps_tax_units_wide@40000", 40_000, 66, 1_897, 0.715, {"diffusion": 0.45, "vae": 0.53}),
    Setting("adult_discrete", 39_074, 14, 602, 0.266, {"diffusion": 0.48, "vae": 0.62, "gan": 1.24, "aim": 0.38}),
    Setting("adult_discrete@10000", 10_000, 14, 602, 1.659, {"diffusion": 0.52, "vae": 0.66, "aim": 0.43}),
    Setting("diabetes130", 81_413, 48, 676, 0.715, {"diffusion": 0.53, "vae": 0.67, "gan": 2.33, "aim": 0.53}),
    Setting("adult_discrete", 39_074, 14, 602, 1.659, {"diffusion": 0.33, "vae": 0.46, "gan": 1.00, "aim": 0.25}),
)
EVEN = 1.02


def standings(loudness: float) -> dict[str, float | None]:
    """Each measured generator's error over that of independent columns, least first: as in the loudest measured setting that is no louder than
    this; None for one that was measured in none."""
    found = {g: _standing(g, loudness) for g in dict.fromkeys(g for s in MEASURED for g in s.errors)}
    return dict(sorted(found.items(), key=lambda one: math.inf if one[1] is None else one[1]))


def loses(error: float | None) -> bool:
    """Whether such an error is further from the rows than independent columns are, by more than chance; also said of what was not measured."""
    return error is None or error > EVEN


def _standing(generator: str, loudness: float) -> float | None:
    below = [s for s in MEASURED if generator in s.errors and s.loudness <= loudness]
    return max(below, key=lambda s: s.loudness).errors[generator] if below else None
