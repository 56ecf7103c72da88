"""The storm of the delivery test: SIGKILL to edge, collector, broker and database by a seeded plan, and their restarts."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from plantprint_cli.embedded import Child, EmbeddedPostgres
from plantprint_cli.embedded.processes import find_processes_inside

_PAUSE_S = (0.4, 1.6)
_DOWN_S = (0.1, 0.6)
_POLL_S = 0.005
_WAIT_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """Processes to kill, each a moment after the one before; `in_flow`: first wait until readings get through."""

    victims: tuple[str, ...]
    in_flow: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """`at_s` counts from the start of the storm; `ran_s` is how long the process had lived."""

    process: str
    pid: int
    at_s: float
    ran_s: float


def make_plan(rng: random.Random) -> list[Step]:
    """43 kills in seeded order: each process alone, the machine as a whole, and database and collector one after the other.

    The last is what an acknowledgement before the commit cannot survive: the database forgets what it had not written,
    and the collector, before the database is back, what it held in memory.
    """
    alone = {"edge": 7, "broker": 7, "collector": 3, "database": 2}
    steps = [Step((name,)) for name, times in alone.items() for _ in range(times)]
    steps += [Step(("database", "collector"), in_flow=True)] * 8
    steps += [Step(("edge", "broker", "collector", "database"), in_flow=True)] * 2
    rng.shuffle(steps)
    return steps


class Storm:
    """Kills and restarts `children` from the main thread, which is the one that children are started from."""

    def __init__(
        self,
        children: Mapping[str, Child],
        rng: random.Random,
        flows_since: Callable[[float], bool],
        flow_s_max: float,
    ) -> None:
        """`flows_since(s)`: whether readings were acknowledged after that instant of `time.time()`.

        When none are within `flow_s_max` the storm goes on all the same; `standstills` counts that.
        """
        self.kills: list[Kill] = []
        self.standstills = 0
        self.lasted_s = 0.0
        self._children = children
        self._rng = rng
        self._flows_since = flows_since
        self._flow_s_max = flow_s_max
        self._began_s = time.time()
        self._started_s = dict.fromkeys(children, self._began_s)
        self._restart_s: dict[str, float] = {}

    def rage(self, plan: list[Step], before_kill: Callable[[str], None]) -> None:
        """Carries the plan out, then starts what is down; `before_kill` hears the name of each victim."""
        for step in plan:
            self._sleep(self._rng.uniform(*_PAUSE_S))
            if step.in_flow:
                self.standstills += not self._until(self._flows, self._flow_s_max)
                self._sleep(self._rng.uniform(0, 0.3))
            for victim in step.victims:
                assert self._until(self._children[victim].is_alive, _WAIT_S_MAX), f"{victim} is not started again"
                before_kill(victim)
                self._kill(victim)
                if len(step.victims) > 1:
                    # Nothing comes back before the last of them is gone.
                    self._sleep(self._rng.uniform(0, 0.1), restart=False)
        assert self._until(lambda: not self._restart_s, _WAIT_S_MAX), "not all are started again"
        self.lasted_s = time.time() - self._began_s

    def kills_by_process(self) -> dict[str, int]:
        return dict(Counter(kill.process for kill in self.kills))

    def _flows(self) -> bool:
        return not self._restart_s and self._flows_since(max(self._started_s.values()))

    def _kill(self, name: str) -> None:
        child, now_s = self._children[name], time.time()
        assert child.pid is not None
        self.kills.append(
            Kill(name, child.pid, round(now_s - self._began_s, 3), round(now_s - self._started_s[name], 3))
        )
        sigkill(child)
        self._restart_s[name] = now_s + self._rng.uniform(*_DOWN_S)

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
    assert child.pid is not None
    pids = [child.pid]
    if isinstance(child, EmbeddedPostgres):
        pids += [process.pid for process in find_processes_inside(child.data_dir) if process.pid != child.pid]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while child.is_alive():
        time.sleep(0.001)
