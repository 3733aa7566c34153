"""What a release is asked to do, and the preflight: everything that can be known to be wrong before a cell is read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from dpsynth.errors import BadInput, DpsynthError, Fault, refuse
from dpsynth.privacy.cost import MAX_EPSILON, Cost, Request, check_budget
from dpsynth.privacy.ledger import Ledger, require_population
from dpsynth.releasing.key import KeyStore, load_private
from dpsynth.releasing.nearness import KIND
from dpsynth.releasing.seen import Seen
from dpsynth.releasing.split import require_same_shares
from dpsynth.schema import Schema
from dpsynth.tables import Table
from dpsynth.tables.source import header_faults

if TYPE_CHECKING:
    from attacks.policy import Policy
    from dpsynth.releasing.plan import Prediction
    from dpsynth.synthesizers import Generator

MAX_ROWS = 100_000_000
LEAST_GATE_EPSILON = 1e-3


@dataclass(frozen=True)
class Order:
    """A release as asked for: nothing in it has been checked yet.

    `ledger` is the ledger's path or address; `rows` how many synthetic rows to make (None: about as many as the table has, by the noisy
    total, up to two million); `key` a private key file (None: the custodian's own); `out` the folder to make; `gate_epsilon` the epsilon,
    at the same delta, of histograms of how near people come to the synthetic rows, to be published with these (None: none are); `options` those of
    the generator, by name.
    """

    table: Table
    schema: Schema
    ledger: str | Path = field(repr=False)  # may hold a password
    epsilon: Any
    delta: Any
    out: Path
    generator: str = "mst"
    policy: str = "partner-contract"
    rows: Any = None
    key: Path | None = None
    purpose: str = ""
    recipient: str = ""
    gate_epsilon: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """The parts that a checked order names, opened.

    Attributes:
        epsilon: that of all that would be published, at the order's delta.
        notes: what is no fault and should be known before anything is spent.
    """

    ledger: Ledger
    generator: Generator
    policy: Policy
    epsilon: float
    notes: tuple[str, ...] = ()


def check(order: Order) -> Checked:
    """Preflight. Spends nothing and leaves nothing behind.

    Raises:
        BadInput: with every fault that was found.
        BudgetExceeded: the order is sound, but the ledger would refuse it.
    """
    from attacks.policy import Policy
    from dpsynth.errors import BudgetExceeded
    from dpsynth.synthesizers.options import generator_with, option_faults

    faults = list(_faults(order))
    faults += _collected(faults, lambda: list(option_faults(order.generator, order.options))) or []
    policy = _collected(faults, lambda: Policy.load(order.policy))
    ledger = _collected(faults, lambda: _opened(order))
    if policy is not None and not check_budget(order.epsilon, order.delta) and order.epsilon > policy.max_epsilon:
        faults.append(
            Fault("epsilon", f"above the {policy.max_epsilon:g} that policy {policy.name} allows", "ask for less, or choose another policy")
        )
    if policy is not None and not check_budget(order.epsilon, order.delta) and order.delta >= policy.max_delta:
        faults.append(Fault("delta", f"not below the {policy.max_delta:g} that policy {policy.name} allows", "ask for one far below 1 / (people)"))
    if policy is not None and ledger is not None:
        _collected(faults, lambda: require_same_shares(ledger, order.schema, policy))
    if policy is not None:
        faults.extend(_too_many_rows(order, policy))
    plan = None if policy is None else _foreseen(order, policy)
    if plan is not None:
        faults.extend(_memory_faults(plan))
    if policy is not None and order.gate_epsilon is not None and not policy.publishes:
        faults.append(Fault("gate_epsilon", f"policy {policy.name} publishes nothing, so it would be spent in vain", "leave it out"))
    refuse(faults)
    assert policy is not None and ledger is not None
    generator = generator_with(order.generator, order.epsilon, order.delta, order.options)
    requests = [generator.request(order.schema), *asked_beside(order.gate_epsilon, order.delta, order.schema)]
    epsilon = together(order.epsilon, order.delta, [r.cost_in(ledger.currency) for r in requests])
    if epsilon > policy.max_epsilon:
        what = f"rows and histograms together have epsilon {epsilon:.4g}, above the {policy.max_epsilon:g} that policy {policy.name} allows"
        raise BadInput(Fault("gate_epsilon", what, "ask for less of either"))
    refusal = ledger.refusal(*requests)
    if refusal:
        raise BudgetExceeded(refusal)
    return Checked(ledger, generator, policy, epsilon, tuple(_notes(order, plan)))


def asked_beside(gate_epsilon: float | None, delta: float, schema: Schema) -> list[Request]:
    """What is asked of the ledger beside the rows: the histograms of nearness, if any."""
    return [] if gate_epsilon is None else [Request(gate_epsilon, delta, False, KIND, schema.unit.columns)]


def together(epsilon: float, delta: float, costs: Sequence[Cost]) -> float:
    """The epsilon, at `delta`, of all that one release publishes, rounded up to five digits: its own where there is nothing beside the rows."""
    if len(costs) == 1:
        return epsilon
    exact: float = sum(costs[1:], costs[0]).epsilon(delta)
    digits = 4 - math.floor(math.log10(exact))
    return float(math.ceil(exact * 10.0**digits) / 10.0**digits)


def _faults(order: Order) -> Iterator[Fault]:
    yield from header_faults(order.table, order.schema)
    yield from check_budget(order.epsilon, order.delta)
    # Below it the noise is of thousands of units, and tells nothing that was worth the asking.
    if order.gate_epsilon is not None and (check_budget(order.gate_epsilon, 1e-9) or order.gate_epsilon < LEAST_GATE_EPSILON):
        yield Fault("gate_epsilon", f"not a number from {LEAST_GATE_EPSILON:g} to {MAX_EPSILON:g}", "write for example 0.1")
    units = order.schema.n_public
    if units and not check_budget(1.0, order.delta) and order.delta > 1 / units:
        yield Fault("delta", f"above 1 / {units:,} units: it would allow giving one of them away whole", f"write at most {1 / units:.0e}")
    if order.rows is not None and (not isinstance(order.rows, int) or isinstance(order.rows, bool) or not 1 <= order.rows <= MAX_ROWS):
        yield Fault("rows", f"not a whole number from 1 to {MAX_ROWS:,}", "write for example 10000")
    yield from _out_faults(order.out)
    if order.key is not None:
        yield from _raised(lambda: load_private(order.key or Path()))
    else:
        yield from _raised(lambda: KeyStore.default().own())
    yield from _attack_faults()


def _too_many_rows(order: Order, policy: Policy) -> Iterator[Fault]:
    """Where the number of people is public and each has one row: else only the rows tell how many there are to train on."""
    from attacks.verdict import MOST_ROWS

    people, share = order.schema.n_public if order.schema.unit.is_row else None, policy.split["train"]
    if people and isinstance(order.rows, int):
        # Each side of the split is drawn by lot: as few are trained on once in thirty thousand times.
        most = max(int(MOST_ROWS * (people * share - 4 * math.sqrt(people * share * (1 - share)))), 1)
        if order.rows > most:
            what = f"may come to more than {MOST_ROWS} for each row trained on, of {people:,} people in all: then no policy passes the table"
            yield Fault("rows", what, f"write at most {most}")


def _out_faults(out: Path) -> Iterator[Fault]:
    if out.exists() or out.is_symlink():
        yield Fault(str(out), "exists already", "give a new folder, or go on with --resume")
        return
    parent = next(p for p in out.absolute().parents if p.exists())
    if not parent.is_dir():
        yield Fault(str(out), f"cannot be made: {parent} is not a folder", "give a path below a writable folder")
        return
    try:
        Path(mkdtemp(dir=parent, prefix=".dpsynth-")).rmdir()
    except OSError as error:
        yield Fault(str(out), f"cannot be made ({error.strerror})", "give a path below a writable folder")


def _foreseen(order: Order, policy: Policy) -> Prediction | None:
    """What the plan says, where the number of people is public."""
    from dpsynth.releasing.plan import predict

    if order.schema.n_public is None or check_budget(order.epsilon, order.delta):
        return None
    return predict(order.schema, None, order.epsilon, order.delta, policy, order.generator)


def _memory_faults(plan: Prediction) -> Iterator[Fault]:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    if plan.megabytes > there:
        what = f"{plan.megabytes:,.0f} MB are needed by the plan, the machine has {there:,.0f}"
        yield Fault("memory", what, "use a larger machine or fewer columns")


def _notes(order: Order, plan: Prediction | None) -> Iterator[str]:
    if plan is not None and not plan.structure and len(order.schema.synthesised) > 1 and order.generator != "independent":
        yield (
            f"note: by the plan, epsilon {order.epsilon:g} is probably too little for {order.generator} to tell how columns go together: "
            "each is then told of by itself only"
        )


def _attack_faults() -> Iterator[Fault]:
    from attacks.suite import required_imports

    missing = required_imports()
    if missing:
        yield Fault("attacks", f"the gate needs {', '.join(missing)}", 'pip install "dpsynth[attacks]"')


def _opened(order: Order) -> Ledger:
    ledger = Ledger.open(order.ledger)
    require_population(ledger, order.schema)
    refuse(Seen.default().faults(ledger))
    return ledger


def _collected(faults: list[Fault], make: Any) -> Any:
    """What `make` returns; its faults are collected and give None."""
    try:
        return make()
    except BadInput as error:
        faults.extend(error.faults)
        return None


def _raised(make: Any) -> Iterator[Fault]:
    try:
        make()
    except BadInput as error:
        yield from error.faults
    except DpsynthError as error:
        yield Fault("key", str(error), "give another key")
