"""Can the synthetic table tell a predicate that isolates one person? (Cohen and Nissim 2020; Giomi et al. 2023)

A guess is right if it isolates one row among members and controls together, and leaks if that row is a
member's more often than chance would have it. The whole pool is used on purpose: where the training part is
five times the control, cutting it down to the control's size, as is often done, leaves four fifths of the
people whom the guesses were made from out of the count, and a full copy goes unnoticed.

Guesses are counted as made, never as asked for. Where the values seen once do not suffice for the univariate
attack, the attacker goes on with the next rarest; when all values have been tried, the bounds rest on as
many guesses as there were, so few guesses read as a wide bound and not as a low risk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from attacks.evidence import Evidence
from attacks.grid import on_one_grid
from attacks.scores import Scores, UnanswerableError

Mode = Literal["univariate", "multivariate"]
Score = Callable[[Evidence, np.random.Generator], Scores]


def singling_out(mode: Mode, guesses: int) -> Score:
    """The attack with a fixed number of guesses. It raises `UnanswerableError` if too few can be made."""

    def score(evidence: Evidence, rng: np.random.Generator) -> Scores:
        from attacks import queries

        if not len(evidence.synthetic):
            raise UnanswerableError("underpowered", "the synthetic table has no rows")
        evidence = on_one_grid(evidence)
        synthetic = queries.as_frame(evidence.synthetic).unique(maintain_order=True)
        pool = queries.as_frame(evidence.pool)
        write = queries.univariate if mode == "univariate" else queries.multivariate
        made = write(synthetic, guesses, rng)
        if not made or (mode == "multivariate" and len(made) < guesses):
            raise UnanswerableError("underpowered", f"{len(made)} of {guesses} guesses could be made")
        return Scores.split(queries.isolations(made, pool), evidence, len(made))

    return score
