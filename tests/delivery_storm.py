"""The storm of the delivery test: SIGKILL and SIGSTOP to edge, collector, broker and database by a seeded plan, and restarts."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from delivery_rig import Rig

from plantprint_cli.embedded import Child, EmbeddedPostgres

_PAUSE_S = (0.4, 1.6)
_BETWEEN_S = (0.05, 0.15)
_DOWN_S = (0.1, 0.6)
_POLL_S = 0.005
_WAIT_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """Processes to kill, each a moment after the one before; `in_commit`: while the collector stores something.

    With `pause_s` they are stopped together for so long instead, and go on as if nothing had been.
    """

    victims: tuple[str, ...]
    in_commit: bool = False
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Kill:
    """`at_s` counts from the start of the storm; `ran_s` is how long the process had lived."""

    process: str
    pid: int
    at_s: float
    ran_s: float


def make_plan(rng: random.Random, *also: str) -> list[Step]:
    """35 kills in seeded order, and five of each that runs `also`.

    Each process alone, the machine as a whole, and database and collector one after the other.

    The last is what an acknowledgement before the commit cannot survive: the database forgets what it had not written,
    and the collector, before the database is back, what it held in memory.
    """
    alone = {"edge": 7, "broker": 7, "collector": 3, "database": 2, **dict.fromkeys(also, 5)}
    steps = [Step((name,)) for name, times in alone.items() for _ in range(times)]
    steps += [Step(("database", "collector"), in_commit=True)] * 6
    steps += [Step(("edge", "broker", "collector", "database"), in_commit=True)]
    rng.shuffle(steps)
    return steps


def make_pauses(rng: random.Random) -> list[Step]:
    """Each process and all of them stopped for a while, and the broker killed, alone and with the collector."""
    names = ("edge", "broker", "collector", "database")
    steps = [Step(victims, pause_s=rng.uniform(0.3, 1.5)) for victims in (*((name,) for name in names), names)]
    steps += [Step(("broker",)), Step(("broker",)), Step(("broker", "collector"))]
    rng.shuffle(steps)
    return steps


class Storm:
    """Kills and restarts `children` from the main thread, which is the one that children are started from."""

    def __init__(self, rig: Rig, rng: random.Random, flow_s_max: float) -> None:
        """When nothing gets through within `flow_s_max` the storm goes on all the same; `standstills` counts that."""
        self.kills: list[Kill] = []
        self.pauses: list[Step] = []
        self.standstills = 0
        self.lasted_s = 0.0
        self._rig = rig
        self._children = rig.children
        self._rng = rng
        self._flow_s_max = flow_s_max
        self._began_s = time.time()
        self._started_s = dict.fromkeys(self._children, self._began_s)
        self._restart_s: dict[str, float] = {}

    def rage(self, plan: list[Step]) -> None:
        """Carries the plan out, then starts what is down."""
        for step in plan:
            self._sleep(self._rng.uniform(*_PAUSE_S))
            if step.in_commit:
                if self._until(self._flows, self._flow_s_max):
                    self._rig.wait_for_commit()
                else:
                    self.standstills += 1
            if step.pause_s:
                self._pause(step)
                continue
            for victim in step.victims:
                assert self._until(self._children[victim].is_alive, _WAIT_S_MAX), f"{victim} is not started again"
                self._rig.before_kill(victim)
                self._kill(victim)
                if len(step.victims) > 1:
                    # Nothing comes back before the last of them is gone.
                    self._sleep(self._rng.uniform(*_BETWEEN_S), restart=False)
        assert self._until(lambda: not self._restart_s, _WAIT_S_MAX), "not all are started again"
        self.lasted_s = time.time() - self._began_s

    def kills_by_process(self) -> dict[str, int]:
        return dict(Counter(kill.process for kill in self.kills))

    def _flows(self) -> bool:
        return not self._restart_s and self._rig.flows_since(max(self._started_s.values()))

    def _kill(self, name: str) -> None:
        child, now_s = self._children[name], time.time()
        assert child.pid is not None
        self.kills.append(
            Kill(name, child.pid, round(now_s - self._began_s, 3), round(now_s - self._started_s[name], 3))
        )
        sigkill(child)
        self._restart_s[name] = now_s + self._rng.uniform(*_DOWN_S)

    def _pause(self, step: Step) -> None:
        victims = [self._children[name] for name in step.victims]
        assert self._until(lambda: all(child.is_alive() for child in victims), _WAIT_S_MAX), step
        pids = [pid for child in victims for pid in _pids(child)]
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        self._sleep(step.pause_s)
        for pid in pids:
            _send(pid, signal.SIGCONT)
        self.pauses.append(step)

    def _sleep(self, seconds: float, *, restart: bool = True) -> None:
        until_s = time.time() + seconds
        while time.time() < until_s:
            if restart:
                self._restart_due()
            time.sleep(_POLL_S)

    def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        until_s = time.time() + timeout_s
        while not condition():
            if time.time() >= until_s:
                return False
            self._sleep(_POLL_S)
        return True

    def _restart_due(self) -> None:
        for name in [name for name, due_s in self._restart_s.items() if time.time() >= due_s]:
            del self._restart_s[name]
            self._children[name].start()
            self._started_s[name] = time.time()
        for name, child in self._children.items():
            assert child.is_alive() or name in self._restart_s, str(child.failure("ended, and nobody had killed it"))


def sigkill(child: Child) -> None:
    """SIGKILL to the process; to all processes of a database server, which would else finish what they are at."""
    for pid in _pids(child):
        _send(pid, signal.SIGKILL)
    while child.is_alive():
        time.sleep(0.001)


def _pids(child: Child) -> list[int]:
    assert child.pid is not None
    pids = [child.pid]
    if isinstance(child, EmbeddedPostgres):
        # Looking for them in all of /proc would give them time to finish.
        pids += map(int, Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text("ascii").split())
    return pids


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
