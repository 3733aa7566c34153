"""Frames that note who looks at them, and a walk over all that an object holds."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any, ClassVar

import numpy as np
import pandas as pd

HEADER = "columns"
UNSPIED = ("watch", "__class__", "_constructor", "_constructor_sliced", "_internal_names_set", "_metadata", HEADER)


def _nothing_is_charged() -> bool:
    return False


@dataclass
class Watch:
    """What was done to a watched frame, its header aside.

    `charged` says whether a measurement is paid for and not yet answered; who fits a watched frame sets it.
    """

    charged: Callable[[], bool] = _nothing_is_charged
    looks: list[str] = field(default_factory=list)
    unpaid: list[str] = field(default_factory=list)

    def note(self, look: str) -> None:
        self.looks.append(look)
        if not self.charged():
            self.unpaid.append(look)


class _Spy:
    """Notes each use of an attribute of a frame or a series with its watch; what is made of it is watched too."""

    watch: Watch | None

    def __getattribute__(self, name: str) -> Any:
        if name not in UNSPIED:
            watch = object.__getattribute__(self, "__dict__").get("watch")
            if watch is not None:
                watch.note(name)
        return super().__getattribute__(name)

    def __len__(self) -> int:
        return self._noted("len", super().__len__)  # type: ignore[misc]

    def __iter__(self) -> Any:
        return self._noted("iter", super().__iter__)  # type: ignore[misc]

    def __getitem__(self, key: Any) -> Any:
        return self._noted("[]", lambda: super(_Spy, self).__getitem__(key))  # type: ignore[misc]

    def __array__(self, *args: Any, **options: Any) -> Any:
        return self._noted("array", lambda: super(_Spy, self).__array__(*args, **options))  # type: ignore[misc]

    def _noted(self, look: str, act: Callable[[], Any]) -> Any:
        watch = object.__getattribute__(self, "__dict__").get("watch")
        if watch is not None:
            watch.note(look)
        return act()


class SpySeries(_Spy, pd.Series):
    _metadata: ClassVar[list[str]] = [*pd.Series._metadata, "watch"]

    @property
    def _constructor(self) -> Any:
        return SpySeries

    @property
    def _constructor_expanddim(self) -> Any:
        return SpyFrame


class SpyFrame(_Spy, pd.DataFrame):
    _metadata: ClassVar[list[str]] = [*pd.DataFrame._metadata, "watch"]

    @property
    def _constructor(self) -> Any:
        return SpyFrame

    @property
    def _constructor_sliced(self) -> Any:
        return SpySeries


def watched(frame: pd.DataFrame, watch: Watch) -> pd.DataFrame:
    """A copy of the frame that notes with `watch` whatever is asked of it."""
    spy = SpyFrame(frame.copy())
    object.__setattr__(spy, "watch", watch)
    watch.looks.clear()
    watch.unpaid.clear()
    return spy


class BreakingWatch(Watch):
    """A medium that is gone by the time a cell is read."""

    def note(self, look: str) -> None:
        raise OSError("the medium is gone")


def reachable(root: object) -> Iterator[object]:
    """Every value that `root` holds: attributes, containers, arrays, frames, closures, bound methods. Classes and modules are left out."""
    left: list[object] = [root]
    known: dict[int, object] = {}  # the objects too: of one that is gone another may have the number
    while left:
        held = left.pop()
        if id(held) in known or isinstance(held, type | ModuleType | CodeType | FrameType | BuiltinFunctionType):
            continue
        known[id(held)] = held
        yield held
        left.extend(_parts(held))


def _parts(held: Any) -> list[Any]:
    if isinstance(held, pd.DataFrame | pd.Series | pd.Index):
        return [held.to_numpy(dtype=object)]
    if isinstance(held, np.ndarray):
        return held.ravel().tolist()
    if isinstance(held, FunctionType):
        cells = [c.cell_contents for c in held.__closure__ or () if c.cell_contents is not None]
        return [*cells, *(held.__defaults__ or ()), *(held.__kwdefaults__ or {}).values()]
    return gc.get_referents(held)
