"""A small mill with a real database and one accountant that a test drives pass by pass, without broker or threads."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Self

import numpy as np
import psycopg
from accounting_cases import HOUR, HOUR_MS
from psycopg import Connection, IsolationLevel

from plantprint.account import EMPTY_CARRY, HourAccount
from plantprint.factors import builtin_factors, latest
from plantprint.facts import Channel, EventKind, ProductionEvent, Quality, Reading
from plantprint.ledger import Net
from plantprint.plant.model import Plant
from plantprint.times import SiteClock, from_ms
from plantprint_collector import store
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.audit import SiteAudit, audit_site
from plantprint_collector.books import account_hours, load_facts
from plantprint_collector.connection import connect
from plantprint_collector.facts_store import newest_by_channel
from plantprint_collector.ledger_store import load_net, settled_bounds
from plantprint_collector.readings import ReadingWriter
from plantprint_collector.rows import DAY_MS
from plantprint_collector.site_accountant import SiteAccountant

Conn = Connection[tuple[Any, ...]]
SITE = "mill"
METERS = ("incomer", "m1", "m2", "gas")
CHANNELS = {name: Channel("gw", name, "Nm3" if name == "gas" else "kWh", 3, "counter") for name in METERS}
# As many kWh or Nm3 an hour in the plain course of things.
PACE = {"incomer": 120, "m1": 60, "m2": 36, "gas": 30}


def mill(**changes: Any) -> dict[str, Any]:
    """Grid → bus → u1, u2 and an unmetered rest; gas → u1. Buckets of a minute, hours settle after a quarter at the latest."""
    return {
        "plantprint": 1,
        "site": {**_named(SITE), "timezone": "Asia/Shanghai"},
        "bucket_s": 60,
        "settle_after_s": 900,
        "steps": [_named("wash"), _named("dye")],
        "work_centers": [
            {
                **_named("line"),
                "budget": {"kg_co2e_per_hour": 150, "pending_s": 60, "clear_ratio": 0.9},
                "work_units": [{**_named("u1"), "step": "dye"}, {**_named("u2"), "step": "wash"}],
            }
        ],
        "sources": [
            {**_named("grid"), "unit": "kWh", "kind": "grid", "factor": "cn.grid.2023.zhejiang", "scope": 2},
            {**_named("gas"), "unit": "Nm3", "kind": "fuel", "factor": "cn.fuel.natural_gas", "scope": 1},
        ],
        "meters": [
            {**_named(name), "unit": channel.unit, "bindings": [{"channel": channel.key}]}
            for name, channel in CHANNELS.items()
        ],
        "pools": [{**_named("bus"), "unit": "kWh"}],
        "flows": [
            {"from": "grid", "to": "bus", "amount": "incomer"},
            {"from": "bus", "to": "u1", "amount": "m1"},
            {"from": "bus", "to": "u2", "amount": "m2"},
            {"from": "bus", "to": "unmetered", "amount": "rest"},
            {"from": "gas", "to": "u1", "amount": "gas"},
        ],
        **changes,
    }


def _named(name: str) -> dict[str, Any]:
    return {"id": name, "name": {"en": name}}


def steady(meter: str, from_s: int, to_s: int, every_s: int = 60, per_hour: int | None = None) -> list[Reading]:
    """Readings from `from_s` to `to_s` (both included) after HOUR of a register that is 1000 units at HOUR."""
    pace = PACE[meter] if per_hour is None else per_hour
    return [Reading(HOUR + s * 1000, 1_000_000 + s * pace * 1000 // 3600) for s in range(from_s, to_s + 1, every_s)]


class Rig:
    """`told` holds what was published; the site's time is that of its newest reading unless a clock is given."""

    def __init__(self, dsn: str, site: str = SITE, clock: SiteClock | None = None, **settings: Any) -> None:
        self.dsn, self.site = dsn, site
        self.settings = AccountantSettings(**{"live_ms": 1, **settings})
        self.conn: Conn = connect(dsn, application="test-rig", timeout_s=60)
        self.told: list[tuple[str, bytes]] = []
        self.is_broker_there = True
        self.channel_ids: dict[str, int] = {}
        self._writer = ReadingWriter(staged_s=3600)
        self._passes = 0
        self._registers = {meter: (0, 1_000_000, pace) for meter, pace in PACE.items()}
        self.work = self._working_connection()
        self.accountant = SiteAccountant(site, self.settings, self._publish)
        store.ensure_site(self.conn, site)
        store.set_clock(self.conn, site, clock or SiteClock("data"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.conn.close()
        self.work.close()

    def restart(self) -> None:
        """An accountant that remembers nothing, as after a crash."""
        self.work.close()
        self.work = self._working_connection()
        self.accountant = SiteAccountant(self.site, self.settings, self._publish)

    def _working_connection(self) -> Conn:
        conn = connect(self.dsn, application="test-accountant", timeout_s=60)
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        return conn

    def _publish(self, topic: str, payload: bytes) -> bool:
        if self.is_broker_there:
            self.told.append((topic, payload))
        return self.is_broker_there

    def run(self) -> None:
        """Passes until nothing is left to do."""
        for _ in range(200):
            if not self.run_pass():
                return
        raise AssertionError("the accountant does not come to an end")

    def run_pass(self) -> bool:
        """One; whether more is left to do."""
        self._passes += 1
        return self.accountant.run_pass(self.work, self._passes * 1000)

    def now(self, second: int) -> None:
        """Passes at a second after HOUR of a clock that began there; the first is due for a look."""
        for _ in range(200):
            if not self.accountant.run_pass(self.work, second * 1000):
                return
        raise AssertionError("the accountant does not come to an end")

    def shift(self, meter: str, from_s: int, per_hour: int) -> None:
        """From a second on the meter counts at another pace; `tick` reads it."""
        self._registers[meter] = (from_s, self._register(meter, from_s), per_hour)

    def tick(self, second: int) -> None:
        """A second passes: every meter is read, the accountant looks."""
        self.store({m: [Reading(HOUR + second * 1000, self._register(m, second))] for m in METERS})
        self.now(second)

    def _register(self, meter: str, second: int) -> int:
        since_s, register, per_hour = self._registers[meter]
        return register + (second - since_s) * per_hour * 1000 // 3600

    def factor(self, source: str) -> float:
        """Emission in kg CO2e per unit of a source of the mill."""
        ids = {s["id"]: s["factor"] for s in mill()["sources"]}
        return float(latest(builtin_factors())[ids[source]].value)

    def apply(self, body: dict[str, Any], effective_s: int | None = None) -> None:
        plant = Plant.model_validate(body).model_dump(mode="json", by_alias=True)
        effective_ms = None if effective_s is None else HOUR + effective_s * 1000
        store.apply_plant_model(self.conn, self.site, repr(body), plant, effective_ms)

    def declare(self, *channels: Channel) -> None:
        for c in channels or CHANNELS.values():
            row = self.conn.execute(
                "insert into channel (site, agent, name, unit, decimals, kind, period_s) values (%s, %s, %s, %s, %s, %s, %s) "
                "returning channel_id",
                (self.site, c.agent, c.name, c.unit, c.decimals, c.kind, c.period_s),
            ).fetchone()
            assert row is not None
            self.channel_ids[c.name] = row[0]

    def store(self, readings: Mapping[str, Iterable[Reading]]) -> None:
        """What the intake does in one transaction: readings, marks, latest."""
        rows = [
            (self.channel_ids[name], r.t_ms, r.value, r.quality, r.revision)
            for name, several in readings.items()
            for r in several
        ]
        part = np.array(rows, np.int64).reshape(-1, 5)
        self._writer.ensure_days(self.conn, {int(t) for t in np.unique(part[:, 1] // DAY_MS)})
        with self.conn.transaction():
            self._writer.write(self.conn, [part])

    def steady(self, from_s: int, to_s: int, every_s: int = 60, meters: Sequence[str] = METERS) -> None:
        self.store({meter: steady(meter, from_s, to_s, every_s) for meter in meters})

    def event(self, kind: EventKind, at_s: float, name: str = "", revision: int = 0, /, **body: Any) -> None:
        """An event so many seconds after HOUR; without an id it is named for its contents."""
        name = name or f"{kind}-{'-'.join(str(value) for value in body.values())}"
        event = ProductionEvent("mes", name, revision, kind, HOUR + round(at_s * 1000), body)
        assert store.insert_event(self.conn, self.site, event) == "stored"

    def job(self, name: str, unit: str, start_s: float, end_s: float | None, batch: str = "") -> None:
        self.event("job_start", start_s, f"{name}.start", job=name, batch=batch or f"b-{name}", work_unit=unit)
        if end_s is not None:
            self.event("job_end", end_s, f"{name}.end", job=name)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.conn.execute(sql.encode(), values).fetchall()

    def live(self, kind: str, name: str) -> dict[str, Any]:
        ((body,),) = self.rows("select body from live where site = %s and kind = %s and id = %s", self.site, kind, name)
        assert isinstance(body, dict)
        return body

    def net(self, first: int = -2, last: int = 24) -> Net:
        """The ledger's net of hours `first` to `last` after HOUR."""
        by_hour = load_net(self.conn, self.site, HOUR + first * HOUR_MS, HOUR + last * HOUR_MS)
        return {key: amount for net in by_hour.values() for key, amount in net.items()}

    def amount(self, account: str, source: str, hour: int | None = None, known_at: Any = None) -> int:
        """Millionths on an account (`kind/id`), of one hour after HOUR or all, as known at an instant or now."""
        kind, _, name = account.partition("/")
        ((total,),) = self.rows(
            "select coalesce(sum(amount), 0)::bigint from posting where site = %s and (account_kind, account_id, source) = "
            "(%s, %s, %s) and (%s::timestamptz is null or hour_at = %s) and (%s::timestamptz is null or known_at <= %s)",
            self.site, kind, name, source, *[None if hour is None else from_ms(HOUR + hour * HOUR_MS)] * 2, known_at, known_at,
        )  # fmt: skip
        return int(total)

    def recomputed(self) -> list[HourAccount]:
        """Every settled hour from nothing, in one go."""
        with closing(psycopg.connect(self.dsn)) as conn:
            facts, bounds = load_facts(conn, self.site), settled_bounds(conn, self.site)
            assert facts is not None
            assert bounds is not None
            now_ms = max(newest_by_channel(conn, self.site).values())
            hours = range(bounds[0], bounds[1] + 1, HOUR_MS)
            return list(account_hours(conn, facts, hours, EMPTY_CARRY, now_ms))

    def audit(self) -> SiteAudit:
        return audit_site(self.conn, self.site)

    def assert_clean(self) -> None:
        audit = self.audit()
        assert not audit.findings, [str(finding) for finding in audit.findings[:5]]
        assert audit.pending_marks == 0


def zero(reading: Reading) -> Reading:
    """What a device says that cannot read."""
    return Reading(reading.t_ms, 0, reading.quality)


def withdrawn(reading: Reading) -> Reading:
    return Reading(reading.t_ms, reading.value, Quality.MISSING, reading.revision + 1)
