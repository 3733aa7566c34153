"""DPGAN: a critic learns from rows by noised gradients, a generator from the critic and from released marginals.

Statement. A fit is (epsilon, delta)-DP: a share of the grant measures every column, a share each column beside the schema's target, the
rest is one plan of noised steps, all through `PrivateTable`. The critic alone is trained on rows; the generator sees the critic,
released counts and chance that is made of the step's number, so that it tells of no row and a resumed fit has it again. Sensitivity:
`privacy/table.py` and `privacy/training.py`; a row's loss is its own score beside the mean score of made-up rows with its own label.

What is free is taken: the generator is fitted to the released marginals as well, and its rows are weighed to have them
(`network.py`). Labels are drawn from their released counts, never from rows.

References: Arjovsky et al. 2017 (arXiv 1701.07875), the Wasserstein critic, its layers held by their spectral norms (Miyato et al. 2018,
arXiv 1802.05957); Xu et al. 2019 (arXiv 1907.00503), conditions and Gumbel-softmax columns; Torkzadehmahani et al. 2019
(arXiv 2001.09700), the noised critic. No batch norm, one row at a time to the critic (pac 1): both would let a row move others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dpsynth.deep.device import device_of_choice, require_device
from dpsynth.deep.network import SLOPE, Floats, Margin, Network
from dpsynth.deep.planning import COLUMNS, PAIRS, ROWS_A_STEP, carries_a_step, plan_for, steps_for, too_small
from dpsynth.encoding import Codec, Decoder
from dpsynth.encoding.domains import domain_share
from dpsynth.errors import Diverged, Fault
from dpsynth.privacy import Attribute, PrivateTable, Request
from dpsynth.privacy.currency import GDP
from dpsynth.privacy.training import is_finite
from dpsynth.schema import Schema
from dpsynth.synthesizers.answer import Answer, measure
from dpsynth.synthesizers.generator import Fitted, Generator

SAFE = 1 - 1e-9
WORTH_A_PAIR, SURE = 1.0, 3.0
BATCH, CLIP, FAKES = 512, 1.0, 4
LATENT, HIDDEN, CRITIC = 32, (128, 128), 64
MADE, WARM_UP = 256, 0.25
LEARNS, CRITIC_LEARNS, ADVERSARIAL = 2e-3, 1e-3, 0.1
TEMPERATURE = 0.5
TURNS_OF_POWER = 3


@dataclass(frozen=True)
class DPGAN(Generator):
    """A generative adversarial network whose critic is trained under differential privacy."""

    name: ClassVar[str] = "gan"
    trains: ClassVar[bool] = True

    def check(self, schema: Schema) -> list[Fault]:
        cost = Request(self.epsilon, self.delta, True, self.name).cost_in(GDP)
        short = not carries_a_step(cost.amount * (1 - domain_share(schema)) * (1 - COLUMNS - PAIRS), cost.event_delta / 2)
        return [*(too_small().faults if short else ()), *require_device()]

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        answers = measured(table, attributes)
        margins = margins_of(attributes, answers)
        total, surely = total_of(answers)
        label = target_of(table.schema, attributes)
        with torch.random.fork_rng():
            torch.manual_seed(0)  # no privacy hangs on where a network starts
            pair = _Pair([a.size for a in attributes], label, margins)
        pair.learn(table, attributes, surely)
        names = tuple(a.column.name for a in attributes)
        source = Network(names, tuple(a.size for a in attributes), layers_of(pair.maker), LATENT, label, margins, total)
        return Fitted(source, Codec(tuple(map(Decoder, attributes))), answers)


def layers_of(network: nn.Module) -> tuple[tuple[Floats, Floats], ...]:
    """The weights and biases of its linear layers, in order. Raises `Diverged` if one is no number."""
    if not is_finite(network):
        raise Diverged("the generator ended in parameters that are no numbers; the charge stays, and there is no model")
    return tuple((m.weight.detach().double().cpu().numpy(), m.bias.detach().double().cpu().numpy()) for m in _linear(network))


def target_of(schema: Schema, attributes: Sequence[Attribute]) -> int | None:
    """The position of the schema's target, if it has one that is synthesised."""
    return next((i for i, a in enumerate(attributes) if a.column.name == schema.target), None)


