"""What the README tells people to type works, as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from dpsynth.cli import main
from dpsynth.cli.parser import parse
from dpsynth.schema import Schema

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Every dpsynth command of the shell blocks, comments cut off, without the program's name."""
    lines = (line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines())
    return [shlex.split(part)[1:] for line in lines for part in line.split("&&") if part.strip().startswith("dpsynth ")]


def test_there_is_something_to_try() -> None:
    assert len(commands()) >= 8 and blocks("python")


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_each_command_is_one(words: list[str]) -> None:
    assert parse(words).run


def test_the_python_runs(survey: tuple[pd.DataFrame, Schema], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = survey[0][["Gender", "AgeInYearsAtScreening"]].iloc[:500]
    frame.to_csv("people.csv", index=False)
    assert main(["init", "people.csv", "--one-row-per-person"]) == 0
    assert main(["ledger", "create", "people.db", "--dataset", "people", "--epsilon", "3", "--delta", "1e-6"]) == 0
    names = {"frame": frame}
    exec(blocks("python")[0], names)
    assert len(names["rows"]) == 10_000


def test_the_first_commands_of_a_custodian_run_in_order(survey: tuple[pd.DataFrame, Schema], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    survey[0].iloc[:400].to_csv("people.csv", index=False)
    (tmp_path / "codebook.csv").write_text("name,label,type,min,max,values,missing,unit\nGender,Gender,categorical,,,Female|Male,,\n")
    done = {words[0]: main(words) for words in commands() if words[0] in ("init", "schema", "plan", "ledger", "release", "split")}
    assert done == {"init": 0, "schema": 0, "plan": 0, "ledger": 0, "release": 4, "split": 0}
