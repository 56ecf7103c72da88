"""Numbered SQL migrations, and which of the three database tiers (native, apache, tsl) a database is made for.

A file `NNNN_pre_name.sql` is for every tier, `….native.sql`, `….apache.sql`, `….tsl.sql` for one, `….timescale.sql` for
the two editions of TimescaleDB. `pre` files may run while the former version still works on the database, `post` files
only after it has stopped. The tier is chosen at the first migration, recorded in `meta`, and never switched: that
would mean moving every reading.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, get_args

import psycopg
from psycopg import Connection

Conn = Connection[tuple[Any, ...]]
Tier = Literal["native", "apache", "tsl"]

POSTGRES_MAJOR_MIN = 14  # multiranges
_TIERS_OF_SUFFIX: dict[str, tuple[Tier, ...]] = {
    "": ("native", "apache", "tsl"),
    "native": ("native",),
    "timescale": ("apache", "tsl"),
    "apache": ("apache",),
    "tsl": ("tsl",),
}
_FILE = re.compile(r"^(\d{4})_(pre|post)_(\w+)(?:\.(\w+))?\.sql$")
_LOCK = 0x706C616E74  # "plant"

_NATIVE_STAYS = (
    "TimescaleDB is installed here, but this database was made without it and stays so; to change, dump it and "
    "restore the data into a database migrated with the extension"
)
_NATIVE_FOR_GOOD = (
    "This database is made without it for good; to use it, add timescaledb to shared_preload_libraries and migrate a "
    "new database"
)


class MigrationError(RuntimeError):
    """The database cannot be migrated; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    phase: str
    file: str
    tiers: tuple[Tier, ...]
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run did: the tier, the files applied now, how many were there before, and what the operator should know."""

    tier: Tier
    applied: tuple[str, ...]
    known: int
    notes: tuple[str, ...] = field(default=())


def load_migrations() -> list[Migration]:
    """Every file in order; two files of one number for the same tier are a programmer's error."""
    folder = resources.files("plantprint_collector") / "sql" / "migrations"
    found: list[Migration] = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        match = _FILE.match(entry.name)
        if match is None or (match[4] or "") not in _TIERS_OF_SUFFIX:
            raise MigrationError(f"{entry.name}: name it NNNN_pre_what.sql or NNNN_post_what.sql, with a tier or none")
        tiers = _TIERS_OF_SUFFIX[match[4] or ""]
        clash = [m.file for m in found if m.number == int(match[1]) and set(m.tiers) & set(tiers)]
        assert not clash, f"{entry.name} and {clash} have one number for the same tier"
        found.append(Migration(int(match[1]), match[2], entry.name, tiers, entry.read_text(encoding="utf-8")))
    return found


def migrate(dsn: str, *, only_pre: bool = False, say: Callable[[str], None] = lambda _: None) -> MigrationReport:
    """Bring the database up to date, each file in a transaction; doing it again changes nothing.

    `say` is told each file before it runs. Raises `MigrationError`, or psycopg's error of the failing file.
    """
    with psycopg.connect(dsn, autocommit=True) as conn, _only_one(conn):
        _check_server(conn)
        applied = _applied(conn)
        tier, notes = _tier(conn, dsn, first=not applied)
        wanted = [m for m in load_migrations() if tier in m.tiers]
        _check_history(applied, wanted)
        todo = [m for m in wanted if m.number not in applied and not (only_pre and m.phase == "post")]
        for migration in todo:
            say(migration.file)
            _apply(conn, migration, tier)
        return MigrationReport(tier, tuple(m.file for m in todo), len(applied), tuple(notes))


def recorded_tier(conn: Conn) -> Tier:
    """The tier this database was made for; raises `MigrationError` before the first migration."""
    if conn.execute("select to_regclass('meta')").fetchone() != (None,):
        row = conn.execute("select value from meta where key = 'tier'").fetchone()
        if row is not None and row[0] in get_args(Tier):
            tier: Tier = row[0]
            return tier
    raise MigrationError("the database has no plantprint schema; run `plantprint migrate` first")


