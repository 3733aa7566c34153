"""Shadow runs of a generator: counts against a slow twin, leaking callables seen with a known power, others not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import attacks
from attacks import controls, statistics
from attacks.evidence import Evidence
from attacks.membership import Coding
from attacks.scores import UnanswerableError
from attacks.shadows import Generator, Shadows, _Counter, _targets, as_cells, read, shadow, shadowed
from dpsynth.errors import BadInput
from dpsynth.schema import Schema

TARGETS = 160
SCHEMA = Schema.from_dict(
    {
        "name": "made up",
        "privacy_unit": {"unit": "row"},
        "columns": [
            {"name": "x", "type": "continuous", "bounds": [-9, 9], "bounds_basis": "judgement"},
            {"name": "first class", "type": "categorical", "categories": list("abcdef"), "categories_basis": "publisher"},
            {"name": "y", "type": "integer", "bounds": [0, 99], "bounds_basis": "judgement"},
            *({"name": f"k{j}", "type": "categorical", "categories": list("uvw"), "categories_basis": "publisher"} for j in range(4)),
        ],
    }
)


def people(seed: int, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cells = {"x": np.round(rng.normal(size=n), 2).astype(str), "first class": rng.choice([*"abcdef", "", "zz"], n), "y": rng.integers(0, 100, n)}
    return pd.DataFrame(cells | {f"k{j}": rng.choice(list("uvw"), n) for j in range(4)})


def memoriser(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=1, random_state=1)


def half_shuffler(table: pd.DataFrame) -> pd.DataFrame:
    """Two halves of the columns come from different people: no row is anyone's."""
    left, right = table.iloc[:, :4], table.iloc[:, 4:].sample(frac=1, random_state=2)
    return pd.concat([left.reset_index(drop=True), right.reset_index(drop=True)], axis=1)


def strangers(seed: int) -> Generator:
    """Gives other people at each call, whatever the table."""
    drawn = np.random.default_rng(seed)
    return lambda table: people(int(drawn.integers(2**31)), len(table))


