"""Each way in which other tools let a leak pass (errors, ties, exact copies, small samples read as low risk), shut here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import attacks
from attacks import audit, controls, inference, linkability, nearest, queries, statistics
from attacks.claim import Claim, one_run_p
from attacks.distances import _scanned, neighbours
from attacks.evidence import Evidence, Table
from attacks.overlap import swapped
from attacks.policy import Policy
from attacks.result import Endpoint
from attacks.scores import Scores, UnanswerableError
from attacks.singling_out import singling_out
from attacks.statistics import Estimate
from attacks.suite import suite
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


class TestMostlyAi:
    def test_a_share_that_looks_low_of_few_people_is_no_pass(self) -> None:
        """A bare estimate has no interval; ours has to be below the tolerance with its upper bound."""
        rng = np.random.default_rng(20)
        few, many = (statistics.share(*(rng.random(n) for _ in range(2)), 0.57, 0.95) for n in (40, 20_000))
        assert abs(few.effect - 0.5) < 0.05 and few.upper > 0.57 and few.minimum_detectable > 0.57
        assert abs(many.effect - 0.5) < 0.01 and many.upper < 0.57 and many.minimum_detectable < 0.57

    def test_the_worst_of_many_columns_is_adjusted_for(self) -> None:
        """Of 25 tables of 40 columns without a leak more than 9 are accused at .05 once in a million; unadjusted fewer than 10 less often."""
        rng = np.random.default_rng(21)
        tables = [[(rng.normal(size=60), rng.normal(size=60)) for _ in range(40)] for _ in range(25)]
        adjusted = [statistics.worst(statistics.auc, columns, 0.5, 0.95) for columns in tables]
        largest = [min(statistics.auc(*pair, 0.5, 0.95).p_null for pair in columns) for columns in tables]
        for accused in ([e.p_null < 0.05 for e in adjusted], [e.p < 0.05 for e in adjusted], [e.lower > 0.5 for e in adjusted]):
            assert sum(accused) <= 9
        assert sum(p < 0.05 for p in largest) > 9


class TestTapas:
    def test_what_is_remembered_of_one_table_is_never_told_of_another(self) -> None:
        e = evidence(22, members=60, others=40)
        copy, planted = e.against(e.train), e.against(e.reference)
        for _ in range(2):  # the second time all is remembered
            for each in (e, copy, planted, e.against(e.controls)):
                remembered, fresh = neighbours(each), _scanned(each)
                assert all(np.array_equal(a, b) for a, b in zip(vars(remembered).values(), vars(fresh).values(), strict=True))
        assert neighbours(copy).near[:60, 0].max() == 0 < neighbours(e).near[:60, 0].min()
        assert neighbours(e) is neighbours(e) and neighbours(copy) is neighbours(e.against(e.train)) is not neighbours(e)

    def test_a_hit_is_a_member_called_one(self) -> None:
        """(pred, truth) for (truth, pred): a score that is high for members alone makes an area of 1 and not of 0."""
        assert statistics.auc(np.ones(300), np.zeros(200), 0.57, 0.95).effect == 1.0
        assert statistics.tpr_at_fpr(np.ones(300), np.zeros(200), 0.03, 0.95).effect == pytest.approx(1.0)


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

    def test_the_best_of_many_statistics_and_directions_is_corrected_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of 40 audits of nothing, each of 20 coins at a level of .4, a sound one accuses more than 31 times less than once in a million; one
        that gives the whole level to each coin and direction accuses 98 in 100, and fewer than 32 times still less often."""
        monkeypatch.setattr(audit, "_detectable", lambda *_: np.inf)
        rng, statistics_of, one = np.random.default_rng(13), range(20), audit._either_side
        pairs = [[{f"s{j}": rng.integers(0, 2, 1_000) * 1.0 for j in statistics_of} for _ in range(2)] for _ in range(40)]

        def accused() -> int:
            return sum(audit.audit(without, with_unit, 1e-9, 0.4).violated for without, with_unit in pairs)

        assert accused() <= 7  # since two bounds have to fail at once: 1 audit in 400 accused
        monkeypatch.setattr(audit, "_either_side", lambda a, b, share, delta: one(a, b, share * 2 * 20, delta))
        assert accused() > 31

    def test_the_bound_is_clopper_and_pearsons_at_the_share_of_the_level(self) -> None:
        """By scipy's own interval, whose two tails are the two bounds' shares."""
        false, true, runs = 37, 160, 400
        without, with_unit = (np.tile(np.arange(runs) < hits, 2) * 1.0 for hits in (false, true))
        nothing = {f"s{j}": np.zeros(2 * runs) for j in range(19)}
        found = audit.audit(nothing | {"s": without}, nothing | {"s": with_unit}, 1.0, 0.05)
        low, high = (stats.binomtest(hits, runs).proportion_ci(1 - 0.05 / (2 * 20), "exact") for hits in (true, false))
        assert found.by == "s" and found.mu_low == pytest.approx(stats.norm.ppf(low.low) - stats.norm.ppf(high.high), rel=1e-9)

    def test_a_threshold_is_tested_on_other_runs_than_it_was_chosen_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each half of the runs is told apart perfectly, but by thresholds of its own: nothing that was chosen before it was tested."""
        without, with_unit = np.repeat([0.0, -20.0], 200), np.repeat([20.0, -10.0], 200)
        assert audit.audit({"s": without}, {"s": with_unit}, 0.5).mu_low == 0

        def same_runs(without: np.ndarray, with_unit: np.ndarray, alpha: float, delta: float) -> float:
            cuts = np.unique(np.concatenate([without, with_unit]))
            return max(audit.mu_from_counts(*audit._above(without, c), *audit._above(with_unit, c), alpha, delta) for c in cuts)

        monkeypatch.setattr(audit, "_one_sided", same_runs)
        assert audit.audit({"s": without}, {"s": with_unit}, 0.5).violated

    def test_an_audit_cut_short_is_no_pass(self) -> None:
        short = audit.audit({"s": np.zeros(4)}, {"s": np.zeros(4)}, 1.0)
        assert not short.violated and short.detectable == np.inf
        assert "audit" in decided(audit="missing") and "audit" in decided(audit="stopped")


class TestErrors:
    @pytest.mark.parametrize("name", ["blind_p", "exchangeability_p", "overlap"])
    def test_a_test_that_broke_blocks(self, name: str) -> None:
        assert name.removesuffix("_p") in decided(**{name: None}) and name.removesuffix("_p") not in decided()

    @pytest.mark.parametrize(
        ("broken", "test", "reason", "claim"),
        [
            ("attacks.blind.blind_p", "blind_p", "blind", None),
            ("attacks.suite.overlap", "overlap", "overlap", None),
            ("attacks.statistics.exchangeability", "exchangeability_p", "exchangeability", None),
            ("attacks.suite.claim_p", "claim_p", "claim", Claim(1.0, 0.0)),
        ],
    )
    def test_a_test_that_raises_is_evidence_missing(
        self, broken: str, test: str, reason: str, claim: Claim | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever the attacks found: with endpoints that all pass it is this alone that blocks."""

        def raises(*_: object) -> None:
            raise ValueError("a cell of somebody's")

        monkeypatch.setattr(broken, raises)
        monkeypatch.setattr("attacks.suite.suite", lambda *_: [a for a in suite(POLICY) if a.name in ("exact_match", "distance")])
        train, control, reference, synthetic = frames(19, 150, 100, 100, 150)
        report = attacks.evaluate(train, control, synthetic, SCHEMA, reference, claim=claim, seed=1)
        assert report.tests[test] is None and report.verdict != "PASS" and reason in {r.attack for r in report.reasons}
        tolerances = {n: POLICY.tolerance[n] for n in POLICY.required}
        sound = [Endpoint(n, "required", "ok", Estimate(0, 0, t * 0.9, 1, 1, 0), t, None, True) for n, t in tolerances.items()]
        assert decide(sound, POLICY, claim, **report.tests).outcome == "INCONCLUSIVE"
        mended = report.tests | {test: () if test == "overlap" else 0.5}
        assert decide(sound, POLICY, claim, **mended).outcome == "PASS"

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