def measured(table: PrivateTable, attributes: Sequence[Attribute]) -> tuple[Answer, ...]:
    """Every column, then each beside the target where their cells can be told from noise."""
    amount = table.left.amount * SAFE
    ones = [measure(table, [a], amount * COLUMNS / len(attributes)) for a in attributes]
    target = target_of(table.schema, attributes)
    if target is None:
        return tuple(ones)
    total = float(np.mean([a.values.sum() for a in ones]))
    others = [a for i, a in enumerate(attributes) if i != target]
    share = amount * PAIRS / max(len(others), 1)
    worth = [a for a in others if a.size * attributes[target].size * table.sigma(share) < WORTH_A_PAIR * total]
    return (*ones, *(measure(table, [attributes[target], a], share) for a in worth))


def total_of(answers: Sequence[Answer]) -> tuple[float, float]:
    """The noisy number of rows, and one that it is hardly below: steps that noise alone asks for would be wasted."""
    total = float(np.mean([a.values.sum() for a in answers]))
    spread = math.sqrt(sum(a.sigma**2 * a.values.size for a in answers)) / len(answers)
    return max(total, 1.0), max(total - SURE * spread, 1.0)


def margins_of(attributes: Sequence[Attribute], answers: Sequence[Answer]) -> tuple[Margin, ...]:
    positions = {a.column.name: i for i, a in enumerate(attributes)}
    return tuple(Margin(tuple(positions[n] for n in a.columns), _shares(a.values)) for a in answers)


def _shares(noisy: Floats) -> Floats:
    """The nearest shares: a constant off each cell and none below zero, so that they sum to 1."""
    counts = noisy.ravel() / max(float(noisy.sum()), 1.0)
    down = np.sort(counts)[::-1]
    off = (np.cumsum(down) - 1) / np.arange(1, len(down) + 1)
    last = np.flatnonzero(down > off)[-1]
    shares: Floats = np.maximum(counts - off[last], 0).reshape(noisy.shape)
    shares /= shares.sum()
    return shares


class _Critic(nn.Module):
    """A score for each row, made-up ones beside real ones: shape (rows, k, codes) to (rows, k)."""

    def __init__(self, codes: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(codes, CRITIC), nn.LeakyReLU(SLOPE), nn.Linear(CRITIC, CRITIC), nn.LeakyReLU(SLOPE), nn.Linear(CRITIC, 1)
        )

    def forward(self, seen: Tensor) -> Tensor:
        scores: Tensor = self.layers(seen).squeeze(-1)
        return scores


class _Held(nn.Module):
    """What holds a critic's layers: the direction in which each of them stretches most, as far as it is known."""

    def __init__(self, critic: _Critic):
        super().__init__()
        self.directions = nn.ParameterList(nn.Parameter(torch.ones(m.in_features), requires_grad=False) for m in _linear(critic))

    @torch.no_grad()
    def hold(self, critic: _Critic) -> None:
        """Divide each layer by its spectral norm where that is above 1 (Miyato et al. 2018)."""
        for layer, direction in zip(_linear(critic), self.directions, strict=True):
            for _ in range(TURNS_OF_POWER):
                out = nn.functional.normalize(layer.weight @ direction, dim=0)
                direction.copy_(nn.functional.normalize(layer.weight.T @ out, dim=0))
            layer.weight.div_(torch.linalg.vector_norm(layer.weight @ direction).clamp(min=1))


def _linear(network: nn.Module) -> list[nn.Linear]:
    return [m for m in network.modules() if isinstance(m, nn.Linear)]


