"""Linkability and attribute inference beside anonymeter's own evaluators, on a table where those are right: categories, none missing, few ties."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from anonymeter.evaluators import InferenceEvaluator, LinkabilityEvaluator

from attacks.distances import halves
from attacks.evidence import Evidence, Table
from attacks.inference import inference
from attacks.linkability import linkability

PEOPLE, CATEGORIES = 240, 40
NAMES = tuple("abcdefghijkl")
TIES = 0.04  # of the targets: where two rows are as close, the two take different ones

pytestmark = pytest.mark.filterwarnings("ignore:Attack is as good")  # as its baseline, which may guess what anybody has

Whole = npt.NDArray[np.int64]


def strangers(rng: np.random.Generator) -> Whole:
    return rng.integers(0, CATEGORIES, (PEOPLE, len(NAMES)))


@pytest.fixture(scope="module")
def tables() -> dict[str, Whole]:
    """Of the synthetic rows half are members' and a quarter controls', with one cell in five redrawn."""
    rng = np.random.default_rng(4)
    members, controls, rows, other = (strangers(rng) for _ in range(4))
    place = np.arange(PEOPLE)[:, None]
    theirs = np.where(place < PEOPLE // 2, members, controls)
    leaked = (place < 3 * PEOPLE // 4) & (rng.random(rows.shape) > 0.2)
    return {"ori": members, "control": controls, "syn": np.where(leaked, theirs, rows), "reference": other}


@pytest.fixture(scope="module")
def evidence(tables: dict[str, Whole]) -> Evidence:
    members, controls, synthetic, reference = (Table(np.empty((PEOPLE, 0)), t.astype(np.int32)) for t in tables.values())
    return Evidence(members, controls, reference, synthetic, members, NAMES)


@pytest.fixture(scope="module")
def frames(tables: dict[str, Whole]) -> dict[str, pd.DataFrame]:
    return {name: pd.DataFrame(tables[name], columns=NAMES).astype(str) for name in ("ori", "syn", "control")}


def test_as_many_are_linked(evidence: Evidence, frames: dict[str, pd.DataFrame]) -> None:
    first, cut = [NAMES[i] for i in halves(len(NAMES))], (len(NAMES) + 1) // 2
    theirs = LinkabilityEvaluator(**frames, aux_cols=(first[:cut], first[cut:]), n_attacks=PEOPLE, n_neighbors=1).evaluate(n_jobs=1).results()
    ours = linkability(evidence, np.random.default_rng(0))
    assert ours.members.sum() > 0.3 * PEOPLE and ours.controls.sum() > 0.15 * PEOPLE
    assert abs(ours.members.sum() - theirs.n_success) <= TIES * PEOPLE
    assert abs(ours.controls.sum() - theirs.n_control) <= TIES * PEOPLE


@pytest.mark.parametrize("secret", NAMES[::4])
def test_as_many_cells_are_inferred(secret: str, evidence: Evidence, frames: dict[str, pd.DataFrame]) -> None:
    known = [name for name in NAMES if name != secret]
    theirs = InferenceEvaluator(**frames, aux_cols=known, secret=secret, regression=False, n_attacks=PEOPLE).evaluate(n_jobs=1).results()
    ours, column = inference(evidence, np.random.default_rng(0)), NAMES.index(secret)
    assert ours.members[:, column].sum() > 0.3 * PEOPLE and ours.controls[:, column].sum() > 0.15 * PEOPLE
    assert abs(ours.members[:, column].sum() - theirs.n_success) <= TIES * PEOPLE
    assert abs(ours.controls[:, column].sum() - theirs.n_control) <= TIES * PEOPLE
