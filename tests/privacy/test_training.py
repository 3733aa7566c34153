"""The fast way to clip is the slow way to clip; what would break it is refused before a charge; steps are spent before they read."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Event, Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import PERSON, listed, schema_of, spied
from scipy.stats import binom, chi2

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402

from dpsynth.encoding import public_attribute  # noqa: E402
from dpsynth.errors import BadInput, BudgetExceeded, Diverged  # noqa: E402
from dpsynth.privacy import PrivateTable, Request, noise  # noqa: E402
from dpsynth.privacy.answers import Answers  # noqa: E402
from dpsynth.privacy.dpsgd import Plan, cost_of  # noqa: E402
from dpsynth.privacy.noise import SystemNoise  # noqa: E402
from dpsynth.privacy.table import BLOCKS, single_use  # noqa: E402
from dpsynth.privacy.training import CLOSE, MOST_ROWS, Units, chance, clipped_sum, flat, require_rowwise, trained  # noqa: E402

SIZES = (3, 4, 5)
ROWS = 23
OWNERS = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13, 13, 14, 15, 16])


def codes(rows: int = ROWS) -> Any:
    return np.stack([np.arange(rows) * (i + 2) % size for i, size in enumerate(SIZES)], axis=1)


def one_hot(codes: Any) -> Any:
    return torch.cat([nn.functional.one_hot(codes[:, i], size).float() for i, size in enumerate(SIZES)], dim=1)


class Flat(nn.Module):
    """Linear layers on rows."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(sum(SIZES), 8), nn.LeakyReLU(0.2), nn.Linear(8, 8, bias=False), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, seen: Any) -> Any:
        return self.layers(seen).squeeze(-1)


