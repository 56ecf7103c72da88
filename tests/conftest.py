"""Fixtures that every kind of test shares: a fresh migrated database, a broker, and the account of what was skipped."""

import contextlib
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import servers
import structlog
from auditing import MARKER, audit_what_is_left
from browser_rig import browser, chromium  # noqa: F401 - fixtures
from fixtures_timescale import timescale  # noqa: F401 - timescale is a fixture
from hypothesis import settings

from plantprint_cli.embedded import Instance, temporary_instance
from plantprint_collector.migrate import migrate, recorded_tier

# As in `configure_logging`: what the product logs in this process is shown without local variables.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
# A busy machine may take long over an example once; that says nothing of the example.
settings.register_profile("plantprint", deadline=None)
settings.load_profile("plantprint")
_TIERS = pytest.StashKey[Counter[str]]()
# TimescaleDB itself stays: a session that dropped it cannot create it again, and this server has one session.
_DROP_OURS = """
do $$ declare name text; begin
    for name in select oid::regclass from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
        and oid not in (select objid from pg_depend where deptype = 'e')
    loop execute 'drop table if exists ' || name || ' cascade'; end loop;
    for name in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
        and oid not in (select objid from pg_depend where deptype = 'e')
    loop execute 'drop function ' || name || ' cascade'; end loop;
end $$
"""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Commands silence or colour the log of their process for good; no test is to notice that another ran one."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """One folder for the servers of the run."""
    with temporary_instance() as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_server(instance: Instance) -> Iterator[str]:
    """DSN of a server where databases may be created: by PLANTPRINT_TEST_…_URL, Debian's or the embedded one."""
    with servers.postgres(instance) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def _template(postgres_server: str) -> Iterator[str]:
    """Name of a migrated database that others are copied from: a tenth of the time of migrating each."""
    with _database(postgres_server) as dsn:
        tier = migrate(dsn).tier
        if tier == "native" and servers.full_timescale():
            pytest.fail("PLANTPRINT_TEST_TIMESCALE_URL: that server has no TimescaleDB in its shared_preload_libraries")
        if tier != "native":
            _close(postgres_server, _name(dsn))
        yield _name(dsn)


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """A database without anything in it, for tests of the migrations themselves."""
    with _database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
def database_url(request: pytest.FixtureRequest, postgres_server: str, _template: str) -> Iterator[str]:
    """A migrated database of the test's own; what the test leaves in it is audited."""
    with _database(postgres_server, _template) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("update meta set value = gen_random_uuid()::text where key = 'store_id'")
        _count_tier(request, dsn)
        yield dsn
        audit_what_is_left(request, dsn)


@pytest.fixture
def timescale_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated TimescaleDB with the columnstore: the whole server where one is given, else the WASM build, emptied.

    The latter has one session underneath, so one connection works at a time.
    """
    if servers.full_timescale():
        dsn: str = request.getfixturevalue("database_url")
        with psycopg.connect(dsn) as conn:
            if recorded_tier(conn) != "tsl":
                pytest.skip("this TimescaleDB is the Apache edition, which has no columnstore")
        yield dsn
        return
    wasm: str = request.getfixturevalue("timescale").dsn
    with psycopg.connect(wasm, autocommit=True) as conn:
        conn.execute(_DROP_OURS)
    migrate(wasm)
    _count_tier(request, wasm)
    yield wasm
    audit_what_is_left(request, wasm)


@pytest.fixture(scope="module")
def broker_url(instance: Instance) -> Iterator[str]:
    """mqtt://127.0.0.1:PORT; use site names of your own (`site` fixture), tests of a module share it and what it retains."""
    with servers.broker(instance) as url:
        yield url


@pytest.fixture
def site() -> str:
    """A site nobody else uses."""
    return f"site-{uuid.uuid4().hex[:12]}"


@contextlib.contextmanager
def _database(server: str, template: str = "template0") -> Iterator[str]:
    """A database for a block, dropped afterwards whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f'create database "{name}" template "{template}"')
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server, autocommit=True) as conn:
            conn.execute(f'drop database if exists "{name}" with (force)')


def _close(server: str, name: str) -> None:
    """Ends every session of a database for good: TimescaleDB's scheduler is one, and what has one cannot be copied."""
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f'alter database "{name}" allow_connections false')
        conn.execute("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s", (name,))


def _name(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


# ---- the account of the run: what was skipped and why, and how many tests used which tier


def _count_tier(request: pytest.FixtureRequest, dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        row = conn.execute("select value from meta where key = 'tier'").fetchone()
    assert row is not None
    request.config.stash.setdefault(_TIERS, Counter())[row[0]] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A parallel worker hands its counts to the run that started it."""
    handed = getattr(session.config, "workeroutput", None)
    if handed is not None:
        counts: Counter[str] = session.config.stash.get(_TIERS, Counter())
        handed["tiers"] = dict(counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash.setdefault(_TIERS, Counter()).update(getattr(node, "workeroutput", {}).get("tiers", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.section("skipped here")
        for reason, number in skipped.most_common():
            terminalreporter.line(f"{number:5d}  {reason}")
    for done in (one for several in terminalreporter.stats.values() for one in several):
        if getattr(done, "when", "") == "call":
            for text in (text for name, text in done.user_properties if name == "report"):
                terminalreporter.line(f"{done.nodeid}: {text}")
    tiers = config.stash.get(_TIERS, Counter())
    if tiers:
        terminalreporter.line("tests by database tier: " + ", ".join(f"{t} {n}" for t, n in sorted(tiers.items())))
    report = os.environ.get("PLANTPRINT_TEST_TIER_REPORT")
    if report and not hasattr(config, "workerinput"):
        before = Counter(json.loads(Path(report).read_text(encoding="utf-8"))) if Path(report).exists() else Counter()
        Path(report).write_text(json.dumps(dict(sorted((before + tiers).items()))) + "\n", encoding="utf-8")


def _reason(report: pytest.TestReport) -> str:
    return (
        str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "no reason given"
    )
