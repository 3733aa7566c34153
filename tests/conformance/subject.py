"""What a generator has to answer to be put through the suite.

`Subject` is all that is required. Each further protocol is a capability: an adapter that has its methods is asked the rules that need
them, one that has not is reported as one that cannot be asked. An adapter may also raise `CannotBeAsked` from any method, with the
reason, for example for a schema that its generator does not serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd

from conformance.sources import Source
from conformance.spies import Watch
from dpsynth.schema import Schema

Numbers = npt.NDArray[Any]
Relation = Literal["add/remove", "replace-one"]
CountedIn = Literal["gdp", "zcdp"]
Finding = Literal["clean", "leak", "weak", "blind"]


class CannotBeAsked(Exception):
    """This generator's interface has no answer to a rule; the text says why. It is never a pass."""


class Sampler(Protocol):
    """What a fit leaves behind."""

    def sample(self, rows: int, seed: int | None = None) -> pd.DataFrame:
        """So many synthetic rows in the columns of the schema, its ids left out. A seed repeats them (needed of `fit_with` only)."""
        ...


@runtime_checkable
class Subject(Protocol):
    """A generator under test. `relation` is what it calls neighbouring tables."""

    name: str
    relation: Relation

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Sampler: ...


@runtime_checkable
class SwapsNoise(Protocol):
    """Its noise can come from the test."""

    def fit_with(self, source: Source, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Sampler: ...


@runtime_checkable
class StatesCurrency(Protocol):
    """It adds up what its draws cost in one currency, whatever they tell it: squares of mu (`gdp`) or rho (`zcdp`)."""

    counted_in: CountedIn


@runtime_checkable
class WatchesReads(Protocol):
    """It says when a measurement is paid for and not yet answered, by setting `watch.charged`; `rows` notes each look at it."""

    def fit_watched(self, watch: Watch, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Sampler: ...


@dataclass(frozen=True)
class Answer:
    """A noisy marginal: `labels` name the cells of each axis of `values`; `sigma` is the scale of the discrete Gaussian noise on each
    cell, or the root of 2 times that of discrete Laplace noise; `bound` is what a cell is off by at most, 19 times in 20, as users are told."""

    columns: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    values: Numbers
    sigma: float
    bound: float
    law: Literal["Gaussian", "Laplace"] = "Gaussian"


@runtime_checkable
class TellsAnswers(Protocol):
    """The noisy marginals of a fit can be read."""

    def answers(self, sampler: Any) -> Sequence[Answer]: ...


@runtime_checkable
class Stamps(Protocol):
    """What came from swapped noise says that it is not private."""

    def says_private(self, sampler: Any) -> bool: ...


@runtime_checkable
class Saves(Protocol):
    """A fitted generator can be written to a file."""

    def save(self, sampler: Any, path: Path) -> None: ...

    def load(self, path: Path) -> Sampler: ...


class Budget(Protocol):
    """All that may be spent on one table. `fit` raises what it likes where the budget refuses."""

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Sampler: ...

    def spent(self) -> tuple[Fraction, ...]:
        """What is gone, in whatever adds up, exactly."""
        ...


@runtime_checkable
class KeepsBudget(Protocol):
    """Several fits can share one budget; `folder` is a place for it."""

    def budget(self, folder: Path, schema: Schema, epsilon: float, delta: float) -> Budget: ...


@runtime_checkable
class HasOptions(Protocol):
    """It has options beside epsilon and delta: of each, values that should differ in what is measured."""

    def options(self) -> Mapping[str, Sequence[Any]]: ...

    def with_option(self, option: str, value: Any) -> Subject: ...


@runtime_checkable
class Publishes(Protocol):
    """It writes a public bundle: the files by name, after a gate that passed and found `evidence`."""

    def publish(
        self, source: Source, evidence: Mapping[str, float], rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float, folder: Path
    ) -> Mapping[str, bytes]: ...


@runtime_checkable
class Judges(Protocol):
    """It has a gate that lets tables out or not."""

    def attacks(self) -> Mapping[str, bool]:
        """The attacks that the gate hears, and whether each is a distance to closest records, which may stop a release and never lets one out."""
        ...

    def lets_out(self, found: Mapping[str, Finding], audited: bool) -> bool:
        """Whether a table passes of which so much is known. Attacks not in `found` did not run; `weak` ones had too few targets,
        `blind` ones missed a planted leak; `audited`: an audit of the generator's code came with it and passed."""
        ...


@dataclass(frozen=True)
class Plan:
    """What the accountant of a training run was told: each of `steps` steps draws each unit with probability `rate`."""

    rate: float
    sigma: float
    steps: int


@dataclass(frozen=True)
class Training:
    """A training run: its plan, the rows of each batch by position, the parameters that are handed out after each step."""

    plan: Plan
    batches: Sequence[frozenset[int]]
    parameters: Sequence[Numbers]


@runtime_checkable
class Trains(Protocol):
    """It trains by noised gradients. `batches`, where given, are taken instead of drawn ones; noise is the source's."""

    def train(
        self,
        source: Source,
        rows: pd.DataFrame,
        schema: Schema,
        epsilon: float,
        delta: float,
        batches: Sequence[frozenset[int]] | None = None,
    ) -> Training: ...


@dataclass(frozen=True)
class Teaching:
    """Teachers and a student: which rows each teacher saw in each round, their parameters, and those that are handed out."""

    rounds: Sequence[Sequence[frozenset[int]]]
    teachers: Sequence[Numbers]
    handed_out: Sequence[Numbers]


@runtime_checkable
class Teaches(Protocol):
    """Teachers learn from raw rows and a student from their votes."""

    def teach(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Teaching: ...


LACKS = {
    SwapsNoise: "its noise cannot be swapped for a test's",
    StatesCurrency: "it does not say in what currency its draws are added up",
    WatchesReads: "it does not say when a measurement is paid for",
    TellsAnswers: "its noisy answers cannot be read",
    Stamps: "it does not say whether a model is private",
    Saves: "it does not save",
    KeepsBudget: "it keeps no budget over several fits",
    HasOptions: "it has no options",
    Publishes: "it publishes no bundle",
    Judges: "it has no gate",
    Trains: "it does not train by noised gradients",
    Teaches: "it has no teachers",
}
Capability = TypeVar("Capability")


def able(subject: Subject, capability: type[Capability]) -> Capability:
    """The subject as one that has the capability. Raises `CannotBeAsked` if it has not."""
    if not isinstance(subject, capability):
        raise CannotBeAsked(LACKS[capability])
    return subject


def as_numbers(values: Any) -> Numbers:
    return np.asarray(values, dtype=float)
