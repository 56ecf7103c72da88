"""The former version's program on the new schema: what it asked of its own is asked again once the `pre` files have run."""

from pathlib import Path

import pytest
import statement_record
import statement_scenario

from plantprint_collector import migrate as m

pytestmark = pytest.mark.integration

RECORDS = sorted(statement_scenario.GOLDEN.glob("*.jsonl.gz"))
TIERS: tuple[m.Tier, ...] = ("native", "apache", "tsl")
KEEPS_MARKS = """
create function keep() returns trigger language plpgsql as 'begin return null; end';
create trigger keep before delete on dirty for each row execute function keep()
"""


def asked_again(record: Path, dsn: str, newer: list[m.Migration], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The schema as the record's program left it, brought forward by `pre` files; what the program then finds amiss."""
    files = [*m.load_migrations(), *newer]
    monkeypatch.setattr(m, "load_migrations", lambda: [x for x in files if x.number <= int(record.name[:4])])
    m.migrate(dsn)
    monkeypatch.setattr(m, "load_migrations", lambda: files)
    m.migrate(dsn, only_pre=True)
    statements = statement_record.load(record)
    assert len(statements) > 500
    return list(statement_record.ask_again(dsn, statements))


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name[:4])
def test_the_former_program_works_on_the_new_schema(
    record: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked_again(record, empty_database_url, [], monkeypatch) == []
    m.migrate(empty_database_url)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("alter table dirty rename cause to why", 'column "cause" of relation "dirty" does not exist'),
        (KEEPS_MARKS, "gives 0 rows instead of"),
    ],
)
def test_a_pre_file_that_it_cannot_live_with_is_found(
    change: str, complaint: str, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = m.Migration(9001, "pre", "9001_pre_bad.sql", TIERS, change)
    found = asked_again(RECORDS[-1], empty_database_url, [newer], monkeypatch)
    assert any(complaint in one for one in found), found


def test_there_is_a_record() -> None:
    assert RECORDS
