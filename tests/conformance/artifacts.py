"""C21 to C24, C27, C31 and C33 to C35: what a fit leaves behind, says and lets out."""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import pickletools
import re
import struct
import traceback
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from conformance.domain import VANISHING, is_refused
from conformance.measures import RUNS, is_split, saved, workplace
from conformance.mechanism import opened, told
from conformance.rules import FALSE_ALARM, guards
from conformance.sources import Broken, Deaf, Real
from conformance.spies import BreakingWatch, Watch, reachable, watched
from conformance.subject import CannotBeAsked, Judges, Publishes, Saves, Stamps, Subject, SwapsNoise, TellsAnswers, able
from conformance.tables import (
    CALM,
    CATEGORIES,
    CLOSED,
    DELTA,
    EPSILON,
    ID,
    OBJECTS,
    OPEN,
    OPEN_NUMBER,
    PERSON,
    TEXTS,
    A,
    B,
    bounded,
    crowd,
    filled,
    frame,
    schema_of,
)
from dpsynth.schema import Schema

TOKEN = "Zq7token"
DECLARED = schema_of({"a": A, "b": B, "v": bounded(0, 100, "continuous"), "i": bounded(0, 10**12)})
PERSONAL = schema_of({"id": ID, "a": A, "b": B, "o": OPEN, "v": OPEN_NUMBER}, PERSON)


def canaries(schema: Schema, rows: int = 60) -> pd.DataFrame:
    """A cell of its own for each row of each column."""
    numbers = {"v": [f"{41.000123456 + i / 9973:.9f}" for i in range(rows)], "i": [str(76_543_219_871 + 13_000_003 * i) for i in range(rows)]}
    return pd.DataFrame({name: numbers.get(name, [f"{TOKEN}{name}{i}" for i in range(rows)]) for name in schema.names}, dtype=object)


@guards("C21", {"declared": DECLARED, "persons, open": PERSONAL})
def no_cell_is_reachable_from_what_a_fit_leaves(subject: Subject, schema: Schema) -> None:
    table = canaries(schema)
    numbers = {float(cell) for column in ("v", "i") if column in table for cell in table[column]}
    spelled = re.compile("|".join(re.escape(repr(n)) for n in numbers))
    for held in reachable(subject.fit(table, schema, EPSILON, DELTA)):
        if isinstance(held, str | bytes):
            text = held if isinstance(held, str) else held.decode("latin-1")
            assert TOKEN not in text, "a raw text is in the model"
            assert not spelled.search(text), "a raw number is in the model"
        if isinstance(held, int | float | np.number) and not isinstance(held, bool):
            assert float(held) not in numbers, "a raw number is in the model"


@guards("C21")
def no_cell_is_in_the_saved_file(subject: Subject) -> None:
    able(subject, Saves)
    table = canaries(DECLARED)
    content = b"".join(unpacked(saved(subject, subject.fit(table, DECLARED, EPSILON, DELTA))))
    assert content
    assert TOKEN.encode() not in content, "a raw text is in the saved model"
    for cell in [*table["v"], *table["i"]]:
        spellings = [cell.encode(), repr(float(cell)).encode(), struct.pack("<d", float(cell))]
        assert not any(spelling in content for spelling in spellings), "a raw number is in the saved model"
    for cell in table["i"]:
        assert struct.pack("<q", int(cell)) not in content, "a raw number is in the saved model"


def unpacked(content: bytes) -> Iterator[bytes]:
    """The file, and what is packed in it."""
    yield content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(name) for name in archive.namelist())


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.write_text, (self.mark, "boom")


@guards("C22")
def a_saved_model_is_no_pickle(subject: Subject) -> None:
    able(subject, Saves)
    for part in unpacked(saved(subject, subject.fit(crowd(CLOSED), CLOSED, EPSILON, DELTA))):
        assert not is_pickle(part), "the saved model is a pickle"
        if part.startswith(b"\x93NUMPY"):
            np.lib.format.read_array(io.BytesIO(part), allow_pickle=False)


def is_pickle(content: bytes) -> bool:
    try:
        return content[:1] == b"\x80" and len(list(pickletools.genops(content))) > 0
    except Exception:
        return False


@guards("C22")
def a_saved_file_that_was_tampered_with_is_refused_and_not_run(subject: Subject) -> None:
    load = able(subject, Saves).load
    with workplace() as folder:
        mark, path = folder / "boom", folder / "model.npz"
        for content in bombs(Bomb(mark)):
            path.write_bytes(content)
            assert is_refused(load, path), "a file that is no model was loaded"
            assert not mark.exists(), "loading a file ran what was in it"


