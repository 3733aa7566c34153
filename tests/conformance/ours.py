"""The adapter for every registered generator, with every option, in each currency of a ledger."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy.special import logit, ndtr

import dpsynth
from attacks.claim import Claim
from attacks.policy import MAY_FAIL_ONLY, Policy
from attacks.result import Endpoint
from attacks.statistics import Estimate
from attacks.verdict import decide
from conformance.rules import TRAINING
from conformance.sources import Real, Source
from conformance.spies import Watch
from conformance.subject import Answer, CountedIn, Finding, Plan, Subject, Training
from dpsynth.privacy import GDP, ZCDP, Currency, Ledger, PrivateTable
from dpsynth.privacy.noise import SystemNoise
from dpsynth.privacy.table import single_use
from dpsynth.releasing import gate
from dpsynth.releasing.papers import accuracy
from dpsynth.schema import Schema
from dpsynth.synthesizers import Generator, Model
from dpsynth.synthesizers.registry import DEEP, GENERATORS, NEEDED, generator_named

NOT_ASKED = dict.fromkeys(("independent", "mst", "aim", "privbayes", "mwem"), TRAINING) | dict.fromkeys(DEEP, ("C14",))
"""Rules that have nothing to ask of a generator, since it counts and does not train, or has no teachers. One that is not here
is asked all of them."""

ALWAYS = ("epsilon", "delta")
SERVED_DEEP = tuple(DEEP) if all(map(find_spec, NEEDED)) else ()
OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "aim": {"workload": (2, 3, "a", {("a", "b"): 5, ("a",): 1}, {("a", "b"): 1, ("a",): 5}), "max_model_size": (10.0, 0.00056)},
    "privbayes": {"max_model_size": (10.0, 0.00056), "fitting": ("estimated", "ancestral")},
    "mwem": {"max_model_size": (10.0, 0.00056)},
}
"""Of each option of each generator its default, and values that measure something else, on tables of which each has columns a and b."""


def missing_options() -> list[str]:
    """Options of registered generators of which there are not the default and another value above, and values for what is no option."""
    kinds = GENERATORS | {name: generator_named(name) for name in SERVED_DEEP}
    defaults = {(name, f.name): f.default for name, kind in kinds.items() for f in fields(kind) if f.name not in ALWAYS}
    tried = {(name, option): values for name, held in OPTIONS.items() for option, values in held.items()}
    wrong = {key for key in defaults.keys() & tried.keys() if len(tried[key]) < 2 or tried[key][0] != defaults[key]}
    return [f"{name}.{option}" for name, option in sorted(wrong | (defaults.keys() ^ tried.keys()))]


@dataclass(frozen=True)
class Ours:
    """A registered generator as a subject of the suite."""

    generator: str
    chosen: tuple[tuple[str, Any], ...] = ()
    currency: Currency = GDP
    relation: Literal["add/remove"] = "add/remove"

    @property
    def name(self) -> str:
        options = ", ".join(f"{option}={value!r}" for option, value in self.chosen)
        return f"{self.generator}({options})" + ("" if self.currency is GDP else f" in {self.currency.name}")

    @property
    def counted_in(self) -> CountedIn:
        return "zcdp" if self.currency is ZCDP else "gdp"

    def make(self, epsilon: float, delta: float) -> Generator:
        return generator_named(self.generator)(epsilon, delta, **dict(self.chosen))

    @property
    def least_epsilon(self) -> float:
        """Where it trains, about the least that carries a step."""
        return 1e-4 if self.generator in DEEP else 0.0

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        if self.currency is GDP:
            return self.make(epsilon, delta).fit(rows, schema)
        return self.make(epsilon, delta).fit(single_use(rows, schema, currency=self.currency))

    def fit_with(self, source: Source, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        noise = Overheard(source)
        noise.table = single_use(rows, schema, noise, self.currency)
        return self.make(epsilon, delta).fit(noise.table)

    def fit_watched(self, watch: Watch, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        noise = Overheard(Real())
        noise.table = single_use(rows, schema, noise, self.currency)
        watch.charged = lambda: noise.charged_and_not_answered
        return self.make(epsilon, delta).fit(noise.table)

    def answers(self, sampler: Model) -> Sequence[Answer]:
        return [
            Answer(tuple(a["columns"]), tuple(map(tuple, a["labels"])), np.array(a["noisy"]), a["sigma"], a["bound_95"]) for a in accuracy(sampler)
        ]

    def says_private(self, sampler: Model) -> bool:
        return sampler.stamp != "not private"

    def save(self, sampler: Model, path: Path) -> None:
        sampler.save(path)

    def load(self, path: Path) -> Model:
        return dpsynth.load(path)

    def budget(self, folder: Path, schema: Schema, epsilon: float, delta: float) -> LedgerBudget:
        return LedgerBudget(self, Ledger.create(folder / "ledger.db", schema.name, epsilon, delta, self.currency))

    def options(self) -> Mapping[str, Sequence[Any]]:
        """None beside a chosen one: they are tried one at a time."""
        return {} if self.chosen else OPTIONS.get(self.generator, {})

    def with_option(self, option: str, value: Any) -> Subject:
        return replace(self, chosen=((option, value),))

    def publish(
        self, source: Source, evidence: Mapping[str, float], rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float, folder: Path
    ) -> Mapping[str, bytes]:
        """A whole release; noise, chance and the gate's findings are the test's."""
        ledger = Ledger.create(folder / "ledger.db", schema.name, epsilon, delta, self.currency)
        attack = {"name": "exact_match", "status": "ok", "role": "required", "words": "", "column": None, "control_detected": True, "seconds": 1.0}
        numbers = {"effect": evidence["effect"], "ci": [0.0, evidence["upper"]], "p": evidence["p"], "p_adjusted": evidence["p"]}
        found = {"verdict": "PASS", "reasons": [], "attacks": [attack | numbers | {"tolerance": 0.9, "minimum_detectable": 0.1}]}
        numbered = (f"00000000-0000-4000-8000-{i:012}" for i in count())
        sample = Model.sample
        with (
            patch.object(SystemNoise, "add_discrete_gaussian", lambda _, counts, sigma: source.counts(counts, sigma, 1.0)),
            patch.object(SystemNoise, "choose", lambda _, scores, scale: source.choice(scores, scale, 1.0)),
            patch.object(SystemNoise, "add_gaussian", lambda _, exact, sigma: source.gradient(exact, sigma, 1.0)),
            patch.object(Model, "sample", lambda model, n: sample(model, n, seed=1)),
            patch.object(gate, "judge", lambda *_: dict(found)),
            patch("dpsynth.releasing.papers.custodian_page", lambda *_: "not public"),
            patch("uuid.uuid4", lambda: next(numbered)),
            patch.dict(GENERATORS, {self.generator: self._configured()}),
        ):
            out = folder / "out"
            dpsynth.release(rows, schema, ledger, epsilon=epsilon, delta=delta, out=out, generator=self.generator)
            return {path.name: path.read_bytes() for path in (out / "public").iterdir()}

    def _configured(self) -> type[Generator]:
        """The registered class with the chosen options as its defaults."""
        kind, options = generator_named(self.generator), dict(self.chosen)

        class Configured(kind):  # type: ignore[misc, valid-type]
            def __init__(self, epsilon: float, delta: float):
                super().__init__(epsilon, delta, **options)

        return Configured

    def attacks(self) -> Mapping[str, bool]:
        return {name: name.startswith("distance") or name in MAY_FAIL_ONLY for name in POLICY.tolerance}

    def lets_out(self, found: Mapping[str, Finding], audited: bool) -> bool:
        endpoints = [endpoint(name, finding) for name, finding in found.items()]
        evidence: dict[str, Any] = {"exchangeability_p": 0.5, "blind_p": 0.5, "claim_p": 0.5, "has_control": True}
        return decide(endpoints, POLICY, Claim(1.0, 1e-9), audit="passed" if audited else "missing", **evidence).outcome == "PASS"


POLICY = Policy.load("partner-contract")


def endpoint(name: str, finding: Finding) -> Endpoint:
    """What the attack suite would say of a finding."""
    tolerance = POLICY.tolerance[name]
    nothing = 0.5 if tolerance > 0.5 else 0.0
    estimate = Estimate(nothing, nothing - 1e-3, nothing + 1e-3, 0.9, 0.5, nothing + 1e-3)
    if finding == "leak":
        estimate = Estimate(0.9, 0.8, 0.95, 1e-9, 0.0, nothing + 1e-3)
    role: Literal["may_fail", "required"] = "required" if name in POLICY.required else "may_fail"
    return Endpoint(name, role, "underpowered" if finding == "weak" else "ok", estimate, tolerance, None, finding != "blind")


class Overheard:
    """The kernel's noise, handed to a test with what was charged for it: the last charge of the table, if it was not drawn on before."""

    private = False
    table: PrivateTable

    def __init__(self, source: Source, batches: Sequence[frozenset[int]] | None = None):
        self._source = source
        self._answered = 0
        self._left = 0
        self._given = None if batches is None else iter(batches)
        self.batches: list[frozenset[int]] = []

    @property
    def charged_and_not_answered(self) -> bool:
        return len(self.table.events) > self._answered

    def add_discrete_gaussian(self, counts: np.ndarray, sigma: float) -> np.ndarray:
        """`amount` pays for s^2 / sigma^2, or a little less for a discrete Gaussian (privacy.md 3)."""
        return self._source.counts(counts, sigma, sigma * self._charged() ** 0.5)

    def choose(self, scores: np.ndarray, scale: float) -> int:
        """`amount` pays for a bounded range of 2 s / scale (privacy.md 4)."""
        amount = self._charged()
        bounded_range = 2 * float(logit(ndtr(amount**0.5 / 2))) if self.table.currency is GDP else 2 * amount**0.5
        return self._source.choice(scores, scale, bounded_range * scale / 2)

    def include(self, units: int, rate: float) -> np.ndarray:
        chance = np.random.default_rng().random(units) < rate
        batch = np.flatnonzero(chance) if self._given is None else np.array(sorted(next(self._given)), dtype=np.int64)
        self.batches.append(frozenset(batch.tolist()))
        return batch

    def seed(self) -> int:
        return len(self.batches)

    def add_gaussian(self, exact: np.ndarray, sigma: float) -> np.ndarray:
        """A plan's charge pays for its steps, each of its own noise in clipping norms."""
        told = re.match(r"([\d,]+) steps.* noise of (\S+) clipping norms", str(self.table.events[-1]["what"]))
        if self.charged_and_not_answered and told:
            self._left = int(told[1].replace(",", ""))
        self._charged()
        self._left -= 1
        return self._source.gradient(exact, sigma, round(sigma / float(told[2]), 2) if told and self._left >= 0 else 0.0)

    def _charged(self) -> float:
        amount = float(self.table.events[-1]["amount"]) if self.charged_and_not_answered else 0.0
        self._answered = len(self.table.events)
        return amount


