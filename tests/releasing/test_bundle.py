from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from release_samples import ACCURACY, POLICY, certificate, released_schema, rows

from dpsynth import durable
from dpsynth.errors import BadInput, DpsynthError, VerificationFailed
from dpsynth.releasing import bundle
from dpsynth.releasing.bundle import CERTIFIED, FILES, PublicContents, bundle_name, read_bundle, write_public
from dpsynth.releasing.rows import dictionary_of
from dpsynth.schema import Schema

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def contents(n: int = 40) -> PublicContents:
    schema = released_schema()
    return PublicContents(rows(n), schema, dictionary_of(schema), ACCURACY, POLICY, certificate(), "<!doctype html><title>x</title>")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_everything_is_there_and_nothing_else(tmp_path: Path) -> None:
    made = write_public(tmp_path / "out", contents(), KEY)
    assert made == tmp_path / "out" / f"clinic-{certificate().id}.zip"
    assert names(tmp_path / "out") == sorted(["public", made.name])
    assert names(tmp_path / "out" / "public") == sorted(FILES)
    assert read_bundle(made) == read_bundle(tmp_path / "out" / "public")
    assert stat.S_IMODE((tmp_path / "out" / "public" / "README.txt").stat().st_mode) == 0o644


def test_equal_contents_give_equal_bytes(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write_public(tmp_path / "a", contents(), KEY)
    finally:
        os.umask(old)
    write_public(tmp_path / "b", contents(), KEY)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert len(tree(tmp_path / "a")) == len(FILES) + 1
    assert [oct(p.stat().st_mode) for p in sorted((tmp_path / "a").rglob("*"))] == [
        oct(p.stat().st_mode) for p in sorted((tmp_path / "b").rglob("*"))
    ]


def test_csv_spells_missing_cells_and_integers_as_the_schema_does(tmp_path: Path) -> None:
    write_public(tmp_path, contents(), KEY)
    lines = (tmp_path / "public" / "synthetic.csv").read_text().split("\n")
    assert lines[0] == "sex,level,age,weight,ward"
    assert lines[1] == "F,low,N/A,,A1"
    assert lines[2] == 'M,mid,1,2.6,"B,2"'
    assert lines[3] == '?,high,2,2.7,"C""3"'
    assert lines[4].startswith("?,low,3,")
    assert lines[12].split(",")[2] == "-1"
    assert lines[-1] == "" and len(lines) == 42


def test_parquet_says_that_it_is_synthetic(tmp_path: Path) -> None:
    write_public(tmp_path, contents(), KEY)
    table = pq.read_table(tmp_path / "public" / "synthetic.parquet")
    assert table.schema.metadata == {b"synthetic": b"true", b"certificate": certificate().id.encode()}
    assert [str(f.type) for f in table.schema] == ["string", "string", "int64", "double", "string"]
    assert table.column("sex").null_count == 20
    assert table.column("age").to_pylist()[:3] == [None, 1, 2]


def test_released_schema_is_public_and_loads(tmp_path: Path) -> None:
    schema = released_schema()
    leaky = schema.with_columns(tuple(replace(c, observed_categories=("secret ward",)) if c.name == "ward" else c for c in schema.columns))
    write_public(tmp_path, replace(contents(), schema=leaky), KEY)
    loaded = Schema.load(tmp_path / "public" / "schema.json")
    assert loaded.column("ward").categories == ("A1", "B,2", 'C"3')
    assert loaded.file.separator == ","
    assert all(b"secret ward" not in content for content in tree(tmp_path).values())


def test_a_column_in_which_nothing_was_found_is_released_missing(tmp_path: Path) -> None:
    schema = released_schema()
    schema = schema.with_columns(tuple(replace(c, categories=()) if c.name == "ward" else c for c in schema.columns))
    write_public(tmp_path, replace(contents(), schema=schema, synthetic=rows().assign(ward=None)), KEY)
    assert Schema.load(tmp_path / "public" / "schema.json").column("ward").categories is None


def test_zero_rows(tmp_path: Path) -> None:
    write_public(tmp_path, contents(0), KEY)
    assert (tmp_path / "public" / "synthetic.csv").read_text() == "sex,level,age,weight,ward\n"
    assert pq.read_table(tmp_path / "public" / "synthetic.parquet").num_rows == 0


def test_one_column_of_missing_cells_keeps_its_lines(tmp_path: Path) -> None:
    schema = Schema.from_dict(
        {
            "name": "clinic",
            "privacy_unit": {"unit": "row"},
            "columns": [{"name": "a", "type": "categorical", "categories": ["nan", "x"], "categories_basis": "publisher"}],
        }
    )
    frame = pd.DataFrame({"a": pd.Series([None, "nan", "x"], dtype=object)})
    write_public(tmp_path, replace(contents(), schema=schema, synthetic=frame, dictionary=()), KEY)
    assert (tmp_path / "public" / "synthetic.csv").read_text() == 'a\n""\nnan\nx\n'


@pytest.mark.parametrize(
    "change",
    [
        {"synthetic": rows().assign(sex="X")},
        {"synthetic": rows().assign(age=91)},
        {"synthetic": rows().assign(weight=float("inf"))},
        {"policy_text": "other"},
        {"certificate": certificate(schema="other")},
        {"certificate": certificate(amount=9.0)},
    ],
)
def test_what_would_not_verify_is_not_written(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DpsynthError, match="not written"):
        write_public(tmp_path / "out", replace(contents(), **change), KEY)
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize(
    "frame",
    [
        rows().assign(age=1.5),
        rows().assign(age=float("inf")),
        rows().assign(weight="secret"),
        rows()[["level", "sex", "age", "weight", "ward"]],
        rows().drop(columns="sex"),
    ],
)
def test_rows_of_another_shape_are_not_written(tmp_path: Path, frame: pd.DataFrame) -> None:
    with pytest.raises(DpsynthError, match="nothing was written"):
        write_public(tmp_path, replace(contents(), synthetic=frame), KEY)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "safe"), [("a b/../c", "a-b-c"), ("..", "table"), ("é", "table"), ("x" * 200, "x" * 60), ("nhanes_demo", "nhanes_demo")]
)
def test_the_zip_has_a_tame_name(name: str, safe: str) -> None:
    assert bundle_name(name, "ID") == f"{safe}-ID.zip"


