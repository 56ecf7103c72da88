"""Every query of the Grafana boards on a real database with seeded rows, sent as Grafana's read-only role."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from plantprint.factors import builtin_factors, latest
from plantprint.footprint import footprint
from plantprint.ledger import PostingKey
from plantprint.plant.model import Plant
from plantprint.quantities import EMISSION_SCALE, decimal_text, micro
from plantprint.times import to_ms
from plantprint_dashboards import Query, queries
from plantprint_dashboards.macros import expand
from plantprint_dashboards.provisioning import STATEMENT_TIMEOUT_S, reader_sql

pytestmark = pytest.mark.integration

Conn = psycopg.Connection[tuple[Any, ...]]
SITE, OTHER = "dye'house", "elsewhere"
FACTORS = ("cn.grid.2023.zhejiang", "cn.fuel.natural_gas")
HOUR = datetime(2026, 3, 2, 8, tzinfo=UTC)  # 16:00 of the site
AT = HOUR + timedelta(hours=2, minutes=30)
# (hour, kind and id of the account, work unit, step, source, amount)
POSTINGS: list[tuple[datetime, str, str, str, str, str, str]] = [
    (HOUR, "batch", "B-1", "l1-dye", "dyeing", "grid", "100.5"),
    (HOUR, "batch", "B-1", "l1-dye", "dyeing", "gas", "10.25"),
    (HOUR, "idle", "line-2", "l2-dye", "dyeing", "grid", "7"),
    (HOUR, "losses", "steam", "", "", "gas", "3"),
    (HOUR, "export", "bus", "", "", "grid", "1000"),
    (HOUR, "stock", "steam", "", "", "gas", "-5"),
    (HOUR + timedelta(hours=1), "batch", "B-2", "l2-dye", "dyeing", "grid", "50"),
]


def _line(number: int, budget: str | None) -> dict[str, Any]:
    unit = {"id": f"l{number}-dye", "name": {"en": f"Dye {number}"}, "step": "dyeing"}
    line: dict[str, Any] = {"id": f"line-{number}", "name": {"en": f"Line {number}"}, "work_units": [unit]}
    return line | ({"budget": {"kg_co2e_per_hour": budget}} if budget else {})


def _plant(site: str, gas_factor: str = "cn.fuel.natural_gas", second_budget: str | None = "40") -> Plant:
    grid = {"id": "grid", "name": {"en": "Grid"}, "unit": "kWh", "kind": "grid", "scope": 2}
    gas = {"id": "gas", "name": {"en": "Natural gas"}, "unit": "Nm3", "kind": "fuel", "scope": 1}
    return Plant.model_validate(
        {
            "plantprint": 1,
            "site": {"id": "dyehouse", "name": {"en": site.title()}, "timezone": "Asia/Shanghai"},
            "steps": [{"id": "dyeing", "name": {"en": "Dyeing"}}],
            "work_centers": [_line(1, "60"), _line(2, second_budget)],
            "sources": [grid | {"factor": "cn.grid.2023.zhejiang"}, gas | {"factor": gas_factor}],
            "meters": [
                {"id": "m1", "name": {"en": "M1"}, "unit": "kWh", "bindings": [{"channel": "gw-1/m1"}]},
            ],
            "flows": [{"from": "grid", "to": "l1-dye", "amount": "m1"}],
        }
    )


def _store_model(conn: Conn, site: str, plant: Plant) -> None:
    conn.execute(
        "insert into plant_model (site, version, body, yaml) "
        "select %(site)s, coalesce(max(version), 0) + 1, %(body)s, '' from plant_model where site = %(site)s",
        {"site": site, "body": Jsonb(plant.model_dump(mode="json", by_alias=True))},
    )


def _seed_site(conn: Conn, site: str) -> None:
    conn.execute("insert into site (site) values (%s)", (site,))
    _store_model(conn, site, _plant(site))
    line = {"rate_kg_co2e_per_hour": "30", "status": "live", "by_step": {"dyeing": "30"}}
    plant = {
        "at": AT.isoformat(),
        "rate_kg_co2e_per_hour": "61.5",
        "status": "live",
        "data_age_s": 0.8,
        "quality": {"measured": 0.9, "estimated": 0.04, "recovered": 0.05, "missing": 0.01},
        "by_step": {"dyeing": "61.5"},
        "today_kg_co2e": "925",
    }
    for kind, name, body in [
        ("plant", "plant", plant),
        ("work_center", "line-1", line | {"budget": {"limit": "60", "state": "ok"}}),
        ("work_center", "line-2", line | {"budget": {"limit": "20", "state": "firing"}}),
        ("batch", "B-2", {"batch": "B-2", "status": "provisional", "partial_footprint_kg_co2e": "24.87"}),
    ]:
        conn.execute("insert into live values (%s, %s, %s, %s, now())", (site, kind, name, Jsonb(body)))
    conn.execute(
        "insert into batch values"
        " (%(s)s, 'B-1', 'towel', 100, 'kg', 'finished', %(h)s, %(h)s + interval '1 hour', '{}'),"
        " (%(s)s, 'B-2', 'towel', 50, 'kg', 'running', %(h)s + interval '1 hour', null, '{}')",
        {"s": site, "h": HOUR},
    )
    conn.execute(
        "insert into alert"
        " (site, work_center, state, limit_kg_co2e_per_hour, rate_kg_co2e_per_hour, pending_at, firing_at)"
        " values (%(s)s, 'line-2', 'firing', 20, 30, %(h)s, %(h)s + interval '30 seconds')",
        {"s": site, "h": HOUR},
    )
    for hour_at, *names, amount in POSTINGS:
        conn.execute(
            "insert into posting (site, hour_at, account_kind, account_id, work_unit, step, source, entered_at,"
            " quality, amount, cause, known_at) values (%s, %s, %s, %s, %s, %s, %s, %s, 3, %s, 'settled', now())",
            (site, hour_at, *names, hour_at, micro(amount)),
        )


@pytest.fixture
def conn(database_url: str) -> Iterator[Conn]:
    """A transaction in which two like sites and their factors are stored; it is taken back at the end."""
    with psycopg.connect(database_url) as opened:
        for factor in latest(builtin_factors()).values():
            if factor.factor_id in FACTORS:
                body = Jsonb(factor.to_json())
                opened.execute("insert into factor values (%s, %s, %s)", (factor.factor_id, factor.version, body))
        for site in (SITE, OTHER):
            _seed_site(opened, site)
        yield opened
        opened.rollback()


@pytest.fixture
def reader(conn: Conn) -> str:
    """The role that Grafana uses, made by the shipped SQL under a name of its own; it goes with the transaction."""
    role = f"reader_{secrets.token_hex(4)}"
    for _ in range(2):  # again after a migration
        conn.execute(reader_sql(role))
    return role


def ask(conn: Conn, query: Query, *, site: str = SITE, lines: list[str] | None = None) -> list[dict[str, Any]]:
    start_ms, end_ms = to_ms(HOUR - timedelta(hours=1)), to_ms(HOUR + timedelta(hours=3))
    cursor = conn.execute(expand(query.sql, start_ms, end_ms, {"site": [site], "line": lines}).encode())
    assert cursor.description is not None
    assert tuple(column.name for column in cursor.description) == query.columns
    return [dict(zip(query.columns, row, strict=True)) for row in cursor.fetchall()]


def named(name: str) -> Query:
    return next(query for query in queries() if query.name == name)


def test_every_query_runs_as_the_reader_and_returns_rows(conn: Conn, reader: str) -> None:
    conn.execute(f"set local role {reader}")
    for query in queries():
        rows = ask(conn, query)
        assert rows, query.name
        assert not any(value is None for row in rows for value in row.values()), query.name
        if query.shape == "time_series":
            assert {tuple(map(type, row.values())) for row in rows} == {(datetime, str, float)}, query.name
            assert [row["time"] for row in rows] == sorted(row["time"] for row in rows), query.name
        elif query.columns[0] == "time":
            assert all(row["time"] <= row["timeend"] for row in rows), query.name


def test_every_query_shows_one_site_only(conn: Conn) -> None:
    of_a_site = [query for query in queries() if query.name != "sites"]
    before = {query.name: ask(conn, query) for query in of_a_site}
    for table in ("live", "batch", "alert", "plant_model"):
        conn.execute(f"delete from {table} where site = %s", (OTHER,))
    assert {query.name: ask(conn, query) for query in of_a_site} == before
    for query in of_a_site:
        assert ask(conn, query, site="nowhere") in ([], [{"share": None}]), query.name


def test_first_row_figures(conn: Conn) -> None:
    assert ask(conn, named("rate_now")) == [{"rate": 61.5}]
    assert ask(conn, named("today")) == [{"today": 925.0}]
    # 18:30 at the site, two lines of 60 and 40 kg/h: 925 of 1850.
    assert ask(conn, named("today_of_budget")) == [{"used": 0.5}]
    assert ask(conn, named("grid_intensity")) == [{"source": "Grid", "intensity": 497.4}]
    assert ask(conn, named("not_measured"))[0]["share"] == pytest.approx(0.1)
    assert 0.8 <= ask(conn, named("data_age"))[0]["age_s"] < 120


def test_the_age_of_data_grows_when_the_accountant_stops(conn: Conn) -> None:
    conn.execute("update live set updated_at = now() - interval '5 minutes' where kind = 'plant'")
    assert ask(conn, named("data_age"))[0]["age_s"] >= 300


def test_a_rate_that_is_unknown_stays_unknown(conn: Conn) -> None:
    conn.execute("""update live set body = body || '{"rate_kg_co2e_per_hour": null}'""")
    assert ask(conn, named("rate_now")) == [{"rate": None}]
    assert [row["used"] for row in ask(conn, named("line_of_budget"))] == [None, None]


def test_lines_are_shown_against_their_own_budget(conn: Conn) -> None:
    assert ask(conn, named("line_of_budget")) == [{"line": "Line 1", "used": 0.5}, {"line": "Line 2", "used": 1.5}]
    assert ask(conn, named("line_of_budget"), lines=["line-2"]) == [{"line": "Line 2", "used": 1.5}]


def test_emission_by_line_leaves_out_what_is_exported_or_kept(conn: Conn) -> None:
    grid, gas = 0.4974, 2.16219
    found = {(row["time"], row["metric"]): row["rate"] for row in ask(conn, named("emission_by_line"))}
    assert found == {
        (HOUR, "Line 1"): pytest.approx(100.5 * grid + 10.25 * gas),
        (HOUR, "Line 2"): pytest.approx(7 * grid),
        (HOUR, "not on a line"): pytest.approx(3 * gas),
        (HOUR + timedelta(hours=1), "Line 2"): pytest.approx(50 * grid),
    }
    of_one = ask(conn, named("emission_by_line"), lines=["line-1"])
    assert [row["metric"] for row in of_one] == ["Line 1"]


def test_the_budget_line_follows_the_chosen_lines(conn: Conn) -> None:
    assert {row["budget"] for row in ask(conn, named("budget_of_lines"))} == {100.0}
    assert {row["budget"] for row in ask(conn, named("budget_of_lines"), lines=["line-2"])} == {40.0}
    assert len(ask(conn, named("budget_of_lines"))) == 5


def test_sql_and_core_agree_on_the_emission_of_a_batch(conn: Conn) -> None:
    net = {
        PostingKey(to_ms(at), kind, account, unit, step, source, to_ms(at), 3): micro(amount)
        for at, kind, account, unit, step, source, amount in POSTINGS
        if account == "B-1"
    }
    result = footprint(net, _plant(SITE).sources, latest(builtin_factors()), None, "")
    rows = conn.execute(
        "select sum(kg_co2e) from report_emission_hour where site = %s and account_id = 'B-1'", (SITE,)
    ).fetchall()
    assert decimal_text(result.emission, EMISSION_SCALE) == f"{rows[0][0].normalize():f}"


def test_the_newest_model_and_factor_count(conn: Conn) -> None:
    _store_model(conn, SITE, _plant(SITE, second_budget=None))
    conn.execute(
        "insert into factor select factor_id, version + 1, jsonb_set(body, '{value}', '\"0.5\"') from factor "
        "where factor_id = 'cn.grid.2023.zhejiang'"
    )
    assert ask(conn, named("grid_intensity")) == [{"source": "Grid", "intensity": 500.0}]
    assert {row["budget"] for row in ask(conn, named("budget_of_lines"))} == {None}
    assert ask(conn, named("today_of_budget")) == [{"used": None}]


@pytest.mark.parametrize("factor", ["no.such.factor", "cn.grid.2023.zhejiang"], ids=["missing", "in another unit"])
def test_without_a_fitting_factor_an_hour_is_unknown_and_not_too_low(conn: Conn, factor: str) -> None:
    _store_model(conn, SITE, _plant(SITE, gas_factor=factor))
    found = {(row["time"], row["metric"]): row["rate"] for row in ask(conn, named("emission_by_line"))}
    assert found[HOUR, "Line 1"] is None
    assert found[HOUR, "not on a line"] is None
    assert found[HOUR, "Line 2"] is not None
    assert [row["factor_value"] for row in ask(conn, named("factors"))] == [None, 0.4974]


def test_running_batches_show_their_footprint_so_far(conn: Conn) -> None:
    (row,) = ask(conn, named("running_batches"))
    assert (row["batch"], row["status"], row["partial_footprint"]) == ("B-2", "provisional", 24.87)
    assert row["per_unit"] == pytest.approx(24.87 / 50)
    conn.execute("delete from live where kind = 'batch'")
    (row,) = ask(conn, named("running_batches"))
    assert (row["status"], row["partial_footprint"]) == ("running", None)


def test_marks_under_way_reach_to_the_right_edge(conn: Conn) -> None:
    end = HOUR + timedelta(hours=3)
    assert [row["timeend"] for row in ask(conn, named("batches_mark"))] == [HOUR + timedelta(hours=1), end]
    assert [row["text"] for row in ask(conn, named("batches_mark"))] == ["B-1 towel", "B-2 towel (running)"]
    (breach,) = ask(conn, named("breaches_mark"))
    assert (breach["timeend"], breach["text"]) == (end, "line-2: 30 of 20 kgCO2e/h")
    assert ask(conn, named("breaches_mark"), lines=["line-1"]) == []


def test_the_reader_may_read_report_views_and_nothing_else(conn: Conn, reader: str) -> None:
    tables = conn.execute(
        "select c.relname, has_table_privilege(%(role)s, c.oid, 'select'), "
        "has_table_privilege(%(role)s, c.oid, 'insert, update, delete, truncate') "
        "from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')",
        {"role": reader},
    ).fetchall()
    assert {name for name, may_read, _ in tables if may_read} == {n for n, *_ in tables if n.startswith("report_")}
    assert not any(may_write for *_, may_write in tables)
    settings = conn.execute("select rolconfig, rolsuper from pg_roles where rolname = %s", (reader,)).fetchone()
    assert settings is not None
    assert f"statement_timeout={STATEMENT_TIMEOUT_S}s" in settings[0]
    assert "default_transaction_read_only=on" in settings[0]
    assert settings[1] is False
