"""The two sources of privacy: discrete Gaussian noise on integers, and noisy selection of the best score.

Statement. `add_discrete_gaussian` returns counts + Y with Y drawn independently from the discrete Gaussian of scale sigma
(P[Y = x] proportional to exp(-x^2 / 2 sigma^2)); `choose` returns i with probability proportional to
exp(score_i / scale), the exponential mechanism. Both are exact (no floating point in the draw), take entropy
from the operating system, and have no seed. Sensitivity is the caller's: see `table.py`.

Reference: Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), as implemented by OpenDP.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


class Noise(Protocol):
    """Where noise comes from. `private` is False for any source that could be repeated."""

    private: bool

    def add_discrete_gaussian(self, counts: Counts, sigma: float) -> Counts: ...

    def choose(self, scores: Counts, scale: float) -> int: ...


class SystemNoise:
    """OpenDP's exact samplers over the operating system's entropy. The only source that a release accepts."""

    private = True

    def add_discrete_gaussian(self, counts: Counts, sigma: float) -> Counts:
        """Counts, any shape, plus independent discrete Gaussian noise of scale `sigma`."""
        import opendp.measurements as measurements

        domain, metric = _integer_vectors()
        noisy = measurements.make_gaussian(domain, metric[0], scale=float(sigma))(counts.flatten())
        return np.asarray(noisy, dtype=np.int64).reshape(counts.shape)

    def choose(self, scores: Counts, scale: float) -> int:
        """An index of `scores`, shape (k,), with probability proportional to exp(score / scale)."""
        import opendp.measurements as measurements
        from opendp.measures import zero_concentrated_divergence

        domain, metric = _integer_vectors()
        return int(measurements.make_noisy_max(domain, metric[1], zero_concentrated_divergence(), scale=float(scale))(scores.flatten()))


@cache
def _integer_vectors() -> tuple[Any, tuple[Any, Any]]:
    """OpenDP's domain of integer vectors with its L2 and its (not monotonic) L-infinity metric."""
    import opendp.domains as domains
    import opendp.metrics as metrics
    from opendp.mod import enable_features

    enable_features("contrib")
    domain = domains.vector_domain(domains.atom_domain(T="i64"))
    return domain, (metrics.l2_distance(T="i64"), metrics.linf_distance(T="i64", monotonic=False))
