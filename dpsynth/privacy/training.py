"""Training by noised gradients: what a paid step makes of the rows in it.

Statement. A step includes each privacy unit with the plan's probability, independently of all others, and adds Gaussian noise of sigma
clipping norms to the sum, over the included units, of each unit's clipped gradient. What a network's `.grad` holds afterwards is that
sum over a number that was known beforehand. `PrivateTable.train` charges the whole plan before the first row is read (`dpsgd.py`).

Sensitivity. The gradient that is clipped is a unit's: the sum over its rows, weighted as they count (`unit.py`). So a unit moves the sum
by at most the clipping norm, however many rows it has, if its gradient depends on no other unit's rows; one that is not a number counts
as none. `require_rowwise` asks that of network and loss before the charge, on made-up codes: the loss of each row and its gradient have to
be those of the row alone. Batches are cut into pieces that hold units whole, so a large batch takes longer and nothing is left out; an
empty one is noise alone.

Chance within a loss. A loss may draw (latents, times, masks) from torch's global generator, which is seeded afresh for each step from
the operating system and put back after it. One of the loss's own would be left in a state that tells how many rows it drew for: it is
refused. A loss is code of the kernel's caller that sees rows: it returns a number a row, and has to leave nothing else behind.

Norms. The gradient of a linear layer is a sum of products of what went into it and what came back; its norm, squared, is the sum over pairs
of the products of their inner products, so one backward pass to the layers' outputs gives norms and clipped sum, and no row's gradient is
ever formed ("book-keeping": Bu et al. 2023, arXiv 2210.00038). Norms of units with several products cancel, so they are summed in double
precision. Layers of other kinds take Opacus' gradients of each row.

What is not exact. Gradients and their clipped sums are floating-point numbers: CLOSE of the clipping norm is kept back for what rounding
may add to it. Noise is drawn from a cryptographic stream (AES-256 in counter mode, a fresh key of the operating system's each step),
made normal in double precision by Box and Muller, and added in it; its lowest bits are not those of a true normal number.

References: Abadi et al. 2016 (arXiv 1607.00133); units, McMahan et al. 2018 (arXiv 1710.06963).
"""

from __future__ import annotations

import copy
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dpsynth.errors import BadInput, Fault, refuse

Loss = Callable[[Any, Tensor], Tensor]
Gradients = dict[Tensor, Tensor]  # for each parameter
Whole = npt.NDArray[np.int64]
CLOSE = 1e-5
MOST_ROWS = 4096
TRIED_ROWS, TOLERANCE = 6, 1e-3
_ALONE = threading.RLock()


@dataclass(frozen=True, eq=False)
class Units:
    """The rows that count, as codes, unit by unit.

    Attributes:
        codes: shape (rows, attributes); rows of a unit are next to each other.
        ends: where each unit's rows end, shape (units,).
        weights: of each row, shape (rows,); None where each is 1.
    """

    codes: Tensor
    ends: Whole
    weights: Tensor | None = None

    @classmethod
    def of(cls, codes: Whole, owners: Whole, weights: npt.NDArray[np.float64] | None) -> Units:
        """From rows in any order and the unit of each, numbered from 0."""
        order = np.argsort(owners, kind="stable")
        weighed = None if weights is None else torch.from_numpy(weights[order].astype(np.float32))
        return cls(torch.from_numpy(codes[order]), np.cumsum(np.bincount(owners)), weighed)

    def pieces(self, included: Whole, most: int) -> Iterator[Units]:
        """The units `included`, by number, whole, in pieces of at most `most` rows, or of one unit where that has more."""
        starts = np.concatenate([[0], self.ends[:-1]])[included]
        sizes = self.ends[included] - starts
        piece = (np.cumsum(sizes) - 1) // most
        for number in np.unique(piece):
            here = piece == number
            yield self._rows(starts[here], sizes[here])

    def _rows(self, starts: Whole, sizes: Whole) -> Units:
        ends = np.cumsum(sizes)
        rows = torch.from_numpy(np.arange(ends[-1]) + np.repeat(starts - ends + sizes, sizes))
        return Units(self.codes[rows], ends, None if self.weights is None else self.weights[rows])

    def to(self, device: torch.device) -> Units:
        return Units(self.codes.to(device), self.ends, None if self.weights is None else self.weights.to(device))

    @property
    def sizes(self) -> Whole:
        return np.diff(self.ends, prepend=0)


