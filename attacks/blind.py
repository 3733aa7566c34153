"""Can members be told from controls without the synthetic table? Then the split, not a leak, is what attacks see.

(Das et al. 2024, "Blind baselines beat membership inference attacks".) The only module that needs scikit-learn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier

from attacks.evidence import Evidence, Table

MOST = 2_000
FEWEST = 20


def blind_p(evidence: Evidence, rng: np.random.Generator) -> float:
    """p-value of "nothing but chance tells members from controls"; 1 with fewer than 20 of either.

    Boosted trees learn on one half and are tested on the other, by rank sums, and the other way round. Each
    half is an exact test; the less of the two p-values counts twice, which is valid whatever their dependence.
    """
    members, controls = (np.array_split(rng.permutation(_matrix(t))[:MOST], 2) for t in evidence.equal_pools(rng))
    if min(map(len, (*members, *controls))) < FEWEST // 2:
        return 1.0
    state = int(rng.integers(2**31))
    folds = [_tested(members[i], controls[i], members[1 - i], controls[1 - i], state) for i in (0, 1)]
    return min(1.0, 2 * min(folds))


Matrix = npt.NDArray[np.float64]


def _tested(learn_members: Matrix, learn_controls: Matrix, members: Matrix, controls: Matrix, state: int) -> float:
    model = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=state)
    labels = np.repeat([1, 0], [len(learn_members), len(learn_controls)])
    model.fit(np.concatenate([learn_members, learn_controls]), labels)
    first, second = (model.predict_proba(rows)[:, 1] for rows in (members, controls))
    return float(stats.mannwhitneyu(first, second, alternative="greater", method="asymptotic").pvalue)


def _matrix(table: Table) -> Matrix:
    return np.concatenate([table.numbers, table.codes.astype(np.float64)], axis=1)
