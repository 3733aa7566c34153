"""The kernel and the gate are broken on purpose, in each of the ways of `of_kernel.py` and `of_gate.py`, and the test meant for that way fails.

A mutation that no test catches is a hole in the tests, whatever they cover. Each runs on a copy of the packages; the code here is never
changed. A mutation whose text is not found exactly once says so: then the code has moved, and the mutation has to move with it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutation import Mutation
from of_gate import GATE
from of_kernel import KERNEL
from warmed import Warmed

import attacks
import dpsynth

PASSED, FAILED = 0, 1
LEAST = 25
MUTATIONS = (*KERNEL, *GATE)


@pytest.fixture(scope="module")
def warmed() -> Iterator[Warmed]:
    process = Warmed()
    yield process
    process.end()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the packages."""
    for package in (dpsynth, attacks):
        shutil.copytree(Path(package.__file__).parent, tmp_path / package.__name__)
    return tmp_path


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_the_test_meant_for_it_catches(mutation: Mutation, copy: Path, warmed: Warmed) -> None:
    file = copy / mutation.file
    text = file.read_text(encoding="utf-8")
    found = text.count(mutation.old)
    assert found == 1, f"{mutation.file} holds {mutation.old!r} {found} times, not once: the code has moved; see tests/mutations"
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    code, words = warmed.run(copy, mutation.tests)
    assert code == FAILED, f"{mutation.name}: no test failed (pytest ended with {code})\n{words}"


def test_the_tests_meant_for_them_pass_on_the_code_as_it_is(copy: Path, warmed: Warmed) -> None:
    code, words = warmed.run(copy, sorted({test for mutation in MUTATIONS for test in mutation.tests}))
    assert code == PASSED, words


def test_there_are_enough_and_no_two_are_the_same() -> None:
    assert len(MUTATIONS) >= LEAST
    assert len({m.name for m in MUTATIONS}) == len({(m.file, m.old, m.new) for m in MUTATIONS}) == len(MUTATIONS)