def clipped_sum(network: nn.Module, loss: Loss, batch: Sequence[Units], clip: float) -> Gradients:
    """The sum of the units' gradients, each clipped to the norm `clip`: for each trained parameter in its own shape."""
    total: Gradients = {p: torch.zeros_like(p) for p in trained(network)}
    for piece in batch:
        for parameter, part in _clipped_sum(network, loss, piece, clip).items():
            total[parameter] += part
    return total


def trained(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.requires_grad]


def flat(tensors: Sequence[Tensor]) -> npt.NDArray[np.float64]:
    return torch.cat([t.detach().reshape(-1) for t in tensors]).double().cpu().numpy()


def put_gradients(network: nn.Module, gradients: npt.NDArray[np.float64]) -> None:
    """Write a flat vector into the parameters' `.grad`, over whatever was there."""
    parameters = trained(network)
    parts = torch.split(torch.from_numpy(gradients), [p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.to(parameter.device, parameter.dtype).reshape(parameter.shape)


def is_finite(network: nn.Module) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in network.parameters())


@contextmanager
def chance(seed: int, device: torch.device) -> Iterator[None]:
    """torch's global generator seeded, and put back afterwards; by one thread at a time, for all share it."""
    with _ALONE, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _losses(network: nn.Module, loss: Loss, codes: Tensor) -> Tensor:
    """One loss a row. Raises `BadInput` for another shape: a column would be broadcast, and clip other rows' gradients by each row's norm."""
    losses = loss(network, codes)
    if not isinstance(losses, Tensor) or losses.shape != (len(codes),) or not losses.is_floating_point() or not losses.requires_grad:
        raise BadInput(Fault("loss", "is not one number for each row", "return a tensor of shape (rows,) that depends on the network"))
    return losses


@dataclass(frozen=True, eq=False)
class _Call:
    layer: nn.Module
    given: Tensor
    made: Tensor


class _Tape:
    """Notes what goes into each layer that has parameters of its own, and what comes out."""

    def __init__(self, network: nn.Module):
        self.calls: list[_Call] = []
        self._hooks = [layer.register_forward_hook(self._note) for layer in _layers(network)]

    def __enter__(self) -> _Tape:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _note(self, layer: nn.Module, given: tuple[Any, ...], made: Tensor) -> None:
        if made.requires_grad:
            self.calls.append(_Call(layer, given[0].detach(), made))


def _layers(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]


def _clipped_sum(network: nn.Module, loss: Loss, piece: Units, clip: float) -> Gradients:
    with _Tape(network) as tape:
        losses = _losses(network, loss, piece.codes)
    weighed = losses if piece.weights is None else losses * piece.weights
    back = torch.autograd.grad(weighed.sum(), [c.made for c in tape.calls], allow_unused=True)
    parts = list(_parts(tape.calls, back))
    shared = _Shared.of(piece, losses.device)
    with torch.no_grad():
        norms = torch.stack([part.squared(shared) for part in parts]).sum(0).sqrt()
        factors = (clip * (1 - CLOSE) / norms).clamp(max=1).to(losses.dtype)
        sound = torch.isfinite(norms)
        if not bool(sound.all()):
            factors = torch.where(sound, factors, 0)
        return {p: s for part in parts for p, s in part.summed(factors[shared.owner]).items()}


@dataclass(frozen=True, eq=False)
class _Shared:
    """Whose each row of a piece is, and its place among the rows of its unit.

    Attributes:
        owner, place: shape (rows,).
        units, most: how many units there are, and the most rows that one has.
    """

    owner: Tensor
    place: Tensor
    units: int
    most: int

    @classmethod
    def of(cls, piece: Units, device: torch.device) -> _Shared:
        sizes = piece.sizes
        place = np.arange(piece.ends[-1]) - np.repeat(piece.ends - sizes, sizes)
        owner = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)).to(device)
        return cls(owner, torch.from_numpy(place).to(device), len(sizes), int(sizes.max()))

    def together(self, items: Tensor) -> Tensor:
        """Items of rows, shape (rows, k, ...), as those of units, shape (units, most * k, ...), zeros where a unit has fewer rows."""
        if self.most == 1:
            return items
        grouped = items.new_zeros(self.units, self.most, *items.shape[1:])
        grouped[self.owner, self.place] = items
        return grouped.reshape(self.units, self.most * items.shape[1], *items.shape[2:])

    def added(self, rows: Tensor) -> Tensor:
        """The sum over the rows of each unit."""
        return rows if self.most == 1 else rows.new_zeros(self.units, *rows.shape[1:]).index_add_(0, self.owner, rows)


