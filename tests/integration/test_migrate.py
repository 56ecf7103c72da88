"""Migrations: all of them on an empty database, again without effect, never a changed or unknown file."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from plantprint_collector import migrate as m

pytestmark = pytest.mark.integration


def execute(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        cursor = conn.execute(query)
        return cursor.fetchall() if cursor.description else []


def test_everything_is_applied_once_and_the_tier_recorded(empty_database_url: str) -> None:
    said: list[str] = []
    first = m.migrate(empty_database_url, say=said.append)
    expected = tuple(x.file for x in m.load_migrations() if first.tier in x.tiers)
    assert first.applied == expected == tuple(said)
    assert first.known == 0
    again = m.migrate(empty_database_url)
    assert (again.applied, again.known, again.tier) == ((), len(expected), first.tier)
    assert execute(empty_database_url, "select value from meta where key = 'tier'") == [(first.tier,)]
    with psycopg.connect(empty_database_url) as conn:
        assert m.recorded_tier(conn) == first.tier


def test_a_changed_file_is_an_error_that_says_what_to_do(empty_database_url: str) -> None:
    m.migrate(empty_database_url)
    execute(empty_database_url, "update schema_migration set checksum = 'other' where number = 4")
    with pytest.raises(m.MigrationError, match=r"0004_pre_ledger.sql is not the file .* put the file back"):
        m.migrate(empty_database_url)


def test_a_database_of_a_newer_version_is_refused(empty_database_url: str) -> None:
    m.migrate(empty_database_url)
    execute(empty_database_url, "insert into schema_migration values (9000, '9000_pre_later.sql', 'x')")
    with pytest.raises(m.MigrationError, match="newer version"):
        m.migrate(empty_database_url)


def test_a_run_that_breaks_off_goes_on_where_it_was(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = m.load_migrations()
    broken = m.Migration(9001, "pre", "9001_pre_broken.sql", ("native", "apache", "tsl"), "create table half (); selec")
    monkeypatch.setattr(m, "load_migrations", lambda: [*files, broken])
    with pytest.raises(psycopg.errors.SyntaxError):
        m.migrate(empty_database_url)
    assert execute(empty_database_url, "select to_regclass('half')") == [(None,)]
    monkeypatch.undo()
    assert m.migrate(empty_database_url).applied == ()


def test_post_files_wait_for_the_second_step(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = m.load_migrations()
    post = m.Migration(9001, "post", "9001_post_drop.sql", ("native", "apache", "tsl"), "create table after_all ()")
    monkeypatch.setattr(m, "load_migrations", lambda: [*files, post])
    assert "9001_post_drop.sql" not in m.migrate(empty_database_url, only_pre=True).applied
    assert m.migrate(empty_database_url).applied == ("9001_post_drop.sql",)


def test_a_database_of_any_older_version_goes_on_with_what_it_holds(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = m.load_migrations()
    for number in sorted({x.number for x in files}):
        monkeypatch.setattr(m, "load_migrations", lambda upto=number: [x for x in files if x.number <= upto])
        assert len(m.migrate(empty_database_url).applied) <= 1
        if number == 2:
            execute(empty_database_url, "select pp_ensure('reading', '2026-03-02', '2026-03-02')")
            execute(empty_database_url, "insert into reading values ('2026-03-02 12:00Z', 1, 1, 3, 0)")
    assert execute(empty_database_url, "select pp_drop_before('reading', '2026-03-03')") == [(1,)]
    assert execute(empty_database_url, "select count(*) from reading") == [(0,)]


def test_two_at_once_apply_everything_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(m.migrate, [empty_database_url] * 2))
    assert sorted(len(r.applied) > 0 for r in reports) == [False, True]


def test_a_recorded_tier_is_never_switched(empty_database_url: str) -> None:
    tier = m.migrate(empty_database_url).tier
    if tier != "native":
        pytest.skip("the server has TimescaleDB")
    execute(empty_database_url, "update meta set value = 'tsl' where key = 'tier'")
    with pytest.raises(m.MigrationError, match="made for the tier 'tsl', but the server offers 'native'"):
        m.migrate(empty_database_url)


def test_an_empty_database_has_no_tier(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as conn, pytest.raises(m.MigrationError, match="plantprint migrate"):
        m.recorded_tier(conn)


def test_day_partitions_come_and_go(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        if m.recorded_tier(conn) != "native":
            pytest.skip("TimescaleDB makes its own")
        make = "select pp_ensure('reading', '2026-03-01 23:59Z', '2026-03-03 00:00Z')"
        assert conn.execute(make).fetchone() == (3,)
        assert conn.execute(make).fetchone() == (0,)
        conn.execute("insert into reading values ('2026-03-02 12:00Z', 1, 1, 3, 0)")
        drop = "select pp_drop_before('reading', '2026-03-03 00:00Z')"
        assert [conn.execute(drop).fetchone() for _ in range(3)] == [(1,), (1,), (0,)]
        assert conn.execute("select count(*) from reading").fetchone() == (0,)
        assert conn.execute("select pp_compress_before('reading', now())").fetchone() == (0,)


@pytest.mark.timescale
def test_timescaledb_is_used_where_it_is(timescale_url: str) -> None:
    again = m.migrate(timescale_url)
    assert (again.tier, again.applied) == ("tsl", ())
    with psycopg.connect(timescale_url, autocommit=True) as conn:
        conn.execute("insert into reading values (now() - interval '9 days', 1, 1, 3, 0)")
        assert conn.execute("select pp_compress_before('reading', now() - interval '7 days')").fetchone() == (1,)
        assert conn.execute("select pp_drop_before('reading', now() - interval '7 days')").fetchone() == (1,)
        assert conn.execute("select count(*) from reading").fetchone() == (0,)
