"""The rules, asked of every registered generator with every option, or of the one that `--generator` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conformance.ours import NOT_ASKED, Ours
from conformance.rules import Question
from conformance.subject import CannotBeAsked, Subject


def test_rule(subject: Subject, question: Question, record_property: Callable[[str, Any], None]) -> None:
    record_property("conformance", [question.rule, subject.name, question.name])
    excused = isinstance(subject, Ours) and question.rule in NOT_ASKED.get(subject.generator, ())
    try:
        question.ask(subject)
    except CannotBeAsked as reason:
        assert excused or not isinstance(subject, Ours), f"our own {subject.name} has no answer to {question.rule}: {reason}"
        pytest.skip(f"cannot be asked: {reason}")
    assert not excused, f"{subject.name} answers {question.rule}, after all: strike it out of NOT_ASKED"
