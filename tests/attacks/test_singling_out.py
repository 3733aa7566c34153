"""Each way in which the tool underneath fails open is shut here (research/attacks.md, B.4)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from anonymeter.evaluators import SinglingOutEvaluator

from attacks import controls, queries, statistics
from attacks.evidence import Evidence, Table
from attacks.scores import UnanswerableError
from attacks.singling_out import singling_out


def table(numbers: np.ndarray, codes: np.ndarray | None = None) -> Table:
    return Table(numbers.astype(float), np.empty((len(numbers), 0), dtype=np.int32) if codes is None else codes.astype(np.int32))


def evidence(rng: np.random.Generator, n: int = 1500, m: int = 1000) -> Evidence:
    members, others, reference, synthetic = (table(np.round(rng.normal(size=(k, 3)), 3), rng.integers(-1, 6, (k, 3))) for k in (n, m, m, n))
    return Evidence(members, others, reference, synthetic, members, tuple("abcdef"))


@pytest.mark.parametrize("mode", ["univariate", "multivariate"])
def test_a_full_copy_is_seen_and_a_stranger_is_not(mode: str) -> None:
    rng = np.random.default_rng(0)
    e, attack = evidence(rng), singling_out(mode, 1000)  # type: ignore[arg-type]

    def risk(of: Evidence) -> statistics.Estimate:
        scores = attack(of, rng)
        return statistics.residual_risk(*scores.targets(), scores.guesses, 0.1, 0.95)

    assert risk(e).upper < 0.1
    assert risk(e.against(controls.full_copy(e, rng))).lower > 0.1


def test_guesses_count_as_made_and_not_as_asked_for() -> None:
    few = table(np.arange(30).reshape(-1, 1).repeat(3, axis=0))
    e = Evidence(few, few, few, few, few, ("a",))
    scores = singling_out("univariate", 2000)(e, np.random.default_rng(0))
    assert scores.guesses == 30 + 2  # the values and the two extremes
    with pytest.raises(UnanswerableError) as caught:
        singling_out("multivariate", 2000)(e, np.random.default_rng(0))
    assert caught.value.status == "underpowered"


def test_a_constant_table_cannot_read_as_low_risk() -> None:
    same = table(np.ones((50, 2)))
    scores = singling_out("univariate", 2000)(Evidence(same, same, same, same, same, ("a", "b")), np.random.default_rng(0))
    estimate = statistics.residual_risk(*scores.targets(), scores.guesses, 0.1, 0.95)
    assert estimate.upper > 0.1 and estimate.minimum_detectable > 0.1


def test_quotes_spaces_and_keywords_still_match() -> None:
    """anonymeter escapes the quote and finds nothing, and a column called `a b` fails each query of old versions."""
    frame = pd.DataFrame({"a 'b'": ["it's", "x", "x", "x"] * 3 + ["O'Neil"], "class": range(13)})
    codes = np.column_stack([pd.factorize(frame["a 'b'"])[0], frame["class"]])
    t = table(np.empty((13, 0)), codes)
    made = queries.multivariate(queries.as_frame(t), 5, np.random.default_rng(0))
    assert queries.isolations(made, queries.as_frame(t)).sum() == len(made) > 0


def test_missing_numbers_are_null_and_not_nan() -> None:
    frame = queries.as_frame(table(np.array([[1.0], [np.nan], [np.nan]])))
    assert frame["c0"].null_count() == 2 and not frame["c0"].drop_nulls().is_nan().any()


def test_isolations_equal_anonymeters_count() -> None:
    rng = np.random.default_rng(2)
    synthetic, pool = (queries.as_frame(table(np.round(rng.normal(size=(400, 3)), 1))) for _ in range(2))
    evaluator = SinglingOutEvaluator(ori=pool.to_pandas(), syn=synthetic.to_pandas(), n_attacks=100, n_cols=3, max_attempts=20_000, seed=4)
    evaluator.evaluate("multivariate")
    theirs = evaluator.queries()
    assert queries.isolations(theirs, pool.unique(maintain_order=True)).sum() == len(theirs) > 0


def test_who_is_matched_beside_another_is_not_singled_out() -> None:
    pool = pl.DataFrame({"c0": [1.0, 2.0, 2.0, None]})
    assert queries.isolations([pl.col("c0") == 1.0, pl.col("c0") == 2.0, pl.col("c0") > 9.0], pool).tolist() == [1, 0, 0, 0]


def test_a_wide_open_column_does_not_swamp_the_writer() -> None:
    frame = pl.DataFrame({"c0": np.random.default_rng(0).random(60_000)})
    made = queries.univariate(frame, 100, np.random.default_rng(0))
    assert len(made) == 100


def test_thinning_keeps_the_extremes_and_the_unique() -> None:
    column = pl.Series("c0", [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, None])
    kept = queries._thin(column, 1, np.random.default_rng(0)).drop_nulls().to_list()
    assert {1.0, 2.0, 5.0} <= set(kept) and len(kept) <= 5


def test_the_subsample_would_have_hidden_the_copy() -> None:
    """Why the whole pool is the target: anonymeter on a train cut to the control's size misses most of a full copy."""
    rng = np.random.default_rng(1)
    e = evidence(rng, 3000, 300)
    scores = singling_out("univariate", 500)(e.against(e.members), rng)
    whole = statistics.residual_risk(*scores.targets(), scores.guesses, 0.1, 0.95).effect
    ori, control, syn = (queries.as_frame(t).unique(maintain_order=True).to_pandas() for t in (e.members.take(np.arange(300)), e.controls, e.members))
    cut = SinglingOutEvaluator(ori=ori, syn=syn, control=control, n_attacks=500, seed=1)
    cut.evaluate("univariate")
    assert whole > 0.4 > 3 * cut.risk().value
