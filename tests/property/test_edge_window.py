"""The uplink's sending decisions against a network that loses, doubles and reorders, and a collector that goes away."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plantprint.wire.topics import Lane
from plantprint_edge.records import Stored
from plantprint_edge.window import Window

CHUNKS_MAX = 8
RESEND_MS = 5_000
RESEND_MS_MAX = 10_000


class Plant(RuleBasedStateMachine):
    """An outbox as a list, a network as a bag of messages, a collector as a set; time moves only by rule."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.chunks: list[Stored] = []
        self.acked: set[tuple[str, int]] = set()
        self.collector: set[tuple[str, int]] = set()
        self.network: list[tuple[Lane, tuple[str, int]]] = []
        self.epoch = 0
        self.seq = 0
        self.window = Window(CHUNKS_MAX, RESEND_MS, RESEND_MS_MAX)
        self.connected = False
        self.copies_since_progress = 0
        self.published: Counter[tuple[str, int]] = Counter()

    # --- the parts around the window ----------------------------------------------------------------------------------

    def newest(self) -> int:
        return self.chunks[-1].id if self.chunks else 0

    def publish(self, lane: Lane, chunk: Stored) -> None:
        self.network.append((lane, (chunk.epoch, chunk.seq)))
        self.published[chunk.epoch, chunk.seq] += 1
        self.copies_since_progress += 1

    def pump(self) -> None:
        self.window.stored(self.newest())
        for lane, chunk in self.window.resends(self.now_ms):
            self.publish(lane, chunk)
        while wants := self.window.wants():
            for want in wants:
                found = [
                    c for c in self.chunks if want.after < c.id <= want.upto and (c.epoch, c.seq) not in self.acked
                ][: want.limit]
                for chunk in self.window.take(want, found, self.now_ms):
                    self.publish(want.lane, chunk)

    def deliver(self, index: int) -> None:
        self.collector.add(self.network.pop(index)[1])

    def acknowledge(self) -> None:
        """The collector says all that it holds, and the agent hears it."""
        received: dict[str, list[tuple[int, int]]] = {}
        for epoch, seq in sorted(self.collector):
            received.setdefault(epoch, []).append((seq, seq))
        ours = {(c.epoch, c.seq) for c in self.chunks}
        self.acked |= self.collector & ours
        if self.window.acked(received, self.now_ms):
            self.copies_since_progress = 0

    # --- rules --------------------------------------------------------------------------------------------------------

    @rule(n=st.integers(1, 12))
    def readings_arrive(self, n: int) -> None:
        for _ in range(n):
            self.chunks.append(Stored(self.newest() + 1, f"e{self.epoch}", self.seq, 1, "t", b""))
            self.seq += 1
        if self.connected:
            self.pump()

    @rule()
    def connect(self) -> None:
        self.connected = True
        self.window.begin(self.newest())
        self.copies_since_progress = 0
        self.pump()

    @rule(keep=st.booleans())
    def disconnect(self, keep: bool) -> None:
        self.connected = False
        if not keep:
            self.network.clear()

    @rule()
    def restart(self) -> None:
        self.connected = False
        self.epoch += 1
        self.seq = 0
        self.window = Window(CHUNKS_MAX, RESEND_MS, RESEND_MS_MAX)

    @precondition(lambda self: self.network)
    @rule(data=st.data(), fate=st.sampled_from(["deliver", "deliver", "deliver", "lose", "double"]))
    def one_message(self, data: st.DataObject, fate: str) -> None:
        index = data.draw(st.integers(0, len(self.network) - 1))
        if fate == "double":
            self.collector.add(self.network[index][1])
        elif fate == "lose":
            self.network.pop(index)
        else:
            self.deliver(index)

    @rule()
    def all_arrive(self) -> None:
        while self.network:
            self.deliver(0)

    @precondition(lambda self: self.connected)
    @rule()
    def ack_arrives(self) -> None:
        self.acknowledge()
        self.pump()

    @precondition(lambda self: self.connected)
    @rule(ms=st.integers(1, 20_000))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        self.pump()

    @precondition(lambda self: self.connected)
    @rule()
    def store_is_replaced(self) -> None:
        self.collector.clear()
        self.acked.clear()
        self.window.begin(self.newest())
        self.copies_since_progress = 0
        self.pump()

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def the_window_is_never_exceeded(self) -> None:
        assert self.window.unacked <= CHUNKS_MAX

    @invariant()
    def nothing_is_taken_for_delivered_that_the_collector_lacks(self) -> None:
        assert self.acked <= self.collector

    def teardown(self) -> None:
        """Liveness: once faults stop, everything arrives within a minute of simulated time."""
        self.network.clear()
        if not self.connected:
            self.connect()
        for _ in range(60 + 4 * len(self.chunks)):
            self.pump()
            self.all_arrive()
            self.acknowledge()
            if len(self.acked) == len(self.chunks):
                break
            self.now_ms += 1_000
        assert {(c.epoch, c.seq) for c in self.chunks} == self.acked


