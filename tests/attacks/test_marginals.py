"""Who knows which marginals were measured sees what is left of a person in them, where one who guesses pairs of columns does not."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

import attacks
from attacks.evidence import Evidence, Table
from attacks.marginals import members_themselves, on_marginals
from attacks.measures import AUC
from attacks.membership import SMOOTHING, Coding, membership
from attacks.scores import UnanswerableError
from dpsynth.errors import BadInput
from dpsynth.schema import Schema

NAMES = tuple("abcdef")
BLOCKS = (("a", "b", "c"), ("d", "e", "f"))
MEMBERS = 600


def people(rng: np.random.Generator, rows: int) -> Table:
    """Two blocks of three columns; within one, each pair is independent and all three together are not."""
    free = rng.integers(0, 8, (rows, 4))
    third = (free[:, [0, 2]] + free[:, [1, 3]] + (rng.random((rows, 2)) < 0.5)) % 8
    return Table(np.empty((rows, 0)), np.column_stack([free[:, :2], third[:, 0], free[:, 2:], third[:, 1]]).astype(np.int32))


def from_blocks(train: Table, rng: np.random.Generator) -> Table:
    """Rows from the two three-way marginals without noise, and nothing else of the training rows."""
    first, second = (rng.permutation(train.codes)[:, block] for block in (slice(0, 3), slice(3, 6)))
    return Table(train.numbers, np.hstack([first, second]))


def evidence(seed: int) -> Evidence:
    rng = np.random.default_rng(seed)
    members, controls, reference = people(rng, MEMBERS), people(rng, MEMBERS), people(rng, 4 * MEMBERS)
    return Evidence(members, controls, reference, from_blocks(members, rng), members, NAMES)


def area(score, found: Evidence) -> float:
    return AUC.of(score(found, np.random.default_rng(0)), None, 0.95).effect


@pytest.mark.parametrize("seed", range(3))
def test_it_sees_what_one_who_guesses_pairs_does_not(seed: int) -> None:
    found = evidence(seed)
    assert area(on_marginals(BLOCKS), found) > area(membership, found) + 0.05
    strangers = Evidence(found.controls, people(np.random.default_rng(seed + 50), MEMBERS), found.reference, found.synthetic, found.controls, NAMES)
    assert abs(area(on_marginals(BLOCKS), strangers) - 0.5) < 0.1  # six standard errors
    assert area(on_marginals(BLOCKS), found.against(members_themselves(found, np.random.default_rng(0)))) > 0.6


def test_a_score_is_the_sum_of_the_log_ratios_of_a_targets_cells() -> None:
    found = evidence(7)
    marginals = [("a",), ("c", "a"), ("d", "e", "f")]
    coding = Coding.of(found.reference.then(found.synthetic))
    targets, *tables = (coding.encode(t) for t in (found.pool, found.synthetic, found.reference))

    def share(rows: np.ndarray, target: np.ndarray, columns: list[int]) -> float:
        held = np.mean([all(r[c] == target[c] for c in columns) for r in rows]) * len(rows)
        alone = np.prod([(np.sum(rows[:, c] == target[c]) + 0.5) / (len(rows) + 0.5 * coding.sizes[c]) for c in columns])
        return float((held + SMOOTHING * alone) / (len(rows) + SMOOTHING))

    scores = on_marginals(marginals)(found, np.random.default_rng(0)).pooled
    for i in (0, 5, MEMBERS + 3):
        cliques = [[NAMES.index(n) for n in m] for m in marginals]
        ratios = [np.log(share(tables[0], targets[i], c)) - np.log(share(tables[1], targets[i], c)) for c in cliques]
        assert scores[i] == pytest.approx(sum(ratios))


def test_it_is_void_without_reference_rows_and_refuses_columns_that_are_none() -> None:
    found = evidence(1)
    with pytest.raises(UnanswerableError):
        on_marginals(BLOCKS)(Evidence(found.members, found.controls, found.reference.take(np.arange(0)), found.synthetic, found.train, NAMES), None)  # type: ignore[arg-type]
    columns = [{"name": n, "type": "categorical", "categories": list("xy"), "categories_basis": "publisher"} for n in "ab"]
    schema = Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": columns})
    frame = pd.DataFrame(list(product("xy", "xy")), columns=list("ab"))
    with pytest.raises(BadInput, match=r"marginals, 'c': not a synthesised column of the schema; name some of a, b"):
        attacks.evaluate(frame, frame, frame, schema, marginals=[("a", "c")])
    for nothing in ("ab", ()):
        with pytest.raises(BadInput, match="marginals: one names no columns"):
            attacks.evaluate(frame, frame, frame, schema, marginals=[nothing])


def test_a_marginal_of_many_columns_has_more_cells_than_numbers_can_count() -> None:
    rng = np.random.default_rng(0)
    members, controls, reference = (Table(np.empty((40, 0)), rng.integers(0, 30, (40, 20)).astype(np.int32)) for _ in range(3))
    found = Evidence(members, controls, reference, members, members, tuple(f"c{i}" for i in range(20)))
    assert area(on_marginals([found.names]), found) > 0.9


def test_it_is_described_and_decides_nothing_where_it_proves_a_leak() -> None:
    rng = np.random.default_rng(3)
    columns = [{"name": n, "type": "categorical", "categories": list("01234567"), "categories_basis": "publisher"} for n in NAMES]
    schema = Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": columns})
    trained = people(rng, 200)
    train, control, reference, made = (
        pd.DataFrame(t.codes.astype(str), columns=list(NAMES)) for t in (trained, people(rng, 200), people(rng, 200), from_blocks(trained, rng))
    )
    report = attacks.evaluate(train, control, made, schema, reference, marginals=BLOCKS, seed=1)
    (endpoint,) = (e for e in report.endpoints if e.name == "marginals")
    assert (endpoint.role, endpoint.knows) == ("descriptive", ("synthetic", "reference", "mechanism"))
    assert endpoint.estimate is not None and endpoint.estimate.lower > 0.57
    assert not [r for r in report.reasons if r.attack == "marginals"]
