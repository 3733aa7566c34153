"""How the generators that learn likelihoods learn: one plan of noised steps, at a rate that falls, and an average of the weights along the way.

Statement. `learn` spends what is left of a grant on one plan through `PrivateTable.train`. Its optimiser and the average of the weights along
the way see noised gradients only: post-processing. So is the rate, which hangs on a step's number.

Sensitivity: `privacy/training.py`.
References: Kingma, Ba 2015 (arXiv 1412.6980), Adam; De et al. 2022 (arXiv 2204.13650), averages of weights and several draws of a row
before its gradient is clipped, both free.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dpsynth.deep.columns import MOST_SHARE, Columns
from dpsynth.deep.device import device_of_choice, require_device
from dpsynth.deep.modules import Likelihood
from dpsynth.deep.planning import SIGNAL, carries_a_step, plan_for, steps_for, too_small
from dpsynth.encoding.domains import domain_share
from dpsynth.errors import Fault
from dpsynth.privacy import PrivateTable, Request
from dpsynth.privacy.currency import GDP
from dpsynth.schema import Schema
from dpsynth.synthesizers.bench import SAFE
from dpsynth.synthesizers.generator import Generator

Net = TypeVar("Net", bound=nn.Module)
BATCH, CLIP = 1024, 0.5
RATE, MOMENTA, FALLING, MEMORY = 0.01, (0.9, 0.99), 1 / 3, 0.98


def learn(table: PrivateTable, network: Likelihood, columns: Columns) -> None:
    """Train the network for all that is left of the grant, in fewer steps where the table or the grant is small; leave its averaged weights in it."""
    left = table.left
    steps = steps_for(columns.total * math.sqrt(left.amount) / SIGNAL)
    plan = plan_for(left.amount * SAFE, left.event_delta * SAFE, columns.total, BATCH, steps)
    optimiser = torch.optim.Adam(network.parameters(), RATE, betas=MOMENTA)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(MEMORY))  # type: ignore[no-untyped-call]
    for step in table.train(
        network,
        surprise,
        columns.attributes,
        plan,
        delta=left.event_delta * SAFE,
        clip=CLIP,
        declared=max(columns.total, 1 / plan.rate),
        keep=[optimiser, average],
    ):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (1 - (step.number - 1) / step.steps) / FALLING)
        optimiser.step()
        average.update_parameters(network)
    network.load_state_dict(average.module.state_dict())


def surprise(network: nn.Module, codes: Tensor) -> Tensor:
    """The loss of `Likelihood` networks."""
    assert isinstance(network, Likelihood)
    return network.surprise(codes)


def faults_of(generator: Generator, schema: Schema) -> list[Fault]:
    """What keeps a generator from training on a table of this schema: the least that columns leave of the grant has to carry a step."""
    cost = Request(generator.epsilon, generator.delta, True, generator.name).cost_in(GDP)
    short = not carries_a_step(cost.amount * (1 - domain_share(schema)) * (1 - MOST_SHARE), cost.event_delta / 2)
    return [*(too_small().faults if short else ()), *require_device()]


def started(make: Callable[[], Net]) -> Net:
    """A network where it is to be trained, the same each time: no privacy hangs on where one starts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().to(device_of_choice())


def weights_of(layer: nn.Linear) -> npt.NDArray[np.float64]:
    weights: npt.NDArray[np.float64] = layer.weight.detach().double().cpu().numpy()
    return weights
