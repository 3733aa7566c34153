"""The blind classifier: its level under splits by lot, its p-value beside shuffled labels, and that it sees a split that is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from attacks.blind import FEWEST, _tested, blind_p
from attacks.boosted import Boosted, Floats
from attacks.evidence import Evidence, Table

SURELY = 1e-4
SHUFFLES = 20_000


class Ready:
    """A model that was taught nothing: the first number of a row is its score."""

    def score(self, rows: Table) -> Floats:
        return rows.numbers[:, 0]


def people(rng: np.random.Generator, n: int, shift: float = 0.0) -> Table:
    """Whole numbers and few categories: many are alike."""
    return Table(np.rint(rng.normal(shift, 2, (n, 2))), rng.integers(0, 3, (n, 2)).astype(np.int32))


def evidence(members: Table, controls: Table) -> Evidence:
    nobody = members.take(np.arange(0))
    return Evidence(members, controls, nobody, nobody, members, tuple("abcd"))


def by_lot(rng: np.random.Generator) -> Evidence:
    everybody = people(rng, 240)
    lot = rng.permutation(240)
    return evidence(everybody.take(lot[:120]), everybody.take(lot[120:]))


def test_sides_by_lot_are_seldom_told_apart() -> None:
    """Sees a level of several times what is asked: eight of sixty at .02. That halves count twice has a test of its own."""
    rng = np.random.default_rng(8)
    p = np.array([blind_p(by_lot(rng), rng) for _ in range(60)])
    for level in (0.02, 0.1, 0.3):
        assert stats.binom.sf((p <= level).sum() - 1, len(p), level) > SURELY


@pytest.mark.parametrize("values", ["all different", "three", "one of few people"])
def test_a_half_has_the_p_value_of_shuffled_labels(values: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The brute-force twin, and by it: ties, as trees give them, take nothing from the normal approximation."""
    rng = np.random.default_rng(9)
    spread = stats.norm.ppf((np.arange(1_000) + 0.5) / 1_000)
    scores = np.concatenate([spread + 0.101, spread])
    scores = {"all different": scores, "three": np.clip(np.rint(scores), -1, 1), "one of few people": (scores > 1.6) * 1.0}[values]
    members, controls = (Table(part[:, None], np.empty((1_000, 0), dtype=np.int32)) for part in np.split(scores, 2))
    monkeypatch.setattr(Boosted, "fit", lambda *_: Ready())
    p = _tested(members, controls, members, controls, rng)
    ranks = stats.rankdata(scores)
    shuffled = np.array([rng.permutation(ranks)[:1_000].sum() for _ in range(SHUFFLES)])
    twin = (shuffled >= ranks[:1_000].sum()).mean()
    assert 0.005 < twin < 0.3
    assert abs(p - twin) < 4 * np.sqrt(twin / SHUFFLES) + 0.15 * twin


def test_the_less_of_two_halves_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, halves = np.random.default_rng(11), iter([0.4, 0.03])
    monkeypatch.setattr("attacks.blind._tested", lambda *_: next(halves))
    assert blind_p(by_lot(rng), rng) == 0.06


def test_a_split_that_is_none_is_seen_and_too_few_people_are_not_asked() -> None:
    rng = np.random.default_rng(10)
    assert blind_p(evidence(people(rng, 200, shift=2.0), people(rng, 200)), rng) < SURELY
    assert blind_p(evidence(people(rng, FEWEST - 1, shift=50.0), people(rng, 200)), rng) == 1.0
