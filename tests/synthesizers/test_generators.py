"""Every generator with every kind of schema: budget to the tick, no look at the rows outside a measurement, no cell in what it leaves."""

from __future__ import annotations

import ast
import gc
import pickle
import random
import re
import traceback
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import OPEN, OPEN_NUMBER, PERSON, bounded, listed, schema_of, spied

import dpsynth
from dpsynth import Ledger, PrivBayes, Schema, load
from dpsynth.errors import BadInput, BudgetExceeded
from dpsynth.privacy import GDP, ZCDP, PrivateTable, Request
from dpsynth.privacy.answers import Answers
from dpsynth.releasing.order import MAX_ROWS
from dpsynth.synthesizers import registry
from dpsynth.synthesizers.model import MOST_ROWS, Model
from dpsynth.synthesizers.registry import DEEP, GENERATORS, generator_named
from dpsynth.testing import seeded_table

A, N, C = listed("x", "y", "z"), bounded(0, 99), bounded(-1, 1, "continuous", special=[-9])
SCHEMAS = {
    "closed": schema_of({"a": A, "n": N, "c": C}),
    "one column": schema_of({"a": A}),
    "two columns": schema_of({"a": A, "n": N}),
    "open categories": schema_of({"a": A, "o": OPEN, "p": OPEN}),
    "open bounds": schema_of({"a": A, "n": OPEN_NUMBER, "i": {"type": "integer"}}),
    "one open column": schema_of({"o": OPEN}),
    "units": schema_of({"id": {"type": "id"}, "a": A, "o": OPEN, "n": N}, PERSON),
    "units counted": schema_of({"id": {"type": "id"}, "a": A, "o": OPEN, "n": N}, PERSON | {"max_rows": 40, "count": "units"}),
    "rows measured": schema_of({"id": {"type": "id"}, "a": A, "o": OPEN, "n": N}, PERSON | {"max_rows": "measure", "most_rows": 9}),
    "no-id rows as a unit": schema_of({"id": {"type": "id"}, "a": A, "n": OPEN_NUMBER}, PERSON | {"null_ids": "one-unit"}),
    "other": schema_of({"a": A | {"on_unknown": "other"}, "o": OPEN | {"on_unknown": "other"}}),
}
BUDGETS = [(1.0, 1e-9), (0.01, 1e-12), (1e-4, 1e-6), (10.0, 1e-5)]
KINDS: dict[str, Any] = GENERATORS | {"privbayes, ancestral": partial(PrivBayes, fitting="ancestral")}
each_generator = pytest.mark.parametrize("name", KINDS)
each_schema = pytest.mark.parametrize("kind", SCHEMAS)


