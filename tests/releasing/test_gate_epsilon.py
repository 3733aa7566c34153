"""A release with histograms of nearness beside its rows: one charge or none, before a row is read; one answer; said as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dpsynth
from dpsynth.cli import main
from dpsynth.errors import BadInput, BudgetExceeded
from dpsynth.privacy import GDP, ZCDP, Cost, Currency, Ledger, Request, table, unit
from dpsynth.privacy.noise import SystemNoise
from dpsynth.releasing import gate, papers, pipeline
from dpsynth.releasing.certificate import Certificate
from dpsynth.releasing.key import KeyStore
from dpsynth.releasing.pipeline import Outcome, resume
from dpsynth.releasing.verify import examine
from dpsynth.releasing.yardstick import Yardstick
from dpsynth.schema import Schema
from dpsynth.synthesizers import Model
from dpsynth.tables import FrameTable

EPSILON, BESIDE, DELTA = 1.0, 0.5, 1e-9
SCHEMA = Schema.from_dict(
    {
        "name": "tiny",
        "privacy_unit": {"unit": "person", "columns": ["who"], "max_rows": 2},
        "columns": [
            {"name": "who", "type": "id"},
            {"name": "sex", "type": "categorical", "categories": ["F", "M"], "categories_basis": "publisher"},
            {"name": "age", "type": "integer", "bounds": [0, 99], "bounds_basis": "publisher", "bins": 10, "cuts": [50], "cuts_basis": "publisher"},
        ],
    }
)
FRAME = pd.DataFrame({"who": [f"p{i // 2}" for i in range(400)], "sex": ["F", "M"] * 200, "age": [str(i % 100) for i in range(400)]})


def costs(currency: Currency = GDP) -> list[Cost]:
    return [Request(epsilon, DELTA, False, "").cost_in(currency) for epsilon in (EPSILON, BESIDE)]


@pytest.fixture(autouse=True)
def verdict(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the attacks would say, to be changed; and a custodian's page that takes no time."""
    said = ["PASS"]
    reason = {"code": "tolerance_exceeded", "attack": None, "column": None, "words": "too many", "next": "ask for less"}

    def judge(*_: Any) -> dict[str, Any]:
        return {
            "verdict": said[0],
            "reasons": [] if said[0] == "PASS" else [reason],
            "attacks": [{"name": "exact_match", "status": "ok", "role": "required"}],
        }

    monkeypatch.setattr(gate, "judge", judge)
    monkeypatch.setattr(papers, "custodian_page", lambda *_: "for the custodian")
    yield said


@pytest.fixture
def plain_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(papers, "public_report", lambda *_: "for the public")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.db", "tiny", 3.0, 1e-6)


def released(ledger: Ledger, out: Path, **changes: Any) -> Outcome:
    options: dict[str, Any] = {"epsilon": EPSILON, "delta": DELTA, "generator": "independent", "gate_epsilon": BESIDE}
    return dpsynth.release(FRAME, SCHEMA, ledger, out=out, **(options | changes))


def certificate_of(out: Path) -> Certificate:
    return Certificate.from_bytes((out / "public" / "certificate.json").read_bytes())


