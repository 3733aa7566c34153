"""The audit proves planted bugs, leaves sound code alone, and a build without a fresh one lets nothing out.

Each planted bug is found with a probability above 1 - 1e-6, and sound code is accused with at most 1e-3, in an audit of a thousand runs as in
one of forty.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from attacks.audit import audit, mu_from_counts
from dpsynth.cli import main
from dpsynth.graphical import Clique
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.privacy.cost import Cost
from dpsynth.privacy.noise import Counts, SystemNoise
from dpsynth.releasing import audited
from dpsynth.releasing.audited import audit_generator, finding
from dpsynth.releasing.audited_once import audit_once
from dpsynth.releasing.looks import look
from dpsynth.releasing.witness import Witness
from dpsynth.releasing.worst_case import ONE_ROW, THREE_ROWS, WORST_CASES, WorstCase
from dpsynth.schema import Column
from dpsynth.synthesizers import MST, Independent
from dpsynth.synthesizers.bench import Bench
from dpsynth.synthesizers.registry import DEEP, GENERATORS, generator_named

Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("name", GENERATORS)
def test_this_build_carries_a_passing_audit_of_this_code(name: str) -> None:
    assert finding(name) == "passed", "run python -m benchmarks.audits and commit what it writes"


@pytest.mark.parametrize("kind", [Independent, MST])
def test_sound_code_is_not_accused_and_uses_all_it_is_charged(kind: type[MST]) -> None:
    found = audit_generator(kind, 40)
    assert not found.violated, found.words
    assert 0.998 * found.mu_charged < found.mu_stated < found.mu_charged


@pytest.mark.parametrize("name", [*GENERATORS, *DEEP])
def test_options_that_an_audit_sets_are_a_releases_own_and_charge_the_same(name: str) -> None:
    """Training is audited by its own script (`audited_training.py`), which sets none."""
    kind = generator_named(name)
    usual = kind(1.0, 1e-2).request(ONE_ROW.schema)
    assert not (kind.trains and kind.audited)
    for options in kind.audited:
        assert set(options) <= set(kind.options) and kind(1.0, 1e-2, **options).request(ONE_ROW.schema) == usual


@pytest.mark.parametrize("case", WORST_CASES, ids=lambda case: case.name)
def test_the_tables_of_a_worst_case_are_neighbours(case: WorstCase) -> None:
    without, with_unit = case.tables()
    added = with_unit.iloc[len(without) :]
    pd.testing.assert_frame_equal(with_unit.iloc[: len(without)], without)
    assert len(added) == case.rows == case.schema.unit.max_rows
    assert all(added[c].nunique() == 1 and not added[c].isin(without[c]).any() for c in case.schema.unit.columns)


def no_noise(patch: Patch) -> None:
    patch.setattr(SystemNoise, "add_discrete_gaussian", lambda self, counts, sigma: counts)


def a_tenth_of_the_noise(patch: Patch) -> None:
    full = SystemNoise.add_discrete_gaussian
    patch.setattr(SystemNoise, "add_discrete_gaussian", lambda self, counts, sigma: full(self, counts, sigma / 10))


def no_noise_on_triples(patch: Patch) -> None:
    """Which no run with pairs as the workload asks for."""
    full = SystemNoise.add_discrete_gaussian
    patch.setattr(SystemNoise, "add_discrete_gaussian", lambda self, counts, sigma: counts if counts.ndim == 3 else full(self, counts, sigma))
    patch.setattr(audited, "SET_ONE_IN", 1)


def noise_for_one_row_of_three(patch: Patch) -> None:
    patch.setattr(PrivateTable, "_marginal_squared", 1)


def uncharged(kind: str) -> Callable[[Patch], None]:
    def plant(patch: Patch) -> None:
        asked = PrivateTable._ask

        def ask(table: PrivateTable, question: dict[str, Any], cost: Cost, draw: Callable[[], Any]) -> Any:
            return asked(table, question, Cost(0, 0, table.currency) if kind in question else cost, draw)

        patch.setattr(PrivateTable, "_ask", ask)

    return plant


def every_category_named(patch: Patch) -> None:
    patch.setattr("dpsynth.privacy.table.gdp.threshold", lambda *a: -(10**6))


def bounds_from_the_rows(patch: Patch) -> None:
    def bounds(table: PrivateTable, column: Column, amount: float) -> tuple[float, float]:
        values = table._whole()[column.name].astype(float)
        return float(values.min()), float(values.max())

    patch.setattr("dpsynth.encoding.domains._bounds", bounds)


def bins_from_the_rows(patch: Patch) -> None:
    def cut(table: PrivateTable, column: Column, amount: float) -> Column:
        low, high = column.bounds or (0.0, 1.0)
        values = table._whole()[column.name].astype(float).clip(low, high)
        return replace(column, cuts=tuple(np.linspace(values.min(), values.max(), 6)[1:-1].tolist()))

    patch.setattr("dpsynth.encoding.domains.with_measured_cuts", cut)


def structure_without_noise(patch: Patch) -> None:
    """Pairs by their mutual information in the rows themselves, as open implementations have it."""

    def choose(bench: Bench, weights: dict[Clique, int], amount: float, measuring: float) -> Clique | None:
        bench.table.select([()], [np.zeros((), dtype=np.int64)], [1], [0], amount)  # paid for all the same
        pairs = [r for r in weights if len(r) > 1]
        return max(pairs, key=lambda r: information(bench.table, bench.views.attributes(r)), default=None)

    patch.setattr(Bench, "choose", choose)


def information(table: PrivateTable, clique: tuple[Attribute, ...]) -> float:
    shares = table._tally().counts(clique) / len(table._whole())
    alone = [shares.sum(axis=tuple(j for j in range(shares.ndim) if j != i), keepdims=True) for i in range(shares.ndim)]
    held = shares > 0
    return round(float((shares[held] * np.log(shares[held] / math.prod(alone)[held])).sum()), 12)


def choices_without_noise(patch: Patch) -> None:
    patch.setattr(SystemNoise, "choose", lambda self, scores, scale: int(np.argmax(scores)))


BUGS: dict[str, tuple[Callable[[Patch], None], str, int, WorstCase, str]] = {
    "no noise": (no_noise, "independent", 60, ONE_ROW, "noised counts"),
    "a tenth of the noise": (a_tenth_of_the_noise, "independent", 160, ONE_ROW, "noised counts"),
    "no noise on triples": (no_noise_on_triples, "aim", 160, ONE_ROW, "workload 3: noised counts of triples"),
    "a person charged as a row": (noise_for_one_row_of_three, "independent", 20, THREE_ROWS, "noise scales"),
    "names not charged": (uncharged("discover"), "independent", 20, ONE_ROW, "noise scales"),
    "choices not charged": (uncharged("select"), "mst", 20, ONE_ROW, "noise scales"),
    "counts not charged": (uncharged("marginal"), "mst", 20, ONE_ROW, "noise scales"),
    "every category named": (every_category_named, "independent", 60, ONE_ROW, "category named"),
    "bounds from the rows": (bounds_from_the_rows, "independent", 60, ONE_ROW, "upper bound"),
    "bins from the rows": (bins_from_the_rows, "independent", 60, ONE_ROW, "highest cut"),
    "structure without noise in MST": (structure_without_noise, "mst", 60, ONE_ROW, "pair "),
    "structure without noise in AIM": (structure_without_noise, "aim", 60, ONE_ROW, "pair "),
    "structure without noise in PrivBayes": (structure_without_noise, "privbayes", 60, ONE_ROW, "pair "),
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_proved(bug: str, monkeypatch: Patch) -> None:
    plant, generator, runs, case, by = BUGS[bug]
    plant(monkeypatch)
    found = audit_generator(GENERATORS[generator], runs, cases=[case])
    assert found.violated and by in found.words, found.words


def test_a_choice_without_noise_leans_to_its_own_table(monkeypatch: Patch) -> None:
    """So no run speaks against its own table, and a threshold of 0 has no false alarm: with half the runs speaking for theirs, an audit of a
    thousand proves mu 1.5 and more (docs/audits.md)."""
    choices_without_noise(monkeypatch)
    without, with_unit = (
        [look(MST(1.0, 1e-2).fit(witness), witness, ONE_ROW)["choices"] for _ in range(20) for witness in [Witness(frame, ONE_ROW.schema)]]
        for frame in ONE_ROW.tables()
    )
    assert max(without) <= 0 <= min(with_unit) and sum(with_unit) > sum(without)


def test_the_auditors_scores_are_the_kernels(monkeypatch: Patch) -> None:
    """The exact scores that the audit works out from two kinds of rows are those that the kernel took from all of them."""
    from dpsynth.releasing.looks import _scores

    seen: list[list[int]] = []
    choose = SystemNoise.choose

    def noted(self: SystemNoise, scores: Counts, scale: float) -> int:
        seen.append(scores.tolist())
        return choose(self, scores, scale)

    monkeypatch.setattr(SystemNoise, "choose", noted)
    for frame, with_it in zip(ONE_ROW.tables(), (0, 1), strict=True):
        seen.clear()
        witness = Witness(frame, ONE_ROW.schema)
        MST(1.0, 1e-2).fit(witness)
        assert [[without + with_it * moved for without, moved in _scores(c, ONE_ROW)] for c in witness.choices] == seen


@pytest.mark.parametrize("name", GENERATORS)
def test_one_run_does_not_refute_sound_code(name: str) -> None:
    """At most once in a thousand by its level; in fact far less often, for its p-value is not tight."""
    assert not audit_once(GENERATORS[name]).refuted


def test_one_run_refutes_a_claim_without_noise(monkeypatch: Patch) -> None:
    no_noise(monkeypatch)
    assert audit_once(Independent).p < 1e-4


def test_one_run_says_what_it_could_not_have_seen() -> None:
    assert 3 < audit_once(Independent).detectable < 5
    assert "could not have been" in audit_once(Independent, 10.0, 1e-9).words


def test_the_bound_covers() -> None:
    """Gaussians at exactly the charged mu are accused in at most alpha of the audits (binomial, fixed error 1e-6)."""
    rng, alpha, audits = np.random.default_rng(0), 0.05, 200
    accused = sum(audit({"z": rng.normal(0, 1, 400)}, {"z": rng.normal(1, 1, 400)}, 1.0, alpha).violated for _ in range(audits))
    assert accused <= stats.binom.ppf(1 - 1e-6, audits, alpha)


def test_mu_from_counts_by_hand() -> None:
    assert mu_from_counts(0, 1000, 0, 1000, 0.01) == -np.inf
    high = mu_from_counts(10, 1000, 900, 1000, 0.01)
    assert 2.5 < high < stats.norm.ppf(0.9) - stats.norm.ppf(0.01)


def test_other_code_has_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audited, "code_hash", lambda: "0" * 64)
    assert {finding(name) for name in GENERATORS} == {"missing"}


def test_an_audit_that_could_have_seen_nothing_is_no_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "resources").mkdir()
    monkeypatch.setattr(audited, "files", lambda package: tmp_path)
    few = audit({"z": np.zeros(4)}, {"z": np.zeros(4)}, 1.0)
    enough = replace(few, detectable=audited.LEAST_SEEN, runs=1000)
    for found, says in ((few, "missing"), (enough, "passed"), (replace(enough, mu_low=2.0), "failed")):
        carried = {"code": audited.code_hash(), "generators": {"mst": asdict(found) | {"violated": found.violated}}}
        (tmp_path / "resources" / audited.FINDINGS).write_text(json.dumps(carried))
        assert finding("mst") == says


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "independent").mkdir()  # a folder of that name is no table that somebody wants judged
    monkeypatch.chdir(tmp_path)
    assert main(["audit", "independent", "--runs", "40", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["runs"] == 40 and not shown["one_run"]["refuted"]
    table = tmp_path / "table.csv"
    table.write_text("a\n1\n")
    assert main(["audit", str(table)]) == 2
    assert "dpsynth attack" in capsys.readouterr().err


def test_the_audits_of_a_build_share_one_error_rate() -> None:
    carried = json.loads((files("dpsynth") / "resources" / audited.FINDINGS).read_text(encoding="utf-8"))["generators"]
    assert set(carried) == {*GENERATORS, *DEEP}
    shares = [found["alpha"] for found in carried.values()]
    assert len(set(shares)) == 1  # what many runs show of each; one run more of each that counts has as much
    assert sum(shares) + shares[0] * len(GENERATORS) == pytest.approx(audited.ALPHA)
