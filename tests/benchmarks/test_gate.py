"""The gate's benchmark on a tiny population: leaks are planted as they say, a cell repeats and is done once, rates are marked as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attacks.policy import Policy
from benchmarks.gate import rivals, tables
from benchmarks.gate.__main__ import main, splits
from benchmarks.gate.cell import Cell, done, keep
from benchmarks.gate.judge import judge, make
from benchmarks.gate.planted import GENERATORS
from benchmarks.gate.reach import markdown as reach
from benchmarks.gate.summary import bounds, markdown
from benchmarks.gate.tables import Population, draw
from dpsynth.schema.schema import Schema

PEOPLE = 600
PARTNER = Policy.load("partner-contract")
COPIED = {"copy": 120, "jittered_5": 0, "copy_ordered": 120, "copies_5": 6, "copies_1": 1, "outliers_1": 1, "fresh": 0}
LETTERS = [chr(ord("a") + i) for i in range(8)]


def _population() -> Population:
    rng = np.random.default_rng(7)
    group = rng.integers(8, size=PEOPLE)
    cells = {f"letter{j}": np.array(LETTERS)[(group + rng.integers(3, size=PEOPLE)) % 8] for j in range(4)}
    numbers = {
        "weight": np.round(1e4 * rng.lognormal(size=PEOPLE)).astype(int).astype(str),
        "age": (20 + 5 * group + rng.integers(9, size=PEOPLE)).astype(str),
    }
    letters = [{"name": name, "type": "categorical", "categories": LETTERS, "categories_basis": "judgement"} for name in cells]
    bounded = [{"name": name, "type": "integer", "bounds": [0, 1_000_000], "bounds_basis": "judgement"} for name in numbers]
    schema = Schema.from_dict({"name": "tiny", "privacy_unit": {"unit": "row"}, "columns": [*letters, *bounded]})
    return Population(pd.DataFrame(cells | numbers), schema, ("weight",))


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A population called tiny."""
    monkeypatch.setitem(tables.POPULATIONS, "tiny", _population)
    tables.population.cache_clear()


def _rows(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(frame.astype(str).itertuples(index=False, name=None))


@pytest.mark.parametrize(("shares", "held"), [("even", 120), ("policy", 26)])
def test_sides_are_disjoint_and_of_the_size_asked_for(shares: str, held: int) -> None:
    sample = draw(_population(), 120, shares, PARTNER, np.random.default_rng(0))
    sides = (sample.train, sample.control, sample.reference, sample.fresh)
    assert [len(side) for side in sides] == [120, held, held, 120]
    assert len(set().union(*(side.index for side in sides))) == sum(map(len, sides))


def test_a_split_in_time_holds_back_the_later() -> None:
    sample = draw(_population(), 120, "even", PARTNER, np.random.default_rng(0), in_time=True)
    assert max(sample.train.index.max(), sample.fresh.index.max()) < min(sample.control.index.min(), sample.reference.index.min())


def test_a_population_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="do not suffice"):
        draw(_population(), 300, "even", PARTNER, np.random.default_rng(0))


@pytest.mark.parametrize("generator", list(GENERATORS))
def test_a_cell_makes_the_same_tables_again(generator: str) -> None:
    first, again = (make(Cell(generator, "tiny", 120, 3)) for _ in range(2))
    assert _rows(first.synthetic) == _rows(again.synthetic)
    assert _rows(first.train) == _rows(again.train)
    assert len(first.synthetic) and first.train.columns.is_unique


@pytest.mark.parametrize(
    ("generator", "copied"), [("copy", 120), ("copy_ordered", 120), ("copies_5", 6), ("copies_1", 1), ("outliers_1", 1), ("fresh", 0)]
)
def test_so_many_training_rows_are_copied(generator: str, copied: int) -> None:
    case = make(Cell(generator, "tiny", 120, 0))
    trained = set(_rows(case.train[case.synthetic.columns]))
    assert len(case.synthetic) == 120
    assert sum(row in trained for row in _rows(case.synthetic)) == copied


def test_only_the_ordered_copy_is_in_order() -> None:
    ordered, shuffled = (make(Cell(name, "tiny", 120, 0)) for name in ("copy_ordered", "copy"))
    assert _rows(ordered.synthetic) == _rows(ordered.train) and _rows(shuffled.synthetic) != _rows(shuffled.train)


def test_a_memoriser_copies_those_who_stand_out() -> None:
    case = make(Cell("outliers_1", "tiny", 120, 0))
    trained = set(_rows(case.train))
    weights = [float(row[4]) for row in _rows(case.synthetic) if row in trained]
    assert weights == [case.train["weight"].astype(float).max()]


def test_a_noisy_copy_redraws_its_share() -> None:
    case = make(Cell("noisy_30", "tiny", 120, 0))
    kept = (case.synthetic["weight"].to_numpy() == case.train["weight"].to_numpy()).mean()
    assert 0.55 < kept < 0.85


