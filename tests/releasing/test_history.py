"""What a certificate shows of a ledger's history: to the custodian whether it is still the same, to all others nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dpsynth
from dpsynth.cli import main
from dpsynth.errors import BadInput, VerificationFailed
from dpsynth.privacy import GDP, Ledger, Request, chain
from dpsynth.releasing import gate
from dpsynth.releasing.key import KeyStore
from dpsynth.releasing.verify import require_history
from dpsynth.schema import Schema

EPSILON, DELTA = 0.1, 1e-9
SCHEMA = Schema.from_dict(
    {
        "name": "people",
        "privacy_unit": {"unit": "row"},
        "columns": [{"name": "a", "type": "categorical", "categories": ["x", "y"], "categories_basis": "publisher"}],
    }
)
FRAME = pd.DataFrame({"a": ["x", "y"] * 30})


@pytest.fixture(autouse=True)
def passing(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The gate says PASS, or what is put here."""
    said = {"verdict": "PASS"}
    attack = dict.fromkeys(("effect", "ci", "p", "p_adjusted", "tolerance", "minimum_detectable", "control_detected", "seconds", "column"))

    def judge(*_: Any) -> dict[str, Any]:
        reasons = [] if said["verdict"] == "PASS" else [{"code": "underpowered", "attack": None, "column": None, "words": "few", "next": "more"}]
        return {"verdict": said["verdict"], "reasons": reasons, "attacks": [{"name": "exact_match", "status": "ok", "role": "required"} | attack]}

    monkeypatch.setattr(gate, "judge", judge)
    return said


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.db", "people", 3.0, 1e-6)


def released(ledger: Ledger, out: Path) -> Path:
    """The bundle of a release."""
    bundle = dpsynth.release(FRAME, SCHEMA, ledger, epsilon=EPSILON, delta=DELTA, out=out, generator="independent").bundle
    assert bundle is not None
    return bundle


def certificate_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "public" / "certificate.json").read_text()))


def test_a_release_leaves_its_whole_history(ledger: Ledger, tmp_path: Path) -> None:
    released(ledger, tmp_path / "out")
    assert [e.kind for e in ledger.events()] == ["created", "grant", "version", "fitted", "verdict"]
    grant, version, fitted, verdict = (e.body for e in ledger.events()[1:])
    order = json.loads((tmp_path / "out" / "custodian" / "run.json").read_text())
    from dpsynth.releasing.audited import code_hash

    assert grant["attempt"] == 1 and grant["code"] == code_hash() and "shares" not in grant
    assert grant["policy"] == certificate_of(tmp_path / "out")["policy"]["sha256"]
    assert fitted["steps"] == len((tmp_path / "out" / "custodian" / "answers.jsonl").read_text().splitlines()) > 0
    assert {b["release"] for b in (grant, version, fitted, verdict)} == {order["release"]}
    assert certificate_of(tmp_path / "out")["ledger"]["head"] == ledger.events()[-1].hash


