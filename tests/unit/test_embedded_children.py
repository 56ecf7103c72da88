"""Children and their supervisor: order, restarts, limits, signals, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plantprint_cli.embedded import Account, Child, ChildError, Command, Instance, Part, RestartPolicy, Supervisor
from plantprint_cli.embedded.children import spawn
from plantprint_cli.embedded.instance import temporary_instance
from plantprint_cli.embedded.processes import ProcessIdentity, find_identity, is_running, wait_gone

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)
FAST = RestartPolicy(delay_s_first=0.05, delay_s_max=0.2, restarts_max=3)


@pytest.fixture
def instance() -> Iterator[Instance]:
    with temporary_instance() as made:
        yield made


def python(text: str, **options: object) -> Command:
    return Command([sys.executable, "-c", text], **options)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def identity_of(child: Child) -> ProcessIdentity:
    found = child.identity()
    assert found is not None
    return found


def test_child_runs_in_a_session_of_its_own_and_stops(instance: Instance) -> None:
    child = Child("sleeper", python(SLEEP), instance.log("sleeper"))
    child.start()
    assert child.pid is not None
    wait_for(lambda: os.getsid(child.pid or 0) == child.pid)
    assert child.stop(5)
    assert not child.is_alive()
    assert child.exit_code == -signal.SIGTERM
    assert child.stop(5), "twice is no harm"


def test_deaf_child_is_killed_at_the_limit(instance: Instance) -> None:
    child = Child("deaf", python(STUBBORN), instance.log("deaf"))
    child.start()
    wait_for(lambda: "deaf" in instance.log("deaf").tail(1))
    assert not child.stop(0.2)
    assert child.exit_code == -signal.SIGKILL


def test_failed_start_shows_the_end_of_the_log(instance: Instance) -> None:
    class NeverReady(Child):
        def is_ready(self) -> bool:
            return False

    child = NeverReady("broken", python("import sys; sys.exit('no such meter')"), instance.log("broken"))
    child.start()
    with pytest.raises(ChildError, match="ended with code 1 before it was ready") as caught:
        child.wait_ready(10)
    assert "no such meter" in str(caught.value)


def test_missing_program_is_named(instance: Instance) -> None:
    with pytest.raises(ChildError, match=r"ghost cannot be started: .*'/no/such/program'"):
        Child("ghost", Command(["/no/such/program"]), instance.log("ghost")).start()
    child = Child("no program", Command(["/proc/self/status"]), instance.log("no program"))
    with pytest.raises(ChildError, match="/proc/self/status"):
        child.start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE])
def test_ignored_signals_do_not_reach_the_child(instance: Instance, number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        child = Child("mask", Command(["grep", "SigIgn", "/proc/self/status"]), instance.log("mask"))
        child.start()
        wait_for(lambda: not child.is_alive())
    finally:
        signal.signal(number, before)
    ignored = int(instance.log("mask").tail(1).split()[1], 16)
    # Those above 31 are libc's own; a hang-up may be ignored on purpose (nohup).
    assert ignored & 0x7FFFFFFF & ~(1 << (signal.SIGHUP - 1)) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_child_runs_as_another_user_without_our_groups(instance: Instance) -> None:
    account = Account("nobody", 65534, 65534)
    child = Child("id", Command(["sh", "-c", "id -u; id -G"], account=account), instance.log("id"))
    child.start()
    wait_for(lambda: not child.is_alive())
    assert instance.log("id").tail(2).split() == ["65534", "65534"]


def test_children_start_in_the_main_thread_only() -> None:
    caught: list[BaseException] = []

    def attempt() -> None:
        try:
            spawn(Command(["true"]))
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(caught) == 1


def run_until(supervisor: Supervisor, condition: Callable[[], bool]) -> int:
    """Run, and send ourselves SIGTERM when the condition holds, or after ten seconds."""

    def watch() -> None:
        deadline = time.monotonic() + 10
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    code = supervisor.run(on_ready=watcher.start)
    if watcher.ident is not None:
        watcher.join()
    return code


def test_parts_start_and_stop_in_order(instance: Instance, tmp_path: Path) -> None:
    events = tmp_path / "events"
    text = (
        "import signal, sys, time; out = open(sys.argv[1], 'a', buffering=1);"
        "signal.signal(signal.SIGTERM, lambda *_: (out.write('stop ' + sys.argv[2] + '\\n'), sys.exit(0)));"
        "out.write('start ' + sys.argv[2] + '\\n'); time.sleep(60)"
    )

    class Announced(Child):
        def is_ready(self) -> bool:
            return self.is_alive() and events.exists() and f"start {self.name}\n" in events.read_text()

    parts = [
        Part(Announced(name, Command([sys.executable, "-c", text, str(events), name]), instance.log(name)))
        for name in ("database", "broker", "edge")
    ]
    supervisor = Supervisor(instance, parts, stop_order=["edge", "database", "broker"])
    assert run_until(supervisor, lambda: True) == 0
    assert supervisor.failure is None
    starts = ["start database", "start broker", "start edge"]
    assert events.read_text().splitlines() == [*starts, "stop edge", "stop database", "stop broker"]
    assert instance.recorded_children() == {}


def test_crashed_part_is_started_again_and_counted(instance: Instance) -> None:
    child = Child("worker", python(SLEEP), instance.log("worker"))
    supervisor = Supervisor(instance, [Part(child, restart=FAST)])
    pids: list[int] = []

    def crash_twice() -> bool:
        if child.is_alive() and child.pid not in pids and len(pids) < 3:
            assert child.pid is not None
            pids.append(child.pid)
            if len(pids) < 3:
                os.kill(child.pid, signal.SIGKILL)
        return len(pids) == 3

    assert run_until(supervisor, crash_twice) == 0
    assert supervisor.restarts == {"worker": 2}


def test_part_that_keeps_failing_ends_the_run(instance: Instance) -> None:
    good = Child("good", python(SLEEP), instance.log("good"))
    bad = Child("bad", python("import time; time.sleep(0.5); raise SystemExit('out of order')"), instance.log("bad"))
    supervisor = Supervisor(instance, [Part(good), Part(bad, restart=FAST)])
    assert supervisor.run() == 1
    assert supervisor.failure is not None
    assert "bad does not keep running (3 restarts within 600 s)" in supervisor.failure
    assert "out of order" in supervisor.failure
    assert not good.is_alive()


def test_part_may_finish_when_it_says_so(instance: Instance) -> None:
    child = Child("once", python("pass"), instance.log("once"))
    supervisor = Supervisor(instance, [Part(child, restart=RestartPolicy(mode="on_failure"))])
    assert run_until(supervisor, lambda: not child.is_alive()) == 0
    assert supervisor.restarts == {"once": 0}


def test_part_that_never_restarts_fails_the_run(instance: Instance) -> None:
    child = Child("once", python("raise SystemExit(3)"), instance.log("once"))
    supervisor = Supervisor(instance, [Part(child, restart=RestartPolicy(mode="never"))])
    assert supervisor.run() == 1
    assert supervisor.failure is not None
    assert "once ended with code 3" in supervisor.failure


def test_part_that_does_not_answer_is_killed_and_started_again(instance: Instance) -> None:
    class Mute(Child):
        silent = False

        def is_ready(self) -> bool:
            return self.is_alive() and not (self.silent and supervisor.restarts["mute"] == 0)

    child = Mute("mute", python(SLEEP), instance.log("mute"))
    supervisor = Supervisor(instance, [Part(child, restart=FAST, health_interval_s=0.05)])

    def fall_silent() -> bool:
        child.silent = True
        return supervisor.restarts["mute"] == 1 and child.is_alive()

    assert run_until(supervisor, fall_silent) == 0
    assert supervisor.restarts == {"mute": 1}


def test_second_signal_kills(instance: Instance) -> None:
    child = Child("deaf", python(STUBBORN), instance.log("deaf"))
    supervisor = Supervisor(instance, [Part(child, stop_timeout_s=60)])

    def interrupt_twice() -> None:
        wait_for(lambda: "deaf" in instance.log("deaf").tail(1))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        assert child.is_alive(), "one signal leaves it its time"
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt_twice)
    began = time.monotonic()
    assert supervisor.run(on_ready=thread.start) == 0
    thread.join()
    assert time.monotonic() - began < 10
    assert child.exit_code == -signal.SIGKILL


def test_signal_during_a_slow_start_stops(instance: Instance) -> None:
    class Slow(Child):
        def is_ready(self) -> bool:
            supervisor.request_stop()
            return False

    child = Slow("slow", python(SLEEP), instance.log("slow"))
    supervisor = Supervisor(instance, [Part(child)])
    assert supervisor.run(on_ready=lambda: pytest.fail("was never ready")) == 0
    assert not child.is_alive()


SUPERVISE = """
import sys
from pathlib import Path
from plantprint_cli.embedded import Child, Command, Instance, Part, Supervisor
with Instance.open(Path(sys.argv[1])) as instance:
    command = Command([sys.executable, "-c", sys.argv[2]])
    child = Child("worker", command, instance.log("worker"))
    sys.exit(Supervisor(instance, [Part(child)]).run(on_ready=lambda: print(child.pid, flush=True)))