def frame_of(schema: Schema, rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    made = {"id": rng.integers(0, max(rows // 3, 1), rows).astype(str), "a": rng.choice(["x", "y", "q", ""], rows)}
    made |= {name: rng.choice(["red", "blue"], rows) for name in "op"} | {name: rng.integers(-5, 120, rows).astype(str) for name in "nic"}
    return pd.DataFrame({name: made[name] for name in schema.names})


@each_generator
@each_schema
@pytest.mark.parametrize("budget", BUDGETS)
def test_a_fit_is_granted_its_request_and_spends_all_of_it_and_no_more(name: str, kind: str, budget: tuple[float, float]) -> None:
    schema = SCHEMAS[kind]
    generator = KINDS[name](*budget)
    model = generator.fit(frame_of(schema), schema)
    asked = generator.request(schema).cost_in(GDP)
    assert model.granted == asked
    assert model.spent.fits(model.granted)
    assert model.spent.amount_ticks >= 0.999 * asked.amount_ticks
    assert model.spent.delta_ticks >= 0.999 * asked.delta_ticks
    assert (asked.delta_ticks > 0) == any(c.is_open and not c.is_number for c in schema.synthesised)


@each_generator
@each_schema
@pytest.mark.parametrize("budget", BUDGETS)
def test_a_fit_in_zcdp_spends_all_of_its_grant_and_no_more(name: str, kind: str, budget: tuple[float, float], tmp_path: Path) -> None:
    schema = SCHEMAS[kind]
    ledger = Ledger.create(tmp_path / "l.db", schema.name, *budget, ZCDP)
    model = KINDS[name](*budget).fit(ledger.table(frame_of(schema), schema))
    assert model.granted == ledger.spent == KINDS[name](*budget).request(schema).cost_in(ZCDP)
    assert model.spent.fits(model.granted)
    assert model.spent.amount_ticks >= 0.999 * model.granted.amount_ticks
    assert model.spent.delta_ticks >= 0.999 * model.granted.delta_ticks
    model.save(tmp_path / "model.npz")
    assert (load(tmp_path / "model.npz").granted, load(tmp_path / "model.npz").spent) == (model.granted, model.spent)


@each_generator
def test_a_fit_on_a_ledger_is_one_charge_of_its_size_and_a_table_fits_once(name: str, tmp_path: Path) -> None:
    schema = SCHEMAS["units"]
    ledger = Ledger.create(tmp_path / "l.db", schema.name, 1.0, 1e-9)
    table = ledger.table(frame_of(schema), schema)
    model = KINDS[name](1.0, 1e-9).fit(table)
    assert ledger.spent == model.granted == ledger.capacity
    assert model.stamp == "ledgered"
    with pytest.raises(BudgetExceeded):
        KINDS[name](1.0, 1e-9).fit(table)
    spy = spied(frame_of(schema))
    with pytest.raises(BudgetExceeded):
        KINDS[name](0.1, 1e-9).fit(ledger.table(spy, schema))
    assert spy.seen == []


@each_generator
@each_schema
def test_rows_are_touched_only_inside_a_charged_measurement(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = SCHEMAS[kind]
    spy = spied(frame_of(schema))
    inside: list[bool] = []
    strays: list[str] = []
    ask = PrivateTable._ask

    def watched(self: PrivateTable, question: dict[str, Any], cost: Any, draw: Any) -> Any:
        def drawn() -> Any:
            assert self.spent.amount_ticks >= cost.amount_ticks
            inside.append(True)
            before = len(spy.seen)
            answer = draw()
            del spy.seen[before:]
            return answer

        strays.extend(spy.seen)
        return ask(self, question, cost, drawn)

    monkeypatch.setattr(PrivateTable, "_ask", watched)
    table = PrivateTable(spy, schema, lambda request: request.cost_in(GDP), "ledgered")
    spy.seen.clear()
    model = KINDS[name](1.0, 1e-9).fit(table)
    model.sample(20)
    assert inside
    assert strays + spy.seen == []


TOKEN = "Zq7token"


def tokens(rows: int) -> pd.DataFrame:
    cells = {c: [f"{TOKEN}{c}{i}" for i in range(rows)] for c in ("id", "a", "o", "p")}
    return pd.DataFrame(cells | {"n": [f"{41.123456 + i / 9973:.9f}" for i in range(rows)], "i": [str(76_543_219_871 + 13 * i) for i in range(rows)]})


def reachable(root: object) -> Iterator[object]:
    """Every value held by `root`, through attributes, containers and arrays."""
    left, known = [root], set()
    while left:
        held = left.pop()
        if id(held) in known:
            continue
        known.add(id(held))
        yield held
        if isinstance(held, dict):
            left.extend([*held, *held.values()])
        elif isinstance(held, list | tuple | set | frozenset):
            left.extend(held)
        elif isinstance(held, np.ndarray):
            left.extend(held.ravel().tolist())
        elif hasattr(held, "__dict__") and not isinstance(held, type):
            left.extend(vars(held).values())


@each_generator
def test_no_cell_is_in_the_model_its_file_its_journal_or_its_sample(name: str, tmp_path: Path) -> None:
    schema = schema_of({"id": {"type": "id"}, "a": A, "o": OPEN, "p": OPEN, "n": OPEN_NUMBER, "i": {"type": "integer"}}, PERSON)
    frame = tokens(300)
    secrets = [t for column in ("n", "i") for t in frame[column]]
    table = PrivateTable(frame, schema, lambda request: request.cost_in(GDP), "ledgered", answers=Answers(tmp_path / "answers.jsonl"))
    model = KINDS[name](1.0, 1e-9).fit(table)
    del frame, table
    gc.collect()
    model.save(tmp_path / "model.npz")
    with zipfile.ZipFile(tmp_path / "model.npz") as archive:
        saved = b"".join(archive.read(n) for n in archive.namelist())
    written = (saved + (tmp_path / "answers.jsonl").read_bytes()).decode("latin-1")
    values = {repr(v) for v in reachable(model) if not hasattr(v, "__dict__") or isinstance(v, type)}
    sampled = model.sample(500).to_csv()
    for text in (written, "\n".join(values), repr(model), sampled):
        assert TOKEN not in text
        assert not [s for s in secrets if s in text]
    assert not any(isinstance(v, pd.DataFrame | pd.Series) for v in reachable(model))


@each_generator
def test_errors_hold_no_cell(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = SCHEMAS["units"].with_columns(SCHEMAS["units"].columns)
    frame = tokens(20)[["id", "a", "o", "n"]]

    def broken(*_: Any) -> Any:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr("dpsynth.privacy.noise.SystemNoise.add_discrete_gaussian", broken)
    with pytest.raises(RuntimeError) as raised:
        KINDS[name](1.0, 1e-9).fit(frame, schema)
    assert TOKEN not in "".join(traceback.format_exception(raised.value))


@each_generator
def test_a_saved_model_samples_as_the_fitted_one(name: str, tmp_path: Path) -> None:
    for kind, schema in SCHEMAS.items():
        model = KINDS[name](1.0, 1e-6).fit(frame_of(schema, 3000), schema)
        model.save(tmp_path / "model.npz")
        again = load(tmp_path / "model.npz")
        pd.testing.assert_frame_equal(model.sample(200, seed=4), again.sample(200, seed=4), obj=kind)
        assert (again.spent, again.granted, again.stamp, again.events) == (model.spent, model.granted, model.stamp, model.events)


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.write_text, (Path("/tmp/dpsynth-bomb"), "boom"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"junk" * 99, pickle.dumps(Bomb())])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="not a model"):
        load(path)
    with pytest.raises(BadInput, match="no such model"):
        load(tmp_path / "absent.npz")


def test_a_model_with_a_pickle_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "model.npz", Path("/tmp/dpsynth-bomb")
    mark.unlink(missing_ok=True)
    header = np.frombuffer(b'{"format": "dpsynth-model/3"}', dtype=np.uint8)
    np.savez(path, header=np.array([Bomb()], dtype=object))
    with pytest.raises(BadInput, match="not a model"):
        load(path)
    np.savez(path, header=header, clique0=np.array([Bomb()], dtype=object))
    with pytest.raises(BadInput, match="not a model"):
        load(path)
    np.save(tmp_path / "one.npy", header)
    with pytest.raises(BadInput, match="not a model"):
        load(tmp_path / "one.npy")
    assert not mark.exists()


@each_generator
def test_global_random_states_are_untouched_and_fits_differ(name: str) -> None:
    schema = SCHEMAS["closed"]
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    models = [KINDS[name](1.0, 1e-9).fit(frame_of(schema), schema) for _ in range(2)]
    models[0].sample(50)
    models[0].sample(50, seed=3)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert any((m.values != n.values).any() for m, n in zip(models[0].answers, models[1].answers, strict=True))
    assert not models[0].sample(200).equals(models[0].sample(200))


def test_no_module_uses_a_global_random_state_or_a_pickle() -> None:
    for path in Path(dpsynth.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert not re.search(
            r"np\.random\.(?!default_rng|Generator|SeedSequence|PCG64)|(?<![\w.])random\.(?!Random\()\w|\bfrom random import\b"
            r"|allow_pickle=True|\bimport (pickle|joblib|dill)\b",
            text,
        ), path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
                raise AssertionError(f"{path}: refuse, never warn")


WEIRD: dict[str, list[Any]] = {
    "mixed types": [1, True, 1.0, "x", b"x", None, (1,), 2.5],
    "lists and dicts": [[1, 2], {"a": 1}, np.array([1, 2]), {3}, [], [[]]],
    "nulls": [None, np.nan, pd.NaT, pd.NA, np.datetime64("NaT"), Decimal("NaN"), Decimal("sNaN")],
    "huge": [10**400, -(10**5000), 1e308, -np.inf, np.inf, Decimal("1e9999"), "1e9999", "9" * 5000, "-1"],
    "times": [pd.Timestamp("2020-01-01"), pd.Timedelta(1, "D"), pd.Period("2020"), "2020-01-01"],
    "broken text": ["\ud800", "a\x00b", "\x00", "\ufeff", "x" * 20_000, "\r\n", '"', "NaN", "x "],
    "constant": ["x"] * 5,
    "all missing": [None] * 5,
    "one row": ["x"],
    "no row": [],
}


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError(TOKEN)


WEIRD["unspeakable"] = [Unspeakable(), "x"]


@each_generator
@pytest.mark.parametrize("kind", WEIRD)
def test_what_cells_hold_never_refuses(name: str, kind: str, tmp_path: Path) -> None:
    cells = pd.Series(WEIRD[kind], dtype=object)
    schema = schema_of({"id": {"type": "id"}, "a": A, "o": OPEN, "n": N, "m": OPEN_NUMBER, "i": {"type": "integer"}}, PERSON | {"max_rows": 2})
    for repeats in (1, 300):
        many = pd.concat([cells] * repeats, ignore_index=True)
        frame = pd.DataFrame(dict.fromkeys(schema.names, many))
        frame["id"] = [f"u{i}" for i in range(len(frame))] if repeats > 1 else frame["id"]
        model = KINDS[name](3.0, 1e-6).fit(frame, schema)
        model.save(tmp_path / "m.npz")
        rows = load(tmp_path / "m.npz").sample(50)
        assert fits(rows, model)
        rows.to_parquet(tmp_path / "rows.parquet")
        rows.to_csv(tmp_path / "rows.csv")


def fits(rows: pd.DataFrame, model: Model) -> bool:
    """Whether sampled rows fit the released schema."""
    for column in model.schema.synthesised:
        held = rows[column.name].dropna()
        if column.is_number:
            low, high = column.bounds or (0, 0)
            assert (held.between(low, high) | held.isin(column.special)).all(), column
        else:
            assert set(held) <= {*(column.categories or ()), *(["other"] if column.on_unknown == "other" else [])}, column
    return list(rows.columns) == [c.name for c in model.schema.synthesised]


def test_rows_to_sample_are_a_whole_number() -> None:
    model = GENERATORS["independent"](1.0, 1e-9).fit(frame_of(SCHEMAS["closed"]), SCHEMAS["closed"])
    assert len(model.sample(0)) == 0
    assert list(model.sample(0).columns) == ["a", "n", "c"]
    assert MOST_ROWS == MAX_ROWS
    for wrong in (-1, 1.5, True, "9", MOST_ROWS + 1, 10**30):
        with pytest.raises(BadInput, match="rows"):
            model.sample(wrong)  # type: ignore[arg-type]


def test_a_frame_that_is_not_the_schemas_is_refused_with_all_faults() -> None:
    fit = GENERATORS["mst"](1.0, 1e-9).fit
    with pytest.raises(BadInput, match=r"'a'.*\n.*'n'"):
        fit(pd.DataFrame({"c": [1]}), SCHEMAS["closed"])
    with pytest.raises(BadInput, match="schema"):
        fit(pd.DataFrame({"c": [1]}))
    with pytest.raises(BadInput, match="more than once"):
        fit(pd.DataFrame([["x", "y", 1]], columns=["a", "a", "n"]), SCHEMAS["two columns"])


def test_generators_by_name() -> None:
    assert all(generator_named(n) is g for n, g in GENERATORS.items())
    with pytest.raises(BadInput, match="'nonesuch' is unknown; write one of independent"):
        generator_named("nonesuch")


@pytest.mark.parametrize("name", sorted(DEEP))
def test_without_the_extra_a_generator_that_trains_is_refused_with_what_installs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda module: None if module == "opacus" else module)
    with pytest.raises(BadInput, match=r'needs the extra deep \(opacus not installed\); pip install "dpsynth\[deep\]"'):
        generator_named(name)


@each_generator
@pytest.mark.parametrize(("epsilon", "delta"), [(0, 1e-9), (-1.0, 1e-9), (float("nan"), 1e-9), (1.0, 0.0), (1.0, "x"), (True, 1e-9), (None, 1e-9)])
def test_budgets_that_are_none_are_refused_at_construction(name: str, epsilon: Any, delta: Any) -> None:
    with pytest.raises(BadInput):
        KINDS[name](epsilon, delta)


def test_a_seeded_table_makes_a_model_that_says_so() -> None:
    schema = SCHEMAS["closed"]
    models = [GENERATORS["mst"](1.0, 1e-9).fit(seeded_table(frame_of(schema), schema, 5)) for _ in range(2)]
    assert models[0].stamp == "not private"
    pd.testing.assert_frame_equal(models[0].sample(50, seed=1), models[1].sample(50, seed=1))


def test_the_request_alone_decides_the_events() -> None:
    assert Request(1.0, 1e-9, True, "").cost_in(GDP).delta_ticks > 0 == Request(1.0, 1e-9, False, "").cost_in(GDP).delta_ticks


def tv(real: pd.DataFrame, made: pd.DataFrame) -> float:
    from itertools import combinations

    apart = []
    for pair in combinations(real.columns, 2):
        shares = [f[list(pair)].value_counts(normalize=True) for f in (real, made)]
        apart.append(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)
    return float(np.mean(apart))


def test_mst_keeps_what_goes_together_better_than_independent_on_the_survey(survey: tuple[pd.DataFrame, Schema]) -> None:
    frame, schema = survey
    from dpsynth.encoding import public_attribute

    def coded(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({c.name: public_attribute(c).encode(rows[c.name], ".") for c in schema.synthesised})

    errors = {n: tv(coded(frame), coded(GENERATORS[n](1.0, 1e-9).fit(frame, schema).sample())) for n in ("mst", "independent")}
    assert errors["independent"] > 1.3 * errors["mst"]
