"""What the delivery tests check once a storm is over: readings, chunks and ledger are what the meters emitted, once."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from delivery_mes import UNITS, Mes
from delivery_meters import CHANNELS, DECIMALS, Meters, channel_name, instant_of, plant_yaml
from delivery_rig import Rig

from plantprint import neutral
from plantprint.ledger import PostingKey
from plantprint.quantities import decimal_text
from plantprint.times import format_instant, from_ms, to_ms
from plantprint.wire import messages
from plantprint_cli.embedded import temporary_instance

SETTLE_S_MAX = 60.0


class LossError(AssertionError):
    """The meters emitted what the store does not hold."""


@contextmanager
def running(
    site: str, meters: Meters, meters_url: str, wrong: str = "", *, persistent: bool = False, with_api: bool = False
) -> Iterator[Rig]:
    with temporary_instance() as instance:
        rig = Rig(instance, site, meters, meters_url, wrong, persistent=persistent, with_api=with_api)
        try:
            rig.start()
            meters.start()
            yield rig
        except BaseException:
            rig.show_logs()
            raise
        finally:
            rig.kill_all()


@contextmanager
def reported(report: dict[str, Any], tell: Callable[[str, object], None]) -> Iterator[None]:
    """One line of JSON at the end of the run, however the test ends; `tell` is the fixture `record_property`."""
    try:
        yield
    finally:
        kills = report.pop("kills", [])
        by_process: dict[str, list[list[float]]] = {}
        for kill in kills:
            by_process.setdefault(kill.process, []).append([kill.at_s, kill.pid])
        tell("report", json.dumps({**report, "kills": len(kills), "kills_at_s_and_pid": by_process}))


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"after {timeout_s:.0f} s still not: {what}"
        time.sleep(0.1)


def check_readings(
    rig: Rig,
    meters: Meters,
    report: dict[str, Any],
    empty: Sequence[str] = ("reading_conflict", "rejected_reading", "dead_letter", "gap"),
) -> None:
    """Content identical to what the meters emitted, nothing doubled, nothing set aside."""
    emitted, (rows, stored) = meters.emitted, rig.stored()
    report |= {"emitted": len(emitted), "stored": rows}
    lost = emitted.keys() - stored.keys()
    report["lost"] = len(lost)
    if lost:
        raise LossError(f"{len(lost)} of {len(emitted)} readings are not in the store; the first: {sorted(lost)[:3]}")
    assert rows == len(stored), "a reading is stored twice"
    assert not stored.keys() - emitted.keys(), "the store holds what no meter emitted"
    unequal = [key for key, value in emitted.items() if stored[key] != value]
    assert not unequal, f"the store holds other values than the meters emitted: {unequal[:3]}"
    for table in empty:
        assert rig.query(f"select count(*) from {table}") == [(0,)], f"there is something in {table}"
    assert rig.query("select count(*) from channel") == [(CHANNELS,)], "a channel was declared twice"


def check_chunks(rig: Rig, meters: Meters, report: dict[str, Any]) -> None:
    """What the edge ever committed is what it read and what the store received, chunk by chunk, without a hole."""
    outbox, received = rig.outbox(), rig.received()
    rig.count_repeats()
    report |= {
        "chunks": sum(map(len, received.values())),
        "epochs": len(received),
        "repeated_chunks_refused": rig.repeated_chunks,
        "repeated_readings_refused": outbox.repeated_rows,
    }
    assert outbox.unacked_chunks == 0
    assert outbox.readings == meters.emitted, "the edge has not committed what the meters emitted"
    assert received == outbox.seqs, "the store has received other chunks than the edge has committed"
    assert all(seqs == set(range(len(seqs))) for seqs in received.values()), "an epoch has a hole"
    assert rig.repeated_chunks > 0, "no chunk was ever sent twice: the storm was too mild to tell"


def check_ledger(rig: Rig, meters: Meters, report: dict[str, Any]) -> None:
    """The ledger's sums are what the meters counted, hour by hour, and the auditor finds nothing."""
    wanted = {from_ms(hour_ms): amount for hour_ms, amount in meters.consumption_by_hour().items()}

    def settled() -> bool:
        hours = "select count(*) from accounted_hour where site = %s and status = 'settled' and hour_at = any(%s)"
        marks = "select count(*) from dirty where site = %s"
        return rig.query(marks, (rig.site,)) == [(0,)] and rig.query(hours, (rig.site, list(wanted))) == [
            (len(wanted),)
        ]

    until(settled, SETTLE_S_MAX, "every hour is settled and every mark worked in")
    assert rig.collector.stop(), "the collector does not stop when asked to"
    posted = dict(rig.query("select hour_at, sum(amount) from posting where site = %s group by 1", (rig.site,)))
    assert {hour: posted.get(hour) for hour in wanted} == wanted, "the ledger differs from the meters"
    assert not any(amount for hour, amount in posted.items() if hour not in wanted), "the ledger holds made-up hours"
    corrections = rig.query("select count(*) from posting where cause like 'reversal%%' and site = %s", (rig.site,))
    report |= {"hours": len(wanted), "reversals": corrections[0][0]}
    audit = rig.audit()
    assert audit["clean"], audit
    (site,) = audit["sites"]
    assert (site["pending_marks"], site["outstanding"]) == (0, {}), site
    assert site["hours"] >= len(wanted), site


