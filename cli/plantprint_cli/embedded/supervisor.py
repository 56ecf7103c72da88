"""Starts the children of an all-in-one run in order, keeps them running, and stops them in order."""

import logging
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal

from plantprint_cli.embedded.children import Child
from plantprint_cli.embedded.errors import EmbeddedError
from plantprint_cli.embedded.instance import ChildRecord, Instance
from plantprint_cli.embedded.processes import end_process, find_identity, is_running

logger = logging.getLogger("plantprint.embedded")

_POLL_S = 0.05
_LOG_CHECK_S = 5.0
_UNHEALTHY_MAX = 3


@dataclass(frozen=True)
class RestartPolicy:
    """When and how fast a child that ended is started again.

    `always` also restarts one that ended with code 0; `on_failure` takes that for done; `never` lets it go.
    """

    mode: Literal["always", "on_failure", "never"] = "always"
    delay_s_first: float = 0.5
    delay_s_max: float = 30.0
    # Share of the delay that is random, so that children which failed together do not return together.
    jitter: float = 0.25
    restarts_max: int = 10
    window_s: float = 600.0
    # A child that ran this long starts over with the first delay.
    healthy_s: float = 30.0


@dataclass(frozen=True)
class Part:
    """A child under supervision, with its limits."""

    child: Child
    ready_timeout_s: float = 60.0
    stop_timeout_s: float = 10.0
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    # How often a running child is asked whether it is ready; one that fails three times in a row is killed.
    health_interval_s: float | None = None


@dataclass
class _Watched:
    """What the supervisor knows about one part."""

    part: Part
    started_at_s: float = 0.0
    # None: runs, or is done.
    restart_at_s: float | None = None
    ready: bool = False
    next_health_s: float = 0.0
    unhealthy: int = 0
    done: bool = False
    delays: int = 0
    restarts: int = 0
    recent: deque[float] = field(default_factory=deque)