"""


def supervise(instance: Instance, text: str) -> tuple[subprocess.Popen[bytes], ProcessIdentity]:
    """A supervisor in a process of its own, and its child."""
    instance.close()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(instance.path), text], stdout=subprocess.PIPE, env=env
    )
    assert process.stdout is not None
    with process.stdout:
        child = find_identity(int(process.stdout.readline()))
    assert child is not None
    return process, child


def test_kill_9_of_the_supervisor_leaves_no_child(instance: Instance) -> None:
    process, child = supervise(instance, SLEEP)
    process.kill()
    process.wait()
    assert wait_gone(child, 5)
    recorded = json.loads((instance.path / "state.json").read_text())["children"]["worker"]["process"]
    assert recorded["pid"] == child.pid


def test_next_start_ends_what_ignored_the_death_of_its_supervisor(instance: Instance) -> None:
    process, child = supervise(instance, STUBBORN)
    wait_for(lambda: "deaf" in instance.log("worker").tail(1))
    process.kill()
    process.wait()
    time.sleep(0.2)
    assert is_running(child)
    with Instance.open(instance.path) as again:
        records = again.recorded_children()
        assert records["worker"].process == child
        # A record whose pid now belongs to somebody else: this test itself.
        own = find_identity(os.getpid())
        assert own is not None
        foreign = ProcessIdentity(own.pid, own.start_ticks - 1, own.boot_id)
        again.record_child("foreign", type(records["worker"])(foreign, signal.SIGKILL, 1))
        again.record_child("worker", type(records["worker"])(child, signal.SIGTERM, 0.2))
        Supervisor(again, []).end_orphans()
        assert not is_running(child)
        assert again.recorded_children() == {}


def test_sigterm_ends_a_supervisor_with_code_0(instance: Instance) -> None:
    process, child = supervise(instance, SLEEP)
    process.terminate()
    assert process.wait(10) == 0
    assert not is_running(child)
