"""Can the synthetic table tell a predicate that isolates one person? (Cohen and Nissim 2020; Giomi et al. 2023)

A guess is right if it isolates one row among members and controls together, and leaks if that row is a
member's more often than chance would have it. The whole pool is used on purpose: where the training part is
five times the control, cutting it down to the control's size, as is often done, leaves four fifths of the
people whom the guesses were made from out of the count, and a full copy goes unnoticed.

Guesses are counted as made, never as asked for. Where the values seen once do not suffice for the univariate
attack, the attacker goes on with the next rarest; when all values have been tried, the bounds rest on as
many guesses as there were, so few guesses read as a wide bound and not as a low risk. Where numbers are written in another way
than people's, half of the guesses are of cells as they are and half of cells on the synthetic table's grid (`grid.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from attacks.evidence import Evidence
from attacks.grid import ways_of_writing
from attacks.scores import Scores, UnanswerableError

Mode = Literal["univariate", "multivariate"]
Score = Callable[[Evidence, np.random.Generator], Scores]


def singling_out(mode: Mode, guesses: int) -> Score:
    """The attack with a fixed number of guesses. It raises `UnanswerableError` if too few can be made."""

    def score(evidence: Evidence, rng: np.random.Generator) -> Scores:
        from attacks import queries

        if not len(evidence.synthetic):
            raise UnanswerableError("underpowered", "the synthetic table has no rows")
        write = queries.univariate if mode == "univariate" else queries.multivariate
        ways = ways_of_writing(evidence)
        asked = math.ceil(guesses / len(ways))
        made, isolated = 0, np.zeros(len(evidence.pool))
        for way in ways:
            guessed = write(queries.as_frame(way.synthetic).unique(maintain_order=True), asked, rng)
            made += len(guessed)
            isolated += queries.isolations(guessed, queries.as_frame(way.pool)) if guessed else 0
        if not made or (mode == "multivariate" and made < asked * len(ways)):
            raise UnanswerableError("underpowered", f"{made} of {guesses} guesses could be made")
        return Scores.split(isolated, evidence, made)

    return score
