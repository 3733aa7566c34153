"""A release from charge to bundle: resumed after kill -9, blind to neighbours, refused to noise that repeats."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dpsynth
from dpsynth.errors import BadInput, BudgetExceeded
from dpsynth.privacy import GDP, Cost, Ledger, Request
from dpsynth.privacy.noise import SystemNoise
from dpsynth.releasing import gate, papers, pipeline
from dpsynth.releasing.certificate import ANOTHER
from dpsynth.releasing.pipeline import STEPS, resume
from dpsynth.releasing.run import Run
from dpsynth.schema import Schema
from dpsynth.synthesizers import MST, Model
from dpsynth.testing import seeded_table

EPSILON, DELTA = 1.0, 1e-9
COST = Request(EPSILON, DELTA, False, "").cost_in(GDP)

WRITTEN = [f"before {name} is there" for name in ("model.npz", "candidate.parquet", "attacks.json", "report.html")]

VICTIM = """
import os, signal, sys
from pathlib import Path
from dpsynth.privacy import answers
from dpsynth.releasing.order import Order
from dpsynth.releasing.pipeline import carry_out
from dpsynth.tables.survey import SurveyTable, survey_schema
folder, moment = Path(sys.argv[1]), sys.argv[2]
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if moment.startswith("answer "):
    record, left = answers.Answers.record, [int(moment.split()[1])]
    def counting(self, question, answer):
        record(self, question, answer)
        left[0] -= 1
        left[0] or die()
    answers.Answers.record = counting
if moment.startswith("before "):
    replace = os.replace
    os.replace = lambda source, target: die() if target.name == moment.split()[1] else replace(source, target)
schema = survey_schema()
order = Order(SurveyTable(schema), schema, folder / "ledger.db", 1.0, 1e-9, folder / "out")
carry_out(order, lambda step: die() if step == moment else None)
"""


@pytest.mark.parametrize("moment", [*STEPS, "answer 1", "answer 20", *WRITTEN])
def test_kill_9_then_resume(moment: str, tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", "nhanes_demo", 3.0, 1e-6)
    killed = subprocess.run([sys.executable, "-c", VICTIM, str(tmp_path), moment], check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run = Run(tmp_path / "out")
    assert ledger.spent == (Cost() if moment == "charge" else COST)
    assert not (run.out / "public").exists() and not list(run.out.glob("*.zip"))
    told = run.answers.read_bytes() if run.answers.exists() else b""
    model = run.model.read_bytes() if run.model.exists() else None
    rows = run.candidate.read_bytes() if run.candidate.exists() else None

    outcome = resume(run.out)

    assert ledger.spent == COST
    assert run.answers.read_bytes().startswith(told)
    assert rows is None or run.candidate.read_bytes() == rows
    assert model is None or dpsynth.load(run.model).graphical.total > 0
    assert outcome.verdict == json.loads(run.attacks.read_text())["verdict"]
    assert (outcome.bundle is not None and outcome.bundle.exists()) == (outcome.verdict == "PASS")
    assert [e.body["verdict"] for e in ledger.events() if e.kind == "verdict"] == [outcome.verdict]
    assert resume(run.out) == outcome
    assert ledger.spent == COST


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Noise, chance and the gate's verdict held fixed; `verdict` may be changed."""
    held: dict[str, Any] = {"verdict": "PASS"}

    def counts(self: SystemNoise, true: np.ndarray, sigma: float) -> np.ndarray:
        return np.random.default_rng(true.size).integers(0, 400, true.shape)

    def judge(*_: Any) -> dict[str, Any]:
        reasons = [] if held["verdict"] == "PASS" else [{"code": "underpowered", "attack": None, "column": None, "words": "few", "next": "more"}]
        attack = dict.fromkeys(("effect", "ci", "p", "p_adjusted", "tolerance", "minimum_detectable", "control_detected", "seconds", "column"))
        return {
            "verdict": held["verdict"],
            "reasons": reasons,
            "attacks": [{"name": "exact_match", "status": "ok", "role": "required", "words": ""} | attack],
        }

    sample = Model.sample
    monkeypatch.setattr(SystemNoise, "add_discrete_gaussian", counts)
    monkeypatch.setattr(SystemNoise, "choose", lambda self, scores, scale: 0)
    monkeypatch.setattr(gate, "judge", judge)
    monkeypatch.setattr(papers, "head_of", lambda ledger, release: "5f" * 32)  # of a salted history: tests/releasing/test_history.py
    monkeypatch.setattr(Model, "sample", lambda self, rows: sample(self, rows, seed=1))
    return held


