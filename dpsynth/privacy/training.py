"""Training by noised gradients: what a paid step makes of the rows in it.

Statement. A step includes each privacy unit with the plan's probability, independently of all others, and adds Gaussian noise of sigma
clipping norms to the sum, over the included units, of each unit's clipped gradient. What a network's `.grad` holds afterwards is that
sum over a number that was known beforehand. `PrivateTable.train` charges the whole plan before the first row is read (`dpsgd.py`).

Sensitivity. The gradient that is clipped is a unit's: the sum over its rows, weighted as they count (`unit.py`). So a unit moves the sum
by at most the clipping norm, however many rows it has, if its gradient depends on no other unit's rows; one that is not a number counts
as none. `require_rowwise` asks that of network and loss before the charge, on made-up codes: a row's loss is about that of the row alone;
beside any other rows, and with any draws of theirs, its value and what it sends back to the layers are the same to the last bit, and
nothing is sent back to another row; no buffer changes. Batches are cut into pieces that hold units whole, so a large batch takes longer
and nothing is left out; an empty one is noise alone.

Chance within a loss. A loss may draw (latents, times, masks) from torch's global generator, tensors whose first dimension is the rows.
Taking a unit away gives later rows other draws, and with the seed held the sum may move by far more than the clip. The argument is a
coupling: draws of different rows are independent and of one law, so the draws of the rows that stay have the same law with the unit and
without it. Give them the same draws in both: now the sums differ by the unit's clipped gradient alone, and the step is a mixture, over
draws, of steps that are each dominated by the plan's pair; a divergence of mixtures is at most the mixture of the divergences. It needs draws
that nobody can enumerate, so the generator's whole state is filled from the operating system for each step, and put back after it: all
19,937 bits of the processor's Mersenne Twister; of CUDA's Philox the 64 that it has. Neither is a cryptographic generator: that their
draws pass for independent with who sees noised sums is taken for granted. A draw that rows share would be another one for each
piece, and a generator of the loss's own would be left in a state that tells how many rows it drew for: both are refused.

What is taken on trust. Network and loss are code of the kernel's caller that sees rows, and so are hooks. Both have to leave nothing of rows
behind, in an attribute, a list, a file; to do on rows what they did on made-up codes; and to stay as they were when they were looked at.

Norms. The gradient of a linear layer is a sum of products of what went into it and what came back; its norm, squared, is the sum over pairs
of the products of their inner products, so one backward pass to the layers' outputs gives norms and clipped sum, and no row's gradient is
ever formed ("book-keeping": Bu et al. 2023, arXiv 2210.00038). Layers of other kinds take Opacus' gradients of each row. Where
products cancel, what they add up to is known worse than they are: a unit's norm counts as `CANCELLED` of the sum of its products' norms
at least. That is a function of the unit alone, and the norm is only made larger, so the clip holds.

What is not exact. Norms, clipped gradients and their sum are computed in double precision, from a network that may compute in single. `CLOSE`
of the clipping norm is kept back for the rounding of norms, of factors and of the sum. A norm is wrong by some 1e-8 of itself at most, as
products come to at most 1 / `CANCELLED` of it. The sum of N units is wrong by at most D 2^-53 N / `CANCELLED` clips, where D is the depth of
the addition: `DEPTH`, and the blocks of a piece, and the pieces. For a million units in a batch, of up to 64 products a row, D is below
1,300, and both neighbours' errors come to 3e-5 clips: `CLOSE` covers them, and no larger batches. It does not cover that a row's own numbers,
in single precision, may differ in their last bits (some 1e-7 of them) with how many rows are beside it, as kernels of linear algebra
choose: these are taken to be the same. Noise is drawn from a cryptographic stream (AES-256 in counter mode, a fresh key of the
operating system's each step), made normal in double precision, each number out of four by Box and Muller, whose tails one by one lie on a
grid (Holohan, Braghin 2021), and added in it; its lowest bits are not those of a true normal number.

References: Abadi et al. 2016 (arXiv 1607.00133); units, McMahan et al. 2018 (arXiv 1710.06963).
"""

from __future__ import annotations

import copy
import math
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dpsynth.errors import BadInput, Fault, refuse

