"""The auditor's road by command line, on small tables: what is refused, what is signed, and what a partner can check of it."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KernelDensity

from attacks import Policy, replay
from attacks.verdict import KNOWN_CONTROLS
from dpsynth.cli import main
from dpsynth.releasing.certificate import Signature, signatures_from_bytes, signatures_to_bytes
from dpsynth.releasing.key import KeyStore
from dpsynth.releasing.statement import Statement, audit_folder, claim_outcome, seed_of
from dpsynth.tables import FileTable

ROWS = 200
COLUMNS = [
    {"name": "x", "type": "continuous", "bounds": [-10, 10], "bounds_basis": "judgement"},
    {"name": "class", "type": "categorical", "categories": ["a", "b", "c"], "categories_basis": "publisher"},
    {"name": "y", "type": "integer", "bounds": [0, 99], "bounds_basis": "judgement"},
]
ROW = {"unit": "row"}
HOUSEHOLD = {"unit": "household", "columns": ["home"], "max_rows": 4}


@dataclass(frozen=True)
class Desk:
    """An auditor's folder: train, control, reference and synthetic are all drawn alike; tests break one thing."""

    folder: Path
    frames: dict[str, pd.DataFrame]

    def write(self, unit: dict[str, Any] = ROW) -> list[str]:
        """The tables and their schema on disk; the command that attacks them."""
        ids = [{"name": c, "type": "id"} for c in unit.get("columns", ())]
        (self.folder / "schema.json").write_text(json.dumps({"name": "small", "privacy_unit": unit, "columns": [*ids, *COLUMNS]}))
        for name, frame in self.frames.items():
            frame.to_csv(self.folder / f"{name}.csv", index=False)
        return ["attack", "--schema", str(self.folder / "schema.json"), *(w for n in self.frames for w in (f"--{n}", str(self.folder / f"{n}.csv")))]


def frames() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(5)

    def drawn() -> pd.DataFrame:
        columns = {"x": np.round(rng.normal(size=ROWS), 3), "class": rng.choice(list("abc"), ROWS), "y": rng.integers(0, 100, ROWS)}
        return pd.DataFrame(columns).astype(str)

    return {name: drawn() for name in ("train", "control", "reference", "synthetic")}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, frames())