class Supervisor:
    """Runs parts from the main thread: `run()` returns the exit code, 0 after a clean stop.

    Parts are started in the given order, each ready before the next, and stopped in `stop_order` (names), by default
    the reverse. The first SIGINT, SIGTERM or SIGHUP stops them one by one within their limits; the second kills.
    """

    def __init__(self, instance: Instance, parts: Sequence[Part], stop_order: Sequence[str] | None = None) -> None:
        self._instance = instance
        self._watched = {part.child.name: _Watched(part) for part in parts}
        order = list(stop_order) if stop_order is not None else [part.child.name for part in reversed(parts)]
        if len(self._watched) != len(parts) or sorted(order) != sorted(self._watched):
            raise ValueError("every part needs a name of its own, and the stop order each name once")
        self._stop_order = order
        self._signals = 0
        # Why the run failed, complete text; None while it has not.
        self.failure: str | None = None

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often each part was started again."""
        return {name: watched.restarts for name, watched in self._watched.items()}

    def run(self, on_ready: Callable[[], None] | None = None) -> int:
        """Start everything, call `on_ready`, watch until a signal, `request_stop` or a lasting failure, then stop."""
        with self._handle_signals():
            try:
                self.end_orphans()
                if self._start_all() and on_ready is not None:
                    on_ready()
                next_log_check_s = 0.0
                while not self._signals and self.failure is None:
                    self._watch()
                    if time.monotonic() >= next_log_check_s:
                        self._limit_logs()
                        next_log_check_s = time.monotonic() + _LOG_CHECK_S
                    time.sleep(_POLL_S)
            except EmbeddedError as error:
                self._fail(str(error))
            finally:
                self._stop_all()
        return 0 if self.failure is None else 1

    def request_stop(self) -> None:
        """Make `run` stop everything and return, as the first signal does; a second request kills."""
        self._signals += 1

    def end_orphans(self) -> None:
        """End exactly the children that an earlier run recorded and that outlived it."""
        for name, record in self._instance.recorded_children().items():
            if is_running(record.process):
                logger.warning("ending %s (process %d), left by a run that was killed", name, record.process.pid)
                end_process(record.process, signal.Signals(record.stop_signal), record.stop_timeout_s)
            self._instance.forget_child(name)

    def _start_all(self) -> bool:
        """False when a stop was requested before all were ready."""
        for watched in self._watched.values():
            if self._signals:
                return False
            self._start(watched)
            child = watched.part.child
            deadline = time.monotonic() + watched.part.ready_timeout_s
            while not child.is_ready():
                if self._signals:
                    return False
                if not child.is_alive():
                    if child.exit_code == 0 and watched.part.restart.mode != "always":
                        break
                    raise child.failure(f"ended with code {child.exit_code} before it was ready")
                if time.monotonic() >= deadline:
                    raise child.failure(f"was not ready within {watched.part.ready_timeout_s:g} s")
                # The parts before this one are watched from the first moment.
                self._watch(but=watched)
                time.sleep(_POLL_S / 2)
            watched.ready = True
            logger.info("%s is ready after %.2f s", child.name, time.monotonic() - watched.started_at_s)
        return not self._signals

    def _start(self, watched: _Watched) -> None:
        child = watched.part.child
        watched.restart_at_s = None
        watched.started_at_s = time.monotonic()
        watched.ready = False
        watched.unhealthy = 0
        child.start()
        process = find_identity(child.pid) if child.pid else None
        if process is not None:
            record = ChildRecord(process, int(child.stop_signal), watched.part.stop_timeout_s)
            self._instance.record_child(child.name, record)

    def _watch(self, but: _Watched | None = None) -> None:
        for watched in self._watched.values():
            if watched is but:
                break
            if watched.done or self.failure is not None:
                continue
            if watched.restart_at_s is not None:
                if time.monotonic() >= watched.restart_at_s:
                    self._restart(watched)
            elif not watched.part.child.is_alive():
                self._on_end(watched)
            elif not watched.ready:
                self._await_ready(watched)
            elif watched.part.health_interval_s is not None and time.monotonic() >= watched.next_health_s:
                self._check_health(watched, watched.part.health_interval_s)

    def _await_ready(self, watched: _Watched) -> None:
        """A restarted part that hangs before it is ready is killed, which counts as another failure."""
        child = watched.part.child
        watched.ready = child.is_ready()
        if not watched.ready and time.monotonic() - watched.started_at_s > watched.part.ready_timeout_s:
            logger.error("%s was not ready within %g s and is killed", child.name, watched.part.ready_timeout_s)
            child.kill()

    def _check_health(self, watched: _Watched, interval_s: float) -> None:
        child = watched.part.child
        watched.unhealthy = 0 if child.is_ready() else watched.unhealthy + 1
        watched.next_health_s = time.monotonic() + interval_s
        if watched.unhealthy >= _UNHEALTHY_MAX:
            logger.error("%s runs but does not answer and is killed", child.name)
            child.kill()

    def _restart(self, watched: _Watched) -> None:
        watched.restarts += 1
        try:
            self._start(watched)
        except EmbeddedError as error:
            self._plan_restart(watched, str(error))

    def _on_end(self, watched: _Watched) -> None:
        child, policy = watched.part.child, watched.part.restart
        self._instance.forget_child(child.name)
        if child.exit_code == 0 and policy.mode != "always":
            watched.done = True
            logger.info("%s has finished", child.name)
        elif policy.mode == "never":
            self._fail(str(child.failure(f"ended with code {child.exit_code}")))
        else:
            if time.monotonic() - watched.started_at_s >= policy.healthy_s:
                watched.delays = 0
            self._plan_restart(watched, f"{child.name} ended with code {child.exit_code}")

    def _plan_restart(self, watched: _Watched, reason: str) -> None:
        policy, now_s = watched.part.restart, time.monotonic()
        while watched.recent and watched.recent[0] < now_s - policy.window_s:
            watched.recent.popleft()
        if len(watched.recent) >= policy.restarts_max:
            limit = f"{policy.restarts_max} restarts within {policy.window_s:g} s"
            self._fail(str(watched.part.child.failure(f"does not keep running ({limit}): {reason}")))
            return
        delay_s = min(policy.delay_s_max, policy.delay_s_first * 2**watched.delays)
        delay_s *= 1 + policy.jitter * (2 * random.random() - 1)  # noqa: S311  spreads load, guards nothing
        watched.delays = min(watched.delays + 1, 30)
        watched.recent.append(now_s)
        watched.restart_at_s = now_s + delay_s
        logger.error("%s; starting it again in %.1f s (restart %d)", reason, delay_s, watched.restarts + 1)

    def _fail(self, message: str) -> None:
        self.failure = message
        logger.error("%s", message)

    def _limit_logs(self) -> None:
        for watched in self._watched.values():
            log = watched.part.child.log
            if log is not None:
                log.rotate_if_large()

    def _stop_all(self) -> None:
        """One after the other within its limit; at the second signal all that are left at once."""
        # What brought us here is one; a failure leaves room for a first Ctrl-C that means "now".
        kill_at = 2 if self.failure is None else 1
        for name in self._stop_order:
            part = self._watched[name].part
            part.child.request_stop()
            deadline = time.monotonic() + part.stop_timeout_s
            while part.child.is_alive() and self._signals < kill_at:
                if time.monotonic() >= deadline:
                    logger.warning("%s did not stop within %g s and is killed", name, part.stop_timeout_s)
                    break
                time.sleep(_POLL_S / 2)
            part.child.kill()
            self._instance.forget_child(name)

    @contextmanager
    def _handle_signals(self) -> Iterator[None]:
        def count(_number: int, _frame: FrameType | None) -> None:
            # Nothing else: a handler runs between any two instructions of the code above.
            self._signals += 1

        before = {}
        for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A run under nohup ignores the end of its terminal and keeps doing so.
            if which is not signal.SIGHUP or signal.getsignal(which) is not signal.SIG_IGN:
                before[which] = signal.signal(which, count)
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)
