"""A child of the warmed process: it does one thing, tells what it does, and may be struck while it does it.

What a child tells goes through a socket and is with the supervisor before the child goes on, so that a kill loses none of it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults import syscalls
from benchmarks.faults.syscalls import Action, Notice
from dpsynth.errors import DpsynthError

LONGEST = 120.0

Tell = Callable[[str], None]
Deed = Callable[[Tell], object]


@dataclass(frozen=True)
class Strike:
    """What befalls a child: at its durable action number `at` (from 1, counting those with the property `of`) it is killed, or the
    action fails with `error`, once or from then on; or it is killed after `seconds`. `at` 0 counts and never strikes."""

    at: int = 0
    of: str = "changes"
    error: int | None = None
    onwards: bool = False
    seconds: float | None = None

    def counts(self, action: Action) -> bool:
        return bool(getattr(action, self.of))

    def hits(self, number: int) -> bool:
        return number == self.at or (self.onwards and 0 < self.at < number)

    def missed(self, ending: Ending) -> bool:
        """Whether the child ended before the strike came."""
        return not ending.killed if self.seconds is not None else ending.struck is None

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"SIGKILL after {self.seconds:.6f} s"
        return f"{'SIGKILL' if self.error is None else errno.errorcode[self.error]} at action {self.at}"


@dataclass
class Ending:
    """How a child ended: what it told, line by line, which action was struck first, how many it made, and whether it was killed.

    `steps` has the step of a release that each action was part of.
    """

    told: list[str] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    struck: Action | None = None
    killed: bool = False
    seconds: float = 0.0

    @property
    def last(self) -> str:
        return self.told[-1] if self.told else ""

    @property
    def done(self) -> bool:
        return self.last.startswith("done ")

    @property
    def refused(self) -> bool:
        """It stopped in words that the command line shows: an error made on purpose, or the machine's own."""
        return self.last.startswith("refused ")

    @property
    def broke(self) -> bool:
        return self.last.startswith("broke") or not (self.done or self.refused or self.killed)

    @property
    def steps_of_changes(self) -> list[str]:
        return [step for step, action in zip(self.steps, self.actions, strict=True) if action.changes]

    @property
    def step(self) -> str:
        """The step of a release that it was in."""
        return next((line.split()[1] for line in reversed(self.told) if line.startswith("step ")), "start")


@dataclass(frozen=True)
class Child:
    """A process of ours that is at work, and the channel on which it tells."""

    process: int
    channel: socket.socket
    watched: bool


def supervised(deed: Deed, folder: Path, strike: Strike | None = None) -> Ending:
    """Do `deed` in a forked child, whose durable actions below `folder` are watched if `strike` says so."""
    child = _forked(deed, strike is not None and strike.seconds is None)
    return _supervise(child, folder, strike or Strike())


def together(deeds: Sequence[Deed], folder: Path, moments: Sequence[float | None] = ()) -> list[Ending]:
    """Do all deeds at once, each in a child of its own; they start when all are there. Some are killed, so many seconds after that."""
    gate, bar = os.pipe()
    children = [_forked(_gated(deed, gate, bar), False) for deed in deeds]
    os.close(gate)
    os.close(bar)
    killed = dict(sorted((seconds, i) for i, seconds in enumerate(moments) if seconds is not None))
    start = time.perf_counter()
    endings = {i: _supervise(children[i], folder, Strike(seconds=seconds + start - time.perf_counter())) for seconds, i in killed.items()}
    return [endings.get(i) or _supervise(child, folder, Strike()) for i, child in enumerate(children)]


def _gated(deed: Deed, gate: int, bar: int) -> Deed:
    def waits(tell: Tell) -> object:
        os.close(bar)
        os.read(gate, 1)  # ends when the last process has closed the bar
        return deed(tell)

    return waits


def _forked(deed: Deed, watched: bool) -> Child:
    ours, childs = socket.socketpair()
    process = os.fork()
    if process == 0:
        ours.close()
        _be_the_child(deed, childs, watched)
    childs.close()
    return Child(process, ours, watched)


def _be_the_child(deed: Deed, channel: socket.socket, watched: bool) -> None:
    """Never returns, and runs nothing of the process it was forked from."""

    def tell(line: str) -> None:
        channel.sendall(line.encode() + b"\n")

    sys.unraisablehook = lambda _: None  # zip files that numpy left open on a full disk; the error itself is told
    try:
        if watched:
            _send_listener(channel)
        tell(f"done {deed(tell)}")
    except DpsynthError as error:
        tell(f"refused {type(error).__name__} {_one_line(error)}")
    except OSError as error:
        tell(f"refused {error.strerror} {_where()}" if error.strerror else f"broke {type(error).__name__} {_where()}")
    except BaseException as error:
        tell(f"broke {type(error).__name__}: {_one_line(error)} {_where()}")
    finally:
        os._exit(0)


def _send_listener(channel: socket.socket) -> None:
    """One byte, and with it the descriptor if there is one."""
    try:
        listener = syscalls.listen()
    except OSError:
        channel.sendall(b"\n")
        raise
    socket.send_fds(channel, [b"\n"], [listener])
    os.close(listener)


def _one_line(error: BaseException) -> str:
    return " | ".join(str(error).splitlines())


def _where() -> str:
    """The innermost line of ours that it came from."""
    frames = [f for f in traceback.extract_tb(sys.exc_info()[2]) if "dpsynth" in f.filename or "faults" in f.filename]
    return f"({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _supervise(child: Child, folder: Path, strike: Strike) -> Ending:
    ending, start = Ending(), time.perf_counter()
    alive = os.pidfd_open(child.process)
    listeners = socket.recv_fds(child.channel, 1, 1)[1] if child.watched else []
    waiting = [alive, *listeners]
    limit = LONGEST if strike.seconds is None else strike.seconds
    while True:
        ready, _, _ = select.select(waiting, [], [], max(0.0, start + limit - time.perf_counter()))
        if alive in ready:
            break
        if not ready:
            os.kill(child.process, signal.SIGKILL)
            break
        if notice := syscalls.receive(ready[0], folder):
            _hear(child, ending)
            _answer(ready[0], child.process, notice, strike, ending)
        else:  # the process is ending
            waiting = [alive]
    _, status = os.waitpid(child.process, 0)
    ending.seconds, ending.killed = time.perf_counter() - start, os.WIFSIGNALED(status)
    _hear(child, ending)
    if ending.killed and strike.missed(ending):
        ending.told.append(f"broke: ended by signal {os.WTERMSIG(status)} after {ending.seconds:.0f} s")
    child.channel.close()
    for descriptor in (alive, *listeners):
        os.close(descriptor)
    return ending


def _hear(child: Child, ending: Ending) -> None:
    """Whatever the child has told by now. What it told before an action is here before the action is answered."""
    heard = b""
    with suppress(BlockingIOError):
        while part := child.channel.recv(1 << 16, socket.MSG_DONTWAIT):
            heard += part
    ending.told += heard.decode().splitlines()


def _answer(listener: int, process: int, notice: Notice, strike: Strike, ending: Ending) -> None:
    """Let the waiting call pass, or strike."""
    if notice.action is not None and strike.counts(notice.action):
        ending.actions.append(notice.action)
        ending.steps.append(ending.step)
        if strike.hits(len(ending.actions)):
            ending.struck = ending.struck or notice.action
            if strike.error is None:
                os.kill(process, signal.SIGKILL)
            else:
                syscalls.fail(listener, notice, strike.error)
            return
    syscalls.let_pass(listener, notice)
