"""Was this person in the training table? A classifier that has learnt synthetic rows from reference rows is asked what the person looks like.

Hayes et al. (LOGAN, PoPETs 2019) with boosted trees in place of a discriminator. Where the synthetic table looks unlike people altogether
it learns that alone: it is the weakest of the membership attacks on tables of low fidelity.
"""

from __future__ import annotations

import numpy as np

from attacks.evidence import Evidence
from attacks.scores import Scores, UnanswerableError

MOST = 4_000
FEWEST = 20


def classifier(evidence: Evidence, rng: np.random.Generator) -> Scores:
    """How synthetic each target looks. Raises `UnanswerableError` with fewer than 20 synthetic or reference rows.

    Both sides are cut to one size at random, of at most 4,000 rows.
    """
    from attacks.boosted import Boosted

    size = min(len(evidence.synthetic), len(evidence.reference), MOST)
    if size < FEWEST:
        raise UnanswerableError("underpowered", f"needs {FEWEST} reference rows and synthetic rows")
    synthetic, reference = (t.take(rng.permutation(len(t))[:size]) for t in (evidence.synthetic, evidence.reference))
    return Scores.split(Boosted.fit(synthetic, reference, rng).score(evidence.pool), evidence)
