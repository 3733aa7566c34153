"""docs/conformance.md says what the suite does, and the adapter on it runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.rules import RULES
from conformance.subject import LACKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
ADAPTER = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[0]


def rows(first: str) -> list[list[str]]:
    """The cells of the page's table rows whose first cell matches."""
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
    return [cells for cells in found if re.fullmatch(first, cells[0])]


def test_each_rule_is_on_the_page_in_the_suites_words_with_files_that_are_there() -> None:
    described = rows(r"C\d+")
    assert [(c[0], c[1]) for c in described] == list(RULES.items())
    for _, _, test, kept in described:
        assert len(test) > 20
        assert all((ROOT / path).is_file() for path in re.findall(r"`([^`]+)`", kept)), kept


def test_each_capability_is_on_the_page() -> None:
    assert {cells[0].strip("`") for cells in rows(r"`\w+`")} == {capability.__name__ for capability in LACKS}


def put_through(folder: Path, adapter: str, *words: str) -> tuple[int, str]:
    """The exit code and the words of a run of the suite with the adapter."""
    (folder / "shares.py").write_text(adapter, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "tests/conformance", "--generator", "shares:adapter", "-p", "no:cacheprovider", *words]
    paths = {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | paths, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def verdicts(words: str) -> dict[str, str]:
    return dict(re.findall(r"^(C\d+) +(PASS|FAIL|cannot be asked) ", words, flags=re.MULTILINE))


def test_the_adapter_on_the_page_runs_and_what_it_cannot_answer_is_no_pass(tmp_path: Path) -> None:
    code, words = put_through(tmp_path, ADAPTER)
    found = verdicts(words)
    assert list(found) == list(RULES), words
    assert code == 0 and "FAIL" not in found.values()
    assert {rule for rule, verdict in found.items() if verdict == "PASS"} == {"C4", "C5", "C12", "C13"}


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("laplace(0, scale,", "laplace(0, 0 * scale,", "C23"),
        ("default_rng().laplace", "default_rng(1).laplace", "C12"),
        ("raise ValueError", "print", "C24"),
    ],
)
def test_a_fault_in_it_fails_the_run(right: str, wrong: str, rule: str, tmp_path: Path) -> None:
    assert right in ADAPTER
    code, words = put_through(tmp_path, ADAPTER.replace(right, wrong), "-k", f"{rule}-")
    assert code == 1 and verdicts(words) == {rule: "FAIL"}


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ("adapter = 5", "not a Subject"),
        (ADAPTER.replace("adapter = Adapter()", "adapter = Adapter"), "an object (not a class)"),
        (ADAPTER.replace("add/remove", "any"), "write one of add/remove, replace-one"),
        (f'{ADAPTER}adapter.counted_in = "rdp"\n', "write one of gdp, zcdp, or leave it out"),
        ("import no_such_module", "No module named 'no_such_module'"),
    ],
)
def test_what_is_no_subject_is_refused_at_once(adapter: str, said: str, tmp_path: Path) -> None:
    code, words = put_through(tmp_path, adapter)
    assert code not in (0, 1) and said in words
