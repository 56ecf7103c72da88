"""A small dye house in a database as the accountant leaves it, and the api served from it, for the api's tests."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import uvicorn
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from plantprint.factors import builtin_factors, latest
from plantprint.footprint import footprint
from plantprint.ledger import Net, PostingKey
from plantprint.lots import Facts
from plantprint.plant.model import Plant
from plantprint.product import Reach, product_footprint
from plantprint.product_lines import Valuing, background
from plantprint.production import Batch, Shipment
from plantprint.quantities import micro
from plantprint.statement import build_statement
from plantprint.times import HOUR_MS, format_instant, from_ms, parse_instant
from plantprint_api.app import Server, bind, create_app
from plantprint_api.config import ApiSettings

SITE = "dyehouse"
NOW_MS = parse_instant("2026-11-24T08:30:00Z")
STEPS = {
    "desizing": ("Desizing", "退浆"),
    "scouring-bleaching": ("Scouring and bleaching", "煮漂"),
    "dyeing": ("Dyeing", "染色"),
    "stentering": ("Stentering", "定形"),
}
SOURCES = {
    "grid": ("Grid electricity", "电网电力", "kWh", "grid", "cn.grid.2023.zhejiang", 2),
    "gas": ("Natural gas", "天然气", "Nm3", "fuel", "cn.fuel.natural_gas", 1),
    "stack-co2": ("Measured stack CO2", "实测烟气二氧化碳", "kg", "direct", "direct.co2", 1),
}
UNITS = {"desize": "desizing", "bleach": "scouring-bleaching", "dye": "dyeing", "stenter": "stentering"}
RATES = {"desize": 120.0, "bleach": 810.0, "dye": 1460.0, "stenter": 690.0}
CUSTOMERS = {"S-101": "杭州锦绣服饰", "S-102": "Nordlys Apparel"}
Body = dict[str, Any]


def plant(site: str = SITE) -> Plant:
    """Three lines of four work units, three sources; meters only as far as a model needs them."""
    return Plant.model_validate(
        {
            "plantprint": 1,
            "site": {"id": site, "name": {"en": "Dye house", "zh": "印染厂"}, "timezone": "Asia/Shanghai"},
            "bucket_s": 10,
            "steps": [{"id": step, "name": {"en": en, "zh": zh}} for step, (en, zh) in STEPS.items()],
            "work_centers": [_line(n) for n in (1, 2, 3)],
            "sources": [
                {"id": i, "name": {"en": en, "zh": zh}, "unit": u, "kind": kind, "factor": factor, "scope": scope}
                for i, (en, zh, u, kind, factor, scope) in SOURCES.items()
            ],
            "meters": [{"id": "m1", "name": {"en": "M1"}, "unit": "kWh", "bindings": [{"channel": "gw-1/m1"}]}],
            "flows": [{"from": "grid", "to": "l1-dye", "amount": "m1"}],
        }
    )


def _line(n: int) -> Body:
    units = [
        {"id": f"l{n}-{u}", "name": {"en": f"{STEPS[s][0]} {n}", "zh": f"{n}号{STEPS[s][1]}机"}, "step": s}
        for u, s in UNITS.items()
    ]
    name = {"en": f"Line {n}", "zh": f"{n}号线"}
    return {"id": f"line-{n}", "name": name, "budget": {"kg_co2e_per_hour": 3500}, "work_units": units}


def insert_site(conn: psycopg.Connection[Any], site: str = SITE) -> None:
    """The site with its model; its clock stands at NOW_MS, so that pictures and answers are the same every time."""
    model = plant(site)
    clock = {"kind": "run", "wall_origin_ms": 0, "site_origin_ms": NOW_MS, "speed": 0}
    name = Jsonb(model.site.name.model_dump())
    conn.execute("insert into site (site, name, clock) values (%s, %s, %s)", (site, name, Jsonb(clock)))
    conn.execute(
        "insert into plant_model (site, version, body, yaml) values (%s, 1, %s, '')",
        (site, Jsonb(model.model_dump(mode="json", by_alias=True))),
    )


def write_live(conn: psycopg.Connection[Any], kind: str, name: str, body: Body, site: str = SITE) -> None:
    """What the accountant does: one row anew and a NOTIFY, in the caller's transaction."""
    conn.execute(
        "insert into live (site, kind, id, body, updated_at) values (%s, %s, %s, %s, clock_timestamp())"
        " on conflict (site, kind, id) do update set body = excluded.body, updated_at = excluded.updated_at",
        (site, kind, name, Jsonb(body)),
    )
    conn.execute("select pg_notify('plantprint_live', %s)", (site,))