@dataclass(frozen=True, eq=False)
class _Dense:
    """A linear layer: `given` went into it, `back` came back, shapes (rows, k, in) and (rows, k, out)."""

    layer: nn.Linear
    given: Tensor
    back: Tensor

    def squared(self, shared: _Shared) -> Tensor:
        if shared.most * self.given.shape[1] == 1:
            return ((self.given.square().sum((1, 2)) + (self.layer.bias is not None)) * self.back.square().sum((1, 2))).double()
        given, back = (shared.together(t).double() for t in (self.given, self.back))
        if given.shape[1] * (given.shape[2] + back.shape[2]) > given.shape[2] * back.shape[2]:
            whole = (back.transpose(1, 2) @ given).square().sum((1, 2))
            return whole + back.sum(1).square().sum(1) if self.layer.bias is not None else whole
        alike = given @ given.transpose(1, 2) + (self.layer.bias is not None)
        return (alike * (back @ back.transpose(1, 2))).sum((1, 2)).clamp(min=0)

    def summed(self, factors: Tensor) -> Gradients:
        back = _scaled(self.back, factors).flatten(0, 1)
        found = {self.layer.weight: back.T @ _finite(self.given, factors).flatten(0, 1)}
        return found if self.layer.bias is None else found | {self.layer.bias: back.sum(0)}


@dataclass(frozen=True, eq=False)
class _Looked:
    """An embedding: `given` are the codes looked up, shape (rows, k), `back` came back, shape (rows, k, out)."""

    layer: nn.Embedding
    given: Tensor
    back: Tensor

    def squared(self, shared: _Shared) -> Tensor:
        if shared.most * self.given.shape[1] == 1:
            return self.back.square().sum((1, 2)).double()
        given, back = shared.together(self.given), shared.together(self.back).double()
        alike = given.unsqueeze(1) == given.unsqueeze(2)
        return (alike * (back @ back.transpose(1, 2))).sum((1, 2)).clamp(min=0)

    def summed(self, factors: Tensor) -> Gradients:
        back = _scaled(self.back, factors).flatten(0, 1)
        return {self.layer.weight: torch.zeros_like(self.layer.weight).index_add_(0, self.given.flatten(), back)}


@dataclass(frozen=True, eq=False)
class _Formed:
    """Any other layer: the gradients of each row, by Opacus, each of shape (rows, *parameter's)."""

    gradients: Gradients

    def squared(self, shared: _Shared) -> Tensor:
        return torch.stack([shared.added(g).flatten(1).double().square().sum(1) for g in self.gradients.values()]).sum(0)

    def summed(self, factors: Tensor) -> Gradients:
        return {p: _scaled(g, factors).sum(0) for p, g in self.gradients.items()}


def _scaled(rows: Tensor, factors: Tensor) -> Tensor:
    return _finite(rows, factors) * factors.reshape(-1, *[1] * (rows.dim() - 1))


