"""The benchmark of generators that train: sets of four are what brute force says, a cell is done once, its table has a row for each."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("opacus")

from benchmarks.deep import __main__ as command
from benchmarks.deep import run
from benchmarks.marginal import tables
from benchmarks.marginal.cell import done
from benchmarks.marginal.distance import codes

SIZES = dict.fromkeys("abcde", 3)


def rows(seed: int, many: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({c: rng.integers(n, size=many) for c, n in SIZES.items()})


def brute(real: pd.DataFrame, synthetic: pd.DataFrame) -> float:
    apart = []
    for four in combinations(SIZES, 4):
        left, right = (Counter(f[list(four)].itertuples(index=False, name=None)) for f in (real, synthetic))
        apart.append(sum(abs(left[k] / len(real) - right[k] / len(synthetic)) for k in left | right) / 2)
    return float(np.mean(apart))


def test_sets_of_four_are_brute_force(monkeypatch):
    real, synthetic = rows(1), rows(2, 30)
    found = run.total_variation_of_fours(codes(real, SIZES), codes(synthetic, SIZES), SIZES)
    assert found == pytest.approx(brute(real, synthetic))
    monkeypatch.setattr(run, "FOURS", 3)
    some = run.total_variation_of_fours(codes(real, SIZES), codes(synthetic, SIZES), SIZES)
    assert 0 < some == run.total_variation_of_fours(codes(real, SIZES), codes(synthetic, SIZES), SIZES)


def test_a_cell_is_done_once_and_has_a_row(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(tables.TABLES, "tiny", lambda name, data: tables.Coded(rows(0), SIZES, ("a",), None))
    monkeypatch.setattr(tables.prepare, "__defaults__", (tmp_path / "tables",))
    results = tmp_path / "results.jsonl"
    words = ["deep", "run", "--tables", "tiny", "--generators", "floor-shuffled", "--results", str(results)]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", words)
        assert command.main() == 0
    (line,) = done(results).values()
    assert (line["status"], line["tv1"]) == ("ok", 0)
    assert 0 < line["tv2"] < line["tv4"]
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["deep", "table", "--results", str(results)])
    assert command.main() == 0
    assert f"| floor-shuffled | 1 | 0.0000 | {line['tv2']:.4f} |" in capsys.readouterr().out