Loss = Callable[[Any, Tensor], Tensor]
Gradients = dict[Tensor, Tensor]  # for each parameter
Norms = tuple[Tensor, Tensor]  # squared, shapes (units,): of a unit's gradient, and of the sum of the norms of all that it is the sum of
Whole = npt.NDArray[np.int64]
CLOSE, CANCELLED = 1e-4, 1e-2
MOST_ROWS, DEPTH = 4096, 512
TRIED_ROWS, TOLERANCE = 6, 1e-3
PRECISE = (torch.float32, torch.float64)
WORDS = slice(24, 24 + 624 * 8)  # of a Mersenne Twister, in the bytes of torch's state of one
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
        """The units `included`, by number, whole, those of like sizes together: as many as have `most` rows (a power of two) at the next
        power of two above their sizes, or one unit. So no unit of many rows makes the others take its room."""
        starts = np.concatenate([[0], self.ends[:-1]])[included]
        sizes = self.ends[included] - starts
        room = 2 ** np.ceil(np.log2(sizes)).astype(np.int64)
        order = np.argsort(-room, kind="stable")
        piece = (np.cumsum(room[order]) - 1) // most
        cuts = np.flatnonzero((np.diff(room[order]) != 0) | (np.diff(piece) != 0)) + 1
        for here in np.split(order, cuts) if len(order) else ():
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
    """The sum of the units' gradients, each clipped to the norm `clip`: for each trained parameter in its own shape, in double precision."""
    total: Gradients = {p: torch.zeros_like(p, dtype=torch.float64) for p in trained(network)}
    with _plainly(network):
        for piece in batch:
            for parameter, part in _clipped_sum(network, loss, piece, clip).items():
                total[parameter] += part
    return total


def _plainly(network: nn.Module) -> torch.autocast:
    """Without the caller's autocast: layers compute in the precision of their parameters."""
    return torch.autocast(next(network.parameters()).device.type, enabled=False)


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
    """torch's global generators of processor and `device`, seeded, and put back afterwards; by one thread at a time, for all share them."""
    with _ALONE, torch.random.fork_rng([device] if device.type == "cuda" else []):
        _seed(seed, device)
        yield


def _seed(seed: int, device: torch.device) -> None:
    """All bits of the seed: torch takes 32 for the 19,937 of its generator on a processor, and 64 for the 64 of that on CUDA."""
    words = np.array(random.Random(seed).getstate()[1][:-1], dtype="<u8")  # the same Mersenne Twister, whose seeds are of any size
    generator = torch.default_generator.manual_seed(0)
    state = generator.get_state()
    state[WORDS] = torch.from_numpy(words.view(np.uint8))
    generator.set_state(state)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed % 2**63)


def _losses(network: nn.Module, loss: Loss, codes: Tensor) -> Tensor:
    """One loss a row. Raises `BadInput` for another shape: a column would be broadcast, and clip other rows' gradients by each row's norm."""
    losses = loss(network, codes)
    if not isinstance(losses, Tensor) or losses.shape != (len(codes),) or losses.dtype not in PRECISE or not losses.requires_grad:
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
        if made.dtype not in PRECISE:
            raise BadInput(Fault("network", "a layer computes in less than single precision", "compute in float32"))
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
        whole, items = (torch.stack(squares).sum(0).sqrt() for squares in zip(*(part.squared(shared) for part in parts), strict=True))
        norms = torch.maximum(whole, CANCELLED * items)
        factors = torch.where(torch.isfinite(norms), (clip * (1 - CLOSE) / norms).clamp(max=1), 0)
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

    def squared(self, shared: _Shared) -> Norms:
        given, back = self.given.double(), self.back.double()
        items = (given.square().sum(2) + (self.layer.bias is not None)) * back.square().sum(2)
        if shared.most * given.shape[1] == 1:
            return items.squeeze(1), items.squeeze(1)
        return self._whole(shared.together(given), shared.together(back)), shared.added(items.sqrt().sum(1)).square()

    def _whole(self, given: Tensor, back: Tensor) -> Tensor:
        if given.shape[1] * (given.shape[2] + back.shape[2]) > given.shape[2] * back.shape[2]:
            whole = (back.transpose(1, 2) @ given).square().sum((1, 2))
            return whole + back.sum(1).square().sum(1) if self.layer.bias is not None else whole
        alike = given @ given.transpose(1, 2) + (self.layer.bias is not None)
        return (alike * (back @ back.transpose(1, 2))).sum((1, 2)).clamp(min=0)

    def summed(self, factors: Tensor) -> Gradients:
        back, given = _scaled(self.back, factors).flatten(0, 1), _finite(self.given, factors).flatten(0, 1)
        found = {self.layer.weight: _in_blocks(lambda b, g: b.T @ g.double(), back, given)}
        return found if self.layer.bias is None else found | {self.layer.bias: _in_blocks(lambda b: b.sum(0), back)}


