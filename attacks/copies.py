"""Were a few people copied outright? What tells the smallest share of them, also where strangers are met by chance.

A share s of the members is copied, and a target is met, that is equal to a synthetic row in every column, by chance with probability q.
Then a member is met with probability s + (1 - s) q and a control with q, and by Neyman and Pearson's lemma a target that is met weighs
log((1 - s) + s / q), one that is not log(1 - s), the same for all. Somebody in a crowd weighs little, and whoever stands alone a lot.

q is learned from who is met among members and controls together, by how crowded it is around them and by how likely their cells are. Nothing here
knows who is a member, so under no leak the labels are exchangeable given these weights, however wrong q is.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.density import log_density
from attacks.distances import Floats, surroundings
from attacks.evidence import Evidence
from attacks.membership import Coding, Tree
from attacks.nearest import DIGITS, met
from attacks.targets import holders

COPIED = 0.01
LEAST_CHANCE = 1e-6  # what is learned of a crowd says nothing of odds a million times worse
NOBODY = 1e-3


def copies(evidence: Evidence) -> Floats:
    """The log likelihood ratio of a member to a control if one in a hundred members is copied, up to a constant; shape (members + controls,)."""
    hits = met(evidence)
    if hits.all() or not hits.any():
        return np.zeros(len(hits))
    around = np.column_stack([_crowd(evidence), _likelihood(evidence)])
    chance = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky")).fit(around, hits).predict_proba(around)[:, 1]
    return np.where(hits, np.log1p(COPIED * (1 / np.maximum(chance, LEAST_CHANCE) - 1)), np.log1p(-COPIED))


def _crowd(evidence: Evidence) -> Floats:
    """The log density of other people around each target, shape (targets,); there is a thousandth of a person everywhere."""
    near = surroundings(evidence).to_others, surroundings(evidence).to_reference
    return np.asarray(np.logaddexp(np.log(NOBODY), np.logaddexp(*(log_density(far, 1, evidence) for far in near))))


def _likelihood(evidence: Evidence) -> Floats:
    """The log likelihood of each target's cells among all real people, shape (targets,): of their codes by a tree, and of a cell given its code."""
    people = evidence.pool.then(evidence.reference).rounded(DIGITS)
    coding = Coding.of(people)
    codes = coding.encode(people)
    cells = np.concatenate([people.numbers, people.codes], axis=1)
    given = [np.log(holders(cell) / holders(code)) for cell, code in zip(cells.T, codes.T, strict=True)]
    likelihood = Tree.fit(codes, coding.sizes).log_density(codes) + np.sum(given, axis=0)
    return np.asarray(likelihood[: len(evidence.pool)])
