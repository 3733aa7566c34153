"""Runs tests against a copy of the packages, each time in a fork of a process that has everybody's libraries in memory but not these.

Started as a script it reads jobs from its standard input, a line of JSON each, and answers each with the exit code of pytest.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

TESTS = Path(__file__).parents[1]
SECONDS = 900
LIBRARIES = (
    "hypothesis",
    "mpmath",
    "numba",
    "numpy",
    "opendp.prelude",
    "pandas",
    "pyarrow",
    "pytest",
    "scipy.optimize",
    "scipy.special",
    "scipy.stats",
    *(name for name in ("torch", "opacus") if find_spec(name)),
)


class Warmed:
    """A process that waits to be forked."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=TESTS.parent
        )

    def run(self, copy: Path, tests: Sequence[str]) -> tuple[int, str]:
        """Pytest's exit code (minus the signal if it was killed) and words, for `tests` on the packages in the folder `copy`."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([str(copy), list(tests)]) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, (copy / "words.txt").read_text(errors="replace")

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._process.communicate()


def _tested(copy: Path, tests: Sequence[str]) -> int:
    """In the fork: the packages are imported from `copy`, here and in whatever processes the tests start."""
    signal.alarm(SECONDS)
    sys.path[:] = [str(copy), *(p for p in sys.path if p != str(TESTS / "mutations")), str(TESTS.parent)]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    os.chdir(copy)
    words = os.open(copy / "words.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(words, 1)
    os.dup2(words, 2)
    import pytest

    options = [
        "-x",
        "-q",
        "--disable-warnings",
        "-c",
        str(TESTS.parent / "pyproject.toml"),
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        f"--basetemp={copy / 'tmp'}",
    ]
    return int(pytest.main([*options, *(str(TESTS / t) for t in tests)]))


def _serve() -> None:
    for library in LIBRARIES:
        __import__(library)
    assert not any(name.split(".")[0] in ("dpsynth", "attacks") for name in sys.modules)
    for line in sys.stdin:
        copy, tests = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = _tested(Path(copy), tests)
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
