"""Boosted trees on mixed columns: what tells rows of one table from rows of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from attacks.evidence import Table

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Boosted:
    """A fitted model."""

    model: HistGradientBoostingClassifier

    @classmethod
    def fit(cls, first: Table, second: Table, rng: np.random.Generator) -> Boosted:
        """Learn to tell rows of the first table from rows of the second."""
        model = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=int(rng.integers(2**31)))
        labels = np.repeat([1, 0], [len(first), len(second)])
        with threadpool_limits(limits=1):  # its threads wait for each other in a loop: on a busy machine a second becomes half a minute
            model.fit(_matrix(first.then(second)), labels)
        return cls(model)

    def score(self, rows: Table) -> Floats:
        """How much a row looks like one of the first table, shape (n,), in [0, 1]."""
        with threadpool_limits(limits=1):
            return np.asarray(self.model.predict_proba(_matrix(rows))[:, 1])


def _matrix(table: Table) -> Floats:
    return np.concatenate([table.numbers, table.codes.astype(np.float64)], axis=1)