def _text(value: float) -> str:
    return f"{value:.4f}"


def unit_rate(n: int, unit: str, wave: float = 0.0) -> float:
    return RATES[unit] * (0.82 + 0.16 * n) * (1 + 0.06 * math.sin(wave + n + len(unit)))


def line_body(n: int, wave: float = 0.0, status: str = "live") -> Body:
    """The live row of line n; `wave` moves its rates a little. Line 2's dyeing has no data when status is missing."""
    rates = {u: unit_rate(n, u, wave) for u in UNITS}
    if status == "missing":
        rates.pop("dye")
    total = sum(rates.values())
    units = [
        {
            "work_unit": f"l{n}-{u}",
            "step": s,
            "rate_kg_co2e_per_hour": _text(rates[u]) if u in rates else None,
            "status": "live" if u in rates else "missing",
            "data_age_s": 0.8 if u in rates else 95.0,
            "batches": [f"B-{n}{k:02d}"] if (k := list(UNITS).index(u) * 3 + n) % 4 else [],
        }
        for u, s in UNITS.items()
    ]
    return {
        "at": format_instant(NOW_MS),
        "rate_kg_co2e_per_hour": _text(total),
        "status": status,
        "data_age_s": 0.8,
        "by_step": {s: _text(rates[u]) for u, s in UNITS.items() if u in rates},
        "by_source": {"grid": _text(total * 0.42), "gas": _text(total * 0.5), "stack-co2": _text(total * 0.08)},
        "work_units": units,
        "budget": {"limit": "3500", "state": "firing" if total > 3500 else "ok", "since": format_instant(NOW_MS)},
    }


def plant_body(wave: float = 0.0, **changes: Any) -> Body:
    lines = {n: line_body(n, wave) for n in (1, 2, 3)}
    total = sum(Decimal(body["rate_kg_co2e_per_hour"]) for body in lines.values())
    by_step = {s: str(sum(Decimal(b["by_step"][s]) for b in lines.values())) for s in STEPS}
    by_source = {s: str(sum(Decimal(b["by_source"][s]) for b in lines.values())) for s in SOURCES}
    return {
        "at": format_instant(NOW_MS),
        "rate_kg_co2e_per_hour": str(total),
        "status": "live",
        "data_age_s": 0.8,
        "quality": {"measured": 0.961, "recovered": 0.022, "estimated": 0.012, "missing": 0.005},
        "by_step": by_step,
        "by_source": by_source,
        "today_kg_co2e": _text(81_234.5 + wave),
        "meters": {"total": 34, "missing": 1, "missing_ids": ["steam-l2-dye"]},
        "agents": [
            {"agent": "gw-1", "online": True, "age_s": 0.4, "outbox_chunks": 0},
            {"agent": "gw-2", "online": False, "age_s": 412.0, "outbox_chunks": 18},
        ],
        "issues_open": 2,
        "alerts": [
            {
                "work_center": "line-3",
                "state": "firing",
                "rate": lines[3]["rate_kg_co2e_per_hour"],
                "limit": "3500",
                "since": format_instant(NOW_MS - 240_000),
            }
        ],
        "clock": {"kind": "run", "speed": 1},
        **changes,
    }


def batch_body(batch: str, kg: float, **changes: Any) -> Body:
    grid_kg, gas_kg = kg * 0.45, kg * 0.55
    return {
        "at": format_instant(NOW_MS),
        "batch": batch,
        "product": "cotton poplin, navy",
        "status": "running",
        "partial_footprint_kg_co2e": _text(kg),
        "by_step": {
            "desizing": _text(kg * 0.06),
            "scouring-bleaching": _text(kg * 0.31),
            "dyeing": _text(kg * 0.63),
        },
        "by_source": {
            "grid": {"amount": _text(grid_kg / 0.4974), "unit": "kWh", "kg_co2e": _text(grid_kg)},
            "gas": {"amount": _text(gas_kg / 2.16219), "unit": "Nm3", "kg_co2e": _text(gas_kg)},
        },
        "quality": {"measured": 0.97, "recovered": 0.03, "estimated": 0.0, "missing": 0.0},
        "data_age_s": 0.8,
        "started_at": format_instant(NOW_MS - 3 * HOUR_MS),
        "work_units": ["l1-dye"],
        "quantity": "1200",
        "unit": "kg",
        "incomplete": False,
        **changes,
    }