def document_of(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, Any]:
    code = main([*words, "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["exit"] == code
    return document


def categories(desk: Desk) -> None:
    desk.frames["synthetic"]["class"] = desk.frames["synthetic"]["class"].map({"a": "one", "b": "two", "c": "three"})


def mixed(desk: Desk) -> None:
    desk.frames["synthetic"].loc[::2, "y"] = "sixty"


def nothing(desk: Desk) -> None:
    desk.frames["synthetic"]["y"] = "nan"


def both_sides(desk: Desk) -> None:
    for name, first in (("train", 0), ("control", 50), ("reference", 200)):
        desk.frames[name].insert(0, "home", [f"h{first + i // 2}" for i in range(ROWS)])


def in_time(desk: Desk) -> None:
    """The earlier half was trained on."""
    people = pd.concat([desk.frames["train"], desk.frames["control"]]).sort_values("x", key=lambda x: x.astype(float))
    desk.frames.update(train=people[:ROWS], control=people[ROWS:])


@pytest.mark.parametrize(
    ("spoil", "unit", "code", "place"),
    [
        (categories, ROW, "missing_evidence", "class"),
        (mixed, ROW, "missing_evidence", "y"),
        (nothing, ROW, "missing_evidence", "y"),
        (both_sides, HOUSEHOLD, "split_overlap", None),
        (in_time, ROW, "split_biased", None),
    ],
    ids=["other categories", "mixed types", "a column of NaN", "a household on both sides", "split in time"],
)
def test_what_can_not_be_judged_is_inconclusive(
    spoil: Callable[[Desk], None], unit: dict[str, Any], code: str, place: str | None, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(desk)
    found = document_of(capsys, desk.write(unit))
    assert found["exit"] == 4 and found["verdict"] == "INCONCLUSIVE"
    assert (code, place) in {(r["code"], r["column"]) for r in found["reasons"]}


@pytest.mark.parametrize("change", ["no column", "another column", "no table", "a row with more"])
def test_what_can_not_be_compared_is_bad_input(change: str, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    words = desk.write()
    table = desk.folder / "synthetic.csv"
    lines = table.read_text().splitlines()
    train = (desk.folder / "train.csv").read_text().splitlines()
    match change:
        case "no column":
            lines = [line.rpartition(",")[0] for line in lines]
        case "another column":
            lines = [f"{line},1" for line in lines]
        case "no table":
            lines = [""]
        case "a row with more":  # a whole training row, where no attack would look
            lines[3] = f"{lines[3]},{train[3]}"
    table.write_text("\n".join(lines))
    found = document_of(capsys, words)
    assert found["exit"] == 2 and "synthetic.csv" in found["error"] and train[3] not in found["error"]
    assert change != "a row with more" or "row 3" in found["error"]


@pytest.mark.parametrize(("bandwidth", "codes"), [(1e-6, {3}), (1.0, {0, 3, 4})])
def test_a_table_that_another_tool_made(bandwidth: float, codes: set[int], desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """scikit-learn's kernel density, which writes its numbers in full: a kernel so narrow that it copies people, and a wide one."""
    train, words = desk.frames["train"], desk.write()
    numbers = train[["x", "y"]].astype(float) / [1, 30]
    matrix = np.column_stack([numbers, pd.get_dummies(train["class"]).astype(float)])
    made = KernelDensity(bandwidth=bandwidth).fit(matrix).sample(ROWS, random_state=1)
    labels = np.array(list("abc"))[made[:, 2:].argmax(axis=1)]
    pd.DataFrame({"class": labels, "x": made[:, 0], "y": np.rint(made[:, 1] * 30)}).to_csv(desk.folder / "synthetic.csv", index=False)
    found = document_of(capsys, words)
    assert found["exit"] in codes and not [a["name"] for a in found["attacks"] if a["status"] == "error"]


@pytest.mark.parametrize("place", ["people.txt/audit", "people.txt/far/audit", ".", "n" * 300, "a\0b", "dangling"])
def test_where_nothing_can_be_written_is_said_before_anything_is_attacked(place: str, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    words = desk.write()
    (desk.folder / "people.txt").write_text("a file")
    (desk.folder / "dangling").symlink_to(desk.folder / "nowhere")
    found = document_of(capsys, [*words, "--out", str(desk.folder / place)])
    assert found["exit"] == 2 and any(words in found["error"] for words in ("cannot be made", "exists already", "not the name"))


@pytest.mark.parametrize(("damage", "what"), [("cut", "damaged"), ("more", "damaged"), ("spoilt", "not a table")])
def test_a_compressed_table_that_is_not_whole_is_bad_input(damage: str, what: str, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    words, table = desk.write(), desk.folder / "synthetic.csv.gz"
    whole = gzip.compress(desk.frames["synthetic"].to_csv(index=False).encode())
    table.write_bytes({"cut": whole[:-20], "more": whole + b"a person's row", "spoilt": whole[:40] + b"\xff" * 40 + whole[80:]}[damage])
    found = document_of(capsys, [*words[:-1], str(table)])
    assert found["exit"] == 2 and "synthetic.csv.gz" in found["error"] and what in found["error"]


def test_people_with_a_cell_too_many_are_still_people(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the synthetic table alone it is refused: what one person's row holds refuses no table of people."""
    words = desk.write()
    for name in ("train", "control", "reference"):
        with (desk.folder / f"{name}.csv").open("a") as file:
            file.write("1,a,2,3\n")
    (desk.folder / "synthetic.csv").write_text("x,class,y\n")
    assert document_of(capsys, words)["exit"] == 4


def test_a_table_that_changes_while_it_is_read_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words, read = desk.write(), FileTable.rows

    def rows(table: FileTable) -> pd.DataFrame:
        frame = read(table)
        table.path.write_text(table.path.read_text() + "1,a,2\n")
        return frame

    monkeypatch.setattr(FileTable, "rows", rows)
    found = document_of(capsys, words)
    assert found["exit"] == 2 and found["error"].count("changed while it was read") == 4


def failed(verified: dict[str, Any]) -> set[str]:
    """The checks that did."""
    return {c["name"] for c in verified["checks"] if c["status"] == "failed"}


@dataclass(frozen=True)
class Audit:
    """An audit as the auditor's folder holds it, and his public key, which the partner trusts."""

    desk: Desk
    folder: Path
    key: Path
    words: list[str]
    said: str

    def verified(self, capsys: pytest.CaptureFixture[str], *terms: str, folder: Path | None = None) -> dict[str, Any]:
        return document_of(capsys, ["verify", str(folder or self.folder), "--public-key", str(self.key), *terms])

    def statement(self) -> Statement:
        return Statement.from_bytes((self.folder / "statement.json").read_bytes())

    def signed_anew(self, folder: Path, found: dict[str, Any] | None = None, **changes: Any) -> Path:
        """A copy whose statement says something else, and attacks.json `found` if that is given, under the auditor's own good signature."""
        shutil.copytree(self.folder, folder)
        if found is not None:
            (folder / "attacks.json").write_text(json.dumps(found))
            hashed = hashlib.sha256((folder / "attacks.json").read_bytes()).hexdigest()
            changes |= {"files_sha256": self.statement().files_sha256 | {"attacks.json": hashed}}
        content = replace(self.statement(), **changes).to_bytes()
        private = KeyStore(self.key.parent).own()
        assert private is not None
        (folder / "statement.json").write_bytes(content)
        (folder / "statement.sig").write_bytes(signatures_to_bytes((Signature.make(content, private, "auditor"),)))
        return folder


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audit]:
    """Judged with a claim that the policy allows nobody, so FAIL, whatever the table."""
    with pytest.MonkeyPatch.context() as patch:
        home, desk = tmp_path_factory.mktemp("auditor"), Desk(tmp_path_factory.mktemp("desk"), frames())
        patch.setenv("DPSYNTH_HOME", str(home))
        words = desk.write()
        with redirect_stdout(StringIO()) as said:
            assert main([*words, "--claim-epsilon", "20", "--subgroup", "class", "--out", str(desk.folder / "audit")]) == 3
        KeyStore(home).export(home / "auditor.pem")
        yield Audit(desk, desk.folder / "audit", home / "auditor.pem", words, said.getvalue())


class TestStatement:
    def test_it_hashes_what_was_read_byte_for_byte(self, audit: Audit) -> None:
        stated = audit.statement()
        files = {p.stem: p for p in audit.desk.folder.glob("*.*")}
        assert stated.inputs_sha256 == {role: hashlib.sha256(p.read_bytes()).hexdigest() for role, p in files.items()}
        assert set(files) == {"train", "control", "reference", "synthetic", "schema"}
        assert stated.files_sha256 == {
            name: hashlib.sha256((audit.folder / name).read_bytes()).hexdigest() for name in ("attacks.json", "policy.toml", "report.html")
        }
        assert {p.name for p in audit.folder.iterdir()} == {*stated.files_sha256, "statement.json", "statement.sig"}
        assert stated.subgroups == ["class"] and stated.claim == {"epsilon": 20.0, "delta": 0.0, "outcome": "not refuted"}

    def test_the_signature_is_the_auditors(self, audit: Audit) -> None:
        content = (audit.folder / "statement.json").read_bytes()
        (signature,) = signatures_from_bytes((audit.folder / "statement.sig").read_bytes())
        assert signature.is_valid(content) and not signature.is_valid(content + b" ")
        assert signature.key == KeyStore(audit.key.parent).show().key

    def test_the_folder_alone_gives_the_verdict_again(self, audit: Audit) -> None:
        policy = Policy.load(audit.folder / "policy.toml")
        again = replay(json.loads((audit.folder / "attacks.json").read_text()), policy)
        assert again.outcome == audit.statement().verdict == "FAIL" and policy.hash == audit.statement().policy["hash"]

    def test_the_same_tables_are_judged_by_the_same_draws(self, audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
        """Also by another policy with the same tolerances, and without the claim; and it is said that this policy lets nothing out."""
        assert main([*audit.words, "--policy", "internal", "--out", str(audit.desk.folder / "again" / "audit")]) == 4
        again = json.loads((audit.desk.folder / "again" / "audit" / "attacks.json").read_text())
        first = {a["name"]: a for a in json.loads((audit.folder / "attacks.json").read_text())["attacks"]}
        assert all(a[key] == first[a["name"]][key] for a in again["attacks"] for key in ("effect", "ci", "p", "control_detected"))
        assert again["tests"]["blind_p"] is not None and not again["policy"]["publishes"]
        assert again["tests"]["blind_p"] == json.loads((audit.folder / "attacks.json").read_text())["tests"]["blind_p"]
        assert "nothing is published" in capsys.readouterr().out and "nothing is published" not in audit.said
        pages = [(folder / "report.html").read_text() for folder in (audit.desk.folder / "again" / "audit", audit.folder)]
        assert not any(words in page for page in pages for words in ("DO NOT SEND", "zip file", "edger"))
        assert ["nothing is published" in page for page in pages] == [True, False]
        assert "claim (epsilon 20): not refuted" in audit.said

    @pytest.mark.parametrize(
        ("found", "outcome"),
        [
            ({"claim_p": 1e-4}, "refuted"),
            ({"claim_p": 1e-4, "blind_p": None}, "refuted"),
            ({"claim_p": 1e-4, "blind_p": 1e-4}, "not refuted"),
            ({"claim_p": 1e-4, "overlap": [KNOWN_CONTROLS]}, "not refuted"),
            ({"claim_p": 1e-4, "overlap": ["units of train are in the control table as well"]}, "refuted"),
            ({"claim_p": 0.5}, "not refuted"),
            ({"claim_p": None}, "not tested"),
            ({"claim_p": None, "blind_p": 1e-4}, "not tested"),
        ],
    )
    def test_a_claim_is_refuted_by_what_the_verdict_takes_for_a_proof_only(self, found: dict[str, Any], outcome: str, audit: Audit) -> None:
        document = json.loads((audit.folder / "attacks.json").read_text())
        document["tests"] |= {"blind_p": 0.5, "overlap": []} | found
        policy = Policy.load("partner-contract")
        assert claim_outcome(document, policy) == outcome
        by_guesses = [r for r in replay(document, policy).reasons if "membership guesses" in r.words]
        assert len(by_guesses) == (outcome == "refuted")

    def test_the_seed_is_of_the_tables_and_of_nothing_else(self, audit: Audit) -> None:
        inputs = audit.statement().inputs_sha256
        assert seed_of(inputs) == seed_of(inputs | {"schema": "0" * 64, "manifest": "0" * 64}) < 1 << 48
        others = [seed_of(inputs | {role: "0" * 64}) for role in ("train", "control", "reference", "synthetic")]
        assert len({seed_of(inputs), *others}) == 5


class TestVerify:
    @pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
    def test_zero_is_a_pass(self, verdict: str, audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str], home: Path) -> None:
        document = json.loads((audit.folder / "attacks.json").read_text()) | {"verdict": verdict}
        document["claim"] = document["claim"] if verdict == "FAIL" else None
        document["tests"]["exchangeability_p"] = 0.5
        if verdict == "PASS":
            clean = {"status": "ok", "effect": 0.0, "p": 1.0, "p_no_effect": 1.0, "minimum_detectable": 0.0, "control_detected": True}
            document["attacks"] = [a | clean | {"ci": [0.0, (a["tolerance"] or 1.0) * 0.9]} for a in document["attacks"]]
        for name, content in audit_folder(document, Policy.load("partner-contract"), [], audit.statement().inputs_sha256).items():
            (tmp_path / name).write_bytes(content)
        assert main(["verify", str(tmp_path)]) == {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}[verdict]
        said = capsys.readouterr().out
        assert f"Verified: {verdict} by the policy partner-contract" in said and audit.statement().inputs_sha256["synthetic"] in said

    def test_a_key_that_nobody_knows(self, audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
        stranger = document_of(capsys, ["verify", str(audit.folder)])
        assert stranger["exit"] == 6 and stranger["statement"] is None and "key trust" in json.dumps(stranger)
        assert main(["key", "trust", str(audit.key)]) == 0
        capsys.readouterr()
        assert document_of(capsys, ["verify", str(audit.folder)])["exit"] == 3

    @pytest.mark.parametrize("name", ["attacks.json", "policy.toml", "report.html", "statement.json", "statement.sig"])
    @pytest.mark.parametrize("change", ["one letter", "gone"])
    def test_any_file_changed(self, name: str, change: str, audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copytree(audit.folder, folder := tmp_path / "copy")
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        if change == "one letter":
            (folder / name).write_bytes(content[:-3] + b"?" + content[-2:])
        assert audit.verified(capsys, folder=folder)["exit"] == 6

    def test_a_file_too_many(self, audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copytree(audit.folder, folder := tmp_path / "copy")
        (folder / "certificate.json").write_text("{}")
        assert audit.verified(capsys, folder=folder)["exit"] == 6

    @pytest.mark.parametrize(
        ("changes", "check"),
        [
            ({"verdict": "PASS"}, "verdict"),
            ({"claim": None}, "verdict"),
            ({"policy": {"name": "strict-public"}}, "verdict"),
            ({"seed": 1}, "seed"),
            ({"inputs_sha256": {}}, "seed"),
            ({"files_sha256": {}}, "hashes"),
            ({"files_sha256": {"other": "0" * 64}}, "hashes"),
            ({"subgroups": [float("inf")], "inputs_sha256": {"train": 1}}, "statement"),
            ({"policy": None}, "statement"),
        ],
    )
    def test_what_is_not_so_is_not_verified_though_signed(
        self, changes: dict[str, Any], check: str, audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = audit.verified(capsys, folder=audit.signed_anew(tmp_path / "copy", **changes))
        assert found["exit"] == 6 and check in failed(found)

    @pytest.mark.parametrize("outcome", ["not refuted", "refuted"])
    def test_a_claim_is_what_its_own_figures_make_of_it(self, outcome: str, audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Though the statement and attacks.json agree on it."""
        found = json.loads((audit.folder / "attacks.json").read_text())
        found["claim"]["outcome"] = outcome
        assert failed(audit.verified(capsys, folder=audit.signed_anew(tmp_path / "copy", found, claim=found["claim"]))) == (
            set() if outcome == "not refuted" else {"verdict"}
        )

    @pytest.mark.parametrize(
        "junk",
        [
            {"verdict": "PASS"},
            {"claim": None},
            {"claim": {"epsilon": 20.0, "delta": 0.0, "outcome": "refuted"}},
            {"claim": {"epsilon": 20.0, "delta": 0.0}},
            {"claim": {"epsilon": 10**400, "delta": 0.0, "outcome": "not refuted"}},
            {"claim": [1]},
            {"tests": {}},
            {"claim_p": float("nan")},
            {"claim_p": True},
            {"blind_p": 10**400},
            {"effect": 10**400},
        ],
    )
    def test_figures_that_are_none_are_not_verified_though_signed(
        self, junk: dict[str, Any], audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The statement is as it was."""
        found = json.loads((audit.folder / "attacks.json").read_text())
        for name, value in junk.items():
            place = found["tests"] if name.endswith("_p") else found["attacks"][0] if name == "effect" else found
            place[name] = value
        assert failed(audit.verified(capsys, folder=audit.signed_anew(tmp_path / "copy", found))) == {"verdict"}

    def test_what_the_partner_asks_for(self, audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
        assert audit.verified(capsys, "--policy", "partner-contract")["exit"] == 3
        for terms in (("--policy", "strict-public"), ("--max-epsilon", "30"), ("--unit", "row")):
            assert audit.verified(capsys, *terms)["exit"] == 6
