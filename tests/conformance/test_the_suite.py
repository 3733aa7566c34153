"""The suite can fail: it passes honest generators and finds every fault planted in them, by the rule that the fault breaks."""

from __future__ import annotations

import pytest

from conformance.ours import missing_options
from conformance.rules import QUESTIONS, RULES, TRAINING, Question
from conformance.subject import CannotBeAsked, Subject
from conformance.toy import School, Toy, Trainee
from conformance.wrong import FAULTS, Fault


def unanswered(subject: Subject) -> set[str]:
    """The rules that a subject has no whole answer to; it breaks none."""
    unasked = set()
    for question in QUESTIONS:
        try:
            question.ask(subject)
        except CannotBeAsked:
            unasked.add(question.rule)
    return unasked


def finds(question: Question, fault: Fault) -> bool:
    """Whether a question finds a fault, and does not merely break down over it."""
    try:
        question.ask(fault.subject)
    except AssertionError:
        return True
    except CannotBeAsked:
        pass
    return False


@pytest.mark.parametrize("subject", [Toy(), Trainee(), School()], ids=lambda s: s.name)
def test_an_honest_generator_breaks_no_rule(subject: Subject) -> None:
    answered = {"toy": set(), "trainee": {"C15", "C16", "C17"}, "school": {"C14"}}[subject.name]
    assert unanswered(subject) == set(TRAINING) - answered


@pytest.mark.parametrize("rule", RULES)
def test_each_fault_is_found_by_its_rule_and_each_question_finds_one(rule: str) -> None:
    faults = [f for f in FAULTS if rule in f.breaks]
    questions = [q for q in QUESTIONS if q.rule == rule]
    found = {(f.subject.name, q.name.partition(" (")[0]) for f in faults for q in questions if finds(q, f)}
    assert {fault for fault, _ in found} == {f.subject.name for f in faults} != set()
    assert {question for _, question in found} == {q.name.partition(" (")[0] for q in questions}


def test_every_option_of_every_registered_generator_is_tried() -> None:
    assert missing_options() == []