def bombs(bomb: Bomb) -> Iterator[bytes]:
    yield b""
    yield b"junk" * 99
    yield pickle.dumps(bomb)
    yield pickle.dumps({"format": bomb}, protocol=0)
    packed = io.BytesIO()
    np.savez(packed, header=np.array([bomb], dtype=object))
    yield packed.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bomb))
    yield packed.getvalue()


@guards("C23")
def at_a_vanishing_budget_categories_say_nothing(subject: Subject) -> None:
    tables = [frame(CATEGORIES, [(a, b)] * 24) for a, b in (("x", "p"), ("y", "q"))]
    shares = [[float((subject.fit(t, CATEGORIES, VANISHING, DELTA).sample(100)["a"] == "x").mean()) for _ in range(RUNS)] for t in tables]
    assert not is_split(*shares), f"the sampled categories tell two tables apart at epsilon {VANISHING}"


@guards("C23")
def samples_are_the_same_when_the_rows_are_gone(subject: Subject) -> None:
    table = crowd(CLOSED)
    sampler = able(subject, SwapsNoise).fit_with(Real(), table, CLOSED, EPSILON, DELTA)
    before = sampler.sample(60, seed=3)
    table.loc[:] = "x"
    table.drop(table.index, inplace=True)
    pd.testing.assert_frame_equal(sampler.sample(60, seed=3), before)


@guards("C24")
def a_budget_that_is_none_is_refused_before_a_look(subject: Subject) -> None:
    subject.fit(crowd(CLOSED), CLOSED, EPSILON, DELTA)
    none = (0, 0.0, -1.0, float("nan"), float("inf"), None, True, "1")
    for epsilon, delta in [*((e, DELTA) for e in none), *((EPSILON, d) for d in (-1e-9, 1.0, float("nan"), None, True, "x"))]:
        watch = Watch()
        rows = watched(crowd(CLOSED), watch)
        assert is_refused(subject.fit, rows, CLOSED, epsilon, delta), f"epsilon {epsilon!r} and delta {delta!r} were accepted"
        assert not watch.looks, f"rows were touched before epsilon {epsilon!r} and delta {delta!r} were refused"


@guards("C24")
def what_came_from_other_noise_says_so(subject: Subject) -> None:
    says = able(subject, Stamps).says_private
    swapped = able(subject, SwapsNoise).fit_with(Deaf(), crowd(CLOSED), CLOSED, EPSILON, DELTA)
    assert not says(swapped), "a model of a test's noise passes for a private one"
    assert says(subject.fit(crowd(CLOSED), CLOSED, EPSILON, DELTA)), "a private model does not say so"


@guards("C27", CALM)
def what_cells_hold_is_no_error_and_no_output(subject: Subject, schema: Schema) -> None:
    """The cells that a file can hold; where everything is served, those of a frame too."""
    plain = list(subject.fit(crowd(schema), schema, EPSILON, DELTA).sample(5).columns)
    for kind, cells in (TEXTS if schema is CLOSED else TEXTS | OBJECTS).items():
        try:
            with overheard() as said:
                made = subject.fit(filled(schema, cells), schema, EPSILON, DELTA).sample(20)
        except CannotBeAsked:
            raise
        except Exception as error:
            raise AssertionError(f"{kind}: cells made a fit fail ({type(error).__name__})") from error
        assert not said.getvalue(), f"{kind}: something was printed or logged"
        assert list(made.columns) == plain and len(made) == 20, f"{kind}: another shape of sample"


