"""`python -m pytest tests/conformance --generator my_module:adapter` puts another generator through the rules."""

from __future__ import annotations

import importlib
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.append(str(Path.cwd()))
for module in ("domain", "mechanism", "training", "artifacts"):
    pytest.register_assert_rewrite(f"conformance.{module}")

from conformance import artifacts, domain, mechanism, training  # noqa: E402, F401
from conformance.ours import subjects  # noqa: E402
from conformance.rules import QUESTIONS, RULES  # noqa: E402
from conformance.subject import CountedIn, Relation, StatesCurrency, Subject  # noqa: E402
from dpsynth.privacy import fingerprint  # noqa: E402

OPTION = "--generator"
UNASKED = "cannot be asked: "


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, metavar="MODULE:ADAPTER", help="put this generator through the rules of conformance, and not our own")


def adapted(config: pytest.Config) -> Subject | None:
    """The adapter that the command line names."""
    named = config.getoption(OPTION, default=None)
    if not named:
        return None
    module, _, attribute = named.partition(":")
    try:
        adapter: Any = getattr(importlib.import_module(module), attribute or "adapter", None)
    except ModuleNotFoundError as error:
        raise pytest.UsageError(f"{OPTION} {named}: {error}; write module:adapter, with the module in this folder or on PYTHONPATH") from None
    if isinstance(adapter, type) or not isinstance(adapter, Subject):
        wanted = "an object (not a class) with a name, a relation and fit(rows, schema, epsilon, delta)"
        raise pytest.UsageError(f"{OPTION} {named}: not a Subject; it needs to be {wanted}")
    if adapter.relation not in get_args(Relation):
        raise pytest.UsageError(f"{OPTION} {named}: relation {adapter.relation!r} is not served; write one of {', '.join(get_args(Relation))}")
    if isinstance(adapter, StatesCurrency) and adapter.counted_in not in get_args(CountedIn):
        instead = f"write one of {', '.join(get_args(CountedIn))}, or leave it out"
        raise pytest.UsageError(f"{OPTION} {named}: counted_in {adapter.counted_in!r} is not served; {instead}")
    return adapter


@pytest.fixture(autouse=True)
def cheap_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are slow on purpose, and hundreds of them are made here."""
    monkeypatch.setattr(fingerprint, "COST", 2**4)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Another generator is asked the rules only; the other tests here are about the suite and about our own."""
    others = collection_path.name.startswith("test_") and collection_path.name != "test_rules.py"
    return True if others and config.getoption(OPTION, default=None) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if {"subject", "question"} <= set(metafunc.fixturenames):
        theirs = adapted(metafunc.config)
        asked: list[Subject] = [theirs] if theirs else list(subjects())
        cases = [pytest.param(s, q, id=f"{q.name}-{s.name}") for q in QUESTIONS for s in asked]
        metafunc.parametrize(("subject", "question"), cases)


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    if report.skipped and UNASKED in str(report.longrepr):
        return "cannot be asked", "?", "CANNOT BE ASKED"
    return None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table, rule by rule."""
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for reports in terminalreporter.stats.values():
        for report in reports:
            for key, value in getattr(report, "user_properties", ()):
                if key == "conformance" and report.when == "call":
                    rule, subject, question = value
                    outcome = "FAIL" if report.failed else "PASS" if report.passed else report.longrepr[2].split(UNASKED)[-1]
                    found[rule].append((outcome, subject, question))
    if not found:
        return
    terminalreporter.section("conformance")
    for rule in RULES:
        if rule in found:
            terminalreporter.write_line(line(rule, found[rule]))


def line(rule: str, found: list[tuple[str, str, str]]) -> str:
    """A rule that is broken anywhere fails; one that has no whole answer cannot be asked; else it passes."""
    broken = sorted({subject for outcome, subject, _ in found if outcome == "FAIL"})
    reasons = sorted({outcome for outcome, _, _ in found if outcome not in ("PASS", "FAIL")})
    if broken:
        verdict, words = "FAIL", ", ".join(broken)
    elif reasons:
        held = sum(outcome == "PASS" for outcome, _, _ in found)
        verdict, words = "cannot be asked", "; ".join(reasons) + (f" (held in {held} of {len(found)} questions)" if held else "")
    else:
        verdict, words = "PASS", f"held in {len(found)} of {len(found)} questions"
    return f"{rule:<4}{verdict:<16} {RULES[rule]}: {words}"