@dataclass(frozen=True, eq=False)
class _Looked:
    """An embedding: `given` are the codes looked up, shape (rows, k), `back` came back, shape (rows, k, out)."""

    layer: nn.Embedding
    given: Tensor
    back: Tensor

    def squared(self, shared: _Shared) -> Norms:
        back = self.back.double()
        items = back.square().sum(2)
        if shared.most * self.given.shape[1] == 1:
            return items.squeeze(1), items.squeeze(1)
        return self._whole(shared.together(self.given), shared.together(back)), shared.added(items.sqrt().sum(1)).square()

    def _whole(self, given: Tensor, back: Tensor) -> Tensor:
        codes = self.layer.num_embeddings
        if given.shape[1] > codes:
            cells = given + codes * torch.arange(len(given), device=given.device).unsqueeze(1)
            rows = back.new_zeros(len(given) * codes, back.shape[2]).index_add_(0, cells.flatten(), back.flatten(0, 1))
            return rows.reshape(len(given), -1).square().sum(1)
        alike = given.unsqueeze(1) == given.unsqueeze(2)
        return (alike * (back @ back.transpose(1, 2))).sum((1, 2)).clamp(min=0)

    def summed(self, factors: Tensor) -> Gradients:
        nothing = torch.zeros_like(self.layer.weight, dtype=torch.float64)
        back = _scaled(self.back, factors).flatten(0, 1)
        return {self.layer.weight: _in_blocks(lambda b, g: nothing.index_add(0, g, b), back, self.given.flatten())}


@dataclass(frozen=True, eq=False)
class _Formed:
    """Any other layer: the gradients of each row, by Opacus, each of shape (rows, *parameter's)."""

    gradients: Gradients

    def squared(self, shared: _Shared) -> Norms:
        rows = [g.flatten(1).double() for g in self.gradients.values()]
        whole = torch.stack([shared.added(g).square().sum(1) for g in rows]).sum(0)
        return whole, shared.added(torch.stack([g.square().sum(1) for g in rows]).sum(0).sqrt()).square()

    def summed(self, factors: Tensor) -> Gradients:
        return {p: _in_blocks(lambda rows: rows.sum(0), _scaled(g, factors)) for p, g in self.gradients.items()}


def _in_blocks(made: Callable[..., Tensor], *items: Tensor) -> Tensor:
    """The sum of what is made of each `DEPTH` items, so that rounding adds up over a block and over blocks, and not over all items."""
    return reduce(Tensor.add_, (made(*block) for block in zip(*(torch.split(t, DEPTH) for t in items), strict=True)))


def _scaled(rows: Tensor, factors: Tensor) -> Tensor:
    return _finite(rows, factors).double() * factors.reshape(-1, *[1] * (rows.dim() - 1))


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
        BadInput: a layer mixes rows, keeps something of them or has no rule; a loss is not one number a row, depends on other rows, draws
            what rows share, or draws from a generator of its own.
    """
    refuse(_layer_faults(network))
    tried = _shaken(network)
    codes = _made_up(sizes).to(next(tried.parameters()).device)
    held = {name: buffer.clone() for name, buffer in tried.named_buffers()}
    with chance(0, codes.device), _plainly(tried):
        _require_own_losses(tried, loss, codes)
        _require_found(tried, loss, codes)
    left = dict(tried.named_buffers())
    if left.keys() != held.keys() or not all(torch.equal(left[name], buffer) for name, buffer in held.items()):
        raise BadInput(
            Fault("network", "changes a buffer as it computes: it would keep something of rows", "use layers that only read their buffers")
        )


def _require_own_losses(tried: nn.Module, loss: Loss, codes: Tensor) -> None:
    """A row's loss is about the same alone; beside any others, and with any draws of theirs, it and what it sends back are so to the last bit."""
    rows = range(len(codes))
    with _Told(rows, codes.device):
        together = _losses(tried, loss, codes)
    alone = torch.cat([_alone(tried, loss, codes, row) for row in rows])
    if not torch.allclose(together, alone, rtol=TOLERANCE, atol=1e-5) or not all(_is_own(tried, loss, codes, row) for row in rows):
        raise BadInput(Fault("loss", "of a row depends on the other rows of its batch", "let each row's loss be a function of that row alone"))


