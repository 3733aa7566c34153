"""Rows that a schema's rules call impossible are drawn again: a sample of the model given that the rules hold.

Free: the rules are public and the model is released (post-processing; Dwork, Roth 2014, Proposition 2.1).
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from dpsynth.errors import BadInput, Fault
from dpsynth.schema import Schema
from dpsynth.schema.impossible import impossible_rows

MOST_DRAWS, LEAST_TRIED = 20, 1_000


def possible(draw: Callable[[int], pd.DataFrame], rows: int, schema: Schema) -> pd.DataFrame:
    """`rows` rows of `draw` that break no rule of the schema.

    Raises:
        BadInput: there are not enough among `MOST_DRAWS` times as many.
    """
    kept = _kept(draw(rows), schema)
    drawn = rows
    while len(kept) < rows:
        if drawn > max(MOST_DRAWS * rows, LEAST_TRIED):
            what = f"the rules leave fewer than one row in {MOST_DRAWS} of what this model draws"
            raise BadInput(Fault("schema, impossible", what, "take out the rules that this table does not keep to"))
        missing = rows - len(kept)  # and no more, so that none has to be left out again
        kept = pd.concat([kept, _kept(draw(missing), schema)], ignore_index=True)
        drawn += missing
    return kept


def _kept(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    broken = impossible_rows(schema.impossible, frame, {c.name: c for c in schema.columns})
    return frame[~broken].reset_index(drop=True) if broken.any() else frame
