"""The audit of the trainer's steps sees the faults that trainers have had, and finds none in ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("opacus")

from attacks.audit import Audit
from dpsynth.privacy import training
from dpsynth.privacy.noise import SystemNoise
from dpsynth.releasing import audited_training
from dpsynth.releasing.audited import ALPHA
from dpsynth.releasing.audited_training import CASES, CLIP, Case, audit_steps, audit_trained
from dpsynth.synthesizers.registry import generator_named

RUNS = 300
OWN, BY_CHANCE, ALL = CASES


def test_nothing_is_found_in_ours() -> None:
    """A mechanism of just its charge is accused once in a thousand; these tables come to at most nine tenths of theirs, so hardly ever."""
    found = audit_steps(RUNS, ALPHA)
    assert not found.violated, found.words
    assert found.detectable < 2.5


def test_all_that_is_looked_at_shares_one_error_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[float] = []

    def looked(without: Any, with_unit: Any, mu_charged: float, alpha: float, *more: Any) -> Audit:
        spent.append(alpha)
        return Audit(mu_charged, 0.0, "nothing", 2.0, 1, alpha)

    monkeypatch.setattr(audited_training, "audit", looked)
    monkeypatch.setattr(audited_training, "audit_counts", lambda kind, runs, epsilon, delta, alpha: looked([], [], 1.0, alpha))
    monkeypatch.setattr(audited_training, "_steps_of_all", audited_training._steps_of_all.__wrapped__)
    monkeypatch.setattr(audited_training, "_looks", lambda *_: [])
    found = audit_trained(generator_named("gan"), 20, 1.0, 1e-2, 0.02)
    assert found.alpha == 0.02 and sum(spent) == pytest.approx(0.02) and len(spent) == 1 + len(CASES)


def without_noise(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    monkeypatch.setattr(SystemNoise, "add_gaussian", lambda self, exact, sigma: exact.copy())


def shuffled(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """Batches of one size, dealt from a table in random order, which is shuffled anew for each epoch."""
    size = round(case.plan.rate * case.crowd)
    left: list[Any] = []

    def dealt(self: SystemNoise, units: int, rate: float) -> Any:
        if not left:
            order = np.random.default_rng().permutation(units)
            left.extend(np.sort(order[i : i + size]) for i in range(0, units - size + 1, size))
        return left.pop()

    monkeypatch.setattr(SystemNoise, "include", dealt)


def mean_of_the_drawn(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """Gradients over the size that was drawn, and noise with them."""
    include, put = SystemNoise.include, training.put_gradients
    drawn: list[int] = []

    def noted(self: SystemNoise, units: int, rate: float) -> Any:
        found = include(self, units, rate)
        drawn.append(len(found))
        return found

    monkeypatch.setattr(SystemNoise, "include", noted)
    monkeypatch.setattr(training, "put_gradients", lambda network, g: put(network, g * case.plan.rate * case.crowd / max(drawn[-1], 1)))


def clipped_after_averaging(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """Whole gradients are summed, and their mean is clipped as one."""
    whole = training.clipped_sum

    def late(network: Any, loss: Any, batch: Any, clip: float) -> Any:
        found = whole(network, loss, batch, 1e9)
        norm = float(np.linalg.norm(training.flat(list(found.values()))))
        return {p: g * min(1.0, case.plan.rate * case.crowd * CLIP / max(norm, 1e-30)) for p, g in found.items()}

    monkeypatch.setattr(training, "clipped_sum", late)


PLANTED: list[tuple[Callable[[pytest.MonkeyPatch, Case], None], Case, int]] = [
    (without_noise, OWN, RUNS),
    (shuffled, BY_CHANCE, 4 * RUNS),
    (mean_of_the_drawn, ALL, 5 * RUNS),
    (clipped_after_averaging, OWN, RUNS),
]


@pytest.mark.parametrize(("plant", "case", "runs"), PLANTED, ids=[p[0].__name__ for p in PLANTED])
def test_a_planted_fault_is_found(plant: Any, case: Case, runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, case)
    found = audit_steps(runs, ALPHA, (case,))
    assert found.violated, found.words
