"""Can members be told from controls without the synthetic table? Then the split, not a leak, is what attacks see.

(Das et al. 2024, "Blind baselines beat membership inference attacks".)
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from attacks.boosted import Boosted
from attacks.evidence import Evidence, Table

MOST = 2_000
FEWEST = 20


def blind_p(evidence: Evidence, rng: np.random.Generator) -> float:
    """p-value of "nothing but chance tells members from controls"; 1 with fewer than 20 of either.

    Boosted trees learn on one half and are tested on the other, by rank sums, and the other way round. Each
    half is a rank test, by the normal approximation; the less of the two p-values counts twice, which is valid whatever their dependence.
    """
    sides = [t.take(np.arange(min(len(t), MOST))) for t in evidence.equal_pools(rng)]
    if len(sides[0]) < FEWEST:
        return 1.0
    members, controls = ([t.take(part) for part in np.array_split(np.arange(len(t)), 2)] for t in sides)
    return min(1.0, 2 * min(_tested(members[i], controls[i], members[1 - i], controls[1 - i], rng) for i in (0, 1)))


def _tested(learn_members: Table, learn_controls: Table, members: Table, controls: Table, rng: np.random.Generator) -> float:
    model = Boosted.fit(learn_members, learn_controls, rng)
    return float(stats.mannwhitneyu(model.score(members), model.score(controls), alternative="greater", method="asymptotic").pvalue)
