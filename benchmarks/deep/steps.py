"""What privacy adds to a step: the same network, loss and batch, with the kernel's clipped and noised gradients, and plainly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import pandas as pd
import torch
from torch import nn

from dpsynth.deep import diffusion, gan, vae
from dpsynth.deep.learning import surprise
from dpsynth.deep.modules import Autoencoder, Unmasking
from dpsynth.deep.network import Margin
from dpsynth.encoding import public_attribute
from dpsynth.privacy import Request
from dpsynth.privacy.dpsgd import Plan
from dpsynth.privacy.table import single_use
from dpsynth.privacy.training import Loss
from dpsynth.schema import Schema

ROWS, COLUMNS, CODES, BATCH, STEPS, DELTA = 40_000, 14, 10, 1024, 100, 1e-6


def times() -> str:
    """Milliseconds of processor a step, the median of `STEPS`, on one thread."""
    torch.set_num_threads(1)
    sizes = (CODES + 1,) * COLUMNS  # one code more: missing
    start = np.zeros(sum(sizes))
    makers: dict[str, Callable[[], tuple[nn.Module, Loss]]] = {
        "diffusion": lambda: (Unmasking(sizes, start, diffusion.HIDDEN, diffusion.TIMES), surprise),
        "vae": lambda: (Autoencoder(sizes, start, vae.HIDDEN, vae.LATENT, vae.DRAWS), surprise),
        "gan, its critic": lambda: _critic(sizes),
    }
    rows = [_row(name, _timed(_plain(*make())), _timed(_private(*make()))) for name, make in makers.items()]
    return "\n".join(["| network | plain, ms | private, ms | private over plain |", "|---|---|---|---|", *rows])


def _critic(sizes: tuple[int, ...]) -> tuple[nn.Module, Loss]:
    """Made-up rows beside each row included, as in a fit: they are no part of what privacy adds."""
    pair = gan._Pair(sizes, None, [Margin((i,), np.full(size, 1 / size)) for i, size in enumerate(sizes)])
    return pair.critic, pair._loss


def _row(name: str, plain: float, private: float) -> str:
    return f"| {name} | {plain:.1f} | {private:.1f} | {private / plain:.2f} |"


def _timed(steps: Iterator[None]) -> float:
    seconds = []
    start = time.process_time()
    for _ in steps:
        seconds.append(time.process_time() - start)
        start = time.process_time()
    return 1000 * median(seconds)


def _plain(network: nn.Module, loss: Loss) -> Iterator[None]:
    optimiser = torch.optim.Adam(network.parameters())
    codes = torch.from_numpy(np.random.default_rng(0).integers(CODES, size=(ROWS, COLUMNS)))
    for _ in range(STEPS):
        batch = codes[torch.randperm(ROWS)[:BATCH]]
        optimiser.zero_grad()
        loss(network, batch).mean().backward()
        optimiser.step()
        yield


def _private(network: nn.Module, loss: Loss) -> Iterator[None]:
    codes = np.random.default_rng(0).integers(CODES, size=(ROWS, COLUMNS)).astype(str)
    names = [f"c{i}" for i in range(COLUMNS)]
    columns = [{"name": c, "type": "categorical", "categories": list(map(str, range(CODES))), "categories_basis": "publisher"} for c in names]
    schema = Schema.from_dict({"name": "steps", "privacy_unit": {"unit": "row"}, "columns": columns})
    table = single_use(pd.DataFrame(codes, columns=names), schema)
    table.grant(Request(1.0, 1e-5, True, "benchmark", ()))
    plan = Plan(BATCH / ROWS, 10.0, STEPS)
    optimiser = torch.optim.Adam(network.parameters())
    attributes = [public_attribute(c) for c in schema.synthesised]
    for _ in table.train(network, loss, attributes, plan, delta=DELTA / 2, clip=1.0, declared=ROWS):
        optimiser.step()
        yield