class Looking(nn.Module):
    """An embedding, a layer called twice, a layer norm of Opacus' rules, sequences short and long."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies
        self.table = nn.Embedding(sum(SIZES), 3)
        self.first, self.norm, self.last = nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 1)

    def forward(self, codes: Any) -> Any:
        looked = self.table(torch.cat([codes + torch.tensor([0, 3, 7])] * self.copies, dim=1))
        return self.last(self.norm(self.first(torch.tanh(self.first(looked))))).mean((1, 2))


class Pairs(Flat):
    """A critic on a row and on several made-up ones, in one call."""

    def forward(self, seen: Any) -> Any:
        return self.layers(seen).squeeze(-1)


def pairs(network: Any, codes: Any) -> Any:
    real = one_hot(codes).unsqueeze(1)
    scores = network(torch.cat([real, real.roll(1, 2), real.roll(2, 2) * 0.5], dim=1))
    return scores[:, 1:].mean(1) - scores[:, 0]


NETWORKS: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any]]] = {
    "rows": (Flat, lambda network, codes: (network(one_hot(codes)) - codes[:, 0]) ** 2),
    "pairs": (Pairs, pairs),
    "embedded": (lambda: Looking(1), lambda network, codes: (network(codes) - codes[:, 1]) ** 2),
    "long sequences": (lambda: Looking(6), lambda network, codes: network(codes) * codes[:, 2]),
    "called twice": (Flat, lambda network, codes: network(one_hot(codes)) ** 2 - network(one_hot(codes).roll(1, 1))),
}


def made(name: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    make, loss = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return make(), loss


def slow_sum(network: Any, loss: Callable[[Any, Any], Any], owners: Any, weights: Any, included: Sequence[int], clip: float) -> Any:
    """One unit at a time, by autograd alone."""
    parameters, total, data = trained(network), 0.0, torch.from_numpy(codes())
    for unit in included:
        rows = np.flatnonzero(owners == unit)
        one = (loss(network, data[rows]) * (1.0 if weights is None else torch.from_numpy(weights[rows]))).sum()
        gradient = flat(torch.autograd.grad(one, parameters))
        total = total + gradient * min(1.0, clip * (1 - CLOSE) / max(np.linalg.norm(gradient), 1e-30))
    return total


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("units", ["rows", "persons", "persons, weighed"])
@pytest.mark.parametrize("most", [4, 4096])
def test_the_fast_clipped_sum_is_that_of_single_units(name: str, units: str, most: int) -> None:
    network, loss = made(name)
    owners = np.arange(ROWS) if units == "rows" else OWNERS
    weights = 1 / np.bincount(OWNERS)[OWNERS] if units == "persons, weighed" else None
    included = np.unique(owners)[::2] if most == 4 else np.unique(owners)
    shuffled = np.argsort(np.arange(ROWS) * 7 % ROWS)
    held = Units.of(codes()[shuffled], owners[shuffled], None if weights is None else weights[shuffled])
    for clip in (0.05, 0.7, 1e6):
        fast = flat(list(clipped_sum(network, loss, list(held.pieces(included, most)), clip).values()))
        slow = slow_sum(network, loss, owners, weights, included, clip)
        assert np.linalg.norm(fast - slow) < 1e-4 * max(np.linalg.norm(slow), 1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_opacus_finds_the_same_gradients_of_rows(name: str) -> None:
    from opacus.grad_sample import GradSampleModule

    network, loss = made(name)
    wrapped = GradSampleModule(network, loss_reduction="sum")
    loss(network, torch.from_numpy(codes())).sum().backward()
    rows = torch.cat([p.grad_sample.reshape(ROWS, -1) for p in wrapped.parameters()], dim=1)
    wrapped.remove_hooks()
    clipped = rows * (0.3 * (1 - CLOSE) / rows.norm(dim=1)).clamp(max=1).unsqueeze(1)
    each = Units(torch.from_numpy(codes()), np.arange(1, ROWS + 1))
    fast = flat(list(clipped_sum(network, loss, [each], 0.3).values()))
    assert np.linalg.norm(fast - flat([clipped.sum(0)])) < 1e-4 * np.linalg.norm(fast)


def test_a_units_gradients_that_cancel_are_clipped_by_what_is_left_and_one_that_is_no_number_counts_as_none() -> None:
    layer = nn.Linear(1, 1, bias=False)
    held = Units.of(np.array([[3], [3], [1], [7]]), np.array([0, 0, 1, 2]), None)

    def loss(network: Any, codes: Any) -> Any:
        sign = 1e6 * (1 - 2 * (torch.arange(len(codes)) % 2)).float()  # of the first unit's two rows one is up, one down
        scale = torch.where(codes[:, 0] == 3, sign, torch.where(codes[:, 0] == 7, math.nan, 0.5))
        return network(codes.float()).squeeze(1) * scale

    assert clipped_sum(layer, loss, list(held.pieces(np.arange(3), 99)), 1.0)[layer.weight].item() == pytest.approx(0.5, abs=1e-3)


class Mean(Flat):
    def forward(self, seen: Any) -> Any:
        return super().forward(seen - seen.mean(0))


class Bare(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, seen: Any) -> Any:
        return super().forward(seen) + self.shift


class Tied(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.layers[2].weight = nn.Parameter(torch.ones(8, 8))
        self.again = nn.Linear(8, 8, bias=False)
        self.again.weight = self.layers[2].weight

    def forward(self, seen: Any) -> Any:
        hidden = self.layers[2](self.layers[1](self.layers[0](seen)))
        return self.layers[4](torch.tanh(self.again(hidden))).squeeze(-1)


class Keeping(Flat):
    """Adds up what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(sum(SIZES)))

    def forward(self, seen: Any) -> Any:
        self.seen = self.seen + seen.detach().sum(0)
        return super().forward(seen)


