"""What a training run has come to, in a file: arrays and JSON, no pickle. Everything in it was made of noised gradients."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import torch

from dpsynth.durable import sync_folder
from dpsynth.errors import BadInput, Fault


class Kept(Protocol):
    """A network, an optimiser, whatever gives its state and takes it back."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def name_of(number: int) -> str:
    """Of the file for the release's training of this number, from 1: the journal puts them in order."""
    return "training.npz" if number == 1 else f"training{number}.npz"


def outlined(kept: Sequence[Kept]) -> tuple[str, list[Any]]:
    """All states as JSON and arrays. Raises `BadInput` where one holds something else."""
    arrays: list[Any] = []
    try:
        return json.dumps([_outline(k.state_dict(), arrays) for k in kept]), arrays
    except TypeError:
        raise BadInput(
            Fault("keep", "a state that can not be written down", "let states be tensors, numbers, words, lists and dictionaries")
        ) from None


def save(path: Path | None, kept: Sequence[Kept]) -> None:
    """Write all states durably, in place of those of before; nothing where there is no path."""
    if path is None:
        return
    outline, arrays = outlined(kept)
    new = path.with_name(f".{path.name}")
    with open(new, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        held = {str(i): a for i, a in enumerate(arrays)}
        np.savez(file, outline=np.frombuffer(outline.encode(), dtype=np.uint8), **held)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def restore(path: Path | None, kept: Sequence[Kept]) -> None:
    """Give all states back. Raises `BadInput` where there is no such file: what was learnt is lost with it, and its charge stays."""
    try:
        if path is None:
            raise FileNotFoundError
        with np.load(path, allow_pickle=False) as arrays:
            states = _filled(json.loads(arrays["outline"].tobytes()), arrays)
        for one, state in zip(kept, states, strict=True):
            one.load_state_dict(state)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, BadZipFile):
        raise BadInput(
            Fault(str(path), "lacks what the training had come to", "restore it; without it the steps taken are lost, and their charge stays")
        ) from None


def _outline(state: Any, arrays: list[Any]) -> Any:
    """The state with each tensor replaced by its number among `arrays`, dictionaries as lists of pairs, since their keys may be numbers."""
    if isinstance(state, torch.Tensor):
        arrays.append(state.detach().cpu().numpy())
        return {"array": len(arrays) - 1}
    if isinstance(state, dict):
        return {"pairs": [[key, _outline(value, arrays)] for key, value in state.items()]}
    if isinstance(state, list | tuple):
        return [_outline(value, arrays) for value in state]
    return state


def _filled(outline: Any, arrays: Any) -> Any:
    if isinstance(outline, list):
        return [_filled(value, arrays) for value in outline]
    if isinstance(outline, dict):
        if "array" in outline:
            return torch.from_numpy(arrays[str(outline["array"])])
        return {key: _filled(value, arrays) for key, value in outline["pairs"]}
    return outline
