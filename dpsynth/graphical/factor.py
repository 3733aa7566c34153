"""A factor: one number for each cell of a small domain, in log space."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpsynth.graphical.domain import Domain

Array = npt.NDArray[np.float64]


def log_sum(values: Array, axes: tuple[int, ...] | None = None) -> Array:
    """log(sum(exp(values))) over `axes` (all by default), shifted by the maximum; scipy's costs five times as much on small tables."""
    top = values.max(axis=axes, keepdims=True)
    total: Array = np.log(np.exp(values - top).sum(axis=axes))
    shifted: Array = total + top.reshape(total.shape)
    return shifted


@dataclass(frozen=True, eq=False)
class Factor:
    """Log-values over a domain; `values` has the shape `domain.sizes`."""

    domain: Domain
    values: Array

    @classmethod
    def zeros(cls, domain: Domain) -> Factor:
        """The constant factor 1 (log 0)."""
        return cls(domain, np.zeros(domain.sizes))

    def transpose(self, names: Iterable[str]) -> Factor:
        """The same factor with its axes in the order of `names`."""
        target = self.domain.project(names)
        return Factor(target, self.values.transpose(self.domain.axes(target.names)))

    def expand(self, domain: Domain) -> Array:
        """Values broadcastable to `domain`, which contains this factor's."""
        ordered = self.transpose(domain.sorted(self.domain.names))
        shape = [s if n in self.domain.names else 1 for n, s in zip(domain.names, domain.sizes, strict=True)]
        return ordered.values.reshape(shape)

    def times(self, other: Factor) -> Factor:
        """The product with a factor over a part of this domain."""
        return Factor(self.domain, self.values + other.expand(self.domain))

    def over(self, other: Factor) -> Factor:
        """The quotient by a factor over a part of this domain."""
        return Factor(self.domain, self.values - other.expand(self.domain))

    def project(self, names: Iterable[str]) -> Factor:
        """Sum out all but `names`; axes in the order of `names`."""
        kept = tuple(names)
        summed = tuple(i for i, n in enumerate(self.domain.names) if n not in kept)
        rest = self.domain.project(n for n in self.domain.names if n in kept)
        values = log_sum(self.values, summed) if summed else self.values
        return Factor(rest, values.reshape(rest.sizes)).transpose(kept)

    def normalised(self) -> Factor:
        """Scaled to a sum of 1."""
        return Factor(self.domain, self.values - log_sum(self.values))

    def probabilities(self) -> Array:
        """Out of log space, summing to 1."""
        return np.exp(self.normalised().values)