def test_a_decode_leak_writes_real_numbers_only() -> None:
    case = make(Cell("decode_leak", "tiny", 120, 0))
    assert set(case.synthetic["weight"]) <= set(case.train["weight"])
    assert not set(make(Cell("mst_1", "tiny", 120, 0)).synthetic["weight"].astype(str)) <= set(case.train["weight"])


def test_without_noise_columns_are_nearer_than_with_it() -> None:
    def gap(generator: str) -> int:
        case = make(Cell(generator, "tiny", 120, 0))
        made, real = (pd.DataFrame({c: f[c].value_counts() for c in f if c.startswith("letter")}).fillna(0) for f in (case.synthetic, case.train))
        return int((made.reindex(LETTERS, fill_value=0) - real).abs().to_numpy().sum())

    assert 4 * gap("noiseless_1") < gap("mst_0.5")


def test_near_unique_columns_are_dropped_on_every_side() -> None:
    case = make(Cell("fresh", "tiny", 120, 0, unique=False))
    assert all("weight" not in frame for frame in (case.train, case.control, case.reference, case.synthetic))


def test_a_copy_is_caught_and_a_cell_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "gate.jsonl"
    words = ["run", "--tables", "tiny", "--sizes", "120", "--near-unique", "kept", "--splits", "1", "--workers", "1", "--results", str(results)]
    for _ in range(2):
        assert main([*words, "--generators", "copy", "sabotage_missing_column"]) == 0
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(line["bare"], line["claimed"]) for line in lines] == [("FAIL", "FAIL"), ("REFUSED", "REFUSED")]


def test_an_exception_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gate.judge.evaluate", lambda *a, **k: 1 / 0)
    assert judge(Cell("fresh", "tiny", 120, 0))["bare"] == "BROKE"


def test_the_plan_asks_for_most_of_fresh_rows() -> None:
    assert (splits("fresh", 500), splits("fresh", 15_000), splits("copies_1", 2_000)) == (300, 10, 50)


def test_bounds_are_clopper_and_pearsons() -> None:
    assert bounds(0, 300) == pytest.approx((0.0, 1 - 0.05 ** (1 / 300)))
    assert bounds(300, 300) == pytest.approx((0.05 ** (1 / 300), 1.0))


def _line(bare: str, claimed: str) -> dict[str, object]:
    return {
        "bare": bare,
        "claimed": claimed,
        "bare_reasons": [],
        "claimed_reasons": [],
        "epsilon": 1.0,
        "cpu_make": 0.0,
        "cpu_gate": 1.0,
        "suite": "x",
    }


def test_targets_are_marked_as_they_are(tmp_path: Path) -> None:
    results = tmp_path / "gate.jsonl"
    for split in range(60):
        keep(results, Cell("fresh", "tiny", 2_000, split), _line("PASS", "PASS"))
        keep(results, Cell("copies_1", "tiny", 2_000, split), _line("FAIL" if split else "INCONCLUSIVE", "PASS" if split == 5 else "FAIL"))
    keep(results, Cell("copies_0.5", "tiny", 2_000, 0), _line("FAIL", "FAIL"))
    rows = {row.split(" | ")[0].strip("| "): row for row in markdown(done(results)).splitlines() if row.startswith("| ")}
    assert rows["fresh rows FAIL, no claim"].endswith("| met |")
    assert rows["1 % copied: FAIL, no claim"].endswith("| **missed** |")
    assert rows["1 % copied: no PASS under a claim"].endswith("| **missed** |")
    assert rows["0.5 % copied: caught, no claim"].endswith("| open |")
    assert "`copies_1`, tiny, n = 2,000, split 5" in markdown(done(results))
    assert "nothing." in markdown(done(results, "another"))


def test_reach_says_where_a_policy_is_out_of_reach() -> None:
    rows = [row for row in reach().splitlines() if "attribute_inference" in row]
    strict, partner = (int(row.split(" | ")[-2].replace(",", "")) for row in rows)
    assert strict > 3_000 > partner > 100


def test_a_rival_is_compared_on_the_cells_it_has_seen() -> None:
    def line(generator: str, split: int, score: float, alarm: bool) -> dict[str, object]:
        cell = vars(Cell(generator, "tiny", 2_000, split))
        return cell | {"rival": "r", "alarm": alarm, "scores": {"s": score}, "cpu_s": 1.0}

    theirs = [line("fresh", 0, 0.2, False), line("fresh", 1, 0.4, True), line("copy", 0, 0.3, True), line("copy", 1, 0.5, True)]
    ours = [vars(Cell("copy", "tiny", 2_000, split)) | {"rival": "this gate", "alarm": True, "scores": {}, "cpu_s": 2.0} for split in range(9)]
    rows = rivals.markdown(theirs, ours).splitlines()
    assert rows[2] == "| this gate | its alarm | 2.0 |  | 2/2 |"
    assert rows[3] == "| r | its alarm | 1.0 | 1/2 | 2/2 |"
    assert rows[4] == "| r | s | | 0/2 | 1/2 |"


def test_every_rival_has_a_driver() -> None:
    assert all((rivals.DRIVERS / f"with_{name.replace('-', '_')}.py").exists() for name in rivals.PACKAGES)