@pytest.mark.parametrize("currency", [GDP, ZCDP], ids=lambda c: c.name)
def test_it_is_charged_published_and_verified(currency: Currency, tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", "tiny", 3.0, 1e-6, currency)
    outcome = released(ledger, tmp_path / "out")
    rows, beside = costs(currency)
    assert ledger.spent == rows + beside
    assert ledger.pending == Cost(currency=currency)
    said = certificate_of(outcome.out)
    near = said.nearness
    assert near is not None
    assert (near.rows.epsilon, near.histograms.epsilon) == (EPSILON, BESIDE)
    assert EPSILON < said.epsilon < EPSILON + BESIDE
    assert said.amount == pytest.approx((rows + beside).amount)
    assert said.epsilon == pytest.approx((rows + beside).epsilon(DELTA), rel=1e-4) and said.delta == DELTA
    assert currency.noise_cost(near.sigma, 1) <= beside.amount
    assert outcome.bundle is not None
    found = examine(outcome.bundle, KeyStore.default(), max_epsilon=EPSILON)
    assert {c.name: c.status for c in found.checks} == dict.fromkeys(
        ("files", "certificate", "signature", "hashes", "arithmetic", "policy", "nearness", "rows"), "ok"
    ) | {"terms": "failed"}  # a partner who accepts epsilon 1 accepts that of both together, or nothing
    public = outcome.out / "public"  # from which anybody makes the same bins
    anew = Yardstick.of(pd.read_parquet(public / "synthetic.parquet"), Schema.load(public / "schema.json"))
    assert anew.edges_in_columns == near.edges and len(near.train) == anew.bins
    page = (outcome.out / "public" / "report.html").read_text()
    assert "How near people come to the synthetic rows" in page and (f"AUC {near.auc:.3g}, between" in page) == near.tells


def test_without_it_nothing_is_otherwise(ledger: Ledger, tmp_path: Path) -> None:
    outcome = released(ledger, tmp_path / "out", gate_epsilon=None)
    assert ledger.spent == costs()[0]
    assert [e.kind for e in ledger.events()] == ["created", "grant", "version", "fitted", "verdict"]
    assert not (outcome.out / "custodian" / "nearness.jsonl").exists()
    assert "gate_epsilon" not in (outcome.out / "custodian" / "run.json").read_text()
    for name in ("certificate.json", "report.html", "README.txt"):
        assert "nearness" not in (outcome.out / "public" / name).read_text()
        assert "histograms" not in (outcome.out / "public" / name).read_text()
    assert certificate_of(outcome.out).epsilon == EPSILON


def test_both_charges_are_in_the_ledger_before_a_row_is_read(
    ledger: Ledger, tmp_path: Path, plain_page: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent, rows = [], FrameTable.rows

    def spy(table: FrameTable) -> pd.DataFrame:
        spent.append(ledger.spent)
        return rows(table)

    monkeypatch.setattr(FrameTable, "rows", spy)
    released(ledger, tmp_path / "out")
    assert spent == [sum(costs(), Cost())]


def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(table: FrameTable) -> pd.DataFrame:
        raise AssertionError("a row was read")

    monkeypatch.setattr(FrameTable, "rows", refuse)


def test_a_ledger_that_holds_only_the_rows_refuses_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unread(monkeypatch)
    ledger = Ledger.create(tmp_path / "ledger.db", "tiny", EPSILON, DELTA)
    with pytest.raises(BudgetExceeded, match="no row was read"):
        released(ledger, tmp_path / "out")
    assert ledger.spent == Cost() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("left", [0, 1])
def test_nothing_is_half_spent_where_another_release_came_first(left: int, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the preflight and the charge all is taken but what the rows alone, or the histograms alone, ask for."""
    unread(monkeypatch)
    check, others = pipeline.check, []

    def checked(order: Any) -> Any:
        found = check(order)
        epsilon = ledger.currency.epsilon_of(0.9e-6, (ledger.capacity - costs()[left]).amount) * (1 - 1e-7)
        others.append(ledger.grant(Request(epsilon, 1e-6, False, "another", SCHEMA.unit.columns)).cost)
        return found

    monkeypatch.setattr(pipeline, "check", checked)
    with pytest.raises(BudgetExceeded, match="no row was read"):
        released(ledger, tmp_path / "out")
    assert ledger.spent == others[0] and costs()[left].fits(ledger.left)
    assert not (tmp_path / "out").exists()


class Stop(BaseException):
    pass


@pytest.mark.parametrize("moment", ["measure", "attack", "gate", "publish", "written", "told", "drawn"])
def test_who_goes_on_asks_nothing_anew(moment: str, ledger: Ledger, tmp_path: Path, plain_page: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at a step, or within the question: when noise was drawn, when the answer is in the journal, when the ledger was told too."""
    drawn, add, out = [], SystemNoise.add_discrete_gaussian, tmp_path / "out"

    def noise(self: SystemNoise, counts: np.ndarray, sigma: float) -> np.ndarray:
        noisy = add(self, counts, sigma)
        if counts.ndim == 2:  # side x bin; of all others one dimension is asked here
            drawn.append(noisy)
            if moment == "drawn":
                raise Stop
        return noisy

    def stop(step: str) -> None:
        if step == moment:
            raise Stop

    monkeypatch.setattr(SystemNoise, "add_discrete_gaussian", noise)
    with monkeypatch.context() as patch:
        if moment in ("written", "told"):
            interrupt(patch, before_the_ledger=moment == "written")
        with pytest.raises(Stop):
            released(ledger, out, progress=stop)
    assert ledger.spent == sum(costs(), Cost()) and not (out / "public").exists()
    if moment == "drawn":  # told to nobody: drawn anew, once
        drawn.clear()
        moment = ""
    outcome = resume(out, FRAME)
    near = certificate_of(out).nearness
    assert outcome.verdict == "PASS" and near is not None and len(drawn) == 1
    assert (near.train, near.control) == tuple(tuple(side) for side in drawn[0][:2, :-1].tolist())
    assert ledger.spent == sum(costs(), Cost())
    assert len((out / "custodian" / "nearness.jsonl").read_text().splitlines()) == 1
    assert resume(out, FRAME) == outcome and len(drawn) == 1


def interrupt(patch: pytest.MonkeyPatch, before_the_ledger: bool) -> None:
    """Stop when the answer about nearness is in its journal: before or after the ledger was told."""
    from dpsynth.privacy.answers import Answers

    told = Answers._told

    def stopped(answers: Answers, line: str) -> None:
        asked = answers.path is not None and answers.path.name == "nearness.jsonl"
        if not (asked and before_the_ledger):
            told(answers, line)
        if asked:
            raise Stop

    patch.setattr(Answers, "_told", stopped)


@pytest.mark.parametrize("blocked", ["FAIL", "INCONCLUSIVE"])
def test_a_blocked_release_has_paid_once_and_shows_nothing(
    blocked: str, ledger: Ledger, tmp_path: Path, verdict: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict[0] = blocked
    outcome = released(ledger, tmp_path / "out")
    assert outcome.verdict == blocked and outcome.bundle is None and not (outcome.out / "public").exists()
    told = (outcome.out / "custodian" / "nearness.jsonl").read_bytes()
    unread(monkeypatch)
    assert resume(outcome.out, FRAME) == outcome
    assert ledger.spent == sum(costs(), Cost()) and (outcome.out / "custodian" / "nearness.jsonl").read_bytes() == told


def stopped_at(step: str, ledger: Ledger, out: Path) -> None:
    def stop(name: str) -> None:
        if name == step:
            raise Stop

    with pytest.raises(Stop):
        released(ledger, out, progress=stop)


def test_an_answer_that_was_lost_is_not_asked_for_again(ledger: Ledger, tmp_path: Path) -> None:
    stopped_at("attack", ledger, tmp_path / "out")
    (tmp_path / "out" / "custodian" / "nearness.jsonl").unlink()
    with pytest.raises(BudgetExceeded, match="lacks answers that this release was already told"):
        resume(tmp_path / "out", FRAME)
    assert not (tmp_path / "out" / "public").exists()


def test_an_answer_is_about_the_rows_that_were_there(ledger: Ledger, tmp_path: Path) -> None:
    stopped_at("attack", ledger, tmp_path / "out")
    (tmp_path / "out" / "custodian" / "candidate.parquet").unlink()
    with pytest.raises(BadInput, match="answers to other questions"):
        resume(tmp_path / "out", FRAME)
    assert not (tmp_path / "out" / "public").exists()


def test_an_answer_is_about_the_bins_that_were_there(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many bins, cut elsewhere: what a later version of the code might do between a release and its resumption."""
    stopped_at("attack", ledger, tmp_path / "out")
    of = Yardstick.of
    monkeypatch.setattr(Yardstick, "of", lambda *given: replace(of(*given), edges=tuple(edge + 1 for edge in of(*given).edges)))
    with pytest.raises(BadInput, match="answers to other questions"):
        resume(tmp_path / "out", FRAME)
    assert not (tmp_path / "out" / "public").exists()


@pytest.mark.parametrize("count", ["rows", "units"])
def test_the_rows_of_train_that_are_measured_are_those_that_were_trained_on(
    count: str, ledger: Ledger, tmp_path: Path, plain_page: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eighty people with five rows each, of which two count: another key chooses the same less than once in 10^30."""
    kept: list[list[int]] = []

    def noted(frame: pd.DataFrame, schema: Schema, key: bytes) -> unit.Kept:
        found = bound(frame, schema, key)
        kept.append(frame.index[found.positions].tolist())
        return found

    bound = unit.bound
    monkeypatch.setattr(unit, "bound", noted)
    monkeypatch.setattr(table, "bound", noted)
    schema = replace(SCHEMA, unit=replace(SCHEMA.unit, count=count))
    options = {"epsilon": EPSILON, "delta": DELTA, "generator": "independent", "gate_epsilon": BESIDE}
    assert dpsynth.release(FRAME.assign(who=[f"p{i // 5}" for i in range(400)]), schema, ledger, out=tmp_path / "out", **options).verdict == "PASS"
    trained, train, control = kept[:3]  # then one row a unit, of those that are handed over
    assert trained == train and len(train) % 2 == len(control) % 2 == 0 and len(control) < len(train)
    assert not {i // 5 for i in train} & {i // 5 for i in control}


def test_neighbouring_tables_give_identical_public_bytes(tmp_path: Path, home: Path, plain_page: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With noise, chance and the verdict held fixed."""
    sample = Model.sample
    monkeypatch.setattr("uuid.uuid4", lambda: "00000000-0000-4000-8000-000000000000")
    monkeypatch.setattr(SystemNoise, "add_discrete_gaussian", lambda self, n, sigma: np.random.default_rng(n.size).integers(9, 400, n.shape))
    monkeypatch.setattr(papers, "head_of", lambda ledger, release: "5f" * 32)
    monkeypatch.setattr(Model, "sample", lambda self, rows: sample(self, rows, seed=1))
    odd = pd.DataFrame({"who": ["odd", "odd"], "sex": ["\x00", None], "age": ["1e999", "née"]})
    results = []
    for i, frame in enumerate((FRAME, pd.concat([FRAME, odd], ignore_index=True), FRAME.iloc[2:], FRAME.iloc[:0])):
        (home / "ledgers").rename(home / f"ledgers{i}") if (home / "ledgers").exists() else None
        ledger = Ledger.create(tmp_path / f"{i}.db", "tiny", 3.0, 1e-6)
        out = tmp_path / str(i)
        dpsynth.release(frame, SCHEMA, ledger, epsilon=EPSILON, delta=DELTA, out=out, generator="independent", gate_epsilon=BESIDE)
        results.append({p.name: p.read_bytes() for p in (out / "public").iterdir()})
    assert all(r == results[0] for r in results[1:])
    assert b'"nearness"' in results[0]["certificate.json"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gate_epsilon": 0}, "gate_epsilon: not a number from 0.001"),
        ({"gate_epsilon": 0.0009}, "gate_epsilon: not a number from 0.001"),
        ({"gate_epsilon": "some"}, "gate_epsilon: not a number from 0.001"),
        ({"policy": "internal"}, "publishes nothing"),
        ({"epsilon": 2.99, "policy": "strict-public"}, "together have epsilon"),
    ],
)
def test_what_is_refused_in_words(options: dict[str, Any], words: str, ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=words):
        released(ledger, tmp_path / "out", **options)
    assert ledger.spent == Cost()


def test_the_command_line_shows_it_and_a_resumed_run_keeps_its_own(ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FRAME.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "schema.json").write_text(SCHEMA.to_json())
    words = ["release", str(tmp_path / "table.csv"), "--schema", str(tmp_path / "schema.json"), "--ledger", str(tmp_path / "ledger.db")]
    words += ["--epsilon", "1", "--delta", "1e-9", "--out", str(tmp_path / "out"), "--gate-epsilon", "0.5", "--dry-run"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "histograms of nearness at (0.5, 1e-09); together (1." in said and "sample, measure, attack" in said
    assert main([*words, "--json"]) == 0
    assert 1 < json.loads(capsys.readouterr().out)["epsilon"] < 1.5
    assert ledger.spent == Cost()
    assert main(["release", "--resume", str(tmp_path / "out"), "--gate-epsilon", "1"]) == 2
    assert "--gate-epsilon" in capsys.readouterr().err