def attacked(generator: Generator, seed: int = 1, runs: int = 12) -> Shadows:
    """The first half of the targets was trained on."""
    targets = people(2, TARGETS)
    train = pd.concat([targets[: TARGETS // 2], people(3, 260)], ignore_index=True)
    return shadow(generator, people(4, 500), targets, generator(train), SCHEMA, len(train), runs, seed)


def area(found: Shadows) -> statistics.Estimate:
    half = TARGETS // 2
    return statistics.auc(found.scores[:half], found.scores[half:], 0.57, 0.95)


@pytest.mark.parametrize("generator", [memoriser, half_shuffler])
def test_any_callable_that_leaks_is_seen_and_its_power_is_foretold(generator: Generator) -> None:
    found = attacked(generator)
    assert area(found).p_null < 1e-4 and found.area > 0.7
    assert abs(area(found).effect - found.area) < 0.25


def test_nothing_is_seen_where_nothing_leaks() -> None:
    found = [attacked(strangers(seed), seed, 4) for seed in range(30)]
    assert abs(np.mean([f.area for f in found]) - 0.5) < 0.03
    assert sum(area(f).p_null < 0.05 for f in found) <= 11  # of 30 at a level of 5 %: more happen less than once in a million


def test_the_generator_runs_as_often_as_allowed_on_tables_of_the_size_asked_for() -> None:
    sizes = []

    def counting(table: pd.DataFrame) -> pd.DataFrame:
        sizes.append((len(table), tuple(table.columns), table.index.tolist() == list(range(len(table)))))
        return table

    found = shadow(counting, people(4, 500), people(2, 40), people(5, 100), SCHEMA, 300, 6, 1)
    assert sizes == [(300, tuple(people(4, 1).columns), True)] * 6 and found.runs == 6
    sizes.clear()
    shadow(counting, people(4, 50), people(2, 40), people(5, 100), SCHEMA, 300, 4, 1)
    assert all(50 < n < 90 for n, _, _ in sizes)  # no stranger twice: all of the reference and the targets inside


def test_each_target_is_inside_half_of_the_runs() -> None:
    tables = []

    def keeping(table: pd.DataFrame) -> pd.DataFrame:
        tables.append(table)
        return table

    targets = people(2, 30).assign(y=[str(1000 + i) for i in range(30)])
    shadow(keeping, people(4, 300), targets, people(5, 100), SCHEMA, 200, 8, 3)
    assert [sum(y in set(t["y"]) for t in tables) for y in targets["y"]] == [4] * 30


def test_counts_are_those_of_a_slow_twin() -> None:
    reference, targets, rows = people(1, 200), people(2, 15), people(3, 60)
    rng = np.random.default_rng(0)
    counter = _Counter.draw(reference, targets, SCHEMA, rng)
    tables = read({"reference": reference, "targets": targets, "synthetic": rows}, SCHEMA)
    coding = Coding.of(tables["reference"])
    x, y = coding.encode(tables["targets"]), coding.encode(tables["synthetic"])
    slow = [[np.mean((y[:, s] == t[s]).all(axis=1)) for s in counter.sets] for t in x]
    assert np.allclose(counter.shares(rows), slow) and np.any(np.array(slow) > 0)
    assert counter.sets[0].all() and counter.sets.any(axis=1).all()


def test_a_seed_repeats_and_the_order_of_the_released_rows_does_not_matter() -> None:
    reference, targets, released = people(4, 300), people(2, 40), people(5, 100)
    one, two = (shadow(half_shuffler, reference, targets, t, SCHEMA, runs=4, seed=9).scores for t in (released, released[::-1]))
    assert np.array_equal(one, two)


def test_cells_go_to_a_generator_and_come_back() -> None:
    frame = people(6, 100)
    tables = read({"synthetic": frame}, SCHEMA)
    cells = as_cells(tables["synthetic"], SCHEMA)
    assert list(cells.columns) == [c.name for c in SCHEMA.columns] and set(cells["first class"]) == {*"abcdef", None, "unlisted 6"}
    again = read({"synthetic": cells}, SCHEMA)["synthetic"]
    assert np.array_equal(again.codes, tables["synthetic"].codes) and np.array_equal(again.numbers, tables["synthetic"].numbers)


def evidence(synthetic: pd.DataFrame) -> Evidence:
    return Evidence.collect(people(1, 600), people(2, 600), synthetic, SCHEMA, people(3, 600), np.random.default_rng(0))


def test_the_planted_copy_is_seen_though_the_generator_leaks_nothing() -> None:
    e = evidence(people(5, 600))
    score, rng = shadowed(strangers(1), SCHEMA, 4), np.random.default_rng(1)
    found = score(e, rng)
    assert np.isfinite(found.pooled).sum() == 200 and len(found.pooled) == 1_200
    assert statistics.auc(*found.targets(), 0.57, 0.95).p_null > 1e-6
    planted = score(e.against(controls.full_copy(e, rng)), rng)
    assert statistics.auc(*planted.targets(), 0.57, 0.95).p_null < 0.05


def test_half_of_the_targets_are_the_rarest() -> None:
    e = evidence(people(5, 50))
    chosen = _targets(e, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == 200
    coding = Coding.of(e.reference)
    shares = [np.bincount(c, minlength=n) for c, n in zip(coding.encode(e.reference).T, coding.sizes, strict=True)]
    usual = np.sum([np.log(s[c] + 0.5) for s, c in zip(shares, coding.encode(e.pool).T, strict=True)], axis=0)
    assert usual[chosen[:100]].max() <= np.delete(usual, chosen[:100]).min() + 1e-9


def test_what_can_not_be_attacked_is_said_so() -> None:
    with pytest.raises(BadInput, match="runs"):
        shadow(memoriser, people(1, 50), people(2, 20), people(3, 50), SCHEMA, runs=3)
    with pytest.raises(BadInput, match="'y'"):
        shadow(lambda t: t.drop(columns="y"), people(1, 50), people(2, 20), people(3, 50), SCHEMA, runs=4)
    for sizes in ((0, 20, 50), (50, 1, 50), (50, 20, 0)):
        with pytest.raises(UnanswerableError):
            shadow(memoriser, *(people(k, n) for k, n in enumerate(sizes)), SCHEMA, runs=4)
    with pytest.raises(UnanswerableError, match="no rows"):
        shadow(lambda t: t[:0], people(1, 50), people(2, 20), people(3, 50), SCHEMA, runs=4)
    with pytest.raises(RuntimeError, match="broke"):
        shadow(broken, people(1, 50), people(2, 20), people(3, 50), SCHEMA, runs=4)


def broken(table: pd.DataFrame) -> pd.DataFrame:
    raise RuntimeError("the generator broke")


def test_two_targets_are_enough_for_an_area() -> None:
    """Rows that are copied as they are: whoever was in a run is told from who was not."""
    found = shadow(memoriser, people(1, 50), people(2, 2), people(3, 50), SCHEMA, runs=8, seed=1)
    assert found.scores.shape == (2,) and found.area > 0.5


def test_an_auditor_who_can_run_the_generator_has_its_endpoint_judged() -> None:
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"a": rng.integers(0, 6, 900).astype(str), "b": rng.integers(0, 6, 900).astype(str), "x": rng.normal(0, 1, 900).round(3)})
    columns = [{"name": n, "type": "categorical", "categories": [*"012345"], "categories_basis": "publisher"} for n in "ab"]
    columns.append({"name": "x", "type": "continuous", "bounds": [-9, 9], "bounds_basis": "publisher"})
    schema = Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": columns})
    train, control, reference = table[:300], table[300:450], table[450:]
    report = attacks.evaluate(train, control, train.sample(frac=1, random_state=1), schema, reference, seed=1, generator=lambda rows: rows)
    (shadow,) = [e for e in report.endpoints if e.name == "shadow"]
    assert shadow.role == "may_fail" and shadow.control_detected
    assert shadow.estimate is not None and shadow.estimate.p_null < 1e-6
    assert "generator" in shadow.knows
    alone = attacks.evaluate(train, control, reference, schema, reference, seed=1)
    assert "shadow" not in {e.name for e in alone.endpoints}
