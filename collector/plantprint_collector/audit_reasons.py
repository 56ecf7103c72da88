"""The auditor's look at why batches are incomplete: what is stored against what all facts at once say."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.contradictions import refused_jobs
from plantprint.facts import Issue
from plantprint.times import format_instant, from_ms, to_ms
from plantprint_collector.books import SiteFacts
from plantprint_collector.genealogy_book import GenealogyBook

Conn = Connection[tuple[Any, ...]]
Places = dict[str, set[tuple[str, str]]]
"""By batch the codes and places of its reasons."""


class Difference(NamedTuple):
    """What was looked at, the batch (and hour), and the reasons that it should have and that are stored."""

    check: str
    place: str
    expected: str
    found: str


def of_events(conn: Conn, facts: SiteFacts) -> Iterator[Difference]:
    """Genealogy, and jobs that were kept out."""
    refused = refused_jobs(facts.happened.issues)
    for origin, wanted in (("genealogy", GenealogyBook(facts.site).reasons(facts)), ("production", refused)):
        rows = conn.execute(
            "select batch, code, place from batch_reason where site = %s and origin = %s", (facts.site, origin)
        ).fetchall()
        known: Places = {}
        for batch, code, place in rows:
            known.setdefault(batch, set()).add((code, place))
        yield from _differences(origin, "", wanted, known)


def stored_by_hour(conn: Conn, site: str, from_ms_: int, upto_ms: int) -> dict[int, Places]:
    """The reasons of settled hours with from ≤ start ≤ upto, by their start."""
    rows = conn.execute(
        "select at, batch, code, place from batch_reason where site = %s and origin = 'hour' and at between %s and %s",
        (site, from_ms(from_ms_), from_ms(upto_ms)),
    ).fetchall()
    found: dict[int, Places] = {}
    for at, batch, code, place in rows:
        found.setdefault(to_ms(at), {}).setdefault(batch, set()).add((code, place))
    return found


def of_hour(account: HourAccount, known: Places) -> Iterator[Difference]:
    yield from _differences("contradictions", format_instant(account.hour_ms), account.contradictions, known)


def _differences(check: str, hour: str, wanted: Mapping[str, Collection[Issue]], known: Places) -> Iterator[Difference]:
    should = {batch: {(issue.code, issue.place) for issue in issues} for batch, issues in wanted.items()}
    for batch in sorted(known.keys() | should.keys()):
        if known.get(batch) != should.get(batch):
            expected, found = (str(sorted(side.get(batch, ()))) for side in (should, known))
            yield Difference(check, f"{hour} {batch}".strip(), expected, found)