Plant.TestCase.settings = settings(max_examples=150, stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestPlant: Any = Plant.TestCase


def _window(live: int, backlog: int) -> tuple[Plant, Window]:
    plant = Plant()
    plant.readings_arrive(backlog)
    plant.connect()
    plant.readings_arrive(live)
    return plant, plant.window


def test_a_long_backlog_leaves_room_for_live_chunks() -> None:
    plant, _ = _window(live=0, backlog=100)
    assert [lane for lane, _ in plant.network] == ["fill"] * 6
    plant.readings_arrive(1)
    assert plant.network[-1] == ("live", ("e0", 100))


def test_live_chunks_leave_room_for_the_backlog() -> None:
    plant, _ = _window(live=0, backlog=1)
    plant.all_arrive()
    plant.readings_arrive(100)
    assert [lane for lane, _ in plant.network] == ["live"] * 6
    assert plant.window.unacked == 7


def test_both_lanes_go_on_when_both_are_full() -> None:
    plant, _ = _window(live=50, backlog=50)
    sent = {"live": 0, "fill": 0}
    for _ in range(10):
        for lane, _key in plant.network:
            sent[lane] += 1
        plant.all_arrive()
        plant.acknowledge()
        plant.pump()
    assert min(sent.values()) >= 20


def test_while_the_collector_is_away_the_broker_gets_the_window_and_then_a_probe_now_and_then() -> None:
    plant, _ = _window(live=50, backlog=50)
    for _ in range(3600):
        plant.time_passes(1_000)
    # One probe of each lane after 5 s, then every 10 s.
    assert plant.copies_since_progress <= CHUNKS_MAX + 2 * (3600 // 10 + 2)
    plant.teardown()


def test_what_was_stored_during_a_standstill_is_backlog() -> None:
    plant, _ = _window(live=30, backlog=0)
    plant.network.clear()
    for _ in range(20):
        plant.time_passes(1_000)
    plant.all_arrive()
    plant.acknowledge()
    plant.pump()
    assert len(plant.network) == len({key for _, key in plant.network})
    lanes = {key: lane for lane, key in plant.network}
    assert lanes["e0", 6] == "fill"
    plant.all_arrive()
    plant.acknowledge()
    plant.readings_arrive(1)
    lanes = {key: lane for lane, key in plant.network}
    assert lanes["e0", 30] == "live"


def test_an_overtaken_chunk_is_sent_again_although_others_move_on() -> None:
    plant, _ = _window(live=6, backlog=0)
    _, lost = plant.network.pop(2)
    for _ in range(5):
        plant.all_arrive()
        plant.acknowledge()
        assert plant.published[lost] == 1
        plant.readings_arrive(1)
        plant.time_passes(1_000)
    assert plant.published[lost] == 2


def test_after_a_standstill_the_whole_window_is_sent_again_at_once_and_each_chunk_once() -> None:
    plant, _ = _window(live=30, backlog=10)
    plant.network.clear()
    for _ in range(20):
        plant.time_passes(1_000)
    probes = {key for _, key in plant.network}
    waiting = plant.published.keys() - probes
    plant.all_arrive()
    plant.acknowledge()
    plant.pump()
    again = [key for _, key in plant.network]
    assert len(probes) == 2
    assert waiting < set(again)
    assert len(again) == len(set(again))
    assert max(plant.published[key] for key in again) == 2
    plant.deliver(next(i for i, (lane, _) in enumerate(plant.network) if lane == "fill"))
    plant.acknowledge()
    plant.pump()
    assert max(plant.published[key] for key in again) == 2


def test_a_slow_collector_gets_no_copies() -> None:
    """Twenty times slower than the time limit per window, yet always moving: more load would only make it slower."""
    plant, _ = _window(live=100, backlog=0)
    for _ in range(90):
        plant.time_passes(RESEND_MS - 1)
        plant.deliver(0)
        plant.acknowledge()
        plant.pump()
    assert max(plant.published.values()) == 1


def test_what_went_out_ahead_is_waited_for_and_sent_again_only_when_it_was_lost() -> None:
    plant = Plant()
    plant.readings_arrive(6)
    plant.window.begin(6, published=[2, 5])
    plant.connected = True
    plant.pump()
    assert [seq for _, (_, seq) in plant.network] == [0, 2, 3, 5]
    assert plant.window.unacked == 6
    plant.all_arrive()
    plant.collector.add(("e0", 1))
    plant.acknowledge()
    assert plant.window.unacked == 1
    plant.time_passes(RESEND_MS)
    assert [seq for _, (_, seq) in plant.network] == [4]


@pytest.mark.parametrize("n", [4, 5, 64, 1024])
def test_any_window_lets_both_lanes_in(n: int) -> None:
    window = Window(n, 1, 1)
    window.begin(10_000)
    window.stored(20_000)
    limits = {want.lane: want.limit for want in window.wants()}
    assert sum(limits.values()) == n
    assert min(limits.values()) >= 1