@dataclass(frozen=True)
class OursTraining(Ours):
    """One that trains; its own training is watched from the kernel's door."""

    def train(
        self,
        source: Source,
        rows: pd.DataFrame,
        schema: Schema,
        epsilon: float,
        delta: float,
        batches: Sequence[frozenset[int]] | None = None,
    ) -> Training:
        """Where batches are given it stops after the last: who takes fewer steps than planned has paid for all."""
        from dpsynth.privacy.training import flat, trained

        noise = Overheard(source, batches)
        noise.table = single_use(rows, schema, noise, self.currency)
        plans: list[Plan] = []
        parameters: list[np.ndarray] = []
        taken = PrivateTable.train

        def watched(table: PrivateTable, network: Any, loss: Any, attributes: Any, plan: Any, **options: Any) -> Iterator[Any]:
            plans.append(Plan(plan.rate, plan.sigma, plan.steps))
            for step in taken(table, network, loss, attributes, plan, **options):
                yield step
                parameters.append(flat(trained(network)))
                if batches is not None and step.number == len(batches):
                    return

        with patch.object(PrivateTable, "train", watched):
            model = self.make(epsilon, delta).fit(noise.table)
        handed_out = np.concatenate([np.ravel(a) for _, a in sorted(model.source.arrays().items())])
        return Training(plans[0], noise.batches, [*parameters, handed_out])


@dataclass(frozen=True)
class LedgerBudget:
    """A ledger as a budget; its ticks are what adds up."""

    subject: Ours
    ledger: Ledger

    def fit(self, rows: pd.DataFrame, schema: Schema, epsilon: float, delta: float) -> Model:
        return self.subject.make(epsilon, delta).fit(self.ledger.table(rows, schema))

    def spent(self) -> tuple[Fraction, ...]:
        spent = self.ledger.spent
        return Fraction(spent.amount_ticks), Fraction(spent.delta_ticks)


def subjects() -> Iterator[Ours]:
    """Every generator as it is, with each value of each option, and, but for those that train, on a ledger in the other currency: a training
    is one charge, whose price in each is tested where it is made (tests/privacy/test_dpsgd.py)."""
    for name in GENERATORS:
        yield Ours(name)
        yield from (Ours(name, ((option, value),)) for option, values in OPTIONS.get(name, {}).items() for value in values[1:])
        yield Ours(name, currency=ZCDP)
    for name in SERVED_DEEP:
        yield OursTraining(name)
