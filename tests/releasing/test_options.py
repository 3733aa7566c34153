"""A release with options of its generator: used, recorded, kept by a resume, and refused before anything is spent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dpsynth
from dpsynth import AIM, Ledger, Schema
from dpsynth.cli import main
from dpsynth.errors import BadInput
from dpsynth.privacy.cost import Cost
from dpsynth.releasing import gate
from dpsynth.synthesizers import workload
from dpsynth.synthesizers.model import Model

NAMES = ("a", "b", "c")
SCHEMA = Schema.from_dict(
    {
        "name": "people",
        "privacy_unit": {"unit": "row"},
        "columns": [{"name": n, "type": "categorical", "categories": ["x", "y"], "categories_basis": "publisher"} for n in NAMES],
    }
)
FRAME = pd.DataFrame({n: ["x", "y"] * 30 for n in NAMES})
WORKLOADS: list[Any] = [3, "b", {"a": 5}, {("a", "b"): 5, ("c",): 1}]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "people.db", "people", 3.0, 1e-6)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[AIM]]:
    """The generators that fitted, in turn; the gate finds nothing to publish."""
    reason = {"code": "underpowered", "attack": None, "column": None, "words": "few", "next": "more"}
    monkeypatch.setattr(gate, "judge", lambda *_: {"verdict": "INCONCLUSIVE", "reasons": [reason], "attacks": []})
    fits: list[AIM] = []
    fit = AIM.fit_charged

    def noted(self: AIM, table: Any) -> Model:
        fits.append(self)
        return fit(self, table)

    monkeypatch.setattr(AIM, "fit_charged", noted)
    yield fits


@pytest.mark.parametrize("asked", WORKLOADS, ids=str)
def test_what_is_asked_for_is_what_fits_and_what_a_resume_fits(asked: Any, ledger: Ledger, fitted: list[AIM], tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def stop(step: str) -> None:
        if step == "fit":
            raise Stop

    options = {"workload": asked, "max_model_size": 2.5}
    with pytest.raises(Stop):
        dpsynth.release(FRAME, SCHEMA, ledger, epsilon=1.0, delta=1e-9, out=tmp_path / "out", generator="aim", options=options, progress=stop)
    assert fitted == []
    dpsynth.resume(tmp_path / "out", FRAME)
    assert fitted == [AIM(1.0, 1e-9, workload=asked, max_model_size=2.5)]
    record = json.loads((tmp_path / "out" / "custodian" / "run.json").read_text())
    assert "max_model_size" in json.dumps(record) and [e.kind for e in ledger.events()].count("grant") == 1


@pytest.mark.parametrize(
    ("generator", "options", "words"),
    [
        ("mst", {"workload": 2}, "leave it out"),
        ("aim", {"fitting": "ancestral"}, "write one of workload, max_model_size"),
        ("privbayes", {"fitting": "ancestral"}, "write one of max_model_size"),
        ("aim", {"workload": "nobody"}, "nobody"),
        ("aim", {"workload": [["a", 1], 2]}, "workload"),
        ("aim", {"workload": None}, "workload"),
        ("aim", {"workload": object()}, "workload"),
        ("mwem", {"max_model_size": 1e-9}, "max_model_size"),
        ("aim", {"max_model_size": "big"}, "max_model_size"),
    ],
)
def test_what_a_generator_does_not_take_is_refused_before_anything_is_spent(
    generator: str, options: dict[str, Any], words: str, ledger: Ledger, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=words):
        dpsynth.release(FRAME, SCHEMA, ledger, epsilon=1.0, delta=1e-9, out=tmp_path / "out", generator=generator, options=options)
    assert ledger.spent == Cost() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("asked", WORKLOADS, ids=str)
def test_a_workload_comes_back_from_its_record(asked: Any) -> None:
    again = workload.read(json.loads(json.dumps(workload.written(asked))))
    assert again == asked and workload.read(asked) == asked


class TestCommand:
    def released(self, ledger: Ledger, tmp_path: Path, *words: str) -> int:
        (tmp_path / "schema.json").write_text(json.dumps(SCHEMA.to_dict()))
        FRAME.to_csv(tmp_path / "people.csv", index=False)
        usual = ["--schema", str(tmp_path / "schema.json"), "--ledger", str(ledger.path), "--epsilon", "1", "--delta", "1e-9"]
        return main(["release", str(tmp_path / "people.csv"), *usual, "--generator", "aim", "--out", str(tmp_path / "out"), *words])

    @pytest.mark.parametrize(("text", "asked"), [("b", "b"), ("3", 3), ('{"a": 5}', {"a": 5}), ('[[["a", "b"], 5]]', {("a", "b"): 5}), ('"c"', "c")])
    def test_values_are_json_or_text(self, text: str, asked: Any, ledger: Ledger, fitted: list[AIM], tmp_path: Path) -> None:
        assert self.released(ledger, tmp_path, "--option", f"workload={text}", "--option", "max_model_size=4") == 4
        assert fitted == [AIM(1.0, 1e-9, workload=asked, max_model_size=4)]

    @pytest.mark.parametrize("option", ["workload", "workload=", "=2", "fitting=ancestral", "workload=nobody", "workload={", "max_model_size=NaN"])
    def test_what_can_not_be_is_refused(self, option: str, ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.released(ledger, tmp_path, "--option", option) == 2
        assert ledger.spent == Cost() and "write" in capsys.readouterr().err
        assert self.released(ledger, tmp_path, "--option", "workload=2", "--option", "workload=3") == 2

    def test_a_resumed_run_keeps_its_own(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["release", "--resume", str(tmp_path), "--option", "workload=2"]) == 2
        assert "--option" in capsys.readouterr().err
