"""Bad input: exit 2, all faults at once, nothing spent, nothing left behind, never a value from the data."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dpsynth.cli import main
from dpsynth.privacy import Cost, Ledger

SECRET = "zqxsecretcell"
COLUMNS = [
    {"name": "age", "type": "integer", "bounds": [0, 100], "bounds_basis": "publisher"},
    {"name": "sex", "type": "categorical", "categories": ["f", "m"], "categories_basis": "publisher"},
]


@dataclass
class Desk:
    """A custodian's folder with a sound table, schema, ledger and policy; tests break one thing."""

    folder: Path
    options: dict[str, str] = field(default_factory=dict)

    @property
    def table(self) -> Path:
        return self.folder / "people.csv"

    @property
    def schema(self) -> Path:
        return self.folder / "schema.json"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    def write_schema(self, **changes: Any) -> None:
        document = {"name": "people", "privacy_unit": {"unit": "row"}, "columns": COLUMNS} | changes
        self.schema.write_text(json.dumps(document))

    def run(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
        options = {
            "schema": str(self.schema),
            "ledger": str(self.ledger),
            "epsilon": "1",
            "delta": "1e-9",
            "out": str(self.folder / "out"),
        } | self.options
        table = options.pop("table", str(self.table))
        code = main(["release", table, *(word for name, value in options.items() for word in (f"--{name}", value))])
        said = capsys.readouterr()
        assert said.out == "" or code == 0
        return code, said.err


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.table.write_text("age,sex\n" + "".join(f"{a},{SECRET}\n" for a in range(50)))
    desk.write_schema()
    Ledger.create(desk.ledger, "people", 3.0, 1e-6)
    return desk


def column(position: int, **changes: Any) -> Callable[[Desk], None]:
    columns = [dict(c) for c in COLUMNS]
    columns[position] |= changes
    return lambda desk: desk.write_schema(columns=columns)


def option(name: str, value: str) -> Callable[[Desk], None]:
    return lambda desk: desk.options.update({name: value})


def written(name: str, content: str | bytes) -> Callable[[Desk], None]:
    data = content.encode() if isinstance(content, str) else content

    def break_it(desk: Desk) -> None:
        (desk.folder / name).write_bytes(data)

    return break_it


def both(first: Callable[[Desk], None], second: Callable[[Desk], None]) -> Callable[[Desk], None]:
    def break_it(desk: Desk) -> None:
        first(desk)
        second(desk)

    return break_it


def policy(text: str) -> Callable[[Desk], None]:
    def break_it(desk: Desk) -> None:
        (desk.folder / "policy.toml").write_text(text)
        desk.options["policy"] = str(desk.folder / "policy.toml")

    return break_it


def other_ledger(desk: Desk) -> None:
    desk.ledger.unlink()
    Ledger.create(desk.ledger, "other people", 3.0, 1e-6)


def corrupt_ledger(desk: Desk) -> None:
    content = bytearray(desk.ledger.read_bytes())
    content[len(content) // 2 :] = b"\x5a" * (len(content) - len(content) // 2)
    desk.ledger.write_bytes(content)


FAULTS: dict[str, tuple[Callable[[Desk], None], str]] = {
    "table is missing": (option("table", "/nowhere/people.csv"), "no such file"),
    "not a table": (written("people.csv", b"\x00\x01\x02\xff\xfe"), "not a table"),
    "empty file": (written("people.csv", b""), "not a table"),
    "not a parquet": (
        both(written("people.parquet", "age,sex\n"), lambda d: option("table", str(d.folder / "people.parquet"))(d)),
        "not a Parquet file",
    ),
    "wrong separator": (written("people.csv", f"age;sex\n1;{SECRET}\n"), "one column found; is it `;`?"),
    "column missing": (written("people.csv", f"age,gender\n1,{SECRET}\n"), "column 'sex': in the schema but not in the table"),
    "column extra": (written("people.csv", f"age,sex,city\n1,f,{SECRET}\n"), "column 'city': in the table but not in the schema"),
    "no header": (written("people.csv", f"1,{SECRET}\n2,{SECRET}\n"), "none of the schema's columns is in the first line"),
    "duplicate names": (written("people.csv", f"age,sex,age\n1,f,{SECRET}\n"), "appears more than once"),
    "duplicate in schema": (lambda d: d.write_schema(columns=[*COLUMNS, COLUMNS[0]]), "declared more than once"),
    "unknown type": (column(0, type="timedelta"), "column 'age': type 'timedelta' is not served"),
    "unknown basis": (column(0, bounds_basis="hearsay"), "bounds_basis 'hearsay' is not a known basis"),
    "contradictory bounds": (column(0, bounds=[9, 3]), "the lower bound is not below the upper one"),
    "10^6 categories": (column(1, categories=[str(i) for i in range(10**6)]), "1,000,000 categories"),
    "no schema": (option("schema", "/nowhere/schema.json"), "no such schema file"),
    "schema not JSON": (written("schema.json", "{"), "not valid JSON"),
    "no unit": (lambda d: d.write_schema(privacy_unit=None), "no privacy unit"),
    **{f"epsilon {bad}": (option("epsilon", bad), "epsilon: not a number above 0") for bad in ("0", "-1", "nan", "inf", "True", "one", "")},
    **{f"delta {bad}": (option("delta", bad), "delta: not a number above 0") for bad in ("0", "-1e-9", "nan", "inf", "False", "tiny", "1")},
    "delta above 1/units": (
        both(lambda d: d.write_schema(n_public={"value": 50, "source": "report"}), option("delta", "0.05")),
        "above 1 / 50 units",
    ),
    "rows": (option("rows", "many"), "rows: not a whole number"),
    "more rows than any policy passes": (
        both(lambda d: d.write_schema(n_public={"value": 1000, "source": "report"}), option("rows", "12841")),
        "write at most 12840",
    ),
    "output under a file": (lambda d: option("out", str(d.table / "out"))(d), "is not a folder"),
    "output where nothing can be made": (option("out", "/proc/dpsynth-out"), "cannot be made"),
    "too little memory": (lambda d: d.write_schema(n_public={"value": 10**12, "source": "report"}), "MB are needed by the plan"),
    "output exists": (lambda d: option("out", str(d.folder))(d), "exists already"),
    "ledger missing": (option("ledger", "/nowhere/ledger.db"), "no such ledger"),
    "ledger of another": (other_ledger, "is the ledger of 'other people'"),
    "ledger corrupted": (corrupt_ledger, "not a sound ledger"),
    "ledger is text": (written("ledger.db", "epsilon,delta\n"), "not a sound ledger"),
    "policy unknown": (option("policy", "lax"), "lax"),
    "policy unknown key": (policy('name = "p"\nversion = 1\nleniency = 3\n'), "leniency: unknown key"),
    "generator unknown": (option("generator", "oracle"), "'oracle' is unknown"),
    "key missing": (option("key", "/nowhere/key.pem"), "/nowhere/key.pem"),
    "epsilon above policy": (option("epsilon", "20"), "above the 10 that policy partner-contract allows"),
    "delta above policy": (option("delta", "0.005"), "not below the 0.005 that policy partner-contract allows"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_refused_with_nothing_spent_and_nothing_left(name: str, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    break_it, words = FAULTS[name]
    break_it(desk)
    before = sorted(p.name for p in desk.folder.iterdir())
    code, said = desk.run(capsys)
    assert code == 2, said
    assert words in said
    assert "Traceback" not in said and SECRET not in said
    assert sorted(p.name for p in desk.folder.iterdir()) == before
    if "ledger" not in name:
        assert Ledger.open(desk.ledger).spent == Cost()


def test_all_faults_at_once(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.options |= {
        "epsilon": "nan",
        "delta": "0",
        "generator": "oracle",
        "policy": "lax",
        "table": "/nowhere.csv",
        "out": str(desk.folder),
        "rows": "-1",
    }
    _, said = desk.run(capsys)
    for words in ("epsilon:", "delta:", "oracle", "lax", "/nowhere.csv", "exists already", "rows:"):
        assert words in said


def test_extra_not_installed(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "anonymeter" else find(name, *a))
    code, said = desk.run(capsys)
    assert code == 2 and "anonymeter" in said and 'pip install "dpsynth[attacks]"' in said
    assert Ledger.open(desk.ledger).spent == Cost() and not (desk.folder / "out").exists()


def test_full_device_simulated(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    desk.options["out"] = str(desk.folder / "new" / "out")
    code, said = desk.run(capsys)
    assert code == 2 and "No space left on device" in said
    assert not (desk.folder / "new").exists() and Ledger.open(desk.ledger).spent == Cost()


def test_full_device_real(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    disk = desk.folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk here; the simulated one is tested")
    try:
        desk.options["out"] = str(disk / "out")
        code, said = desk.run(capsys)
        assert code == 2 and "No space left on device" in said
        assert list(disk.iterdir()) == [] and Ledger.open(desk.ledger).spent == Cost()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_budget_refuses_with_exit_5(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.options["epsilon"] = "5"
    code, said = desk.run(capsys)
    assert code == 5 and "no row was read" in said
    assert not (desk.folder / "out").exists() and Ledger.open(desk.ledger).spent == Cost()


def test_json_names_faults_and_nothing_else_is_printed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["release", str(desk.table), "--schema", str(desk.schema), "--json"])
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert code == document["exit"] == 2 and {f["where"] for f in document["faults"]} >= {"--ledger", "--epsilon", "--delta", "--out"}


@pytest.mark.parametrize("words", [[], ["nonsense"], ["release", "--nonsense"], ["ledger"], ["verify"], ["attack"], ["init", "x.csv"]])
def test_bad_usage_is_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "--help" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--dry-run"], ["--policy", "internal"], ["--generator", "independent"], ["--rows", "5"], ["--purpose", "x"]])
def test_a_resumed_run_keeps_its_own_options(words: list[str], desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "--resume", str(desk.folder / "out"), *words]) == 2
    assert f"{words[0]}: a resumed run" in capsys.readouterr().err


@pytest.mark.parametrize("header", ["a,,b", "a,a"])
def test_init_leaves_no_draft_that_does_not_load(header: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(header + "\n1,2,3\n")
    assert main(["init", str(tmp_path / "t.csv"), "--one-row-per-person", "--out", str(tmp_path / "s.toml")]) == 2
    assert not (tmp_path / "s.toml").exists()


MISPLACED = [
    "ledger {}",
    "ledger show a.db {}",
    "ledger create a.db --dataset d --epsilon 1 --delta 1e-6 --currency {}",
    "ledger verify a.db --certificate {} --more",
    "release {} --schema {} --ledger a.db --epsilon 1 --delta 1e-9 --out out",
    "release t.csv --schema nowhere.json --ledger {} --epsilon 1 --delta 1e-9 --out out",
    "profile t.csv --schema {} --ledger a.db --epsilon 1",
    "verify {}",
    "key export {}",
]


@pytest.mark.parametrize("scheme", ["postgresql", "POSTGRESQL", "postgresql+psycopg", "postgre"])
@pytest.mark.parametrize(
    "words", [*MISPLACED, "ledger show {}", "ledger create {} --dataset d --epsilon 1 --delta 1e-6", "ledger reopen {} --reason r"]
)
def test_an_address_misspelt_or_misplaced_does_not_show_its_password(
    words: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"{scheme}://custodian:{SECRET}@127.0.0.1:1/people?password={SECRET}"
    for line in (words.split(), [*words.split(), "--json"]):
        assert main([word.format(address) for word in line]) == 2
        captured = capsys.readouterr()
        assert SECRET not in captured.out + captured.err


def test_words_of_a_connection_are_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "show", f"host=h password={SECRET} dbname=people"]) == 2
    said = capsys.readouterr().err
    assert "ledger: is an address, and none of ours" in said and SECRET not in said