def neighbours(survey: tuple[pd.DataFrame, Schema]) -> list[pd.DataFrame]:
    """A small table, and what it becomes with one row more (an outlier that fits no schema) or one less, or none at all."""
    base = survey[0].iloc[:300]
    odd = pd.DataFrame(
        [["\x00odd", "1e999", "née", "zz", "", "-inf", "nan", "??", "7", "x" * 5000, "0x1F", "-1", "1e-400", "none", "∞"]], columns=base.columns
    )
    return [base, pd.concat([base, odd], ignore_index=True), base.iloc[1:], base.iloc[:0]]


def released(frame: pd.DataFrame | Path, schema: Schema, folder: Path) -> tuple[int, dict[str, bytes], list[str]]:
    folder.mkdir(exist_ok=True)
    path = folder / "ledger.db"
    ledger = Ledger.open(path) if path.exists() else Ledger.create(path, schema.name, 3.0, 1e-6)
    out = folder / f"out{len(list(folder.iterdir()))}"
    outcome = dpsynth.release(frame, schema, ledger, epsilon=0.1, delta=DELTA, out=out)
    public = out / "public"
    files = {p.name: p.read_bytes() for p in public.iterdir()} if public.exists() else {}
    return outcome.exit_code, files, sorted(p.name for p in (out / "custodian").iterdir())


def forget_ledgers(home: Path) -> None:
    """With every id held the same, the desk would take each ledger for a copy of the first."""
    shutil.rmtree(home / "ledgers", ignore_errors=True)