def _finite(rows: Tensor, factors: Tensor) -> Tensor:
    """Zeros for the rows of factor zero, which may hold what is not a number: zero times that is not zero."""
    void = factors == 0
    return rows.masked_fill(void.reshape(-1, *[1] * (rows.dim() - 1)), 0) if bool(void.any()) else rows


def _parts(calls: Sequence[_Call], back: Sequence[Tensor | None]) -> Iterator[_Dense | _Looked | _Formed]:
    """Each layer's part of the rows' gradients, all its calls together."""
    by_layer: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}
    for call, came in zip(calls, back, strict=True):
        if came is not None:
            by_layer.setdefault(call.layer, []).append((call.given, came))
    for layer, pairs in by_layer.items():
        if isinstance(layer, nn.Linear) and layer.weight.requires_grad and (layer.bias is None or layer.bias.requires_grad):
            yield _Dense(layer, *(torch.cat([t.reshape(len(t), -1, t.shape[-1]) for t in ts], 1) for ts in zip(*pairs, strict=True)))
        elif isinstance(layer, nn.Embedding):
            given, came_back = zip(*pairs, strict=True)
            looked = torch.cat([g.reshape(len(g), -1) for g in given], 1)
            yield _Looked(layer, looked, torch.cat([b.reshape(len(b), -1, b.shape[-1]) for b in came_back], 1))
        else:
            yield _Formed(_formed(layer, pairs))


def _formed(layer: nn.Module, pairs: Sequence[tuple[Tensor, Tensor]]) -> Gradients:
    total: Gradients = {}
    for given, came in pairs:
        for parameter, rows in _samplers()[type(layer)](layer, [given], came).items():
            total[parameter] = total[parameter] + rows if parameter in total else rows
    return {p: rows for p, rows in total.items() if p.requires_grad}