@contextmanager
def _only_one(conn: Conn) -> Iterator[None]:
    conn.execute("select pg_advisory_lock(%s)", (_LOCK,))
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("select pg_advisory_unlock(%s)", (_LOCK,))


def _check_server(conn: Conn) -> None:
    if conn.info.server_version < POSTGRES_MAJOR_MIN * 10_000:
        raise MigrationError(
            f"PostgreSQL {conn.info.server_version // 10_000} is too old; use {POSTGRES_MAJOR_MIN} or newer"
        )


def _applied(conn: Conn) -> dict[int, tuple[str, str]]:
    conn.execute(
        "create table if not exists schema_migration (number integer primary key, name text not null,"
        " checksum text not null, applied_at timestamptz not null default clock_timestamp())"
    )
    rows = conn.execute("select number, name, checksum from schema_migration").fetchall()
    return {number: (name, checksum) for number, name, checksum in rows}


def _check_history(applied: dict[int, tuple[str, str]], wanted: list[Migration]) -> None:
    known = {m.number: m for m in wanted}
    for number, (name, checksum) in sorted(applied.items()):
        migration = known.get(number)
        if migration is None:
            raise MigrationError(
                f"the database has migration {number} ({name}), which this program does not know: it was migrated by a "
                "newer version; install that version, or restore a backup made before the upgrade"
            )
        if migration.checksum != checksum:
            raise MigrationError(
                f"{migration.file} is not the file that was applied to this database as {name}: applied files are "
                "never edited; put the file back as it was released and write the change as a new migration"
            )


def _apply(conn: Conn, migration: Migration, tier: Tier) -> None:
    with conn.transaction():
        conn.execute(migration.text.encode())
        # With the very first file, so that a run broken off after it goes on with the same tier.
        conn.execute("insert into meta values ('tier', %s) on conflict do nothing", (tier,))
        conn.execute(
            "insert into schema_migration (number, name, checksum) values (%s, %s, %s)",
            (migration.number, migration.file, migration.checksum),
        )


def _tier(conn: Conn, dsn: str, *, first: bool) -> tuple[Tier, list[str]]:
    """The recorded tier, checked against the server; at the first migration the best one that the server offers."""
    if first:
        notes = _create_extension(conn, dsn)
        return _server_tier(dsn), notes
    recorded = recorded_tier(conn)
    offered = _server_tier(dsn)
    if recorded == offered:
        return recorded, []
    if recorded == "native":
        return recorded, [_NATIVE_STAYS]
    if recorded == "apache" and offered == "tsl":
        return recorded, ["this database was made for TimescaleDB's Apache edition and stays so on a server with TSL"]
    raise MigrationError(
        f"this database was made for the tier {recorded!r}, but the server offers {offered!r}: install TimescaleDB "
        "(shared_preload_libraries, the same edition by timescaledb.license) on this server before going on"
    )


def _create_extension(conn: Conn, dsn: str) -> list[str]:
    """Creates TimescaleDB where the server has it; a note when it is there and cannot be used."""
    if not _has(conn, "select 1 from pg_available_extensions where name = 'timescaledb' and installed_version is null"):
        return []
    try:
        # Apart: without its preload the extension ends the whole session, not just the statement.
        with psycopg.connect(dsn, autocommit=True) as other:
            other.execute("create extension timescaledb")
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        return [f"TimescaleDB is available here but cannot be created ({reason}). {_NATIVE_FOR_GOOD}"]
    return []


def _server_tier(dsn: str) -> Tier:
    """What the extension in this database allows; asked on a new connection, which has it loaded if it is there."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        if not _has(conn, "select 1 from pg_extension where extname = 'timescaledb'"):
            return "native"
        conn.execute("select time_bucket('1 day', now())")  # loads it, and with it its settings
        row = conn.execute("select current_setting('timescaledb.license', true)").fetchone()
        return "tsl" if row == ("timescale",) else "apache"


def _has(conn: Conn, query: str) -> bool:
    return conn.execute(query).fetchone() is not None
