"""The MES's outlet: a bounded window, resending with growing pauses, and a mark that never runs ahead."""

from plantprint.facts import ProductionEvent
from plantprint.wire.messages import EventAck
from plantprint_simulators.mes import Outlet
from plantprint_simulators.schedule import Schedule

OPENING_S = 1_795_000_000
SCHEDULE = Schedule(7, OPENING_S)


def outlet(window: int = 5) -> Outlet:
    return Outlet(SCHEDULE, OPENING_S * 1000, window=window, confirm_s=3, confirm_max_s=10)


def confirm(event: ProductionEvent, status: str = "stored") -> EventAck:
    return EventAck(event_id=event.event_id, revision=event.revision, status=status)  # type: ignore[arg-type]


def test_everything_is_sent_once_and_in_order_when_all_goes_well() -> None:
    mes, sent = outlet(), []
    for tick in range(4000):
        for event in mes.due((OPENING_S + tick // 2) * 1000, tick / 2):
            sent.append(event)
            mes.settle(confirm(event))
    assert sent == SCHEDULE.events(OPENING_S, OPENING_S + 2000)
    assert (mes.counts.sent, mes.counts.confirmed, mes.counts.resent) == (len(sent), len(sent), 0)
    assert mes.confirmed_ms == (OPENING_S + 2000) * 1000


def test_an_event_is_due_in_its_own_second() -> None:
    first = next(e for e in SCHEDULE.events(OPENING_S + 1, OPENING_S + 60))
    mes = Outlet(SCHEDULE, (OPENING_S + 1) * 1000, window=5, confirm_s=3, confirm_max_s=10)
    assert mes.due(first.at_ms - 1, 0.0) == []
    assert mes.due(first.at_ms, 0.0)[0] == first


def test_the_window_bounds_what_is_under_way() -> None:
    mes = outlet(window=5)
    first = mes.due((OPENING_S + 900) * 1000, 0.0)
    assert len(first) == 5
    assert mes.due((OPENING_S + 901) * 1000, 1.0) == []
    mes.settle(confirm(first[2]))
    assert len(mes.due((OPENING_S + 902) * 1000, 2.0)) == 1


def test_unconfirmed_events_come_again_ever_more_rarely() -> None:
    mes = outlet(window=1)
    (event,) = mes.due(OPENING_S * 1000, 0.0)
    times = [now for now in range(1, 40) if mes.due(OPENING_S * 1000, float(now)) == [event]]
    assert times == [3, 9, 19, 29, 39]
    assert mes.counts.resent == 5


def test_the_mark_waits_for_the_oldest_open_event() -> None:
    mes = outlet(window=40)
    events = mes.due((OPENING_S + 100) * 1000, 0.0)
    for event in events[1:]:
        mes.settle(confirm(event))
    assert mes.confirmed_ms == events[0].at_ms == OPENING_S * 1000
    mes.settle(confirm(events[0], "known"))
    assert mes.confirmed_ms > OPENING_S * 1000


def test_rejections_are_final_and_counted_and_foreign_confirmations_ignored() -> None:
    mes = outlet()
    event, *_ = mes.due(OPENING_S * 1000, 0.0)
    mes.settle(EventAck(event_id="nobody's", revision=0, status="stored"))
    mes.settle(confirm(event, "rejected"))
    mes.settle(confirm(event))
    assert (mes.counts.rejected, mes.counts.confirmed) == (1, 0)
