"""Noise that a test hands to a generator: real, deaf to the rows, or broken. All note what they were asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from dpsynth.privacy.noise import SystemNoise

Numbers = npt.NDArray[Any]


class Source(Protocol):
    """Where a generator under test gets its noise from.

    `sensitivity` is what the charge for this draw assumed that one unit moves: the vector in L2, each score by itself. It is 0 where
    nothing was charged.
    """

    def counts(self, exact: Numbers, scale: float, sensitivity: float) -> Numbers:
        """Integer counts plus discrete Gaussian noise of scale `scale`, in the shape of `exact`."""
        ...

    def choice(self, scores: Numbers, scale: float, sensitivity: float) -> int:
        """An index, with probability proportional to exp(score / scale)."""
        ...

    def gradient(self, exact: Numbers, scale: float, sensitivity: float) -> Numbers:
        """A sum of clipped gradients plus Gaussian noise of scale `scale`."""
        ...


@dataclass(frozen=True)
class Draw:
    """One draw of noise: what it was added to, and what was charged for it."""

    kind: Literal["counts", "choice", "gradient"]
    exact: Numbers
    scale: float
    sensitivity: float


class Real:
    """The noise that a release has."""

    def __init__(self) -> None:
        self.draws: list[Draw] = []

    def counts(self, exact: Numbers, scale: float, sensitivity: float) -> Numbers:
        self.draws.append(Draw("counts", np.array(exact), scale, sensitivity))
        return self._noisy(self.draws[-1].exact, scale)

    def choice(self, scores: Numbers, scale: float, sensitivity: float) -> int:
        self.draws.append(Draw("choice", np.array(scores), scale, sensitivity))
        return self._chosen(self.draws[-1].exact, scale)

    def gradient(self, exact: Numbers, scale: float, sensitivity: float) -> Numbers:
        self.draws.append(Draw("gradient", np.array(exact), scale, sensitivity))
        return self._noised(self.draws[-1].exact, scale)

    def _noisy(self, exact: Numbers, scale: float) -> Numbers:
        return SystemNoise().add_discrete_gaussian(exact.astype(np.int64), scale)

    def _chosen(self, scores: Numbers, scale: float) -> int:
        return SystemNoise().choose(scores.astype(np.int64), scale)

    def _noised(self, exact: Numbers, scale: float) -> Numbers:
        return exact + np.random.default_rng().normal(0, scale, exact.shape)


class Deaf(Real):
    """Answers that do not depend on the rows: whatever still does was read elsewhere. Counts lie around `level`."""

    def __init__(self, level: int = 400):
        super().__init__()
        self.level = level

    def _noisy(self, exact: Numbers, scale: float) -> Numbers:
        return (self.level + np.arange(exact.size) % 5).reshape(exact.shape).astype(np.int64)

    def _chosen(self, scores: Numbers, scale: float) -> int:
        return len(self.draws) % len(scores)

    def _noised(self, exact: Numbers, scale: float) -> Numbers:
        steps = sum(d.kind == "gradient" for d in self.draws)  # not all draws: of an open column without values nothing is drawn
        return np.cos(np.arange(exact.size) + steps).reshape(exact.shape)


class Broken(Real):
    """Breaks instead of answering."""

    def _noisy(self, exact: Numbers, scale: float) -> Any:
        raise RuntimeError("no entropy")

    _chosen = _noised = _noisy
