"""The rules, and the register of questions that test them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from conformance.subject import Subject
from dpsynth.schema import Schema

FALSE_ALARM = 1e-9  # of each statistical question; with some hundreds of them below 1e-6 for a run of the suite

RULES = {
    "C1": "bounds, categories, types or missing cells read raw",
    "C2": "a warning where a refusal is due",
    "C3": "budget counted once and spent twice",
    "C4": "a real value kept as a filler",
    "C5": "a raw value taken for a category",
    "C6": "bins fitted to raw rows",
    "C7": "categories discovered without a delta",
    "C8": "parameters taken from the private number of rows",
    "C9": "a stop rule after the spend",
    "C10": "noise divided by the number of rows",
    "C11": "a wrong sensitivity for a score",
    "C12": "constant or default seeds, global random state",
    "C13": "noise reused, streams that run together",
    "C14": "teacher and student share weights or rows",
    "C15": "an accountant that assumes another sampling than is done",
    "C16": "rows that reach a parameter beside the noised gradient",
    "C17": "a normaliser of gradients that depends on the number of rows",
    "C18": "the mechanism run again at sampling",
    "C19": "a first step that is not charged",
    "C20": "an option accepted and ignored, or shared by accident",
    "C21": "raw rows inside the model",
    "C22": "a pickle as the format of a release",
    "C23": "generation conditioned on raw values",
    "C24": "epsilon of 0 or None that means no privacy",
    "C25": "naive floating-point noise",
    "C26": "drift in sums of budgets",
    "C27": "errors, logs or sizes that depend on the rows",
    "C28": "neighbouring relations that do not fit together",
    "C29": "a row taken for a person",
    "C30": "a transformation that one row upsets",
    "C31": "numbers of utility or attacks published raw",
    "C32": "attempts that are not charged",
    "C33": "distance to closest records taken for privacy",
    "C34": "an attack that found nothing taken for a bound",
    "C35": "synthetic rows given out without their error",
}

TRAINING = ("C14", "C15", "C16", "C17")  # rules for generators that train; the others have no answer to them


@dataclass(frozen=True)
class Question:
    """One test of a rule: `ask` raises `AssertionError` if the subject breaks the rule, `CannotBeAsked` if it has no answer."""

    rule: str
    name: str
    ask: Callable[[Subject], None]


QUESTIONS: list[Question] = []


def guards(rule: str, schemas: Mapping[str, Schema] | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Registers a function of a subject as a question about a rule; with `schemas` one of a subject and a schema, as a question for each."""
    if rule not in RULES:
        raise KeyError(rule)

    def register(ask: Callable[..., None]) -> Callable[..., None]:
        name = f"{rule}-{ask.__name__}"
        if schemas is None:
            QUESTIONS.append(Question(rule, name, ask))
        else:
            QUESTIONS.extend(Question(rule, f"{name} ({kind})", partial(ask, schema=schema)) for kind, schema in schemas.items())
        return ask

    return register