def test_what_a_resumed_release_ended_under_is_the_code_that_was_at_work(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(BaseException):
        pass

    def until(step: str) -> Callable[[str], None]:
        def stop(said: str) -> None:
            if said == step:
                raise Stop

        return stop

    out, code = tmp_path / "out", "dpsynth.releasing.audited.code_hash"
    monkeypatch.setattr(code, lambda: "at the charge")
    with pytest.raises(Stop):
        dpsynth.release(FRAME, SCHEMA, ledger, epsilon=EPSILON, delta=DELTA, out=out, generator="independent", progress=until("fit"))
    monkeypatch.setattr(code, lambda: "at the fit")
    with pytest.raises(Stop):
        dpsynth.resume(out, FRAME, until("attack"))
    monkeypatch.setattr(code, lambda: "at the verdict")
    dpsynth.resume(out, FRAME)
    assert {e.kind: e.body["code"] for e in ledger.events() if "code" in e.body} == {
        "grant": "at the charge",
        "fitted": "at the fit",
        "verdict": "at the verdict",
    }


def test_a_resumed_release_writes_nothing_twice(ledger: Ledger, tmp_path: Path) -> None:
    released(ledger, tmp_path / "out")
    events = ledger.events()
    dpsynth.resume(tmp_path / "out", FRAME)
    shutil.rmtree(tmp_path / "out" / "public")
    head = events[-1].hash
    dpsynth.resume(tmp_path / "out", FRAME)
    assert ledger.events() == events and certificate_of(tmp_path / "out")["ledger"]["head"] == head


def test_the_public_files_hold_no_count_no_time_and_nothing_else_of_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    """The head is there; numbers, times, fingerprints and other hashes of the chain are not, in no file."""
    ledger.grant(Request(0.2, 1e-9, False, "an earlier purpose"))
    ledger.record("verdict", {"release": "earlier", "verdict": "FAIL", "candidate": "c" * 64})
    released(ledger, tmp_path / "out")
    events = ledger.events()
    with closing(sqlite3.connect(ledger.path)) as connection:
        salts = [salt for (salt,) in connection.execute("SELECT salt FROM event")]
    hidden = [*salts, *(e.hash for e in events[:-1]), *(e.at for e in events), "an earlier purpose", "c" * 64]
    hidden += [e.body["fingerprint"] for e in events if e.kind == "version"] + [e.body["told"] for e in events if e.kind == "fitted"]
    content = b"".join(p.read_bytes() for p in (tmp_path / "out" / "public").iterdir())
    assert events[-1].hash.encode() in content
    assert not [h for h in hidden if h.encode() in content]
    assert set(certificate_of(tmp_path / "out")["ledger"]) == {"id", "dataset", "epsilon", "delta", "head"}


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER event_delete")
        connection.execute("DROP TRIGGER event_update")
        for statement in statements:
            connection.execute(statement)


def cut(path: Path) -> None:
    """Take the last event away, and the length that tells of it."""
    last = Ledger.open(path).events()[-1].seq
    edit(path, f"DELETE FROM event WHERE seq = {last}", f"PRAGMA user_version = {last - 1}")


def rewritten(path: Path) -> None:
    """Let the first grant be one of half its epsilon, and rewrite every hash after it, salts and all: a sound chain of another history."""
    rows, previous, statements = [], "", []
    with closing(sqlite3.connect(path)) as connection:
        rows = [chain.Row._make(r) for r in connection.execute("SELECT seq, at, kind, body, salt, previous, hash FROM event ORDER BY seq")]
    for row in rows:
        body = json.loads(row.text)
        if row.seq == 2:
            less = Request(body["epsilon"] / 2, body["delta"], False, "")
            body |= {"epsilon": less.epsilon, "amount_ticks": less.cost_in(GDP).amount_ticks}
        text = json.dumps(body, sort_keys=True)
        digest = chain._hash(row.seq, row.at, row.kind, text, row.salt, previous)
        statements.append(f"UPDATE event SET body = '{text}', previous = '{previous}', hash = '{digest}' WHERE seq = {row.seq}")
        previous = digest
    edit(path, *statements)


@pytest.mark.parametrize("damage", [cut, rewritten, lambda p: shutil.copy(p.with_name("older.db"), p)], ids=["cut", "rewritten", "older copy"])
def test_what_the_chain_alone_cannot_find_a_certificate_does(
    damage: Callable[[Path], object], ledger: Ledger, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.grant(Request(0.2, 1e-9, False, "earlier"))
    shutil.copy(ledger.path, tmp_path / "older.db")
    bundle = released(ledger, tmp_path / "out")
    words = ["ledger", "verify", str(ledger.path), "--certificate"]
    for given in (bundle, tmp_path / "out" / "public", tmp_path / "out" / "public" / "certificate.json"):
        assert main([*words, str(given)]) == 0
    assert f"the one that certificate {certificate_of(tmp_path / 'out')['id']} was given on" in capsys.readouterr().out
    damage(ledger.path)
    assert main(["ledger", "verify", str(ledger.path)]) == 6
    assert "lacks events that this desk has seen in it" in capsys.readouterr().err
    shutil.rmtree(home / "ledgers")  # as at another desk
    assert main(["ledger", "verify", str(ledger.path)]) == 0
    assert "what others saw only a certificate shows" in capsys.readouterr().out
    assert main([*words, str(bundle)]) == 6
    assert "events were dropped or rewritten; restore it from a backup" in capsys.readouterr().err


def test_later_events_do_not_disturb_an_earlier_certificate(ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (released(ledger, tmp_path / name) for name in ("one", "two"))
    ledger.reopen("for the test")
    keys = KeyStore.default()
    assert require_history(ledger, first, keys).ledger.head != require_history(ledger, second, keys).ledger.head
    assert main(["ledger", "verify", str(ledger.path), "--certificate", str(first), "--certificate", str(second), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["certificates"]) == 2


def test_a_certificate_counts_only_if_it_is_this_ledgers_and_signed_by_a_known_key(ledger: Ledger, tmp_path: Path) -> None:
    bundle = released(ledger, tmp_path / "out")
    keys = KeyStore.default()
    other = Ledger.create(tmp_path / "other.db", "people", 3.0, 1e-6)
    with pytest.raises(VerificationFailed, match="a certificate of another ledger"):
        require_history(other, bundle, keys)
    with pytest.raises(VerificationFailed, match="a key that you do not know"):
        require_history(ledger, bundle, KeyStore(tmp_path / "stranger"))
    alone = tmp_path / "certificate.json"
    shutil.copy(tmp_path / "out" / "public" / "certificate.json", alone)
    with pytest.raises(BadInput, match=r"certificate.sig beside it"):
        require_history(ledger, alone, keys)
    shutil.copy(tmp_path / "out" / "public" / "certificate.sig", tmp_path)
    alone.write_text(alone.read_text().replace(ledger.events()[-1].hash, ledger.events()[0].hash))
    with pytest.raises(VerificationFailed, match="was changed after it was signed"):
        require_history(ledger, alone, keys)
    with pytest.raises(BadInput, match="is not a bundle"):
        require_history(ledger, tmp_path / "out", keys)


def test_a_policy_exchanged_after_the_charge_is_refused(ledger: Ledger, tmp_path: Path, passing: dict[str, str]) -> None:
    passing["verdict"] = "FAIL"
    out = tmp_path / "out"
    assert dpsynth.release(FRAME, SCHEMA, ledger, epsilon=EPSILON, delta=DELTA, out=out, generator="independent").verdict == "FAIL"
    passing["verdict"] = "PASS"
    state = json.loads((out / "custodian" / "run.json").read_text())
    state["order"]["policy"] += "\n# looser\n"
    (out / "custodian" / "run.json").write_text(json.dumps(state))
    with pytest.raises(BadInput, match="holds another policy than the release was charged with"):
        dpsynth.resume(out, FRAME)
    assert not (out / "public").exists()


def test_a_release_goes_on_with_the_ledger_it_was_charged_to_only(ledger: Ledger, tmp_path: Path, passing: dict[str, str]) -> None:
    passing["verdict"] = "FAIL"
    out = tmp_path / "out"
    dpsynth.release(FRAME, SCHEMA, ledger, epsilon=EPSILON, delta=DELTA, out=out, generator="independent")
    ledger.path.unlink()
    other = Ledger.create(ledger.path, "people", 3.0, 1e-6)
    with pytest.raises(BadInput, match="is another ledger than the release was charged to"):
        dpsynth.resume(out, FRAME)
    assert len(other.events()) == 1


def test_an_inconclusive_that_fails_when_resumed_is_one_attempt(ledger: Ledger, tmp_path: Path, passing: dict[str, str]) -> None:
    def go(name: str) -> None:
        passing["verdict"] = "INCONCLUSIVE"
        dpsynth.release(FRAME, SCHEMA, ledger, epsilon=EPSILON, delta=DELTA, out=tmp_path / name, generator="independent")
        passing["verdict"] = "FAIL"
        attacks = tmp_path / name / "custodian" / "attacks.json"
        document = json.loads(attacks.read_text())
        document["reasons"][0]["code"] = "attack_failed"
        attacks.write_text(json.dumps(document))
        assert dpsynth.resume(tmp_path / name, FRAME).verdict == "FAIL"

    for name in ("a", "b"):
        go(name)
        assert ledger.refusal(Request(EPSILON, DELTA, False, "next")) is None
    assert [e.body["verdict"] for e in ledger.events() if e.kind == "verdict"] == ["INCONCLUSIVE", "FAIL"] * 2
    assert "This was attempt 2." in (tmp_path / "b" / "custodian" / "report.html").read_text()
    go("c")
    assert "closed after 3 blocked" in str(ledger.refusal(Request(EPSILON, DELTA, False, "next")))


def test_a_killed_release_shows_as_open_and_its_charge_as_spent(ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Stop(BaseException):
        pass

    def stop(step: str) -> None:
        if step == "fit":
            raise Stop

    with pytest.raises(Stop):
        dpsynth.release(FRAME, SCHEMA, ledger, epsilon=EPSILON, delta=DELTA, out=tmp_path / "out", generator="independent", progress=stop)
    assert main(["ledger", "show", str(ledger.path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [g["stands"] for g in shown["grants"]] == ["open"] and shown["open"]["amount"] == shown["spent"]["amount"] > 0
    main(["ledger", "show", str(ledger.path)])
    assert "of it open: mu^2" in capsys.readouterr().out
    dpsynth.resume(tmp_path / "out", FRAME)
    main(["ledger", "show", str(ledger.path)])
    said = capsys.readouterr().out
    assert "of it open" not in said and said.rstrip().endswith("PASS")


def test_a_release_on_a_server_leaves_no_password_and_is_resumed_without_one_in_its_address(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from psycopg.conninfo import conninfo_to_dict

    password = str(conninfo_to_dict(database)["password"])
    Ledger.create(database, "people", 3.0, 1e-6)
    FRAME.to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "schema.json").write_text(SCHEMA.to_json())
    words = ["release", tmp_path / "people.csv", "--schema", tmp_path / "schema.json", "--ledger", database, "--generator", "independent"]
    assert main([str(w) for w in [*words, "--epsilon", "0.1", "--delta", "1e-9", "--out", tmp_path / "out"]]) == 0
    captured = capsys.readouterr()
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and password.encode() in p.read_bytes()]
    assert password not in captured.out + captured.err
    shutil.rmtree(tmp_path / "out" / "public")
    assert main(["release", "--resume", str(tmp_path / "out")]) == 2
    assert "cannot be reached" in capsys.readouterr().err
    monkeypatch.setenv("PGPASSWORD", password)
    assert main(["release", "--resume", str(tmp_path / "out")]) == 0
    bundle = next((tmp_path / "out").glob("*.zip"))
    assert main(["ledger", "verify", database, "--certificate", str(bundle)]) == 0
    assert main(["profile", str(tmp_path / "people.csv"), "--schema", str(tmp_path / "schema.json"), "--ledger", database, "--epsilon", "0.1"]) == 0
