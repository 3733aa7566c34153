"""The sources of privacy: discrete Gaussian noise on integers, noisy selection of the best score; for training, normal noise and chance batches.

Statement. `add_discrete_gaussian` returns counts + Y with Y drawn independently from the discrete Gaussian of scale sigma
(P[Y = x] proportional to exp(-x^2 / 2 sigma^2)); `choose` returns i with probability proportional to
exp(score_i / scale), the exponential mechanism. Both are exact (no floating point in the draw), take entropy
from the operating system, and have no seed. `include` names each unit with a probability of at most `rate`, to 2^-64, independently;
`add_gaussian` adds independent normal numbers of scale sigma, made in double precision and so not exact (see `training.py`): each is the sum
of four by Box and Muller over two, for one alone is on a grid in its tail, coarse enough to be seen, and ends at 8.6 sigma. Both take
their bits from AES-256 in counter mode under a fresh key of the operating system's for each call, which is kept nowhere. Sensitivity is the
caller's: see `table.py`.

References: Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), as implemented by OpenDP; Box, Muller 1958; Holohan, Braghin 2021
(arXiv 2107.10138), sums of four.
"""

from __future__ import annotations

import math
import secrets
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

SUMMED = 4
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Noise(Protocol):
    """Where noise comes from. `private` is False for any source that could be repeated."""

    private: bool

    def add_discrete_gaussian(self, counts: Counts, sigma: float) -> Counts: ...

    def choose(self, scores: Counts, scale: float) -> int: ...

    def include(self, units: int, rate: float) -> Counts: ...

    def seed(self) -> int: ...

    def add_gaussian(self, exact: Floats, sigma: float) -> Floats: ...


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

    def include(self, units: int, rate: float) -> Counts:
        """The numbers, from 0 and in order, of those of `units` units that a batch includes, each with probability `rate` rounded down."""
        if rate == 1:
            return np.arange(units)
        words = np.frombuffer(_stream(8 * units), dtype="<u8")
        return np.flatnonzero(words < np.uint64(math.floor(rate * 2.0**64)))

    def seed(self) -> int:
        """As many bits as the state of a Mersenne Twister, for what a loss draws: its draws have to be as good as independent (`training.py`)."""
        return secrets.randbits(624 * 32)

    def add_gaussian(self, exact: Floats, sigma: float) -> Floats:
        """Numbers, shape (n,), plus independent normal noise of scale `sigma`."""
        import torch

        words = torch.frombuffer(bytearray(_stream(8 * 2 * SUMMED * len(exact))), dtype=torch.int64)
        uniform = (words >> 11).bitwise_and_(2**53 - 1).double().add_(1).mul_(2.0**-53).view(2, SUMMED, len(exact))  # in (0, 1]
        radius, angle = uniform[0].log_().mul_(-2).sqrt_(), uniform[1].mul_(2 * math.pi)
        normal = (radius * angle.cos()).sum(0) / math.sqrt(SUMMED)
        noisy: Floats = exact + sigma * normal.numpy()
        return noisy


def _stream(size: int) -> bytes:
    """So many bytes of a cryptographic stream, under a key that nobody keeps."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(secrets.token_bytes(32)), modes.CTR(bytes(16))).encryptor().update(bytes(size))


@cache
def _integer_vectors() -> tuple[Any, tuple[Any, Any]]:
    """OpenDP's domain of integer vectors with its L2 and its (not monotonic) L-infinity metric."""
    import opendp.domains as domains
    import opendp.metrics as metrics
    from opendp.mod import enable_features

    enable_features("contrib")
    domain = domains.vector_domain(domains.atom_domain(T="i64"))
    return domain, (metrics.l2_distance(T="i64"), metrics.linf_distance(T="i64", monotonic=False))