def check_events(rig: Rig, meters: Meters, mes: Mes, report: dict[str, Any]) -> None:
    """The events are those that were sent, once each, and what they cost their batches is what the facts alone give."""
    sent = sorted(event.row for event in mes.sent)
    report |= {"events": len(sent), "repeated_events_refused": mes.repeats}
    stored = rig.query(
        "select source, event_id, revision, kind, (extract(epoch from at) * 1000)::bigint, body from production_event "
        "where site = %s order by 1, 2, 3",
        (rig.site,),
    )
    assert sorted(stored, key=lambda row: row[:3]) == sent, "the store holds other events than were sent"
    assert mes.repeats > 0, "no event was ever sent twice: the storm was too mild to tell"
    hours, units = set(meters.consumption_by_hour()), {f"u{unit}" for unit in range(UNITS)}
    wanted = {key: amount for key, amount in account(rig.site, meters, mes).net.items() if key.hour_ms in hours}
    posted: dict[PostingKey, int] = {}
    for hour, kind, name, unit, step, source, entered, quality, portion, amount in rig.query(
        "select hour_at, account_kind, account_id, work_unit, step, source, entered_at, quality, portion, amount from posting "
        "where site = %s and work_unit = any(%s)",
        (rig.site, sorted(units)),
    ):
        key = PostingKey(to_ms(hour), kind, name, unit, step, source, to_ms(entered), quality, portion)
        posted[key] = posted.get(key, 0) + amount
    assert {key: amount for key, amount in posted.items() if amount} == wanted, (
        "the batches cost other than the facts say"
    )
    report["batches"] = len({key.account_id for key in wanted if key.account_kind == "batch"})
    assert report["batches"] > UNITS


def account(site: str, meters: Meters, mes: Mes) -> neutral.Accounts:
    """What `plantprint account` makes of the MES's work units, from what was emitted and sent."""
    plant = yaml.safe_load(plant_yaml(site))
    plant["work_centers"][0]["work_units"] = plant["work_centers"][0]["work_units"][:UNITS]
    plant |= {key: plant[key][:UNITS] for key in ("meters", "flows")}
    rows: dict[str, list[list[str]]] = {channel_name(channel): [] for channel in range(UNITS)}
    for (name, t_ms), value in meters.emitted.items():
        if name in rows:
            rows[name].append([format_instant(t_ms), decimal_text(value, 10**DECIMALS)])
    events = [json.loads(messages.encode(event.message())) for event in mes.sent]
    facts = {
        "plantprint_facts": 1,
        "plants": [{"model": plant}],
        "channels": [{"channel": f"gw-1/{n}", "unit": "kWh", "decimals": DECIMALS, "kind": "counter"} for n in rows],
        "readings": [{"channel": f"gw-1/{name}", "rows": several} for name, several in rows.items()],
        "events": [{key: value for key, value in event.items() if key != "v"} for event in events],
        "until": format_instant(instant_of(meters.last_step)),
    }
    return neutral.account_facts(neutral.parse_facts(json.dumps(facts)))