@pytest.mark.parametrize("verdict", ["PASS", "INCONCLUSIVE", "FAIL"])
def test_neighbouring_tables_give_identical_public_bytes(
    verdict: str, survey: tuple[pd.DataFrame, Schema], fixed: dict[str, Any], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed["verdict"] = verdict
    monkeypatch.setattr("uuid.uuid4", lambda: "00000000-0000-4000-8000-000000000000")
    results = []
    for i, frame in enumerate(neighbours(survey)):
        forget_ledgers(home)
        results.append(released(frame, survey[1], tmp_path / str(i)))
    assert all(r == results[0] for r in results[1:])
    assert bool(results[0][1]) == (verdict == "PASS")


PERSONS = Schema.from_dict(
    {
        "name": "persons",
        "privacy_unit": {"unit": "person", "columns": ["who"], "max_rows": 2},
        "columns": [
            {"name": "who", "type": "id"},
            {"name": "age", "type": "integer", "bounds": [0, 100], "bounds_basis": "publisher"},
            {"name": "income", "type": "continuous", "bounds_basis": "measure"},
            {"name": "job", "type": "categorical", "categories_basis": "measure"},
        ],
    }
)
LINES = [f"p{i // 2},{i % 90},{i * 10.5},{'nurse' if i % 3 else 'clerk'}" for i in range(400)]
ODD_LINES = ['odd,"7', 'odd,1,2,3,4,5,"6', "odd"]


@pytest.mark.parametrize("verdict", ["PASS", "FAIL"])
def test_neighbouring_files_of_persons_with_open_columns_too(
    verdict: str, fixed: dict[str, Any], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, from CSV files: a person more whose lines are broken, a person less, nobody. All answers are held fixed."""
    fixed["verdict"] = verdict
    monkeypatch.setattr("uuid.uuid4", lambda: "00000000-0000-4000-8000-000000000000")
    monkeypatch.setattr("dpsynth.privacy.table.PrivateTable._support", lambda self, column: (["clerk", "nurse"], np.array([100, 100])))
    results = []
    for i, lines in enumerate(([*LINES], [*LINES[:200], *ODD_LINES, *LINES[200:]], LINES[2:], [])):
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / "table.csv").write_text("\n".join(["who,age,income,job", *lines]) + "\n")
        forget_ledgers(home)
        results.append(released(folder / "table.csv", PERSONS, folder))
    assert all(r == results[0] for r in results[1:])
    assert bool(results[0][1]) == (verdict == "PASS")


def test_a_model_with_repeatable_noise_is_refused(
    survey: tuple[pd.DataFrame, Schema], fixed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MST(0.1, DELTA).fit(seeded_table(survey[0].iloc[:200], survey[1], seed=1))
    assert model.stamp == "not private"
    monkeypatch.setattr(MST, "fit_charged", lambda self, table: model)
    with pytest.raises(BadInput, match="not private"):
        released(survey[0].iloc[:200], survey[1], tmp_path)
    assert not list(tmp_path.glob("*/public"))


def test_ledger_refuses_and_leaves_nothing(survey: tuple[pd.DataFrame, Schema], tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", "nhanes_demo", 1.0, 1e-9)
    ledger.grant(Request(0.9, 1e-9, False, "earlier"))
    with pytest.raises(BudgetExceeded, match="no row was read"):
        dpsynth.release(survey[0], survey[1], ledger, epsilon=EPSILON, delta=DELTA, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_three_blocked_in_a_row_close_the_ledger(survey: tuple[pd.DataFrame, Schema], fixed: dict[str, Any], tmp_path: Path) -> None:
    fixed["verdict"] = "INCONCLUSIVE"
    for _ in range(3):
        assert released(survey[0].iloc[:100], survey[1], tmp_path)[0] == 4
    with pytest.raises(BudgetExceeded, match="closed after 3 blocked"):
        released(survey[0].iloc[:100], survey[1], tmp_path)
    Ledger.open(tmp_path / "ledger.db").reopen("agreed with the board")
    assert released(survey[0].iloc[:100], survey[1], tmp_path)[0] == 4


def test_internal_policy_never_publishes(survey: tuple[pd.DataFrame, Schema], fixed: dict[str, Any], tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", "nhanes_demo", 1.0, 1e-9)
    outcome = dpsynth.release(survey[0].iloc[:200], survey[1], ledger, epsilon=0.1, delta=DELTA, out=tmp_path / "out", policy="internal")
    assert outcome.verdict == "PASS" and outcome.bundle is None and not (tmp_path / "out" / "public").exists()
    assert (tmp_path / "out" / "custodian" / "report.html").exists()


def test_a_release_from_a_second_ledger_says_that_there_may_be_two(
    survey: tuple[pd.DataFrame, Schema], fixed: dict[str, Any], tmp_path: Path
) -> None:
    """Not why: a reason may name what is nobody's business."""
    for name, another in (("first", ""), ("second", "the board wants dr. Grey's trial")):
        ledger = Ledger.create(tmp_path / f"{name}.db", "nhanes_demo", 1.0, 1e-9, another=another)
        outcome = dpsynth.release(survey[0].iloc[:200], survey[1], ledger, epsilon=0.1, delta=DELTA, out=tmp_path / name)
        public = {p.name: p.read_bytes() for p in (outcome.out / "public").iterdir()}
        assert (ANOTHER in json.loads(public["certificate.json"])["limits"]) == (ANOTHER.encode() in public["report.html"]) == bool(another)
        assert not any(b"Grey" in content for content in public.values())


def test_resume_wants_a_runs_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not the folder of a release"):
        resume(tmp_path)


def test_a_killed_run_before_its_charge_still_asks_the_ledger(
    survey: tuple[pd.DataFrame, Schema], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", "nhanes_demo", 1.0, 1e-9)

    class Stop(BaseException):
        pass

    def stop(step: str) -> None:
        raise Stop

    with pytest.raises(Stop):
        dpsynth.release(survey[0], survey[1], ledger, epsilon=EPSILON, delta=DELTA, out=tmp_path / "out", progress=stop)
    ledger.grant(Request(0.9, 1e-9, False, "meanwhile"))
    with pytest.raises(BudgetExceeded):
        pipeline.resume(tmp_path / "out", survey[0])
    assert not (tmp_path / "out" / "public").exists()


def test_rows_that_were_judged_are_not_exchanged_or_drawn_again(survey: tuple[pd.DataFrame, Schema], fixed: dict[str, Any], tmp_path: Path) -> None:
    fixed["verdict"] = "FAIL"
    frame, schema = survey[0].iloc[:200], survey[1]
    ledger = Ledger.create(tmp_path / "ledger.db", schema.name, 1.0, 1e-9)
    dpsynth.release(frame, schema, ledger, epsilon=0.1, delta=DELTA, out=tmp_path / "out")
    run = Run(tmp_path / "out")
    judged = run.candidate.read_bytes()
    fixed["verdict"] = "PASS"
    run.candidate.write_bytes(judged + b" ")
    with pytest.raises(BadInput, match="not what was attacked"):
        resume(run.out, frame)
    run.attacks.unlink()
    with pytest.raises(BadInput, match="not what was attacked"):
        resume(run.out, frame)
    run.candidate.unlink()
    with pytest.raises(BadInput, match="not drawn twice"):
        resume(run.out, frame)
    assert not (run.out / "public").exists()


def test_a_new_verdict_has_a_new_report(survey: tuple[pd.DataFrame, Schema], fixed: dict[str, Any], tmp_path: Path) -> None:
    fixed["verdict"] = "INCONCLUSIVE"
    frame, schema = survey[0].iloc[:200], survey[1]
    ledger = Ledger.create(tmp_path / "ledger.db", schema.name, 1.0, 1e-9)
    dpsynth.release(frame, schema, ledger, epsilon=0.1, delta=DELTA, out=tmp_path / "out")
    run = Run(tmp_path / "out")
    document = json.loads(run.attacks.read_text())
    document["reasons"][0]["code"] = "attack_failed"
    run.attacks.write_text(json.dumps(document))
    assert "INCONCLUSIVE" in run.report.read_text()
    fixed["verdict"] = "PASS"
    assert resume(run.out, frame).verdict == "PASS"
    assert "INCONCLUSIVE" not in run.report.read_text()


def test_one_process_at_a_time(survey: tuple[pd.DataFrame, Schema], fixed: dict[str, Any], tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", survey[1].name, 1.0, 1e-9)
    dpsynth.release(survey[0].iloc[:200], survey[1], ledger, epsilon=0.1, delta=DELTA, out=tmp_path / "out")
    with Run(tmp_path / "out").alone(), pytest.raises(BadInput, match="another process"):
        resume(tmp_path / "out", survey[0].iloc[:200])
    assert resume(tmp_path / "out", survey[0].iloc[:200]).verdict == "PASS"


def test_controls_stay_untrained_in_later_releases(fixed: dict[str, Any], tmp_path: Path) -> None:
    """A ledger of persons keeps the shares of its first release; another policy's are refused before anything is spent."""
    from attacks.policy import Policy

    frame = pd.DataFrame([line.split(",") for line in LINES], columns=list(PERSONS.names))
    released(frame, PERSONS, tmp_path)
    text = Policy.load("partner-contract").text
    (tmp_path / "other.toml").write_text(text.replace("train = 0.7", "train = 0.8").replace("= 0.15", "= 0.1"))
    ledger = Ledger.open(tmp_path / "ledger.db")
    spent = ledger.spent
    with pytest.raises(BadInput, match=r"splits otherwise than this ledger's first release; use one that splits \[0.7, 0.15, 0.15\]"):
        dpsynth.release(frame, PERSONS, ledger, epsilon=0.1, delta=DELTA, out=tmp_path / "again", policy=str(tmp_path / "other.toml"))
    assert ledger.spent == spent and not (tmp_path / "again").exists()
    assert released(frame, PERSONS, tmp_path)[0] == 0


def test_a_run_from_a_frame_is_resumed_as_its_error_says(survey: tuple[pd.DataFrame, Schema], fixed: dict[str, Any], tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", "nhanes_demo", 1.0, 1e-9)
    frame = survey[0].iloc[:200]
    outcome = dpsynth.release(frame, survey[1], ledger, epsilon=0.1, delta=DELTA, out=tmp_path / "out")
    with pytest.raises(BadInput, match=r"call dpsynth.resume\(out, frame\)"):
        dpsynth.resume(tmp_path / "out")
    assert dpsynth.resume(tmp_path / "out", frame) == outcome