def _is_own(tried: nn.Module, loss: Loss, codes: Tensor, row: int) -> bool:
    """Whether nothing of a row's loss is another row's: not its value, not what comes back to the layers."""
    others = codes.amax(0).repeat(len(codes), 1)
    others[row] = codes[row]
    told = [r if r == row else r + len(codes) for r in range(len(codes))]
    (one, back), (again, back_again) = _sent_back(tried, loss, codes, range(len(codes)), row), _sent_back(tried, loss, others, told, row)
    rest = torch.arange(len(codes), device=codes.device) != row
    return torch.equal(one, again) and all(
        len(a) == len(b) == len(codes) and torch.equal(a[row], b[row]) and not bool(a[rest].any() or b[rest].any())
        for a, b in zip(back, back_again, strict=True)
    )


def _sent_back(tried: nn.Module, loss: Loss, codes: Tensor, told: Sequence[int], row: int) -> tuple[Tensor, list[Tensor]]:
    """A row's loss, and its gradients in what layers make."""
    with _Tape(tried) as tape, _Told(told, codes.device):
        one = _losses(tried, loss, codes)[row]
        made = [call.made for call in tape.calls]
        return one, [g for g in torch.autograd.grad(one, made, allow_unused=True) if g is not None]


def _require_found(tried: nn.Module, loss: Loss, codes: Tensor) -> None:
    """The clipped sum is that of the gradients of single rows, by autograd alone."""
    rows = [flat(_gradient(tried, _alone(tried, loss, codes, row))) for row in range(len(codes))]
    scale = max(float(np.linalg.norm(row)) for row in rows) or 1.0
    for clip in (scale / 2, scale * 2):
        each = Units(codes, np.arange(1, len(codes) + 1))
        with _Told(range(len(codes)), codes.device):
            found = flat(list(clipped_sum(tried, loss, [each], clip).values()))
        wanted = sum(row * min(1.0, clip / (float(np.linalg.norm(row)) or 1.0)) for row in rows)
        if not np.allclose(found, wanted, rtol=0, atol=TOLERANCE * scale):
            words = "is not the sum of the gradients of its rows, as Linear, Embedding and the layers that Opacus serves give them"
            raise BadInput(Fault("network", f"the gradient of a batch {words}", "use no parameters outside such layers, and none in two of them"))


def _alone(tried: nn.Module, loss: Loss, codes: Tensor, row: int) -> Tensor:
    with _Told([row], codes.device):
        return _losses(tried, loss, codes[row : row + 1])


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
        elif isinstance(layer, nn.Linear | nn.Embedding) and not isinstance(layer.weight, nn.Parameter):
            yield Fault("network", f"{type(layer).__name__}: its weight is made of another parameter, as by spectral_norm", "train the weight itself")
    if any(p.dtype not in PRECISE for p in trained(network)):
        yield Fault("network", "has parameters of less than single precision", "hold them in float32")
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


class _Told(TorchDispatchMode):
    """Every draw within gives each row numbers of its own, by who it is, whatever generator they are from and whoever is beside it."""

    def __init__(self, rows: Sequence[int], device: torch.device):
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows, self._device = rows, device
        self._draws = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        if kwargs.get("generator") is not None:
            raise BadInput(
                Fault("loss", "draws from a generator of its own, whose state would tell how many rows it drew for", "draw from torch's global one")
            )
        if "dropout" in func.name():
            self._require_by_row(args[0])
            return args[0].clone(), torch.ones_like(args[0], dtype=torch.bool)
        self._draws += 1
        first = [self._first(row, lambda: func(*args, **kwargs)) for row in self._rows]
        drawn = func(*args, **kwargs)
        self._require_by_row(drawn)
        for row, told, number in zip(drawn, self._rows, first, strict=True):
            places = torch.arange(row.numel(), device=row.device).reshape(row.shape)
            row.copy_(0.5 + 0.4 * torch.cos(places + 2.4 * told + 0.7 * self._draws) if drawn.is_floating_point() else number)
        return drawn

    def _first(self, row: int, draw: Callable[[], Any]) -> Any:
        """The first number of what is drawn after a seed that is the row's."""
        _seed(1000 * row + self._draws, self._device)
        drawn = draw()
        self._require_by_row(drawn)
        return drawn.flatten()[0].clone() if drawn.numel() else 0

    def _require_by_row(self, drawn: Any) -> None:
        if not isinstance(drawn, Tensor) or not drawn.dim() or len(drawn) != len(self._rows):
            raise BadInput(
                Fault("loss", "makes a draw that is not one for each row: rows would share it", "draw tensors whose first dimension is the rows")
            )


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
