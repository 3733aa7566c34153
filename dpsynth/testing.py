"""For tests only: a repeatable noise source. What it makes is stamped `not private`, and no release accepts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dpsynth.privacy.currency import GDP
from dpsynth.privacy.table import PrivateTable
from dpsynth.privacy.unit import KEY_BYTES

if TYPE_CHECKING:
    import pandas as pd

    from dpsynth.privacy.noise import Counts, Floats
    from dpsynth.schema import Schema


class SeededNoise:
    """Rounded normal noise and Gumbel selection from a seed: not exact, not private, repeatable."""

    private = False

    def __init__(self, seed: int):
        self._rng = np.random.default_rng(seed)

    def add_discrete_gaussian(self, counts: Counts, sigma: float) -> Counts:
        noisy: Counts = counts + np.rint(self._rng.normal(0, sigma, counts.shape)).astype(np.int64)
        return noisy

    def choose(self, scores: Counts, scale: float) -> int:
        return int(np.argmax(scores + self._rng.gumbel(0, scale, scores.shape)))

    def include(self, units: int, rate: float) -> Counts:
        return np.flatnonzero(self._rng.random(units) < rate)

    def seed(self) -> int:
        return int(self._rng.integers(2**63))

    def add_gaussian(self, exact: Floats, sigma: float) -> Floats:
        return exact + self._rng.normal(0, sigma, exact.shape)


def seeded_table(frame: pd.DataFrame, schema: Schema, seed: int, noise: type[SeededNoise] = SeededNoise) -> PrivateTable:
    """A table whose noise repeats with `seed`, and which of a unit's rows count; pass it to a generator's `fit`."""
    key = np.random.default_rng([seed, 1]).bytes(KEY_BYTES)  # not the stream that the noise is from
    return PrivateTable(frame, schema, lambda request: request.cost_in(GDP), "unledgered", noise=noise(seed), key=key)
