"""Copies in disguise: spelled otherwise, or with a trace of noise. What no attack can read does not pass either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attacks import Claim, evaluate
from attacks.evidence import Evidence
from dpsynth.privacy.unit import KEY_BYTES
from dpsynth.releasing.split import Split, divide
from dpsynth.schema import Column, PrivacyUnit, Schema
from dpsynth.tables import FileTable

KEY = bytes(range(KEY_BYTES))  # always the same split: by chance a sound table is held back now and then


@pytest.fixture(scope="module")
def parts(survey: tuple[pd.DataFrame, Schema]) -> tuple[Split, pd.DataFrame, Schema]:
    """A split of the survey, and fresh rows that were in no part of it."""
    people, schema = survey
    order = np.random.default_rng(4).permutation(len(people))
    return divide(people.iloc[order[:6000]], schema, KEY, (0.6, 0.2, 0.2)), people.iloc[order[6000:]], schema


def numbers(change: Callable[[float], str]) -> Callable[[pd.DataFrame, Schema], pd.DataFrame]:
    def disguise(rows: pd.DataFrame, schema: Schema) -> pd.DataFrame:
        names = [c.name for c in schema.columns if c.is_number]
        return rows.assign(**{n: rows[n].map(lambda cell: change(float(cell)) if cell else cell) for n in names})

    return disguise


DISGUISES: dict[str, Callable[[pd.DataFrame, Schema], pd.DataFrame]] = {
    "capitals": lambda rows, schema: rows.map(str.upper),
    "outer space": lambda rows, schema: rows.map(lambda cell: f" {cell} " if cell else cell),
    "another spelling of numbers": numbers(lambda x: f"{x:.3e}"),
    "a suffix": numbers(lambda x: f"{x}x"),
    "a millionth of noise": numbers(lambda x: repr(x * (1 + 1e-6))),
    "a thousandth of noise": numbers(lambda x: repr(x * (1 + 1e-3))),
}


@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_five_per_cent_of_copies_do_not_pass(disguise: str, claimed: bool, parts: tuple[Split, pd.DataFrame, Schema]) -> None:
    split, fresh, schema = parts
    copies = DISGUISES[disguise](split.train.iloc[: len(fresh) // 20], schema)
    synthetic = pd.concat([fresh.iloc[len(copies) :], copies], ignore_index=True)
    report = evaluate(split.train, split.control, synthetic, schema, split.reference, claim=Claim(1.0, 1e-9) if claimed else None, seed=1)
    assert report.verdict != "PASS"


def test_fresh_rows_pass_in_capitals_too(parts: tuple[Split, pd.DataFrame, Schema]) -> None:
    split, fresh, schema = parts
    report = evaluate(split.train, split.control, fresh.map(str.upper), schema, split.reference, claim=Claim(1.0, 1e-9), seed=1)
    assert not [r for r in report.reasons if r.code == "missing_evidence"] and report.verdict == "PASS"


def test_unreadable_cells_are_named_by_column(parts: tuple[Split, pd.DataFrame, Schema]) -> None:
    split, fresh, schema = parts
    hidden = fresh.assign(Gender="secret", TotalCholesterolMgdl="12 mg")
    report = evaluate(split.train, split.control, hidden, schema, split.reference, claim=Claim(1.0, 1e-9), seed=1)
    assert {r.column for r in report.reasons if r.code == "missing_evidence"} == {"Gender", "TotalCholesterolMgdl"}


AGE = "AgeInYearsAtScreening"


def record(rows: pd.DataFrame) -> pd.Series:
    """Each row's cells in one."""
    return rows.astype(str).agg("|".join, axis=1)


def written_out(fresh: pd.DataFrame, copies: pd.DataFrame, column: str) -> pd.DataFrame:
    """Whole records of two people in cells of a column."""
    told = fresh[column].astype(object).to_numpy(copy=True)
    told[:2] = record(copies)[:2]
    return fresh.assign(**{column: told})


HIDING: dict[str, tuple[str, Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]]] = {
    "two records among numbers": (AGE, lambda fresh, copies: written_out(fresh, copies, AGE)),
    "two records among categories": ("Gender", lambda fresh, copies: written_out(fresh, copies, "Gender")),
    "a record behind each category": ("Gender", lambda fresh, copies: fresh.assign(Gender=fresh["Gender"].to_numpy() + record(copies).to_numpy())),
    "other units": (AGE, lambda fresh, copies: fresh.assign(**{AGE: [str(float(age) * 1000 + 7) for age in copies[AGE]]})),
    "digits behind the point": (
        AGE,
        lambda fresh, copies: fresh.assign(**{AGE: [f"{float(age):.0f}.000{i:04}1" for i, age in enumerate(fresh[AGE])]}),
    ),
    "infinite": (AGE, lambda fresh, copies: fresh.assign(**{AGE: ["inf", *fresh[AGE][1:]]})),
}