class Observed(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.observer = torch.ao.quantization.MinMaxObserver()

    def forward(self, seen: Any) -> Any:
        return super().forward(self.observer(seen))


class Below(Flat):
    """Computes in half precision what it holds in single."""

    def forward(self, seen: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(seen).float()


def sent_back_by_the_rows_mean(network: Any, codes: Any) -> Any:
    found = plainly(network, codes)
    found.register_hook(lambda gradient: gradient * codes.float().mean())
    return found


OWN = torch.Generator()
CPU = torch.device("cpu")
plainly = NETWORKS["rows"][1]
REFUSED: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any], str]] = {
    "batch norm": (lambda: nn.Sequential(nn.Linear(12, 4), nn.BatchNorm1d(4), nn.Linear(4, 1), nn.Flatten(0)), plainly, "BatchNorm1d mixes the rows"),
    "rows minus their mean": (Mean, plainly, "depends on the other rows"),
    "loss over the batch's size": (Flat, lambda n, c: plainly(n, c) / len(c), "depends on the other rows"),
    "loss by the rows' mean": (Flat, lambda n, c: plainly(n, c) * c.float().mean(), "depends on the other rows"),
    "gradient of the others": (Flat, lambda n, c: plainly(n, c) + (n(one_hot(c)).sum() - n(one_hot(c)).sum().detach()), "depends on the other rows"),
    "a column": (Flat, lambda n, c: plainly(n, c).unsqueeze(1), "not one number for each row"),
    "a mean": (Flat, lambda n, c: plainly(n, c).mean(), "not one number for each row"),
    "no gradient": (Flat, lambda n, c: plainly(n, c).detach(), "not one number for each row"),
    "own generator": (Flat, lambda n, c: plainly(n, c) * torch.rand(len(c), generator=OWN), "generator of its own"),
    "bare parameter": (Bare, plainly, "no rule gives the gradient of one row"),
    "tied layers": (Tied, plainly, "two layers share a parameter"),
    "in place": (lambda: nn.Sequential(nn.Linear(12, 4), nn.ELU(inplace=True), nn.Linear(4, 1), nn.Flatten(0)), plainly, "is not the sum of the"),
    "padding": (lambda: nn.Embedding(20, 3, padding_idx=0), lambda n, c: n(c).sum((1, 2)), "padding"),
    "rows mixed by chance": (Flat, lambda n, c: (n(one_hot(c) + one_hot(c)[torch.rand(len(c)).argsort()]) - 1) ** 2, "depends on the other rows"),
    "rows mixed by a permutation": (Flat, lambda n, c: (n(one_hot(c) + one_hot(c)[torch.randperm(len(c))]) - 1) ** 2, "depends on the other rows"),
    "a weak penalty on the batch": (Flat, lambda n, c: plainly(n, c) ** 2 + 1 + 2e-4 * plainly(n, c).mean(), "depends on the other rows"),
    "sent back by the rows' mean": (Flat, sent_back_by_the_rows_mean, "depends on the other rows"),
    "one draw for all": (Flat, lambda n, c: plainly(n, c) * torch.rand(()), "not one for each row"),
    "one draw for all, in a row": (Flat, lambda n, c: plainly(n, c) * torch.rand(1), "not one for each row"),
    "one row's draw for all": (Flat, lambda n, c: plainly(n, c) * torch.rand(len(c))[0], "depends on the other rows"),
    "adds up rows": (Keeping, plainly, "changes a buffer"),
    "largest values": (Observed, plainly, "changes a buffer"),
    "half precision": (lambda: Flat().half(), lambda n, c: n(one_hot(c).half()), "parameters of less than single precision"),
    "bfloat16": (lambda: Flat().bfloat16(), lambda n, c: n(one_hot(c).bfloat16()), "parameters of less than single precision"),
    "half precision within": (Below, plainly, "computes in less than single precision"),
    "half losses": (Flat, lambda n, c: plainly(n, c).half(), "not one number for each row"),
    "old spectral norm": (lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(12, 1)), nn.Flatten(0)), plainly, "made of another parameter"),
    "nothing to train": (nn.Identity, lambda n, c: c.sum(1).float(), "no parameter to train"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_break_the_clipping_is_refused_before_a_charge(name: str) -> None:
    make, loss, words = REFUSED[name]
    table = table_of()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = make()
    with pytest.raises(BadInput, match=words):
        next(iter(run(table, network, loss)))
    assert not table.events


def test_rows_in_the_order_of_a_column_are_no_rows_of_their_own_though_made_up_ones_are_in_that_order() -> None:
    network = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    with pytest.raises(BadInput, match="depends on the other rows"):
        require_rowwise(network, lambda n, c: n(nn.functional.one_hot(c[:, 0], 8).float()[c[:, 0].argsort(stable=True)]) ** 2, (8,))


@pytest.mark.parametrize(
    "loss",
    [
        lambda n, c: plainly(n, c) * torch.rand(len(c)),
        lambda n, c: (n(one_hot(c).unsqueeze(1) + torch.randn(len(c), 5, sum(SIZES))) ** 2).mean(1),
        lambda n, c: plainly(n, c) * torch.randint(1, 9, (len(c),)) * torch.bernoulli(torch.full((len(c),), 0.5)).add(1),
        lambda n, c: nn.functional.dropout(n(one_hot(c)) ** 2 + 0 * c[:, 0], 0.5),
    ],
    ids=["a number a row", "several draws a row", "whole numbers", "dropout"],
)
def test_chance_within_a_loss_is_no_dependence(loss: Callable[[Any, Any], Any]) -> None:
    require_rowwise(made("rows")[0], loss, SIZES)


def table_of(
    rows: int = 60, noise: Any = None, answers: Answers | None = None, unit: dict[str, Any] | None = None, frame: Any = None
) -> PrivateTable:
    columns = {name: listed(*(f"{name}{i}" for i in range(size - 1))) for name, size in zip("abc", SIZES, strict=True)}
    schema = schema_of({"id": {"type": "id"}, **columns} if unit else columns, unit)
    if frame is None:
        frame = pd.DataFrame({n: [f"{n}{c}" for c in codes(rows)[:, i]] for i, n in enumerate("abc")})
        if unit:
            frame["id"] = [f"u{i // 4}" for i in range(rows)]
    table = single_use(frame, schema, noise)
    table._key = bytes(32)
    if answers is not None:
        table._answers = answers
    table.grant(Request(4.0, 1e-5, True, "test"))
    return table


PLAN = Plan(0.3, 4.0, 40)


def run(table: PrivateTable, network: Any, loss: Any, plan: Plan = PLAN, **options: Any) -> Any:
    attributes = [public_attribute(c) for c in table.schema.synthesised]
    return table.train(network, loss, attributes, plan, **{"delta": 1e-7, "clip": 1.0, "declared": 60.0} | options)


class Seen:
    """Noise of nothing, batches as given; notes what it was asked for."""

    private = False

    def __init__(self, batches: list[Any] | None = None) -> None:
        self.batches = batches
        self.exact: list[Any] = []
        self.sigmas: list[float] = []
        self.rates: list[float] = []

    def include(self, units: int, rate: float) -> Any:
        self.rates.append(rate)
        return np.arange(units) if self.batches is None else np.array(self.batches[len(self.exact)], dtype=np.int64)

    def seed(self) -> int:
        return 5

    def add_gaussian(self, exact: Any, sigma: float) -> Any:
        self.exact.append(exact)
        self.sigmas.append(sigma)
        return exact.copy()


def test_the_whole_plan_is_one_charge_in_the_ledgers_currency_before_a_row_is_read() -> None:
    frame = spied(pd.DataFrame({n: [f"{n}0"] * 9 for n in "abc"}))
    table = table_of(frame=frame)
    run(table, *made("rows"))
    steps = iter(run(table, *made("rows")))
    assert not frame.seen and not table.events
    next(steps)
    cost = cost_of(PLAN, 1e-7)
    assert frame.seen and table.spent == cost
    assert [(e["kind"], e["amount"], e["delta"]) for e in table.events] == [("train", cost.amount, cost.event_delta)]
    assert len(list(steps)) == PLAN.steps - 1 and table.spent == cost


def test_a_plan_that_does_not_fit_reads_nothing() -> None:
    frame = spied(pd.DataFrame({n: [f"{n}0"] * 9 for n in "abc"}))
    table = table_of(frame=frame)
    with pytest.raises(BudgetExceeded):
        next(iter(run(table, *made("rows"), plan=Plan(0.5, 0.8, 100))))
    assert not frame.seen


@pytest.mark.parametrize("options", [{"declared": 3.0}, {"declared": math.nan}, *({"clip": clip} for clip in (0.0, math.inf, math.nan, 2e-45, 1e7))])
def test_a_batch_or_a_norm_that_is_none_is_refused(options: dict[str, float]) -> None:
    table = table_of()
    with pytest.raises(BadInput):
        next(iter(run(table, *made("rows"), **options)))
    assert not table.events


def test_gradients_are_over_the_declared_batch_whatever_was_drawn_and_an_empty_batch_is_a_step() -> None:
    noise = Seen([[0, 1, 2], [], [5]] * 20)
    table, (network, loss) = table_of(noise=noise), made("rows")
    left = [flat([p.grad for p in trained(network)]) for _ in run(table, network, loss, declared=50.0)]
    assert len(left) == len(noise.exact) == PLAN.steps and set(noise.sigmas) == {4.0}
    assert not noise.exact[1].any() and noise.exact[0].any()
    for exact, gradient in zip(noise.exact, left, strict=True):
        np.testing.assert_allclose(gradient, exact / (0.3 * 50), rtol=1e-6)


@pytest.mark.parametrize("clip", [0.25, 2.0])
def test_noise_is_of_the_plans_sigma_in_clipping_norms_and_batches_of_its_rate(clip: float) -> None:
    noise = Seen()
    taken = len(list(run(table_of(noise=noise), *made("rows"), clip=clip)))
    assert taken == len(noise.sigmas) == PLAN.steps
    assert set(noise.sigmas) == {PLAN.sigma * clip} and set(noise.rates) == {PLAN.rate}


@pytest.mark.parametrize("count", ["rows", "units"])
def test_a_person_moves_a_step_by_the_clip_at_most_whatever_rows_it_has(count: str) -> None:
    exact = []
    for extra in (0, 1, 2, 30):
        noise = Seen()
        columns = {n: [f"{n}{c}" for c in codes(20)[:, i]] + [f"{n}1"] * extra for i, n in enumerate("abc")}
        frame = pd.DataFrame({"id": [f"u{i // 4}" for i in range(20)] + ["me"] * extra, **columns})
        network, loss = made("rows")
        next(iter(run(table_of(noise=noise, unit=PERSON | {"count": count}, frame=frame), network, lambda n, c, f=loss: 100 * f(n, c), clip=0.5)))
        exact.append(noise.exact[0])
    moved = [float(np.linalg.norm(e - exact[0])) for e in exact[1:]]
    assert max(moved) <= 0.5 and min(moved) > 0.49


def test_batches_are_poisson_and_noise_is_normal_by_system_entropy() -> None:
    noise, units, draws = SystemNoise(), 400, 500
    held = np.zeros((draws, units))
    for row in held:
        row[noise.include(units, 0.1)] = 1
    for counts, size in ((held.sum(0), draws), (held.sum(1), units)):
        spread = float((np.square(counts - size * 0.1) / (size * 0.09)).sum())
        assert 1e-9 < chi2.cdf(spread, len(counts)) < 1 - 1e-9
    normal = np.concatenate([noise.add_gaussian(np.zeros(999), 3.0) for _ in range(100)]) / 3
    assert 1e-9 < chi2.cdf(np.square(normal).sum(), len(normal)) < 1 - 1e-9
    for cut, share in ((0.0, 0.5), (1.0, 0.158655), (-2.0, 0.97725), (3.0, 0.00135)):
        above = int((normal > cut).sum())
        assert 1e-9 < binom.cdf(above, len(normal), share) < 1 - 1e-9
    assert len(np.unique(normal)) == len(normal)
    assert len(noise.include(7, 1)) == 7


def test_global_generators_are_left_alone_and_a_loss_draws_afresh_each_step() -> None:
    drawn = []

    def loss(network: Any, codes: Any) -> Any:
        chance = torch.rand(len(codes))
        drawn.append(float(chance[0]))
        return NETWORKS["rows"][1](network, codes) * chance

    before = torch.get_rng_state()
    taken = len(list(run(table_of(noise=None), made("rows")[0], loss, plan=Plan(1.0, 40.0, 5))))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(drawn[-taken:])) == taken


