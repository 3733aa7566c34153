"""Everybody's random states, and what a stream of noise says; for tests that need them in this process and in fresh ones."""

from __future__ import annotations

import random
from importlib.util import find_spec
from typing import Any

import numpy as np

from dpsynth.privacy.noise import SystemNoise


def seed_all() -> None:
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    if find_spec("torch"):
        import torch

        torch.manual_seed(7)


def random_states() -> list[Any]:
    """Of whoever keeps one for the whole process: random, numpy, and torch where it is."""
    states = [random.getstate(), str(np.random.get_state())]  # noqa: NPY002
    if find_spec("torch"):
        import torch

        states.append(torch.get_rng_state().tolist())
    return states


def a_stream() -> list[int]:
    """Eight cells of wide noise, then thirty choices between a hundred equals."""
    noise = SystemNoise()
    return [*noise.add_discrete_gaussian(np.zeros(8, np.int64), 1e12).tolist(), *(noise.choose(np.zeros(100, np.int64), 1.0) for _ in range(30))]