def test_calling_again_changes_nothing_and_makes_what_is_missing(tmp_path: Path) -> None:
    made = write_public(tmp_path, contents(), KEY)
    before = tree(tmp_path)
    made.unlink()
    (tmp_path / ".public-left").mkdir()
    (tmp_path / ".public-left" / "x").write_text("")
    (tmp_path / f".{made.name}-left").write_text("")
    (tmp_path / ".other").write_text("mine")
    write_public(tmp_path, replace(contents(), report_html="another"), KEY)
    assert tree(tmp_path) == before | {".other": b"mine"}


def test_another_release_is_not_overwritten(tmp_path: Path) -> None:
    write_public(tmp_path, contents(), KEY)
    before = tree(tmp_path)
    with pytest.raises(BadInput, match="not this release"):
        write_public(tmp_path, replace(contents(), certificate=certificate(id="other")), KEY)
    (tmp_path / "public" / "README.txt").write_text("changed")
    with pytest.raises(VerificationFailed, match="changed after"):
        write_public(tmp_path, contents(), KEY)
    assert set(tree(tmp_path)) == set(before)


def test_public_that_is_a_link_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "public").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput):
        write_public(tmp_path, contents(), KEY)
    (tmp_path / "public").unlink()
    (tmp_path / "public").mkdir()
    with pytest.raises(BadInput):
        write_public(tmp_path, contents(), KEY)


def test_unwritable_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        write_public(tmp_path / "file" / "out", contents(), KEY)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(BadInput, match="No space left"):
        write_public(tmp_path, contents(), KEY)
    assert names(tmp_path) == []


def killed_at(step: int, out: Path) -> bool:
    """Write in a child that dies at its `step`-th call to fsync or rename; say whether it died."""
    child = os.fork()
    if child == 0:
        left = [step]

        def dying(call):  # type: ignore[no-untyped-def]
            def inner(*arguments):  # type: ignore[no-untyped-def]
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return call(*arguments)

            return inner

        os.fsync = dying(os.fsync)
        os.rename = dying(os.rename)
        Path.rename = dying(Path.rename)  # type: ignore[method-assign]
        try:
            write_public(out, contents(), KEY)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_killed_anywhere_then_completed(tmp_path: Path) -> None:
    write_public(tmp_path / "whole", contents(), KEY)
    whole = tree(tmp_path / "whole")
    step = 0
    seen = set()
    while killed_at(step, out := tmp_path / str(step)):
        public = out / "public"
        seen.add((public.exists(), any(out.glob("*.zip"))))
        if public.exists():
            assert tree(public) == tree(tmp_path / "whole" / "public")
        for made in out.glob("*.zip"):
            assert read_bundle(made) == read_bundle(tmp_path / "whole" / "public")
        write_public(out, contents(), KEY)
        assert tree(out) == whole
        step += 1
    assert step >= len(FILES) + 5
    assert seen == {(False, False), (True, False), (True, True)}


def readme_lines(folder: Path) -> list[str]:
    return [line.strip() for line in (folder / "README.txt").read_text().splitlines() if line.startswith("    ")]