def trend_body(points: int = 360, gap: range = range(150, 186), end_ms: int = NOW_MS) -> Body:
    """The last hour in 10 s buckets, with a stretch in which nothing is known."""
    at_ms = [end_ms - (points - i) * 10_000 for i in range(points)]
    series: dict[str, list[float | None]] = {}
    for k, (unit, step) in enumerate(UNITS.items()):
        base = sum(unit_rate(n, unit) for n in (1, 2, 3))
        values = [base * (1 + 0.1 * math.sin(i / 37 + k) + 0.03 * math.sin(i / 5 + 2 * k)) for i in range(points)]
        if unit == "dye":
            values = [v * (1.25 if 250 < i < 310 else 1.0) for i, v in enumerate(values)]
        series[step] = [None if i in gap else round(v, 3) for i, v in enumerate(values)]
    return {
        "bucket_s": 10,
        "start_at": format_instant(at_ms[0]),
        "steps": list(STEPS),
        "at_ms": at_ms,
        "rate_kg_co2e_per_hour": series,
        "missing": [1 if i in gap or 330 <= i < 342 else 0 for i in range(points)],
    }


def net_of(batch: str, scale: int = 1) -> Net:
    """Two settled hours of a batch, with some idle and some recovered amounts."""
    net: Net = {}
    hour = NOW_MS - NOW_MS % HOUR_MS - 6 * HOUR_MS
    for h in range(2):
        at = hour + h * HOUR_MS
        for unit, step, grid, gas in (("dye", "dyeing", 620, 210), ("bleach", "scouring-bleaching", 240, 120)):
            net[PostingKey(at, "batch", batch, f"l1-{unit}", step, "grid", at, 3)] = micro(grid * scale) + 123_457
            net[PostingKey(at, "batch", batch, f"l1-{unit}", step, "gas", at, 2 if h else 3)] = micro(gas * scale) + 7
    return net


def insert_net(conn: psycopg.Connection[Any], net: Net, site: str = SITE) -> None:
    for key, amount in net.items():
        conn.execute(
            "insert into posting (site, hour_at, account_kind, account_id, work_unit, step, source, entered_at,"
            " quality, portion, amount, cause, known_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'settled', now())",
            (site, from_ms(key.hour_ms), *key[1:6], from_ms(key.entered_ms), key.quality, key.portion, amount),
        )


def insert_batch(conn: psycopg.Connection[Any], batch: str, status: str, started_ms: int, site: str = SITE) -> None:
    ended = None if status in {"running", "planned"} else from_ms(started_ms) + timedelta(hours=4)
    conn.execute(
        "insert into batch (site, batch, product, quantity, unit, status, started_at, ended_at)"
        " values (%s, %s, 'cotton poplin, navy', 1200, 'kg', %s, %s, %s)",
        (site, batch, status, from_ms(started_ms), ended),
    )


def ship(conn: psycopg.Connection[Any], shipment: str, batch: str, at_ms: int, *, issue: bool = True) -> None:
    """The shipment's event, and its statement as the collector would issue it."""
    body = {"shipment": shipment, "batch": batch, "quantity": "1200", "customer": CUSTOMERS.get(shipment)}
    conn.execute(
        "insert into production_event (site, source, event_id, revision, kind, at, body)"
        " values (%s, 'mes', %s, 0, 'shipment', %s, %s)",
        (SITE, f"ship-{shipment}-{batch}", from_ms(at_ms), Jsonb(body)),
    )
    if issue:
        issue_statement(conn, shipment, batch, at_ms)


