"""The networks that are trained, and what they are made of. None mixes rows; each starts at independent columns."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dpsynth.deep.network import SLOPE

Floats = npt.NDArray[np.float64]
LEAST, MOST = -8.0, 4.0


class OneHot(nn.Module):
    """Codes of rows side by side, each column's as a 0-1 vector. It has nothing to train."""

    first: Tensor
    owner: Tensor

    def __init__(self, sizes: Sequence[int]):
        super().__init__()
        self.width = sum(sizes)
        self.register_buffer("first", torch.tensor(np.cumsum([0, *sizes[:-1]])), persistent=False)
        self.register_buffer("owner", torch.repeat_interleave(torch.eye(len(sizes)), torch.tensor(sizes), dim=0), persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Shape (rows, columns) to (rows, width)."""
        hot = torch.zeros(len(codes), self.width, device=codes.device)
        return hot.scatter_(1, codes + self.first, 1.0)

    def spread(self, columns: Tensor) -> Tensor:
        """A number for each column, shape (..., columns), as one for each of its codes, shape (..., width)."""
        return columns @ self.owner.T

    def log_shares(self, logits: Tensor) -> Tensor:
        """Logits, shape (..., width), as logarithms of shares that sum to 1 over each column."""
        top = self._tops(logits.detach())
        sums = (logits - top).exp() @ self.owner
        return logits - top - self.spread(sums.log())

    def _tops(self, logits: Tensor) -> Tensor:
        """The largest logit of each code's column, for each code: what exp() then sums is at least 1, and finite."""
        column = self.owner.argmax(1).expand_as(logits)
        lowest = torch.full((*logits.shape[:-1], self.owner.shape[1]), -math.inf, device=logits.device)
        return lowest.scatter_reduce(-1, column, logits, "amax").gather(-1, column)


class Likelihood(nn.Module, ABC):
    """A network that is trained to find rows likely."""

    @abstractmethod
    def surprise(self, codes: Tensor) -> Tensor:
        """What is to become small, of each row alone: shape (rows, columns) to (rows,)."""


class Unmasking(Likelihood):
    """What the visible cells say of all: `start` moved by what their embeddings add up to.

    Args:
        start: logits of each column alone, shape (width,).
        times: how many times of the diffusion the surprise is averaged over, each with a mask drawn afresh.
    """

    start: Tensor

    def __init__(self, sizes: Sequence[int], start: Floats, hidden: int, times: int):
        super().__init__()
        self.times = times
        self.hot = OneHot(sizes)
        self.embedding = nn.Linear(self.hot.width, hidden, bias=False)
        self.telling = nn.Linear(hidden, self.hot.width, bias=False)
        self.register_buffer("start", torch.tensor(start, dtype=torch.float32), persistent=False)
        nn.init.normal_(self.embedding.weight, 0, hidden**-0.5)
        nn.init.zeros_(self.telling.weight)

    def forward(self, visible: Tensor) -> Tensor:
        """Zeros for what is masked, shape (..., width), to logits of the same shape."""
        logits: Tensor = self.telling(torch.tanh(self.embedding(visible))) + self.start
        return logits

    def surprise(self, codes: Tensor) -> Tensor:
        """At a masked cell, on average."""
        hot = self.hot(codes).unsqueeze(1)
        visible, weights = masks(len(codes), self.times, codes.shape[1], codes.device)
        told = self.hot.log_shares(self(hot * self.hot.spread(visible)))
        surprise: Tensor = -(told * hot * self.hot.spread(weights)).sum((1, 2)) / self.times
        return surprise


def masks(rows: int, times: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which cells are visible, at least one and not all, at times spread evenly over the diffusion; and the weights of the others, which
    sum to 1. Shapes (rows, times, columns)."""
    when = (torch.arange(times, device=device) + torch.rand(rows, 1, device=device)) / times
    held = (1 + (when * (columns - 1)).long().clamp(max=columns - 2)).unsqueeze(-1)
    places = torch.rand(rows, times, columns, device=device).argsort(-1).argsort(-1)
    visible = (places < held).float()
    return visible, (1 - visible) / (columns - held)


class Autoencoder(Likelihood):
    """From rows to normal numbers and back, to logits that start at those of each column alone.

    Args:
        start: these logits, shape (width,).
        draws: how many draws of a row's numbers its surprise is averaged over.
    """

    start: Tensor

    def __init__(self, sizes: Sequence[int], start: Floats, hidden: int, latent: int, draws: int):
        super().__init__()
        self.draws = draws
        self.hot = OneHot(sizes)
        self.reading, self.summing = nn.Linear(self.hot.width, hidden), nn.Linear(hidden, 2 * latent)
        self.unfolding, self.telling = nn.Linear(latent, hidden), nn.Linear(hidden, self.hot.width, bias=False)
        self.register_buffer("start", torch.tensor(start, dtype=torch.float32), persistent=False)
        nn.init.normal_(self.reading.weight, 0, len(sizes) ** -0.5)
        nn.init.normal_(self.summing.weight, 0, hidden**-0.5)
        nn.init.normal_(self.unfolding.weight, 0, latent**-0.5)
        nn.init.normal_(self.unfolding.bias)
        for zero in (self.reading.bias, self.summing.bias, self.telling.weight):
            nn.init.zeros_(zero)

    def encode(self, hot: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of a row's numbers, each of shape (rows, latent)."""
        means, logarithms = self.summing(torch.tanh(self.reading(hot))).chunk(2, dim=-1)
        return means, logarithms.clamp(LEAST, MOST)

    def decode(self, numbers: Tensor) -> Tensor:
        """Shape (..., latent) to (..., width)."""
        logits: Tensor = self.telling(nn.functional.leaky_relu(self.unfolding(numbers), SLOPE)) + self.start
        return logits

    def surprise(self, codes: Tensor) -> Tensor:
        """What the evidence of a row is at most below zero, over the number of columns."""
        hot = self.hot(codes)
        means, logarithms = self.encode(hot)
        chance = torch.randn(len(codes), self.draws, means.shape[1], device=codes.device)
        numbers = means.unsqueeze(1) + (logarithms / 2).exp().unsqueeze(1) * chance
        told = (self.hot.log_shares(self.decode(numbers)) * hot.unsqueeze(1)).sum((1, 2)) / self.draws
        apart = (means.square() + logarithms.exp() - logarithms - 1).sum(1) / 2
        surprise: Tensor = (apart - told) / codes.shape[1]
        return surprise
