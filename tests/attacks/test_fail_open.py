"""Each way in which other tools let a leak pass (errors, ties, exact copies, small samples read as low risk), shut here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import attacks
from attacks import audit, controls, inference, linkability, nearest, queries, statistics
from attacks.claim import Claim, one_run_p
from attacks.distances import neighbours
from attacks.evidence import Evidence, Table
from attacks.overlap import swapped
from attacks.policy import Policy
from attacks.scores import Scores, UnanswerableError
from attacks.singling_out import singling_out
from attacks.verdict import decide
from dpsynth.schema import Schema

POLICY = Policy.load("partner-contract")
ODD = "date of birth (d-m/y) 'é' \" class"
SCHEMA = Schema.from_dict(
    {
        "name": "odd",
        "privacy_unit": {"unit": "row"},
        "columns": [
            {"name": ODD, "type": "continuous", "bounds": [-9, 9], "bounds_basis": "judgement"},
            {"name": "lambda; x", "type": "categorical", "categories": ["it's", 'a "b"', "c d"], "categories_basis": "publisher"},
            {"name": "y", "type": "integer", "bounds": [0, 999], "bounds_basis": "judgement"},
        ],
    }
)


def table(rng: np.random.Generator, n: int, numbers: int = 3, codes: int = 3, spread: int = 5) -> Table:
    return Table(np.round(rng.normal(size=(n, numbers)), 3), rng.integers(-1, spread, (n, codes)).astype(np.int32))


def evidence(seed: int, members: int = 600, others: int = 400, **shape: int) -> Evidence:
    rng = np.random.default_rng(seed)
    parts = [table(rng, n, **shape) for n in (members, others, others, members)]
    return Evidence(*parts, parts[0], tuple(f"c{j}" for j in range(parts[0].width)))


def frames(seed: int, *sizes: int) -> list[pd.DataFrame]:
    rng = np.random.default_rng(seed)
    return [
        pd.DataFrame(
            {
                ODD: np.round(rng.normal(size=n), 3).astype(str),
                "lambda; x": rng.choice(["it's", 'a "b"', "c d"], n),
                "y": rng.integers(0, 1000, n).astype(str),
            }
        )
        for n in sizes
    ]


def p_excess(scores: Scores) -> float:
    return statistics.excess(*scores.targets(), 0.1, 0.95).p_null


def decided(**tests: object) -> set[str]:
    usual: dict[str, object] = {"exchangeability_p": 0.5, "blind_p": 0.5, "claim_p": 0.5, "has_control": True}
    return {r.attack or r.code for r in decide((), POLICY, Claim(1.0, 0.0) if "claim_p" in tests else None, **(usual | tests)).reasons}  # type: ignore[arg-type]


class TestAnonymeter:
    @pytest.mark.parametrize("mode", ["univariate", "multivariate"])
    def test_failed_queries_are_no_low_risk(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queries, mode, lambda *_: [])
        with pytest.raises(UnanswerableError) as caught:
            singling_out(mode, 500)(evidence(0), np.random.default_rng(0))  # type: ignore[arg-type]
        assert caught.value.status == "underpowered"

    def test_few_queries_widen_the_bound(self) -> None:
        none = np.zeros(600), np.zeros(400)
        uppers = [statistics.residual_risk(*none, guesses, 0.1, 0.95).upper for guesses in (2_000, 200, 20)]
        assert uppers[0] < 0.05 < 0.1 < uppers[2] and uppers == sorted(uppers)

    @pytest.mark.parametrize("mode", ["univariate", "multivariate"])
    def test_odd_column_names_and_cells_fail_no_query(self, mode: str) -> None:
        train, control, reference, _ = frames(1, 500, 300, 300, 300)
        e = Evidence.collect(train, control, train, SCHEMA, reference, np.random.default_rng(0))
        scores = singling_out(mode, 50)(e, np.random.default_rng(1))  # type: ignore[arg-type]
        assert scores.guesses == 50 and scores.members.sum() > 20

    def test_date_columns_are_not_left_out_silently(self) -> None:
        parts = [f.assign(y="2020-01-31") for f in frames(2, 100, 100, 100, 100)]
        e = Evidence.collect(parts[0], parts[1], parts[2], SCHEMA, parts[3], np.random.default_rng(0))
        assert e.unreadable == ("y",)

    def test_the_baseline_is_the_controls_and_is_not_empty(self) -> None:
        """No list of baseline queries that nobody fills: the same guesses are counted on controls."""
        e = evidence(3)
        scores = singling_out("univariate", 500)(e.against(e.controls), np.random.default_rng(0))
        assert scores.controls.sum() > 20 and scores.guesses == 500

    def test_a_negative_guess_is_not_right_for_all(self) -> None:
        e = evidence(4)
        minus = replace(e, synthetic=Table(np.full_like(e.synthetic.numbers, -500.0), e.synthetic.codes))
        assert inference.inference(minus, np.random.default_rng(0)).pooled[:, :3].sum() == 0

    def test_missing_cells_are_alike(self) -> None:
        e = evidence(5, codes=6, spread=9)
        holes = Table(np.full_like(e.members.numbers, np.nan), e.members.codes)
        empty = replace(e, members=holes, train=holes, synthetic=holes)
        assert neighbours(empty).near[: len(holes), 0].max() == 0
        assert p_excess(linkability.linkability(empty, np.random.default_rng(0))) < 1e-9

    def test_zero_is_no_proof_of_safety(self) -> None:
        """An estimate at or below 0 has an upper bound above it, and few targets make it large."""
        found = statistics.excess(np.zeros(10), np.array([1.0, *np.zeros(9)]), 0.1, 0.95)
        assert found.effect < 0 and found.upper > 0.1


class TestSynthEval:
    @pytest.mark.parametrize("score", [nearest.exact_match, nearest.distance, linkability.linkability])
    def test_an_exact_copy_in_the_same_order_is_the_largest_leak(self, score: Callable[[Evidence, np.random.Generator], Scores]) -> None:
        e = evidence(6)
        copied = score(e.against(Table(e.members.numbers.copy(), e.members.codes.copy())), np.random.default_rng(0))
        assert statistics.auc(*copied.targets(), 0.57, 0.95).lower > 0.8

    def test_what_holds_for_everyone_is_no_leak_and_members_are_not_pooled_with_controls(self) -> None:
        e = evidence(7, codes=5, spread=2)
        alike = replace(e, members=_told(e.members), controls=_told(e.controls), synthetic=_told(e.synthetic), train=_told(e.train))
        scores = inference.inference(alike, np.random.default_rng(0))
        assert scores.controls[:, 0].mean() > 0.6 and abs(scores.members[:, 0].mean() - scores.controls[:, 0].mean()) < 0.1
        assert len(scores.members) == 600 and len(scores.controls) == 400

    def test_unequal_sizes_change_no_share(self) -> None:
        rng = np.random.default_rng(8)
        hits = (rng.random(3_000) < 0.2).astype(float)
        assert abs(statistics.excess(hits[:2_500], hits[2_500:], 0.1, 0.95).effect) < 0.08
        assert abs(statistics.residual_risk(hits[:2_500], hits[2_500:], 3_000, 0.1, 0.95).effect) < 0.08
        assert statistics.share(hits[:2_500], hits[2_500:], 0.57, 0.95).effect == pytest.approx(0.5, abs=0.08)


class TestDistances:
    def test_ties_are_halved_and_not_given_to_the_controls(self) -> None:
        assert statistics.auc(np.ones(300), np.ones(200), 0.57, 0.95).effect == 0.5
        e = evidence(9, numbers=0, codes=4, spread=2)
        assert len(np.unique(nearest.distance(e, np.random.default_rng(0)).pooled)) < 10
        fine = evidence(9, numbers=0, codes=9, spread=5)
        copied = nearest.distance(fine.against(fine.members), np.random.default_rng(0))
        assert statistics.auc(*copied.targets(), 0.57, 0.95).lower > 0.57

    def test_a_minority_of_copies_is_seen(self) -> None:
        e = evidence(10)
        few = e.synthetic.take(np.arange(588)).then(e.members.take(np.arange(12)))
        scores = nearest.exact_match(e.against(few), np.random.default_rng(0))
        assert np.nansum(scores.members) == 12 and statistics.excess(*scores.targets(), 0.0, 0.95).lower > 0.005

    def test_an_outlier_in_the_same_direction_is_not_close(self) -> None:
        e = evidence(11, numbers=4, codes=0)
        far = Table(e.members.numbers * 50, e.members.codes)
        assert neighbours(replace(e, members=far, synthetic=e.members)).near[: len(far), 0].mean() > 0.5

    def test_a_target_at_infinity_or_missing_is_still_a_target(self) -> None:
        e = evidence(12, numbers=2)
        odd = e.members.numbers.copy()
        odd[0], odd[1] = 1e150, np.nan
        scores = nearest.distance(replace(e, members=Table(odd, e.members.codes)), np.random.default_rng(0))
        assert np.isfinite(scores.pooled).all()


class TestThresholds:
    def test_no_false_positive_is_the_strongest_evidence(self) -> None:
        found = statistics.tpr_at_fpr(np.ones(400), np.zeros(3_000), 0.03, 0.95)
        assert found.lower > 0.95 and found.p < 1e-9
        assert one_run_p(800, 400, 400, Claim(1.0, 0.0)) < 1e-9

    def test_a_perfect_attack_proves_much_and_not_zero(self) -> None:
        found = audit.audit({"s": np.zeros(1_000)}, {"s": np.ones(1_000)}, 1.0)
        assert found.violated and found.mu_low > 3

    def test_a_few_runs_prove_little_and_never_infinity(self) -> None:
        few = audit.audit({"s": np.zeros(10)}, {"s": np.ones(10)}, 1.0)
        assert not few.violated and 0 <= few.mu_low < 1 and np.isfinite(few.mu_low)

    def test_the_best_of_many_thresholds_and_statistics_is_corrected_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit, "_detectable", lambda *_: np.inf)
        rng = np.random.default_rng(13)
        runs = [audit.audit({k: rng.normal(size=200) for k in "ab"}, {k: rng.normal(size=200) for k in "ab"}, 1e-9, 0.05) for _ in range(40)]
        assert sum(r.violated for r in runs) <= 13  # of 40 at a level of 5 %: more happen less than once in a million

    def test_an_audit_cut_short_is_no_pass(self) -> None:
        short = audit.audit({"s": np.zeros(4)}, {"s": np.zeros(4)}, 1.0)
        assert not short.violated and short.detectable == np.inf
        assert "audit" in decided(audit="missing") and "audit" in decided(audit="stopped")


class TestErrors:
    @pytest.mark.parametrize("name", ["blind_p", "exchangeability_p", "overlap"])
    def test_a_test_that_broke_blocks(self, name: str) -> None:
        assert name.removesuffix("_p") in decided(**{name: None}) and name.removesuffix("_p") not in decided()

    def test_a_claim_that_was_not_tested_blocks(self) -> None:
        assert "claim" in decided(claim_p=None)

    def test_no_attack_draws_from_the_global_generator(self) -> None:
        np.random.seed(5)  # noqa: NPY002
        before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002
        e = evidence(14)
        for score in (nearest.exact_match, nearest.distance, linkability.linkability, inference.inference, singling_out("multivariate", 100)):
            one, two = (score(e, np.random.default_rng(1)).pooled for _ in range(2))
            assert np.array_equal(one, two, equal_nan=True)
        assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002

    def test_swapped_labels_are_noticed(self) -> None:
        e = evidence(15)
        copied = nearest.distance(e.against(controls.full_copy(e, np.random.default_rng(0))), np.random.default_rng(0))
        assert not swapped({"distance": copied}) and swapped({"distance": Scores(copied.controls, copied.members)})
        assert not swapped({"distance": nearest.distance(e, np.random.default_rng(0))}) and not swapped({})

    def test_swapped_tables_do_not_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queries, "ATTEMPTS", 500)
        train, control, reference = frames(16, 400, 400, 300)
        report = attacks.evaluate(control, train, train, SCHEMA, reference, seed=1)
        assert report.verdict != "PASS" and "split_overlap" in {r.code for r in report.reasons}


class TestPrecisionAndRecall:
    def test_every_cell_of_every_target_is_guessed(self) -> None:
        """A low share of right guesses among a chosen few can not stand for all (Francis and Wagner 2025): nobody is left out, ..."""
        scores = inference.inference(evidence(17), np.random.default_rng(0))
        assert scores.members.shape == (600, 6) and np.isfinite(scores.pooled).all()

    def test_the_few_that_an_attacker_is_sure_of_are_looked_at_too(self) -> None:
        """... and a leak of a tenth of the people shows among the closest where the mean over all hides it."""
        e = evidence(18, members=2_000, others=2_000)
        tenth = e.synthetic.take(np.arange(1_900)).then(e.members.take(np.arange(100)))
        sure = inference.confident_inference(e.against(tenth), np.random.default_rng(0))
        every = inference.inference(e.against(tenth), np.random.default_rng(0))
        gains = [np.nanmean(s.members, axis=0) - np.nanmean(s.controls, axis=0) for s in (sure, every)]
        assert gains[0].mean() > 0.2 > gains[1].mean()


def _told(rows: Table) -> Table:
    """The first number follows from the categories, for anyone."""
    numbers = rows.numbers.copy()
    numbers[:, 0] = 10.0 * rows.codes.sum(axis=1)
    return Table(numbers, rows.codes)
