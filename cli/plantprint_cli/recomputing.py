"""The command that accounts a span again, or shows beforehand what that would change and why."""

import json
import time
from collections import Counter
from typing import Any

import typer

from plantprint_cli.durations import parse_duration_s
from plantprint_cli.errors import DATABASE, CommandError, need

CAUSE = "recompute"
_SHOWN_MAX = 20


def recompute(
    site: str = typer.Argument(..., help="The site."),
    from_: str = typer.Option(..., "--from", help="Start, RFC 3339 such as 2026-11-01T00:00:00Z."),
    to: str = typer.Option(..., "--to", help="End, RFC 3339."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Write nothing: show what would change, and what is pending."
    ),
    wait: str = typer.Option("10m", "--wait", help="How long to wait for the collector; 0 only leaves the order."),
    database_url: str = DATABASE,
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Account a span again from stored readings; corrections are posted where something differs.

    The running collector does the work; this command shows how far it is. With --dry-run this process accounts the
    span in a snapshot and says hour by hour what differs from the ledger; exit code 1 when something does.
    """
    need("psycopg", "collector")
    from plantprint.times import parse_instant

    try:
        low, high = parse_instant(from_), parse_instant(to)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if high <= low:
        raise CommandError(f"--to {to} must be after --from {from_}")
    if dry_run:
        _show(database_url, site, low, high, as_json=as_json)
        return
    seconds = parse_duration_s(wait)
    result = _order(database_url, site, low, high, seconds, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(result))
        return
    if result["readings_from"]:
        typer.echo(
            f"from {result['readings_from']} on: readings before were dropped, their hours stay as they were posted"
        )
    if seconds:
        typer.echo(f"accounted again; {result['postings']} postings of corrections")
    else:
        typer.echo("ordered; the running collector accounts it again in its next pass")


def _show(database_url: str, site: str, low: int, high: int, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from plantprint_collector import preview

    changes: list[Any] = []
    pending: list[Any] = []
    hours = beyond = 0
    kept: Any = None
    with Progress(console=Console(stderr=True, quiet=as_json), transient=True) as bar:
        task = bar.add_task("accounting in a snapshot", total=None)
        try:
            for found in preview.preview(database_url, site, low, high):
                if isinstance(found, int):
                    bar.update(task, total=found)
                elif isinstance(found, preview.Pending):
                    pending.append(found)
                elif isinstance(found, preview.Kept):
                    kept = found
                else:
                    hours, beyond = hours + 1, beyond + found.beyond
                    changes += found.changes
                    bar.advance(task)
        except preview.NothingSettledError as error:
            raise CommandError(str(error)) from error
    body = _report(site, hours, beyond, changes, pending) | _kept(kept)
    typer.echo(json.dumps(body) if as_json else "\n".join(_lines(body)))
    raise typer.Exit(1 if changes else 0)


def _report(site: str, hours: int, beyond: int, changes: list[Any], pending: list[Any]) -> dict[str, Any]:
    from plantprint.facts import Quality
    from plantprint.quantities import decimal_text
    from plantprint.times import format_instant

    by_place: Counter[tuple[Any, ...]] = Counter()
    for change in changes:
        by_place[_place(change.key)] += change.wanted - change.known
    by_source: Counter[str] = Counter()
    for (*_, source), moved in by_place.items():
        by_source[source] += abs(moved)
    return {
        "site": site,
        "hours": hours,
        "hours_beyond_the_span": beyond,
        "hours_changed": len({change.key.hour_ms for change in changes}),
        "moved_by_source": {source: decimal_text(moved) for source, moved in sorted(by_source.items())},
        "changes_of_kind_only": sum(not by_place[_place(change.key)] for change in changes),
        "pending": [
            {"cause": p.cause, "marks": p.marks, "from": format_instant(p.from_ms), "to": format_instant(p.to_ms)}
            for p in pending
        ],
        "changes": [
            {
                "hour": format_instant(c.key.hour_ms),
                "account": f"{c.key.account_kind}/{c.key.account_id}",
                "work_unit": c.key.work_unit,
                "step": c.key.step,
                "source": c.key.source,
                "portion": c.key.portion,
                "entered": format_instant(c.key.entered_ms),
                "quality": Quality(c.key.quality).name.lower(),
                "now": decimal_text(c.known),
                "then": decimal_text(c.wanted),
            }
            for c in changes
        ],
    }


def _place(key: Any) -> tuple[Any, ...]:
    """Where an amount is, whatever its quality, portion and hour of entry; its source comes last."""
    return key.hour_ms, key.account_kind, key.account_id, key.work_unit, key.step, key.source


def _kept(kept: Any) -> dict[str, Any]:
    from plantprint.times import format_instant

    return {
        "hours_kept": 0 if kept is None else kept.hours,
        "readings_from": None if kept is None else format_instant(kept.readings_from_ms),
    }


def _lines(body: dict[str, Any]) -> list[str]:
    lines = [
        f"{body['hours']} hours accounted in a snapshot, {body['hours_changed']} would change; nothing was written"
    ]
    if body["hours_kept"]:
        lines.append(
            f"  {body['hours_kept']} hours stay as they were posted: readings before {body['readings_from']} were dropped"
        )
    lines += [f"  {source}: {moved} would move" for source, moved in body["moved_by_source"].items()]
    if body["changes_of_kind_only"]:
        lines.append(
            f"  {body['changes_of_kind_only']} of {len(body['changes'])} changes move nothing: they differ in quality, portion "
            "or hour of entry"
        )
    lines += [f"  pending: {p['cause']}, {p['marks']} marks, {p['from']} to {p['to']}" for p in body["pending"]]
    lines += [
        f"  {c['hour']} {c['account']} {c['work_unit']} {c['source']} ({c['portion'] or 'whole'}, {c['quality']}, entered "
        f"{c['entered']}): {c['now']} → {c['then']}"
        for c in body["changes"][:_SHOWN_MAX]
    ]
    if len(body["changes"]) > _SHOWN_MAX:
        lines.append(f"  and {len(body['changes']) - _SHOWN_MAX} more; --json lists them all")
    return lines


def _order(database_url: str, site: str, low: int, high: int, wait_s: float, *, quiet: bool) -> dict[str, Any]:
    """Marks the span and waits until no mark of this order is left; returns the postings written since.

    `readings_from` says where the span begins instead, because readings before it were dropped.
    """
    import psycopg
    from rich.console import Console
    from rich.progress import Progress

    from plantprint.times import format_instant
    from plantprint_collector import horizon, store

    with psycopg.connect(database_url, autocommit=True) as conn:
        if conn.execute("select 1 from site where site = %s", (site,)).fetchone() is None:
            raise CommandError(f"no site {site!r} in this database")
        kept_from = horizon.readings_from_ms(conn)
        if high <= kept_from:
            raise CommandError(
                f"readings before {format_instant(kept_from)} were dropped: these hours stay as they were posted; name a"
                " later span"
            )
        readings_from = format_instant(kept_from) if low < kept_from else None
        low = max(low, kept_from)
        before = _postings(conn, site)
        store.mark_site(conn, site, from_ms_=low, to_ms_=high - 1, cause=CAUSE)
        deadline_s = time.monotonic() + wait_s
        with Progress(console=Console(stderr=True, quiet=quiet), transient=True) as bar:
            task = bar.add_task("the collector accounts", total=_hours_left(conn, site) or 1)
            while wait_s and (left := _hours_left(conn, site)):
                if time.monotonic() > deadline_s:
                    raise CommandError(
                        f"{left} hours still wait after {wait_s:.0f} s: is the collector running? The order stays; "
                        "wait longer with --wait"
                    )
                bar.update(task, completed=max(0, (bar.tasks[0].total or 1) - left))
                time.sleep(0.2)
        return {"postings": _postings(conn, site) - before, "readings_from": readings_from}


def _hours_left(conn: Any, site: str) -> int:
    row = conn.execute(
        "select coalesce(ceil(sum(extract(epoch from to_at - from_at)) / 3600), 0)::bigint from dirty "
        "where site = %s and cause like %s",
        (site, f"%{CAUSE}%"),
    ).fetchone()
    return int(row[0])


def _postings(conn: Any, site: str) -> int:
    """How many postings of corrections by recomputing the site has."""
    row = conn.execute(
        "select count(*) from posting where site = %s and cause like %s", (site, f"%{CAUSE}%")
    ).fetchone()
    return int(row[0])