@cache
def _samplers() -> dict[type[nn.Module], Callable[..., Gradients]]:
    """Opacus' rules for the gradient of each row, by kind of layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.grad_sample import GradSampleModule

    samplers: dict[type[nn.Module], Callable[..., Gradients]] = GradSampleModule.GRAD_SAMPLERS
    return samplers


def require_rowwise(network: nn.Module, loss: Loss, sizes: Sequence[int]) -> None:
    """Before a charge, on made-up codes of attributes of these sizes: a row's loss and gradient are the row's own, and are found right.

    Raises:
        BadInput: a layer mixes rows or has no rule, a loss is not one number a row, depends on other rows, or draws from a generator of its own.
    """
    refuse(_layer_faults(network))
    tried = _shaken(network)
    device = next(tried.parameters()).device
    codes = _made_up(sizes).to(device)
    with _Still(), chance(0, device):  # type: ignore[no-untyped-call]
        together = _losses(tried, loss, codes)
        alone = [_losses(tried, loss, codes[i : i + 1]) for i in range(len(codes))]
        if not torch.allclose(together, torch.cat(alone), rtol=TOLERANCE, atol=1e-5):
            raise BadInput(Fault("loss", "of a row depends on the other rows of its batch", "let each row's loss be a function of that row alone"))
        rows = [flat(_gradient(tried, one)) for one in alone]
        scale = max(float(np.linalg.norm(row)) for row in rows) or 1.0
        for clip in (scale / 2, scale * 2):
            each = Units(codes, np.arange(1, len(codes) + 1))
            found = flat(list(clipped_sum(tried, loss, [each], clip).values()))
            wanted = sum(row * min(1.0, clip / (float(np.linalg.norm(row)) or 1.0)) for row in rows)
            if not np.allclose(found, wanted, rtol=0, atol=TOLERANCE * scale):
                words = "is not the sum of the gradients of its rows, as Linear, Embedding and the layers that Opacus serves give them"
                raise BadInput(Fault("network", f"the gradient of a batch {words}", "use no parameters outside such layers, and none in two of them"))


def _gradient(network: nn.Module, one: Tensor) -> list[Tensor]:
    """By autograd alone."""
    parameters = trained(network)
    found = torch.autograd.grad(one.sum(), parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _layer_faults(network: nn.Module) -> Iterator[Fault]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.validators import ModuleValidator

    mixing = ModuleValidator.validate(network, strict=False)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            kind = type(module).__name__
            yield Fault("network", f"{kind} mixes the rows of a batch: one row would move every row's gradient", "use LayerNorm, or none")
            return
    if mixing:
        yield Fault("network", f"Opacus refuses it ({type(mixing[0]).__name__})", "use Linear, Embedding, LayerNorm")
    for layer in _layers(network):
        if type(layer) not in _samplers():
            yield Fault("network", f"{type(layer).__name__}: no rule gives the gradient of one row", "use Linear, Embedding, LayerNorm")
        elif isinstance(layer, nn.Embedding) and (layer.padding_idx is not None or layer.max_norm or layer.scale_grad_by_freq or layer.sparse):
            yield Fault("network", "an Embedding with a padding code, a largest norm or scaled or sparse gradients", "leave these options out")
    held = [id(p) for layer in _layers(network) for p in layer.parameters(recurse=False)]
    if len(held) > len(set(held)):
        yield Fault("network", "two layers share a parameter, whose gradient is then no sum of theirs", "give each layer parameters of its own")
    if not trained(network):
        yield Fault("network", "has no parameter to train", "give one that has")


def _shaken(network: nn.Module) -> nn.Module:
    """A copy a little way off, so that what starts at zero has gradients too."""
    tried = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in tried.parameters():
            parameter.add_(torch.cos(torch.arange(parameter.numel(), device=parameter.device)).reshape(parameter.shape), alpha=0.05)
    return tried


def _made_up(sizes: Sequence[int]) -> Tensor:
    """Codes that no row had a part in, shape (TRIED_ROWS, attributes)."""
    rows = torch.arange(TRIED_ROWS).unsqueeze(1)
    return (rows * (1 + torch.arange(len(sizes))) + torch.arange(len(sizes))) % torch.tensor(sizes)


class _Still(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every draw within gives the same numbers for each row, whatever generator it is from and however many rows there are."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **(kwargs or {}))
        if (kwargs or {}).get("generator") is not None:
            raise BadInput(
                Fault("loss", "draws from a generator of its own, whose state would tell how many rows it drew for", "draw from torch's global one")
            )
        if "dropout" in func.name():
            return args[0].clone(), torch.ones_like(args[0], dtype=torch.bool)
        torch.manual_seed(0)
        drawn = func(*args, **(kwargs or {}))
        pattern = drawn.numel() // max(len(drawn) if drawn.dim() else 1, 1)
        if not drawn.is_floating_point() or not drawn.numel():
            return drawn.fill_(drawn.flatten()[0]) if drawn.numel() else drawn
        held = 0.5 + 0.4 * torch.cos(torch.arange(pattern, dtype=drawn.dtype, device=drawn.device))
        return drawn.copy_(held.reshape(drawn.shape[1:]).expand_as(drawn) if drawn.dim() else held.reshape(()))


@dataclass(frozen=True)
class Step:
    """The step that the gradients are for: its number, from 1, of `steps`."""

    number: int
    steps: int


class Clock:
    """Says how far a training is, from steps and the time since it began here."""

    def __init__(self, steps: int, epsilon: float):
        self._steps, self._epsilon = steps, epsilon
        self._began: tuple[float, int] | None = None

    def words(self, taken: int, more: str) -> str:
        began, first = self._began = self._began or (time.monotonic(), taken)
        left = f", {(time.monotonic() - began) * (self._steps - taken) / (taken - first):.0f} s left" if taken > first else ""
        return f"train: step {taken + 1:,} of {self._steps:,}, planned for epsilon {self._epsilon:.3g}{left}" + (f"; {more}" if more else "")


def blocks_of(steps: int, most: int) -> list[range]:
    """Steps cut into at most `most` blocks of nearly the same size, by the number of steps alone."""
    size = math.ceil(steps / most)
    return [range(start, min(start + size, steps)) for start in range(0, steps, size)]
