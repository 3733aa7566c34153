"""Copies in disguise: spelled otherwise, or with a trace of noise. What no attack can read does not pass either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attacks import Claim, evaluate
from dpsynth.privacy.unit import new_key
from dpsynth.releasing.split import Split, divide
from dpsynth.schema import Schema
from dpsynth.tables import FileTable


@pytest.fixture(scope="module")
def parts(survey: tuple[pd.DataFrame, Schema]) -> tuple[Split, pd.DataFrame, Schema]:
    """A split of the survey, and fresh rows that were in no part of it."""
    people, schema = survey
    order = np.random.default_rng(4).permutation(len(people))
    return divide(people.iloc[order[:6000]], schema, new_key(), (0.6, 0.2, 0.2)), people.iloc[order[6000:]], schema


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
