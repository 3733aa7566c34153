"""What one run of a generator shows of the unit that one of two tables has more: numbers, each a statistic of an audit.

Each is a function of what the run told (`witness.py`, the model, its rows) and of the two tables, which the auditor knows; none knows which of them
the run was on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from dpsynth.releasing.witness import Choice, Witness
from dpsynth.releasing.worst_case import ADDED, CLOSED, NAMES, NUMBER, OPEN, WorstCase, cell
from dpsynth.synthesizers import Model
from dpsynth.synthesizers.answer import Answer

FIRST_CHOICES = 4
CLIQUES = {"pairs": 2, "triples": 3}
NEW = "b"


def look(model: Model, witness: Witness, case: WorstCase) -> dict[str, float]:
    """The statistics of one run, by name; the larger each is, the more it speaks for the unit."""
    choices = [_followed(choice, case) for choice in witness.choices[:FIRST_CHOICES]]
    sharpness = [witness.currency.selection_epsilon(c.amount) / (2 * witness.sensitivity * max(c.weights)) for c in witness.choices[:FIRST_CHOICES]]
    told = _told(witness.counted, case)
    return {
        "noised counts": told,
        **{f"noised counts of {kind}": _told([a for a in witness.counted if len(a.attributes) == k], case) for kind, k in CLIQUES.items()},
        "choices": float(sum(choices)),
        "counts and choices": told + float(np.dot(choices, sharpness)),
        "rows": model.total,
        **_structure(model),
        **_domains(model),
        **_rows(model.sample(seed=0)),
    }


def worth(witness: Witness, case: WorstCase) -> float:
    """mu squared of a run's questions, at least: of the noise and the sharpness that they asked for."""
    counts = sum((case.rows / answer.sigma) ** 2 for answer in witness.counted)
    names = sum(1 / sigma**2 for sigma in witness.named)
    currency = witness.currency
    return counts + names + float(sum(currency.selection_cost(currency.selection_epsilon(c.amount)) for c in witness.choices))


def _told(answers: Sequence[Answer], case: WorstCase) -> float:
    """The log-likelihood ratio of the noised counts, were their noise Gaussian of the scale asked for."""
    ratio = 0.0
    for answer in answers:
        own = cell(answer.attributes)
        apart = float(answer.values[own]) - case.crowd(answer.attributes).get(own, 0)
        ratio += (apart - case.rows / 2) * case.rows / answer.sigma**2
    return ratio


def _followed(choice: Choice, case: WorstCase) -> float:
    """By how much more the choice falls short of the best one on the table without the unit than on the one with it.

    Of a choice without noise it is never below 0 with the unit, nor above it without.
    """
    without, moved = (np.array(column) for column in zip(*_scores(choice, case), strict=True))
    return float((without.max() - without[choice.taken]) - ((without + moved).max() - (without + moved)[choice.taken]))


def _scores(choice: Choice, case: WorstCase) -> Iterator[tuple[float, float]]:
    """Of each candidate the exact score on the table without the unit, and by how much the unit moves it."""
    for clique, reference, weight, penalty in zip(choice.cliques, choice.references, choice.weights, choice.penalties, strict=True):
        if not clique:
            yield -penalty, 0
            continue
        counts, own = case.crowd(clique), cell(clique)
        distance = np.abs(reference).sum() + sum(abs(n - reference[at]) - abs(reference[at]) for at, n in counts.items())
        apart = counts.get(own, 0) - reference[own]
        yield weight * distance - penalty, weight * (abs(apart + case.rows) - abs(apart))


def _structure(model: Model) -> dict[str, float]:
    """For each pair of columns whether they were measured together."""
    together = {pair for answer in model.answers for pair in combinations(sorted(answer.columns), 2)}
    return {f"pair {a}, {b}": float((a, b) in together) for a, b in combinations(sorted(NAMES), 2)}


def _domains(model: Model) -> dict[str, float]:
    """What was released of the two columns whose domains nobody knew."""
    named, number = model.schema.column(OPEN), model.schema.column(NUMBER)
    assert number.bounds is not None  # released ones always have bounds
    cuts = number.cuts or (0.0,)
    return {
        "category named": float(NEW in (named.categories or ())),
        "upper bound": number.bounds[1],
        "highest cut": cuts[-1],
        "cuts": float(len(cuts)),
    }


def _rows(rows: pd.DataFrame) -> dict[str, float]:
    """From outside: how many rows have the unit's codes, and how far out the farthest is."""
    own = {name: ADDED[NAMES.index(name)] for name in (*CLOSED[1:], OPEN)}
    alike = np.logical_and.reduce([rows[name].astype(object) == code for name, code in own.items()])
    return {"rows alike": float(alike.sum()), "farthest row": float(pd.to_numeric(rows[NUMBER]).fillna(0).max()) if len(rows) else 0.0}