def test_parameters_that_are_no_numbers_end_the_run_and_the_charge_stays() -> None:
    table, (network, loss) = table_of(), made("rows")
    with pytest.raises(Diverged, match="its charge stays"):
        for _ in run(table, network, loss):
            with torch.no_grad():
                network.layers[0].weight.fill_(math.nan)
    assert table.spent == cost_of(PLAN, 1e-7)


def test_steps_are_journalled_before_they_read_and_a_resume_begins_after_them_with_what_was_learnt(tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    block = math.ceil(PLAN.steps / BLOCKS)
    taken, learnt = 0, None

    def trained_by(table: PrivateTable, network: Any, most: int) -> int:
        optimiser = torch.optim.Adam(network.parameters(), 0.01)
        steps = 0
        for steps, step in enumerate(run(table, network, NETWORKS["rows"][1], keep=[optimiser]), 1):  # noqa: B007
            optimiser.step()
            if steps == most:
                break
        return steps

    class Reads(Seen):
        def include(self, units: int, rate: float) -> Any:
            written = journal.read_text().count('"steps"')
            assert written * block >= taken + len(self.exact) + 1, "rows were read before the step was written down"
            return super().include(units, rate)

    network = made("rows")[0]
    taken += trained_by(table_of(noise=Reads(), answers=Answers(journal)), network, 2 * block + 1)
    spent = journal.read_text().count('"steps"') * block
    assert spent == 3 * block
    second = made("rows")[0]
    noise = Seen()
    again = table_of(noise=noise, answers=Answers(journal))
    assert trained_by(again, second, 99) == PLAN.steps - spent == len(noise.exact)
    assert again.spent == cost_of(PLAN, 1e-7)
    learnt = flat(trained(second))
    assert np.linalg.norm(learnt - flat(trained(made("rows")[0]))) > 0.01
    third, quiet = made("rows")[0], Seen()
    assert trained_by(table_of(noise=quiet, answers=Answers(journal)), third, 99) == 0 and not quiet.exact
    np.testing.assert_array_equal(flat(trained(third)), learnt)
    (tmp_path / "training.npz").unlink()
    with pytest.raises(BadInput, match="lacks what the training had come to"):
        trained_by(table_of(noise=Seen(), answers=Answers(journal)), made("rows")[0], 99)


def test_of_two_processes_at_one_step_one_reads_rows() -> None:
    """Both have looked at what was told before either tells: the keeper lets one go on, with the plan as with each block."""
    together, told, took, stopped = Barrier(2, timeout=20), {}, [], []

    class Keeper:
        def told(self, step: int) -> str | None:
            return told.get(step)

        def tell(self, step: int, digest: str) -> None:
            if told.setdefault(step, digest) != digest:
                raise BudgetExceeded("told otherwise")

    class Beside(Answers):
        def replay(self, question: dict[str, Any]) -> Any:
            found = super().replay(question)
            with suppress(BrokenBarrierError):
                together.wait()
            return found

    def go() -> None:
        try:
            took.extend(run(table_of(answers=Beside(None, Keeper())), *made("rows")))
        except BudgetExceeded as refused:
            stopped.append(refused)
        finally:
            together.abort()

    both = [Thread(target=go) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(took) == PLAN.steps and len(stopped) == 1


def sum_of(network: Any, loss: Any, codes: Any, owners: Any = None, clip: float = 1.0) -> Any:
    held = Units.of(codes, np.arange(len(codes)) if owners is None else owners, None)
    return flat(list(clipped_sum(network, loss, list(held.pieces(np.arange(len(held.ends)), MOST_ROWS)), clip).values()))


@pytest.mark.parametrize("size", [1e3, 1e5, 1e7, 1e9])
@pytest.mark.parametrize("within", ["a unit", "a row"])
def test_a_unit_whose_rows_cancel_moves_the_sum_by_the_clip_at_most(size: float, within: str) -> None:
    layer, chance = nn.Linear(64, 1, bias=False), np.random.default_rng(0)
    seen = torch.from_numpy(chance.normal(size=(40, 64))).float()
    signs = torch.tensor([[1.0, 0.0], [size, 0.0], [-size, 0.0], [size, -size]])

    def loss(network: Any, codes: Any) -> Any:
        shifted = torch.stack([seen[codes[:, 1]], seen[codes[:, 1]] * (1 + 1e-7)], 1)
        return (network(shifted).squeeze(2) * signs[codes[:, 0]]).sum(1)

    others = np.stack([np.zeros(500, dtype=np.int64), chance.integers(0, 40, 500)], 1)
    one = np.array([[1, 7], [2, 7]] if within == "a unit" else [[3, 7]])
    owners = np.concatenate([np.arange(250), [500] * len(one), np.arange(250, 500)])
    moved = sum_of(layer, loss, np.concatenate([others[:250], one, others[250:]]), owners) - sum_of(layer, loss, others)
    assert np.linalg.norm(moved) <= 1


def test_a_unit_beside_a_hundred_thousand_like_it_moves_the_sum_by_the_clip_at_most() -> None:
    layer, clip = nn.Linear(1, 1, bias=False), 0.7
    most = [
        float(sum_of(layer, lambda n, c: 3 * n(torch.ones(len(c), 1)).squeeze(1), np.zeros((k, 1), dtype=np.int64), clip=clip)[0])
        for k in (100_000, 100_001)
    ]
    assert clip * (1 - 2 * CLOSE) < most[1] - most[0] <= clip


@pytest.mark.parametrize("square", [1e-60, 1e42, 4.4e44, 1e70])
def test_a_norm_near_the_ends_of_single_precision_is_clipped_too(square: float) -> None:
    layer, part = nn.Linear(1, 1, bias=False), math.sqrt(square / 2)
    moved = sum_of(layer, lambda n, c: n(torch.full((len(c), 2, 1), part)).sum((1, 2)) * part, np.zeros((1, 1), dtype=np.int64))
    assert abs(moved[0]) <= 1


def test_the_callers_autocast_changes_nothing() -> None:
    network, loss = made("rows")
    with torch.autocast("cpu", torch.bfloat16):
        require_rowwise(network, loss, SIZES)
        found = sum_of(network, loss, codes())
    np.testing.assert_array_equal(found, sum_of(network, loss, codes()))


def test_a_loss_draws_from_a_generator_whose_whole_state_is_chance() -> None:
    seeds = [SystemNoise().seed() for _ in range(2)]
    assert min(seeds).bit_length() > 19_900
    for seed in (*seeds, 5, 5 + (7 << 32), 5 + (7 << 19_000)):
        with chance(seed, CPU):
            drawn = torch.rand(2000)
        twin = random.Random(seed)
        np.testing.assert_array_equal(drawn.double().numpy(), [(twin.getrandbits(32) % 2**24) / 2**24 for _ in range(2000)])


def test_chance_is_the_processors_alone_and_one_threads_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a CUDA generator was seeded that nobody puts back"))
    entered = Event()

    def enter() -> None:
        with chance(2, CPU):
            entered.set()

    other = Thread(target=enter)
    before = torch.get_rng_state()
    with chance(1, CPU):
        other.start()
        torch.rand(37)
        assert not entered.wait(0.05)
    other.join(20)
    assert entered.is_set() and torch.equal(torch.get_rng_state(), before)


def test_noise_is_a_sum_of_four_normal_numbers_off_the_grid_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_stream", bytes)
    farthest = math.sqrt(2 * 53 * math.log(2))
    np.testing.assert_allclose(SystemNoise().add_gaussian(np.ones(3), 2.0), 1 + 2 * (4 * farthest) / 2)


def test_a_unit_of_many_rows_does_not_make_others_take_its_room() -> None:
    sizes = np.concatenate([np.ones(3000, dtype=np.int64), np.arange(1, 40), [1000, 9000]])
    held = Units.of(np.zeros((sizes.sum(), 1), dtype=np.int64), np.repeat(np.arange(len(sizes)), sizes), None)
    pieces = list(held.pieces(np.arange(len(sizes)), MOST_ROWS))
    assert sorted(np.concatenate([piece.sizes for piece in pieces])) == sorted(sizes)
    assert all(len(piece.ends) == 1 or len(piece.ends) * max(piece.sizes) <= MOST_ROWS for piece in pieces) and len(pieces) < 12


def test_one_who_writes_over_the_attributes_while_steps_are_taken_changes_nothing() -> None:
    left = []
    for spoilt in (False, True):
        noise, network = Seen(), made("rows")[0]
        table = table_of(noise=noise)
        attributes = [public_attribute(c) for c in table.schema.synthesised]
        for _ in table.train(network, made("rows")[1], attributes, Plan(0.3, 9.0, 3), delta=1e-7, clip=1.0, declared=60.0):
            if spoilt:
                attributes.reverse()
        left.append(np.concatenate(noise.exact))
    np.testing.assert_array_equal(*left)


def test_a_state_that_can_not_be_written_down_is_refused_before_a_charge() -> None:
    class Odd:
        def state_dict(self) -> dict[str, Any]:
            return {"generator": torch.Generator()}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise AssertionError

    table = table_of()
    with pytest.raises(BadInput, match="can not be written down"):
        next(iter(run(table, *made("rows"), keep=[Odd()])))
    assert not table.events


def test_each_training_of_a_release_keeps_what_it_has_come_to(tmp_path: Path) -> None:
    journal, plan = tmp_path / "answers.jsonl", Plan(0.3, 9.0, 4)

    def both() -> tuple[Any, Any]:
        table, networks = table_of(noise=Seen(), answers=Answers(journal)), (made("rows")[0], made("pairs")[0])
        for network, name in zip(networks, ("rows", "pairs"), strict=True):
            optimiser = torch.optim.SGD(network.parameters(), 0.1)
            for _ in run(table, network, made(name)[1], plan, keep=[optimiser]):
                optimiser.step()
        return tuple(flat(trained(network)) for network in networks)

    for first, again in zip(both(), both(), strict=True):
        np.testing.assert_array_equal(first, again)