@pytest.mark.parametrize("gender", ["listed", "other", "open"])
@pytest.mark.parametrize("hiding", HIDING)
def test_what_no_attack_compares_makes_a_column_unreadable(hiding: str, gender: str, parts: tuple[Split, pd.DataFrame, Schema]) -> None:
    split, fresh, schema = parts
    changed: dict[str, Any] = {"listed": {}, "other": {"on_unknown": "other"}, "open": {"categories": None}}[gender]
    schema = replace(schema, columns=tuple(replace(c, **changed) if c.name == "Gender" else c for c in schema.columns))
    column, hide = HIDING[hiding]
    synthetic = hide(fresh, split.train.iloc[: len(fresh)])
    found = Evidence.collect(split.train, split.control, synthetic, schema, split.reference, np.random.default_rng(0))
    assert found.unreadable == (column,)


def test_new_texts_are_read_as_often_as_people_bring_some() -> None:
    """No false alarm where each third person has a text of their own, and one where synthetic rows have twice as many."""
    schema = Schema("texts", (Column("word", "categorical"),), PrivacyUnit("row"))

    def words(start: int, own: int) -> pd.DataFrame:
        return pd.DataFrame({"word": [f"own {start + i}" if i < own else "common" for i in range(600)]})

    people = words(0, 200), words(10_000, 200), words(20_000, 200)
    for own, unread in ((200, ()), (400, ("word",))):
        found = Evidence.collect(people[0], people[1], words(30_000, own), schema, people[2], np.random.default_rng(0))
        assert found.unreadable == unread


def test_bounds_are_broken_as_often_as_people_break_them() -> None:
    schema = Schema("numbers", (Column("age", "integer", bounds=(0, 80)),), PrivacyUnit("row"))

    def ages(old: int) -> pd.DataFrame:
        return pd.DataFrame({"age": ["90"] * old + ["40"] * (600 - old)})

    for old, unread in ((12, ()), (60, ("age",))):
        found = Evidence.collect(ages(10), ages(12), ages(old), schema, ages(8), np.random.default_rng(0))
        assert found.unreadable == unread


def test_truths_are_numbers_where_numbers_are_meant() -> None:
    """Other tools write True for 1."""
    schema = Schema("truths", (Column("listed", "categorical", ("0", "1.0")), Column("number", "integer", bounds=(0, 1))), PrivacyUnit("row"))
    people = pd.DataFrame({"listed": ["0", "1"] * 300, "number": ["1", "0"] * 300})
    found = Evidence.collect(people, people, people == "1", schema, people, np.random.default_rng(0))
    assert found.unreadable == () and found.synthetic.codes.tolist() == found.train.codes.tolist()
    assert found.synthetic.numbers.tolist() == found.train.numbers.tolist()


@pytest.mark.parametrize("line", ['1,"open', "1,a,b,c", '"', "", "1", '"1"x,"a""b",', "\x00,\x00", ",".join("9" * 3000)])
def test_a_line_moves_no_other_line(line: str, tmp_path: Path) -> None:
    """A CSV's records are its lines: what one holds changes nothing in the others, wherever it stands."""
    clean = [f"{i},{'abc'[i % 3]}" for i in range(3000)]

    def read(lines: list[str]) -> list[tuple[str, str]]:
        path = tmp_path / "t.csv"
        path.write_text("\n".join(["n,c", *lines]) + "\n")
        return list(FileTable(path).rows().itertuples(index=False, name=None))

    base = read(clean)
    for place in (0, 1500, 3000):
        with_line = read([*clean[:place], line, *clean[place:]])
        assert len(with_line) - len(base) in (0, 1)
        assert with_line[:place] == base[:place] and with_line[len(with_line) - len(base) + place :] == base[place:]


def test_a_seed_repeats_every_figure(parts: tuple[Split, pd.DataFrame, Schema]) -> None:
    """A resumed run must not be able to draw another verdict."""
    split, fresh, schema = parts

    def figures() -> list[tuple[str, float | None, tuple[float, float] | None]]:
        report = evaluate(split.train, split.control, fresh, schema, split.reference, claim=Claim(1.0, 1e-9), seed=7)
        return [(e.name, e.estimate and e.estimate.effect, e.estimate and (e.estimate.lower, e.estimate.upper)) for e in report.endpoints]

    assert figures() == figures()