def issue_statement(conn: psycopg.Connection[Any], shipment: str, batch: str, at_ms: int) -> None:
    net = net_of(batch)
    customer = CUSTOMERS.get(shipment) or ""
    valuing = Valuing(plant(), latest(builtin_factors()))
    statement = build_statement(
        site=SITE,
        shipment=Shipment(shipment, batch, at_ms, micro(1200), customer, "mes", f"ship-{shipment}-{batch}"),
        batch=Batch(batch, "cotton poplin, navy", micro(1200), "kg", None),
        footprint=footprint(net, plant().sources, latest(builtin_factors()), micro(1200), "kg"),
        product=product_footprint(batch, Reach({batch: net}, Facts(), {}), valuing, background(valuing, at_ms), at_ms),
        period=(at_ms - 2 * HOUR_MS, at_ms),
        net=net,
        status="provisional",
        missing_ms=0,
        plant_model_version=1,
        known_at_ms=at_ms,
    )
    conn.execute(
        "insert into statement (site, shipment, batch, body, body_hash) values (%s, %s, %s, %s, %s)",
        (SITE, shipment, batch, statement.body.decode(), statement.body_hash),
    )


def seed(url: str) -> None:
    """Everything that the pages can show."""
    with psycopg.connect(url) as conn:
        insert_site(conn)
        write_live(conn, "plant", SITE, plant_body())
        write_live(conn, "work_center", "line-1", line_body(1))
        write_live(
            conn, "work_center", "line-2", line_body(2, status="missing") | {"status": "late", "data_age_s": 14.0}
        )
        write_live(conn, "work_center", "line-3", line_body(3))
        write_live(conn, "trend", SITE, trend_body())
        for index, (batch, kg) in enumerate([("B-103", 4218.377), ("B-204", 2960.114), ("B-307", 811.92)]):
            started_ms = NOW_MS - (3 - index) * HOUR_MS
            insert_batch(conn, batch, "running", started_ms)
            changes = {"started_at": format_instant(started_ms), "incomplete": batch == "B-204"}
            write_live(conn, "batch", batch, batch_body(batch, kg, **changes))
        for batch, status in (("B-100", "shipped"), ("B-101", "shipped"), ("B-102", "finished")):
            insert_batch(conn, batch, status, NOW_MS - 7 * HOUR_MS)
            insert_net(conn, net_of(batch))
        insert_batch(conn, "B-400", "planned", NOW_MS + HOUR_MS)
        ship(conn, "S-101", "B-100", NOW_MS - 2 * HOUR_MS)
        ship(conn, "S-102", "B-101", NOW_MS - HOUR_MS)
        ship(conn, "S-103", "B-102", NOW_MS - 600_000, issue=False)
        _insert_issues(conn)
        conn.execute(
            "insert into alert (site, work_center, state, limit_kg_co2e_per_hour, rate_kg_co2e_per_hour, pending_at,"
            " firing_at) values (%s, 'line-3', 'firing', 3500, 4017.25, %s, %s)",
            (SITE, from_ms(NOW_MS - 300_000), from_ms(NOW_MS - 240_000)),
        )


def _insert_issues(conn: psycopg.Connection[Any]) -> None:
    for code, place, message, remedy, at_ms in (
        (
            "job-end-without-start",
            "event mes/J-88",
            "job J-88 ended but never started",
            "send its start",
            NOW_MS - 900_000,
        ),
        (
            "meter-silent",
            "meter steam-l2-dye",
            "no reading for 95 s",
            "look at the meter and its line",
            NOW_MS - 95_000,
        ),
    ):
        conn.execute(
            "insert into issue (site, code, place, message, remedy, at) values (%s, %s, %s, %s, %s, %s)",
            (SITE, code, place, message, remedy, from_ms(at_ms)),
        )


def settings(url: str, **changes: Any) -> ApiSettings:
    """Settings for a test: a free port, short waits."""
    values: Body = {"http_port": 0, "http_shipment_wait_s": 0.3, "live_reread_s": 0.3, "http_shutdown_s": 2, **changes}
    return ApiSettings(database_url=SecretStr(url), **values)


@contextlib.asynccontextmanager
async def served(config: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the api, which is served on a loopback port by the server that `serve` uses."""
    app = create_app(config)
    with bind(config) as listener:
        server = Server(
            uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=config.http_shutdown_s),
            app.state.context,
        )
        running = asyncio.create_task(server.serve(sockets=[listener]), name="api under test")
        try:
            port = listener.getsockname()[1]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
                while not server.started:
                    assert not running.done()
                    await asyncio.sleep(0.01)
                yield client
        finally:
            server.should_exit = True
            await running
