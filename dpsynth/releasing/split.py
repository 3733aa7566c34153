"""The secret split: train (the generator's), control (never trained on), reference (the attacker's).

Each privacy unit falls on a side by a keyed draw of its own, independent of every other unit and of file order, so
sizes are not fixed: a fixed-size split would turn adding a unit into replacing one. Where the unit is a set of columns the
key is the population's, so that a control unit stays untrained in later releases. Where it is the row the key is fresh for
each release: a key derived from the table's content would let one row's presence redraw all others' sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dpsynth.errors import BadInput, Fault
from dpsynth.privacy import Ledger
from dpsynth.privacy.unit import keyed_uniform, unit_ids
from dpsynth.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from attacks.policy import Policy

SIDES = ("train", "control", "reference")


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint sets of rows; no unit is in two."""

    train: pd.DataFrame
    control: pd.DataFrame
    reference: pd.DataFrame


def shares_of(policy: Policy) -> tuple[float, float, float]:
    """The policy's shares of train, control and reference."""
    train, control, reference = (policy.split[side] for side in SIDES)
    return train, control, reference


def require_same_shares(ledger: Ledger, schema: Schema, policy: Policy) -> None:
    """Where units are known again, the shares are the ledger's first release's: else a control of one release is trained on in the next.

    Raises:
        BadInput: the policy splits otherwise.
    """
    first = ledger.shares
    if not schema.unit.is_row and first not in (None, shares_of(policy)):
        raise BadInput(
            Fault("policy", f"{policy.name} splits otherwise than this ledger's first release", f"use one that splits {list(first or ())}")
        )


def divide(frame: pd.DataFrame, schema: Schema, key: bytes, shares: tuple[float, float, float]) -> Split:
    """Split `frame` by unit in `shares` (train, control, reference), which sum to 1. Rows of dropped units are in none."""
    units = unit_ids(frame, schema)
    draws = keyed_uniform(key, "split", [u or b"" for u in units])
    sides = np.searchsorted(np.cumsum(shares)[:-1], draws, side="right")
    owned = np.array([u is not None for u in units], dtype=bool)
    parts = (frame.iloc[np.flatnonzero((sides == i) & owned)] for i in range(3))
    return Split(*parts)
