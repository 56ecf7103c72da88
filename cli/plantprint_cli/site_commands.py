"""Commands about the sites of a database: list them, take a mistyped one away."""

import dataclasses
import json

import typer

from plantprint_cli.errors import DATABASE, CommandError, need


def register(app: typer.Typer) -> None:
    sites = typer.Typer(no_args_is_help=True, help="The sites of a database: list them, take a mistyped one away.")
    sites.command(name="list")(site_list)
    sites.command(name="discard")(site_discard)
    app.add_typer(sites, name="site")


def site_list(database_url: str = DATABASE, as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the sites that anything was stored for, and whether they have a plant model."""
    need("psycopg", "collector")
    from plantprint_collector import sites

    found = sites.list_sites(database_url)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(one) for one in found]))
        return
    for one in found:
        model = "" if one.has_plant_model else "  no plant model"
        agents = f"  agents {', '.join(one.agents)}" if one.agents else ""
        typer.echo(f"{one.site}  {one.channels} channels  {one.events} events{agents}{model}")


def site_discard(
    site: str = typer.Argument(..., help="Its name, from `site list`; it must have no plant model."),
    database_url: str = DATABASE,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Delete for good all that was stored under a mistyped name. Correct the name at its sender first."""
    need("psycopg", "collector")
    from plantprint_collector import sites

    if not yes:
        typer.confirm(f"Delete all that is stored of site {site!r} for good?", abort=True)
    try:
        deleted = sites.discard(database_url, site)
    except sites.SiteError as error:
        raise CommandError(str(error)) from error
    typer.echo(json.dumps(deleted) if as_json else f"discarded: {', '.join(f'{n} {t}' for t, n in deleted.items())}")
