"""Commands for operators: migrate, recompute, audit, deadletter, doctor, dashboards."""

import dataclasses
import json
import sys
from pathlib import Path

import typer

from plantprint_cli.errors import CommandError, need
from plantprint_cli.logs import configure_logging

DATABASE = typer.Option(
    ..., "--database-url", envvar="PLANTPRINT_DATABASE_URL", help="libpq URL of the database.", show_envvar=True
)


def register(app: typer.Typer) -> None:
    app.command()(migrate)
    app.command(name="setup-site", hidden=True)(setup_site)
    app.command()(audit)
    app.command()(recompute)
    app.command()(doctor)
    app.command()(dashboards)
    deadletter = typer.Typer(
        no_args_is_help=True, help="Messages that were set aside: list them, replay them after a fix."
    )
    deadletter.command(name="list")(deadletter_list)
    deadletter.command(name="replay")(deadletter_replay)
    app.add_typer(deadletter, name="deadletter")


def migrate(database_url: str = DATABASE, as_json: bool = typer.Option(False, "--json")) -> None:
    """Bring the database's schema up to date; doing it again changes nothing."""
    need("psycopg", "collector")
    from plantprint_collector import migrate as migrations

    report = migrations.migrate(database_url, say=lambda file: None if as_json else typer.echo(f"applying {file}"))
    if as_json:
        typer.echo(
            json.dumps({"tier": report.tier, "applied": report.applied, "known": report.known, "notes": report.notes})
        )
        return
    typer.echo(f"tier {report.tier}: {len(report.applied)} applied, {report.known} were there")
    for note in report.notes:
        typer.echo(note)


def setup_site(plant: Path, database_url: str = DATABASE) -> None:
    """Migrate, apply a plant file and set the site's clock from PLANTPRINT_CLOCK: what an all-in-one run needs first."""
    import os

    from plantprint.times import SiteClock
    from plantprint_cli.setup import prepare

    clock = os.environ.get("PLANTPRINT_CLOCK")
    prepare(database_url, plant, SiteClock(**json.loads(clock)) if clock else SiteClock())


def audit(
    database_url: str = DATABASE,
    site: str = typer.Option(None, "--site", help="One site; all by default."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Prove the ledger: conservation, ledger = recompute in this process, and what of each agent's chunks is outstanding.

    Exit code 1 when something does not hold.
    """
    need("psycopg", "collector")
    from plantprint_collector.audit import audit_database

    report = audit_database(database_url, site)
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        for line in report.lines():
            typer.echo(line)
    raise typer.Exit(0 if report.clean else 1)


def recompute(
    site: str = typer.Argument(..., help="The site."),
    from_: str = typer.Option(..., "--from", help="Start, RFC 3339 such as 2026-11-01T00:00:00Z."),
    to: str = typer.Option(..., "--to", help="End, RFC 3339."),
    database_url: str = DATABASE,
) -> None:
    """Account a span again from stored readings; corrections are posted where something differs. The collector does the work."""
    need("psycopg", "collector")
    import psycopg

    from plantprint.times import parse_instant
    from plantprint_collector import store

    try:
        low, high = parse_instant(from_), parse_instant(to)
    except ValueError as error:
        raise CommandError(str(error)) from error
    with psycopg.connect(database_url) as conn:
        store.mark_site(conn, site, from_ms_=low, to_ms_=high, cause="recompute")
    typer.echo("marked; the running collector accounts it again in its next pass")


def doctor(
    settings: bool = typer.Option(False, "--settings", help="Print every setting as a Markdown page."),
) -> None:
    """Say what this machine can run, and list every setting."""
    if settings:
        from plantprint_cli.settings_doc import settings_page

        sys.stdout.write(settings_page())
        return
    from plantprint_cli.doctor import findings

    for line in findings():
        typer.echo(line)


def dashboards(
    out: Path = typer.Option(Path("dashboards/grafana"), "--out", help="Folder that Grafana's provisioning mounts."),
    check: bool = typer.Option(False, "--check", help="Only say what differs; exit 1 if something does."),
) -> None:
    """Write the Grafana dashboards and provisioning files."""
    need("grafana_foundation_sdk", "dashboards")
    import plantprint_dashboards

    if check:
        complaints = plantprint_dashboards.check(out)
        for complaint in complaints:
            typer.echo(complaint)
        raise typer.Exit(1 if complaints else 0)
    for path in plantprint_dashboards.build(out):
        typer.echo(f"wrote {path}")


def deadletter_list(database_url: str = DATABASE, as_json: bool = typer.Option(False, "--json")) -> None:
    """List what was set aside and why."""
    need("psycopg", "collector")
    from plantprint_collector import deadletter

    letters = [dataclasses.asdict(letter) for letter in deadletter.list_letters(database_url)]
    if as_json:
        typer.echo(json.dumps(letters, default=str))
        return
    for letter in letters:
        typer.echo("  ".join(f"{name}={value}" for name, value in letter.items()))
    typer.echo(f"{len(letters)} set aside")


def deadletter_replay(database_url: str = DATABASE, as_json: bool = typer.Option(False, "--json")) -> None:
    """Try again to store everything that was set aside; what still cannot be stored stays."""
    need("psycopg", "collector")
    from plantprint_collector import deadletter

    configure_logging()
    report = deadletter.replay(database_url)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(report)))
        return
    typer.echo(f"stored: {report.letters} letters, {report.readings} readings; {report.readings_left} readings stay")
    for letter, reason in report.failed.items():
        typer.echo(f"letter {letter} stays: {reason}")