@contextlib.contextmanager
def overheard() -> Iterator[io.StringIO]:
    """All that is printed and logged meanwhile; warnings are another rule's."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield said
    finally:
        logging.getLogger().removeHandler(handler)


@guards("C27")
def an_error_holds_no_cell(subject: Subject) -> None:
    fit = able(subject, SwapsNoise).fit_with
    try:
        fit(Broken(), canaries(DECLARED), DECLARED, EPSILON, DELTA)
    except Exception as error:
        assert TOKEN not in "".join(traceback.format_exception(error)), "an error holds a raw cell"
    else:
        raise AssertionError("a fit went on without noise")


@guards("C27")
def a_fit_that_fails_stays_charged(subject: Subject) -> None:
    with opened(subject, CLOSED, 2.0, 2 * DELTA) as budget:
        budget.fit(crowd(CLOSED), CLOSED, EPSILON, DELTA)
        once = budget.spent()
        assert is_refused(budget.fit, watched(crowd(CLOSED), BreakingWatch()), CLOSED, EPSILON, DELTA), "a broken medium went unnoticed"
        assert budget.spent() == tuple(2 * part for part in once), "a fit that failed over the rows was given back"


@guards("C27")
def a_saved_model_has_the_size_that_its_answers_give(subject: Subject) -> None:
    able(subject, Saves)
    fit = able(subject, SwapsNoise).fit_with
    table = crowd(CLOSED)
    tables = table, table[::-1], table.assign(a="x"), table.assign(a=table["a"].to_numpy()[::-1], b=None)
    sizes = {len(saved(subject, fit(Deaf(), rows, CLOSED, EPSILON, DELTA))) for rows in tables}
    assert len(sizes) == 1, "the size of the saved model depends on the rows though all answers were the same"


@guards("C31")
def a_public_bundle_shows_answers_and_nothing_else(subject: Subject) -> None:
    """What differs between two bundles of the same table (a key, an id, the time) is chance, and set aside."""
    publish = able(subject, Publishes).publish
    evidence = {"effect": 0.7351928461, "upper": 0.8264193751, "p": 0.0137462519}
    table = crowd(CATEGORIES, 60)
    other = pd.concat([table.assign(a="x"), frame(CATEGORIES, [(None, "p")])], ignore_index=True)
    bundles = []
    for rows in (table, table, other):
        with workplace() as folder:
            bundles.append(dict(publish(Deaf(), evidence, rows, CATEGORIES, EPSILON, DELTA, folder)))
    assert bundles[0], "nothing was published"
    assert bundles[0].keys() == bundles[2].keys(), "other files for other rows"
    for name, content in bundles[0].items():
        whole = b"".join(unpacked(content))
        assert not any(str(number)[:8].encode() in whole for number in evidence.values()), f"{name} shows what an attack found"
        one, again, others = (lines(bundle[name]) for bundle in bundles)
        assert len(one) == len(others), f"{name} depends on the rows though all answers were the same"
        apart = [a for a, b, c in zip(one, again, others, strict=True) if a == b and a != c]
        assert not apart, f"{name} depends on the rows though all answers were the same"


def lines(content: bytes) -> list[bytes]:
    return b"\n".join(unpacked(content)).split(b"\n")


@guards("C33")
def distances_fail_a_release_and_never_pass_one(subject: Subject) -> None:
    gate = able(subject, Judges)
    attacks = gate.attacks()
    distances = [name for name, is_distance in attacks.items() if is_distance]
    assert gate.lets_out(dict.fromkeys(attacks, "clean"), True), "not even what is clean passes: nothing can be learnt of this gate"
    assert not gate.lets_out(dict.fromkeys(distances, "clean"), True), "distances alone let a table out"
    for name in distances:
        assert not gate.lets_out({**dict.fromkeys(attacks, "clean"), name: "leak"}, True), f"a leak by {name} let a table out"


@guards("C34")
def an_attack_that_could_not_have_seen_a_leak_proves_nothing(subject: Subject) -> None:
    gate = able(subject, Judges)
    attacks = gate.attacks()
    clean = dict.fromkeys(attacks, "clean")
    assert gate.lets_out(clean, True)
    assert not gate.lets_out({}, True), "no evidence at all let a table out"
    assert not gate.lets_out(clean, False), "attacks from outside let a table out of code that nobody audited"
    for name in (name for name, is_distance in attacks.items() if not is_distance):
        without = {k: v for k, v in clean.items() if k != name}
        for found in (without, without | {name: "weak"}, without | {name: "blind"}, without | {name: "leak"}):
            assert not gate.lets_out(found, True), f"{name} {found.get(name, 'absent')} let a table out"


@guards("C35")
def answers_come_with_errors_that_hold(subject: Subject) -> None:
    """Exact counts are within the bound 19 times in 20: more misses than chance would make, and the bound is too narrow."""
    able(subject, TellsAnswers)
    pairs = told(subject, CATEGORIES, EPSILON, 12, 12)
    assert all(answer.sigma > 0 and answer.bound > 0 for answer, _ in pairs), "an answer without its noise"
    misses = sum(int((np.abs(answer.values - exact) > answer.bound).sum()) for answer, exact in pairs)
    cells = sum(answer.values.size for answer, _ in pairs)
    assert binom.sf(misses - 1, cells, 0.05) > FALSE_ALARM, f"{misses} of {cells} cells are off by more than their bound"
