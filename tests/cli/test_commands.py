"""The other commands, each on real or small input, as people and programs read them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import Workbook

import dpsynth
from dpsynth.cli import main
from dpsynth.privacy import Cost, Ledger
from dpsynth.schema import Schema
from dpsynth.synthesizers import Independent
from dpsynth.tables.survey import SurveyTable

SECRET = "zqxsecretcell"


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    """A command with --json: what it printed, which must be one object and nothing else."""
    code = main([*map(str, words), "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["exit"] == code
    return document


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(list(map(str, words))) == 0
    return capsys.readouterr().out


@pytest.fixture
def people(tmp_path: Path) -> Path:
    table = tmp_path / "people.csv"
    table.write_text("id,age,job,weight\n" + "".join(f"{i},{i % 90},{SECRET},{i / 7}\n" for i in range(60)))
    return table


@pytest.fixture
def survey_files(tmp_path: Path, survey: tuple[pd.DataFrame, Schema]) -> tuple[Path, Path]:
    """The survey as a CSV with its schema."""
    table, schema = tmp_path / "survey.csv", tmp_path / "survey.json"
    survey[0].to_csv(table, index=False)
    schema.write_text(survey[1].to_json())
    return table, schema


class TestInit:
    def test_draft_runs_as_it_is_and_holds_no_value(self, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "schema.toml"
        document = run(capsys, "init", people, "--unit", "id", "--out", out)
        schema = Schema.load(out)
        assert SECRET not in out.read_text() and document["open"] == 3
        assert schema.unit.columns == ("id",) and schema.column("id").type == "id" and all(c.is_open for c in schema.synthesised)

    @pytest.mark.parametrize("kind", ["csv", "xlsx"])
    def test_dictionary(self, kind: str, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rows = [
            ["name", "label", "type", "min", "max", "values", "missing", "unit"],
            ["age", "Age", "integer", "0", "120", "", "99", "years"],
            ["job", "Job", "categorical", "", "", "1=nurse|2=clerk", "", ""],
        ]
        dictionary = tmp_path / f"book.{kind}"
        if kind == "csv":
            dictionary.write_text("\n".join(",".join(row) for row in rows))
        else:
            book = Workbook()
            for row in rows:
                book.active.append(row)
            book.save(dictionary)
        out = tmp_path / "schema.toml"
        run(capsys, "init", people, "--one-row-per-person", "--dictionary", dictionary, "--out", out)
        schema = Schema.load(out)
        assert (
            schema.column("age").bounds == (0, 120) and schema.column("age").missing == ("99",) and schema.column("age").description == "Age (years)"
        )
        assert schema.column("job").categories == ("1", "2")

    def test_parquet_types_and_sdv_metadata(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        table = tmp_path / "t.parquet"
        pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": ["x", SECRET], "d": ["u", "v"]}).to_parquet(table)
        metadata = tmp_path / "metadata.json"
        metadata.write_text(json.dumps({"columns": {"d": {"sdtype": "id"}}}))
        out = tmp_path / "schema.toml"
        run(capsys, "init", table, "--one-row-per-person", "--dictionary", metadata, "--out", out)
        assert [c.type for c in Schema.load(out).columns] == ["integer", "continuous", "categorical", "id"]

    def test_separator(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        table = tmp_path / "t.csv"
        table.write_text("a;b\n1;2\n")
        run(capsys, "init", table, "--one-row-per-person", "--separator", ";", "--out", tmp_path / "s.toml")
        assert Schema.load(tmp_path / "s.toml").file.separator == ";"

    @pytest.mark.parametrize(
        ("words", "said"),
        [(["--unit", "who"], "'who' is not a column"), (["--one-row-per-person", "--dictionary", "/nowhere.csv"], "no such dictionary")],
    )
    def test_faults(self, words: list[str], said: str, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        document = run(capsys, "init", people, *words, "--out", tmp_path / "s.toml")
        assert document["exit"] == 2 and said in document["error"] and not (tmp_path / "s.toml").exists()


def test_schema_check_names_lines_and_costs(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(people), "--unit", "id", "--out", str(tmp_path / "s.toml")])
    capsys.readouterr()
    points = run(capsys, "schema", "check", tmp_path / "s.toml")["open_points"]
    assert {p["column"] for p in points} == {"age", "job", "weight", "id", ""}
    assert all(p["line"] for p in points) and all(p["epsilon"] > 0 for p in points if p["column"] in ("age", "job", "weight"))


def test_a_plan_tells_two_times_where_they_are_far_apart(survey_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--schema", str(survey_files[1]), "--units", "8366", "--epsilon", "1", "--generator", "aim"]) == 0
    assert re.search(r"\d+ to \d+", capsys.readouterr().out)
    assert main(["plan", "--schema", str(survey_files[1]), "--units", "300", "--epsilon", "1", "--generator", "aim"]) == 0
    few = capsys.readouterr().out
    assert not re.search(r"\d+ to \d+ ", few.split("column error: expected")[0])
    assert "At epsilon 1 each column is told of by itself only" in few


def test_plan_reads_no_rows_and_gets_better_with_epsilon(survey_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    plan = run(capsys, "plan", "--schema", survey_files[1], "--units", "8366", "--epsilon", "0.5,1,3")["plan"]
    assert [p["epsilon"] for p in plan] == [0.5, 1, 3]
    assert plan[0]["column_error"] > plan[1]["column_error"] > plan[2]["column_error"] and all(p["can_pass"] for p in plan)
    few = run(capsys, "plan", "--schema", survey_files[1], "--units", "300", "--epsilon", "1")["plan"][0]
    assert not few["can_pass"]
    assert plan[1]["structure"] and not few["structure"]
    strict = run(capsys, "plan", "--schema", survey_files[1], "--units", "8366", "--epsilon", "1", "--policy", "strict-public")["plan"][0]
    assert strict["control_share"] > plan[0]["control_share"]


@pytest.mark.parametrize(
    ("words", "fault"), [(["--units", "x"], "--units"), (["--units", "10", "--epsilon", "1,nan"], "epsilon"), ([], "--units 10000")]
)
def test_plan_faults(words: list[str], fault: str, survey_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    document = run(capsys, "plan", "--schema", survey_files[1], *words)
    assert document["exit"] == 2 and fault in document["error"]


def test_ledger_create_show_verify_reopen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "l.db"
    assert run(capsys, "ledger", "create", path, "--dataset", "d", "--epsilon", "3", "--delta", "1e-6")["exit"] == 0
    assert run(capsys, "ledger", "create", path, "--dataset", "d", "--epsilon", "3", "--delta", "1e-6")["exit"] == 2
    shown = run(capsys, "ledger", "show", path)
    assert shown["spent"]["epsilon"] == 0 and shown["largest_epsilon"] == pytest.approx(3, rel=1e-6)
    assert run(capsys, "ledger", "reopen", path, "--reason", "board of 3 May")["exit"] == 0
    assert run(capsys, "ledger", "verify", path)["head"]
    assert run(capsys, "ledger", "create", tmp_path / "m.db", "--dataset", "d", "--epsilon", "nan", "--delta", "2")["exit"] == 2
    content = path.read_bytes()
    path.write_bytes(content.replace(b"board of 3 May", b"board of 4 May"))
    assert run(capsys, "ledger", "verify", path)["exit"] == 6


def test_a_ledger_says_its_currency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--dataset", "d", "--epsilon", "3", "--delta", "1e-6")
    assert run(capsys, "ledger", "create", tmp_path / "g.db", *words)["currency"] == "gdp"
    assert run(capsys, "ledger", "create", tmp_path / "z.db", *words, "--currency", "zcdp", "--another", "to compare")["currency"] == "zcdp"
    shown = run(capsys, "ledger", "show", tmp_path / "z.db")
    assert shown["currency"] == "zcdp" and shown["largest_epsilon"] == pytest.approx(3, rel=1e-6)
    assert main(["ledger", "show", str(tmp_path / "z.db")]) == 0 and "2 rho 0 of" in capsys.readouterr().out
    wrong = run(capsys, "ledger", "create", tmp_path / "r.db", "--dataset", "d", "--epsilon", "nan", "--delta", "1e-6", "--currency", "rdp")
    assert wrong["exit"] == 2 and "epsilon" in wrong["error"] and "write one of gdp, zcdp" in wrong["error"]
    assert not (tmp_path / "r.db").exists()


def test_profile_is_charged_and_names_the_line(survey: tuple[pd.DataFrame, Schema], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame, schema = survey[0].copy(), survey[1]
    frame["TotalCholesterolMgdl"] = "9999"
    frame["Gender"] = SECRET
    table, path, ledger = tmp_path / "t.csv", tmp_path / "s.json", Ledger.create(tmp_path / "l.db", schema.name, 1.0, 1e-9)
    frame.to_csv(table, index=False)
    path.write_text(schema.to_json())
    words = ("profile", table, "--schema", path, "--ledger", tmp_path / "l.db", "--epsilon", "0.9")
    columns = {c["column"]: c for c in run(capsys, *words)["columns"]}
    assert (
        columns["TotalCholesterolMgdl"]["shares"]["above"] == pytest.approx(1, abs=0.05) and "bounds" in columns["TotalCholesterolMgdl"]["advice"][0]
    )
    assert columns["Gender"]["shares"]["unlisted"] == pytest.approx(1, abs=0.05) and SECRET not in json.dumps(columns)
    assert columns["MaritalStatus"]["shares"]["missing"] == pytest.approx(0.37, abs=0.05)
    assert ledger.spent.amount > 0
    spent = ledger.spent
    assert run(capsys, *words)["exit"] == 5 and ledger.spent == spent


def test_sample_is_free_repeatable_and_marked(survey: tuple[pd.DataFrame, Schema], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.npz"
    Independent(1.0, 1e-9).fit(survey[0].iloc[:500], survey[1]).save(model)
    one, two = tmp_path / "a.csv", tmp_path / "b.parquet"
    assert "not for release" in run(capsys, "sample", model, "--rows", "50", "--seed", "7", "--out", one)["note"]
    run(capsys, "sample", model, "--rows", "50", "--seed", "7", "--out", two)
    left = pd.read_csv(one, dtype=str, keep_default_na=False)
    assert len(left) == 50 and list(left["Gender"]) == list(pd.read_parquet(two)["Gender"].fillna(""))
    assert "synthetic" in (tmp_path / "a.csv.note.txt").read_text()
    assert run(capsys, "sample", model, "--rows", "-1", "--out", tmp_path / "c.csv")["exit"] == 2
    assert run(capsys, "sample", one, "--rows", "5", "--out", tmp_path / "d.csv")["exit"] == 2


def test_split_attack_and_statement(survey_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "split"
    rows = run(capsys, "split", survey_files[0], "--schema", survey_files[1], "--out", out)["rows"]
    assert sum(rows.values()) == 8366 and rows["train"] / 8366 == pytest.approx(0.7, abs=0.03)
    copied = run(capsys, "attack", "--split", out, "--synthetic", out / "train.csv", "--out", tmp_path / "audit")
    assert copied["exit"] == 3 and copied["verdict"] == "FAIL"
    assert run(capsys, "verify", tmp_path / "audit")["exit"] == 3
    assert {"train", "control", "reference", "synthetic", "schema", "manifest"} == set(
        json.loads((tmp_path / "audit" / "statement.json").read_text())["inputs_sha256"]
    )
    given = ["attack", "--split", out, "--synthetic", out / "train.csv", "--schema"]
    (tmp_path / "other.json").write_text(survey_files[1].read_text().replace('"name": "', '"name": "another ', 1))
    refused = run(capsys, *given, tmp_path / "other.json")
    assert refused["exit"] == 2 and "split by" in refused["error"]
    claimed = run(capsys, *given, survey_files[1], "--claim-epsilon", "1", "--claim-delta", "1e-9")
    assert "claim_violated" in {r["code"] for r in claimed["reasons"]} and claimed["claim"]["outcome"] == "refuted"
    (out / "control.csv").write_text((out / "control.csv").read_text() + "\n")
    assert run(capsys, "attack", "--split", out, "--synthetic", out / "train.csv")["exit"] == 6


def test_attack_without_control_is_inconclusive_or_fails(survey_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, schema = survey_files
    fresh, train = tmp_path / "fresh.csv", tmp_path / "train.csv"
    lines = table.read_text().splitlines(keepends=True)
    train.write_text("".join(lines[:4000]))
    fresh.write_text("".join(lines[:1] + lines[4000:]))
    document = run(capsys, "attack", "--train", train, "--synthetic", fresh, "--schema", schema, "--claim-epsilon", "1")
    assert document["exit"] == 4 and "no_control" in {r["code"] for r in document["reasons"]} and document["claim"]["outcome"] == "not tested"
    assert run(capsys, "attack", "--train", train, "--synthetic", train, "--schema", schema)["exit"] == 3
    assert run(capsys, "attack", "--synthetic", fresh)["exit"] == 2


def test_demo_takes_the_next_free_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dpsynth.releasing.pipeline._Steps.go", lambda self: pytest.fail(f"went on in {self.run.out}"))
    (tmp_path / "dpsynth-demo").mkdir()
    (tmp_path / "dpsynth-demo-2.ledger.db").touch()
    with pytest.raises(pytest.fail.Exception, match="went on in dpsynth-demo-3"):
        main(["demo"])


def test_demo_and_partner(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "demo"
    document = run(capsys, "demo", "--out", out)
    assert document["verdict"] in ("PASS", "INCONCLUSIVE")
    assert run(capsys, "demo", "--out", out)["exit"] == 2
    if document["verdict"] == "PASS":
        bundle, public = document["bundle"], tmp_path / "custodian.pem"
        run(capsys, "key", "export", public)
        monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "partner"))
        stranger = run(capsys, "verify", bundle)
        assert stranger["exit"] == 6 and "key trust" in json.dumps(stranger)
        run(capsys, "key", "trust", public, "--name", "hospital")
        assert run(capsys, "verify", bundle, "--max-epsilon", "1", "--unit", "row", "--policy", "partner-contract")["exit"] == 0
        assert run(capsys, "verify", bundle, "--max-epsilon", "0.5")["exit"] == 6
        assert [k["name"] for k in run(capsys, "key", "list")["keys"]] == ["hospital"]


def test_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "key", "show")["exit"] == 2
    made = run(capsys, "key", "create")["fingerprint"]
    assert run(capsys, "key", "create")["exit"] == 2
    assert run(capsys, "key", "show")["fingerprint"] == made == run(capsys, "key", "list")["keys"][0]["fingerprint"]


def test_doctor_tries_what_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    findings = {f["what"]: f for f in run(capsys, "doctor")["findings"]}
    assert all(findings[name]["works"] for name in ("noise", "accounting", "ledger", "extra attacks", "extra demo"))


def test_dry_run_spends_nothing(survey_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger.create(tmp_path / "l.db", "nhanes_demo", 1.0, 1e-9)
    words = ("release", survey_files[0], "--schema", survey_files[1], "--ledger", tmp_path / "l.db", "--epsilon", "1", "--delta", "1e-9")
    before = sorted(p.name for p in tmp_path.iterdir())
    assert run(capsys, *words, "--out", tmp_path / "out", "--dry-run")["dry_run"]
    assert ledger.spent == Cost() and sorted(p.name for p in tmp_path.iterdir()) == before


def test_what_is_too_little_for_more_than_columns_is_said_before_it_is_spent(
    survey_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, path = survey_files
    path.write_text(json.dumps(Schema.load(path).to_dict() | {"n_public": {"value": 8366, "source": "report"}}))
    ledger = Ledger.create(tmp_path / "l.db", "nhanes_demo", 1.0, 1e-9)
    words = ["release", table, "--schema", path, "--ledger", tmp_path / "l.db", "--delta", "1e-9", "--out", tmp_path / "out", "--dry-run"]
    for asked, told in (([0.02, "mst"], True), ([0.02, "independent"], False), ([1, "mst"], False)):
        epsilon, generator = map(str, asked)
        assert told == ("told of by itself only" in "".join(run(capsys, *words, "--epsilon", epsilon, "--generator", generator)["notes"]))
    said: list[str] = []

    def stop_at_the_charge(step: str) -> None:
        said.append(step)
        if step == "charge":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dpsynth.release(table, Schema.load(path), ledger=ledger, epsilon=0.02, delta=1e-9, out=tmp_path / "out", progress=stop_at_the_charge)
    assert "told of by itself only" in said[0] and said[1:] == ["charge"] and ledger.spent == Cost()


def test_survey_schema_is_the_packages_own(survey: tuple[pd.DataFrame, Schema]) -> None:
    assert len(survey[0]) == 8366 and SurveyTable(survey[1]).header() == survey[1].names


def test_help_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    helped = capsys.readouterr().out
    assert all(command in helped for command in ("demo", "init", "plan", "release", "verify", "attack", "doctor"))