class _Pair:
    """The generator and its critic."""

    def __init__(self, sizes: Sequence[int], label: int | None, margins: Sequence[Margin]):
        self.device = device_of_choice()
        self.sizes = sizes
        self.spans = [slice(low, high) for low, high in pairwise(np.cumsum([0, *sizes]).tolist())]
        self.label = label
        self.labels = 0 if label is None else sizes[label]
        given = LATENT + self.labels
        widths = [given, *HIDDEN]
        hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.LeakyReLU(SLOPE))]
        self.maker = nn.Sequential(*hidden, nn.Linear(widths[-1], sum(sizes))).to(self.device)
        self.critic = _Critic(sum(sizes)).to(self.device)
        self.chance = torch.Generator(self.device).manual_seed(0)
        self.wanted = [(m.columns, torch.tensor(m.shares, dtype=torch.float32, device=self.device)) for m in margins]
        self.held = _Held(self.critic).to(self.device)

    def learn(self, table: PrivateTable, attributes: Sequence[Attribute], total: float) -> None:
        maker = torch.optim.Adam(self.maker.parameters(), LEARNS, betas=(0.5, 0.9))
        critic = torch.optim.Adam(self.critic.parameters(), CRITIC_LEARNS, betas=(0.5, 0.9))
        left = table.left
        plan = plan_for(left.amount * SAFE, left.event_delta * SAFE, total, BATCH, steps_for(total / ROWS_A_STEP))
        for turn in range(math.ceil(WARM_UP * plan.steps)):
            self._improve(maker, 0.0, -turn)
        for step in table.train(
            self.critic,
            self._loss,
            attributes,
            plan,
            delta=left.event_delta * SAFE,
            clip=CLIP,
            declared=max(total, 2 / plan.rate),
            keep=[self.maker, self.held, maker, critic],
            saying=self._standing,
        ):
            critic.step()
            self.held.hold(self.critic)
            self._improve(maker, ADVERSARIAL, step.number)

    def _loss(self, critic: nn.Module, codes: Tensor) -> Tensor:
        """How much better made-up rows of its label score than the row itself. Draws from torch's global generator, as `training.py` asks."""
        real = torch.cat([nn.functional.one_hot(codes[:, i], size) for i, size in enumerate(self.sizes)], dim=1).float()
        with torch.no_grad():
            given = torch.randn(len(codes), FAKES, LATENT, device=codes.device)
            chance = torch.rand(len(codes), FAKES, sum(self.sizes), device=codes.device)
            label = None if self.label is None else real[:, None, self.spans[self.label]].expand(-1, FAKES, -1)
            fakes = self._rows(given, label, chance)
        scores: Tensor = critic(torch.cat([real.unsqueeze(1), fakes], dim=1))
        return scores[:, 1:].mean(1) - scores[:, 0]

    def _rows(self, given: Tensor, label: Tensor | None, chance: Tensor) -> Tensor:
        """Rows as shares of codes, nearly one for each column, by Gumbel-softmax; the label as it is given."""
        noisy = (self._logits(given, label) - torch.log(-torch.log(chance.clamp(1e-6, 1 - 1e-6)))) / TEMPERATURE
        return self._columns(noisy, label)

    def _columns(self, logits: Tensor, label: Tensor | None) -> Tensor:
        parts = [logits[..., span].softmax(-1) for span in self.spans]
        if label is not None and self.label is not None:
            parts[self.label] = label
        return torch.cat(parts, dim=-1)

    def _improve(self, optimiser: torch.optim.Optimizer, adversarial: float, turn: int) -> None:
        """A step of the generator: towards what the critic takes for real, and towards the released marginals. It reads no rows.

        Its chance hangs on the turn's number alone, so that a resumed training goes on as it would have.
        """
        self.chance.manual_seed(turn)
        given, label = self._given()
        logits = self._logits(given, label)
        loss = self._distance(self._columns(logits, label))
        if adversarial:
            chance = torch.rand(logits.shape, device=self.device, generator=self.chance)
            loss = loss - adversarial * self.critic(self._rows(given, label, chance)).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        self.critic.zero_grad()

    def _standing(self) -> str:
        """How far made-up rows are from the released marginals, in words."""
        given, label = self._given()
        with torch.no_grad():
            return f"rows made are {float(self._distance(self._columns(self._logits(given, label), label))):.3f} from the released marginals"

    def _given(self) -> tuple[Tensor, Tensor | None]:
        return torch.randn(MADE, LATENT, device=self.device, generator=self.chance), self._drawn_labels()

    def _logits(self, given: Tensor, label: Tensor | None) -> Tensor:
        logits: Tensor = self.maker(given if label is None else torch.cat([given, label], dim=-1))
        return logits

    def _drawn_labels(self) -> Tensor | None:
        if self.label is None:
            return None
        shares = next(w for columns, w in self.wanted if columns == (self.label,))
        drawn = torch.multinomial(shares, MADE, replacement=True, generator=self.chance)
        return nn.functional.one_hot(drawn, self.labels).float()

    def _distance(self, rows: Tensor) -> Tensor:
        """From the released marginals: the mean over them of the Kullback-Leibler divergence."""
        return torch.stack([*self._divergences(rows)]).mean()

    def _divergences(self, rows: Tensor) -> Iterator[Tensor]:
        for columns, wanted in self.wanted:
            first = rows[:, self.spans[columns[0]]]
            held = first.mean(0) if len(columns) == 1 else first.T @ rows[:, self.spans[columns[1]]] / len(rows)
            yield (wanted * (torch.log(wanted + 1e-6) - torch.log(held + 1e-6))).sum()