def test_stock_openssl_verifies_by_the_line_in_the_readme(tmp_path: Path) -> None:
    made = write_public(tmp_path / "out", contents(), KEY)
    got = tmp_path / "got"
    shutil.unpack_archive(made, got)
    signature, hashes = (next(line for line in readme_lines(got) if tool in line) for tool in ("openssl", "sha256sum"))

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", line], cwd=got, check=False, capture_output=True, text=True)

    (got / "CUSTODIAN.pem").write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert shell(signature).returncode == 0, shell(signature).stderr
    assert "Verified Successfully" in shell(signature).stdout
    checked = shell(hashes)
    assert checked.returncode == 0 and checked.stdout.count(": OK") == len(CERTIFIED)
    with (got / "synthetic.csv").open("a") as file:
        file.write("F,low,1,3.0,A1\n")
    assert shell(hashes).returncode != 0
    text = (got / "certificate.json").read_text()
    (got / "certificate.json").write_text(text.replace('"epsilon": 1.0', '"epsilon": 0.1'))
    assert shell(signature).returncode != 0
    (got / "certificate.json").write_text(text)
    assert shell(signature).returncode == 0
    (got / "CUSTODIAN.pem").write_bytes(Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert shell(signature).returncode != 0


def test_readme_tells_what_it_must(tmp_path: Path) -> None:
    made = write_public(tmp_path, contents(), KEY)
    text = (tmp_path / "public" / "README.txt").read_text()
    assert f"dpsynth verify {made.name}" in text
    assert certificate().statement in text
    assert "It is not a legal finding of anonymity." in text
    assert all(name in text for name in FILES if name != "README.txt")
    assert "@" not in text


def zipped(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "..", "..\\evil", "C:evil", "folder/"])
def test_zip_slip(tmp_path: Path, name: str) -> None:
    with pytest.raises(VerificationFailed, match="plain name"):
        read_bundle(zipped(tmp_path / "x.zip", [("README.txt", b""), (name, b"")]))
    assert names(tmp_path) == ["x.zip"]


def test_zip_with_a_link_twins_too_much_or_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = zipfile.ZipInfo("synthetic.csv")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(VerificationFailed, match="is a link"):
        read_bundle(zipped(tmp_path / "x.zip", [("README.txt", b""), (link, b"/etc/passwd")]))
    with pytest.warns(UserWarning, match="Duplicate"):
        twins = zipped(tmp_path / "x.zip", [("README.txt", b"a"), ("README.txt", b"b")])
    with pytest.raises(VerificationFailed, match="twice"):
        read_bundle(twins)
    with pytest.raises(VerificationFailed, match="more than a bundle may"):
        read_bundle(zipped(tmp_path / "x.zip", [("README.txt", b""), *((f"f{i}", b"") for i in range(200))]))
    monkeypatch.setattr(bundle, "LARGEST_BUNDLE", 1000)
    with pytest.raises(VerificationFailed, match="more than a bundle may"):
        read_bundle(zipped(tmp_path / "x.zip", [("README.txt", bytes(2000))]))


def test_a_zip_that_lies_about_its_size(tmp_path: Path) -> None:
    made = write_public(tmp_path, contents(), KEY)
    raw = bytearray(made.read_bytes())
    at = raw.rfind(b"PK\x01\x02")
    raw[at + 24 : at + 28] = (10).to_bytes(4, "little")
    made.write_bytes(raw)
    with pytest.raises(VerificationFailed, match="damaged"):
        read_bundle(made)


def test_truncated_or_flipped_zip(tmp_path: Path) -> None:
    made = write_public(tmp_path / "out", contents(), KEY)
    raw = made.read_bytes()
    for cut in (0, 2, 100, len(raw) // 2, len(raw) - 1):
        made.write_bytes(raw[:cut])
        with pytest.raises(VerificationFailed, match="truncated or damaged"):
            read_bundle(made)
    for at in range(200, len(raw) // 2, len(raw) // 40):
        made.write_bytes(raw[:at] + bytes([raw[at] ^ 0x55]) + raw[at + 1 :])
        with pytest.raises(VerificationFailed):
            read_bundle(made)


def test_what_is_no_bundle_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    zipped(tmp_path / "y.zip", [("y", b"")])
    write_public(tmp_path / "out", contents(), KEY)
    for name in ("x.txt", "empty", "y.zip", "missing", "out"):
        with pytest.raises(BadInput) as caught:
            read_bundle(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="public"):
        read_bundle(tmp_path / "out")


def test_accuracy_and_dictionary_are_readable(tmp_path: Path) -> None:
    write_public(tmp_path, contents(), KEY)
    assert json.loads((tmp_path / "public" / "accuracy.json").read_text()) == ACCURACY
    dictionary = pd.read_csv(io.StringIO((tmp_path / "public" / "dictionary.csv").read_text()), dtype=str)
    assert list(dictionary.columns) == ["name", "label", "type", "min", "max", "values", "missing", "unit"]
    assert list(dictionary["name"]) == ["sex", "level", "age", "weight", "ward"]


def test_a_dictionary_gives_bounds_in_full() -> None:
    column = {"name": "weight", "type": "continuous", "bounds": [0.1234567891, 1490401], "bounds_basis": "publisher"}
    row = dictionary_of(Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": [column]}))[0]
    assert (row["min"], row["max"]) == ("0.1234567891", "1490401")
