"""Commands for operators: migrate, audit, deadletter, doctor, dashboards."""

import dataclasses
import json
import sys
from pathlib import Path

import typer

from plantprint_cli import recomputing
from plantprint_cli.errors import DATABASE, need
from plantprint_cli.logs import configure_logging


def register(app: typer.Typer) -> None:
    app.command()(migrate)
    app.command(name="setup-site", hidden=True)(setup_site)
    app.command()(restored)
    app.command()(audit)
    app.command()(lost)
    app.command()(recomputing.recompute)
    app.command()(doctor)
    app.command()(dashboards)
    deadletter = typer.Typer(
        no_args_is_help=True,
        help="Messages that were set aside: list them, replay them after a fix, discard what nobody can use.",
    )
    deadletter.command(name="list")(deadletter_list)
    deadletter.command(name="replay")(deadletter_replay)
    deadletter.command(name="discard")(deadletter_discard)
    app.add_typer(deadletter, name="deadletter")


def migrate(
    database_url: str = DATABASE,
    only_pre: bool = typer.Option(
        False, "--pre", help="Only what the former version can live with while it still runs."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Bring the database's schema up to date; doing it again changes nothing."""
    need("psycopg", "collector")
    from plantprint_collector import migrate as migrations

    report = migrations.migrate(
        database_url, only_pre=only_pre, say=lambda file: None if as_json else typer.echo(f"applying {file}")
    )
    if as_json:
        typer.echo(
            json.dumps({"tier": report.tier, "applied": report.applied, "known": report.known, "notes": report.notes})
        )
        return
    typer.echo(f"tier {report.tier}: {len(report.applied)} applied, {report.known} were there")
    for note in report.notes:
        typer.echo(note)


def restored(database_url: str = DATABASE) -> None:
    """Say that the database came back from a copy that it cannot know of itself, such as a base backup or a copied disk.

    Agents then send again what they kept. Restart the collector afterwards. A restored dump, a recovery to a point in
    time and a failover are noticed without it.
    """
    need("psycopg", "collector")
    import psycopg

    from plantprint_collector import store

    with psycopg.connect(database_url) as conn:
        typer.echo(f"the store is now {store.renew_store_id(conn)}; restart the collector")


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
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Prove the ledger: conservation, ledger = recompute in this process, and that every chunk of every agent has come.

    Chunks that their agent may still have are told and no finding; `plantprint lost` records those that never come.
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


def lost(
    agent: str = typer.Argument(..., help="Whose chunks never came, by `plantprint audit`."),
    site: str = typer.Option(..., "--site"),
    why: str = typer.Option(..., "--why", help="What happened: it goes on record."),
    database_url: str = DATABASE,
) -> None:
    """Record chunks that `plantprint audit` misses as lost for good. Should they come after all, they are stored.

    Exit code 1 when none is missed.
    """
    need("psycopg", "collector")
    from contextlib import closing

    from plantprint_collector import watermarks
    from plantprint_collector.connection import connect

    with closing(connect(database_url, application="plantprint-lost", timeout_s=600)) as conn:
        chunks = watermarks.explain(conn, site, agent, why)
    typer.echo(f"{chunks} chunks of {agent} are on record as lost")
    raise typer.Exit(0 if chunks else 1)


def doctor(
    settings: bool = typer.Option(False, "--settings", help="Print every setting as a Markdown page."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say what this machine can run, and list every setting."""
    if settings:
        from plantprint_cli.settings_doc import settings_page

        sys.stdout.write(settings_page())
        return
    from plantprint_cli.doctor import findings, in_words

    found = findings()
    for line in (json.dumps(found),) if as_json else in_words(found):
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


def deadletter_list(
    database_url: str = DATABASE, as_json: bool = typer.Option(False, "--json", help="Print JSON.")
) -> None:
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


def deadletter_replay(
    database_url: str = DATABASE, as_json: bool = typer.Option(False, "--json", help="Print JSON.")
) -> None:
    """Try again to store everything that was set aside; what still cannot be stored stays.

    Exit code 1 when something stays.
    """
    need("psycopg", "collector")
    from plantprint_collector import deadletter

    configure_logging()
    report = deadletter.replay(database_url)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(report)))
        raise typer.Exit(0 if report.complete else 1)
    typer.echo(f"stored: {report.letters} letters, {report.readings} readings")
    for letter, reason in report.failed.items():
        typer.echo(f"letter {letter} stays: {reason}")
    for reason, count in report.readings_left.items():
        typer.echo(f"{count} readings stay, {reason}")
    raise typer.Exit(0 if report.complete else 1)


def deadletter_discard(
    letters: list[int] = typer.Argument(..., help="Their numbers, from `deadletter list`."),
    database_url: str = DATABASE,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
) -> None:
    """Delete letters for good. What an agent was told is stored (acknowledged=True) exists nowhere else."""
    need("psycopg", "collector")
    from plantprint_collector import deadletter

    if not yes:
        typer.confirm(f"Delete {len(letters)} letters for good?", abort=True)
    typer.echo(f"{deadletter.discard(database_url, letters)} discarded")
