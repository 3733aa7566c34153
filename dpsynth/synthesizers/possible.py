"""Rows that a schema's rules call impossible are drawn again: a sample of the model given that the rules hold.

Of most rules the model knows already (`zeros.py`); left are those of three columns and more, parts of bins, and what networks draw.

Free: the rules are public and the model is released (post-processing; Dwork, Roth 2014, Proposition 2.1).
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from dpsynth.errors import RunDry
from dpsynth.schema import Schema
from dpsynth.schema.impossible import impossible_rows

MOST_DRAWS, LEAST_TRIED, MOST_NAMED = 20, 1_000, 3


def possible(draw: Callable[[int], pd.DataFrame], rows: int, schema: Schema) -> pd.DataFrame:
    """`rows` rows of `draw` that break no rule of the schema.

    Raises:
        RunDry: there are not enough among `MOST_DRAWS` times as many.
    """
    kept = _kept(draw(rows), schema)
    drawn = rows
    while len(kept) < rows:
        if drawn > max(MOST_DRAWS * rows, LEAST_TRIED):
            raise RunDry(_said(draw(LEAST_TRIED), schema))
        missing = rows - len(kept)  # and no more, so that none has to be left out again
        kept = pd.concat([kept, _kept(draw(missing), schema)], ignore_index=True)
        drawn += missing
    return kept


def _said(drawn: pd.DataFrame, schema: Schema) -> str:
    """What ran dry and what to do; names the rules that most of the drawn rows break."""
    columns = {c.name: c for c in schema.columns}
    broken = {i: int(rule.holds(drawn, columns).sum()) for i, rule in enumerate(schema.impossible, 1)}
    worst = sorted((i for i in broken if broken[i]), key=lambda i: -broken[i])[:MOST_NAMED]
    named = ", ".join(f"rule {i} ({', '.join(name for name, _ in schema.impossible[i - 1].cells)})" for i in worst)
    return (
        f"schema, impossible: of what this model draws fewer than one row in {MOST_DRAWS} keeps to the rules; it breaks most often {named}. "
        "The model has too little mass on possible rows, which says nothing of the table. The charge stays and the model is kept, so drawing "
        "from it again is free; fit with another generator, or declare fewer rules"
    )


def _kept(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    broken = impossible_rows(schema.impossible, frame, {c.name: c for c in schema.columns})
    return frame[~broken].reset_index(drop=True) if broken.any() else frame
