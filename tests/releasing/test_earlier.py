"""A release that starts from an earlier one: refused before the charge or kept by hash, resumed from its own copy, verified offline."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dpsynth
from dpsynth.cli import main
from dpsynth.errors import BadInput
from dpsynth.privacy import Cost, Ledger
from dpsynth.releasing import gate
from dpsynth.releasing.key import KeyStore
from dpsynth.releasing.run import Run
from dpsynth.releasing.verify import verify
from dpsynth.schema import Schema
from dpsynth.synthesizers import AIM, MST

DELTA = 1e-9
SCHEMA = Schema.from_dict(
    {
        "name": "people",
        "privacy_unit": {"unit": "row"},
        "columns": [
            {"name": "sex", "type": "categorical", "categories": ["f", "m"], "categories_basis": "publisher"},
            {"name": "job", "type": "categorical", "categories": ["none", "clerk", "nurse"], "categories_basis": "publisher"},
        ],
    }
)


def people(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sex = rng.integers(0, 2, 900)
    return pd.DataFrame({"sex": np.array(["f", "m"])[sex], "job": np.array(["none", "clerk", "nurse"])[sex + rng.integers(0, 2, 900)]})


class Stop(BaseException):
    """In place of a kill."""


def stopping(at: str) -> Callable[[str], None]:
    def stop(step: str) -> None:
        if step == at:
            raise Stop

    return stop


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate lets everything out: what it looks at is tested elsewhere."""
    attack = dict.fromkeys(("effect", "ci", "p", "p_adjusted", "tolerance", "minimum_detectable", "control_detected", "seconds", "column"))
    found = {"name": "exact_match", "status": "ok", "role": "required", "words": ""} | attack
    monkeypatch.setattr(gate, "judge", lambda *_: {"verdict": "PASS", "reasons": [], "attacks": [found]})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.db", "people", 10.0, 1e-6)


@pytest.fixture
def earlier(ledger: Ledger, tmp_path: Path) -> Path:
    """The model of an earlier release on the same ledger."""
    MST(2.0, DELTA).fit(ledger.table(people(1), SCHEMA)).save(tmp_path / "wave1.npz")
    return tmp_path / "wave1.npz"


def released(ledger: Ledger, earlier: Path, /, **changes: Any) -> Any:
    words: dict[str, Any] = {"epsilon": 1.0, "delta": DELTA, "out": earlier.parent / "out", "generator": "aim", "earlier": earlier}
    return dpsynth.release(people(2), SCHEMA, ledger, **(words | changes))


def test_the_certificate_names_it_by_hash_and_nothing_names_its_path(passed: None, ledger: Ledger, earlier: Path) -> None:
    outcome = released(ledger, earlier)
    public, digest = outcome.out / "public", hashlib.sha256(earlier.read_bytes()).hexdigest()
    assert json.loads((public / "certificate.json").read_text())["generator"]["options"] == {"earlier": digest}
    assert verify(outcome.bundle, KeyStore.default(), None, None, None, None)
    run = Run(outcome.out)
    assert run.earlier.read_bytes() == earlier.read_bytes() and run.earlier.stat().st_mode & 0o777 == 0o600
    assert run.state()["order"]["earlier"] == digest
    assert not [p for p in (*public.iterdir(), run.custodian / "run.json") if b"wave1" in p.read_bytes()]


def test_a_release_without_one_says_nothing_of_it(passed: None, ledger: Ledger, earlier: Path) -> None:
    outcome = released(ledger, earlier, earlier=None)
    assert json.loads((outcome.out / "public" / "certificate.json").read_text())["generator"]["options"] == {}
    assert not Run(outcome.out).earlier.exists() and "earlier" not in Run(outcome.out).state()["order"]


@pytest.mark.parametrize("step", ["charge", "fit", "sample"])
def test_a_killed_run_goes_on_from_its_copy(step: str, passed: None, ledger: Ledger, earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = AIM._measure
    monkeypatch.setattr(AIM, "_measure", lambda self, *words: (started.append(self.earlier), start(self, *words))[1])
    before = ledger.spent
    with pytest.raises(Stop):
        released(ledger, earlier, progress=stopping(step))
    assert (ledger.spent == before) == (step == "charge")
    earlier.unlink()
    outcome = dpsynth.resume(earlier.parent / "out", people(2))
    assert outcome.verdict == "PASS"
    assert len(started) == 1 and started[0] is not None
    assert dpsynth.resume(outcome.out, people(2)) == outcome


@pytest.mark.parametrize("change", [Path.unlink, lambda copy: MST(1.0, DELTA).fit(people(3), SCHEMA).save(copy)])
@pytest.mark.parametrize("step", ["charge", "fit"])
def test_a_changed_copy_is_found(step: str, change: Callable[[Path], None], passed: None, ledger: Ledger, earlier: Path) -> None:
    with pytest.raises(Stop):
        released(ledger, earlier, progress=stopping(step))
    spent, run = ledger.spent, Run(earlier.parent / "out")
    change(run.earlier)
    with pytest.raises(BadInput, match=r"earlier\.npz: is not the earlier model of this release; restore it"):
        dpsynth.resume(run.out, people(2))
    assert ledger.spent == spent and not run.answers.exists()


def _unledgered(path: Path) -> None:
    MST(1.0, DELTA).fit(people(1), SCHEMA).save(path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def _of_others(path: Path) -> None:
    other = Schema.from_dict(SCHEMA.to_dict() | {"columns": SCHEMA.to_dict()["columns"][:1]})
    MST(1.0, DELTA).fit(people(1), other).save(path)


FAULTS: dict[str, tuple[Callable[[Path], None], dict[str, str], list[str]]] = {
    "no file": (Path.unlink, {}, ["no such model"]),
    "no model": (_cut, {}, ["not a model of this version"]),
    "unledgered": (_unledgered, {}, ["earlier: this model is unledgered"]),
    "other columns": (_of_others, {}, ["earlier: this model is unledgered", "earlier: column 'job': is not in its schema"]),
    "another generator": (lambda path: None, {"generator": "mst"}, ["earlier: mst can not start from an earlier model; ask for generator aim"]),
    "all at once": (_unledgered, {"generator": "mst", "epsilon": "no"}, ["epsilon:", "earlier: mst can not", "earlier: this model is unledgered"]),
}


@pytest.mark.parametrize("case", FAULTS)
def test_preflight_refuses_and_nothing_is_spent(case: str, earlier: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, changes, said = FAULTS[case]
    spoil(earlier)
    folder = earlier.parent
    people(2).to_csv(folder / "people.csv", index=False)
    (folder / "schema.json").write_text(json.dumps(SCHEMA.to_dict()))
    words = {"schema": "schema.json", "ledger": "ledger.db", "out": "out", "earlier": earlier.name}
    options = {name: str(folder / file) for name, file in words.items()} | {"epsilon": "1", "delta": "1e-9", "generator": "aim"} | changes
    spent = ledger.spent
    code = main(["release", str(folder / "people.csv"), *(w for name, value in options.items() for w in (f"--{name}", value))])
    err = capsys.readouterr().err
    assert code == 2 and all(line in err for line in said), err
    assert ledger.spent == spent != Cost() and not (folder / "out").exists()


def test_a_resumed_run_keeps_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "--resume", "out", "--earlier", "model.npz"]) == 2
    assert "--earlier: a resumed run keeps its own" in capsys.readouterr().err
