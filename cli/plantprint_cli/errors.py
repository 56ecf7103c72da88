"""Which errors are the user's to solve: shown as one line, without a trace; and what commands that need a part share."""

from importlib.util import find_spec

import typer

DATABASE = typer.Option(
    ..., "--database-url", envvar="PLANTPRINT_DATABASE_URL", help="libpq URL of the database.", show_envvar=True
)


class CommandError(RuntimeError):
    """A command cannot do what was asked; the message says why and what to do."""


def user_errors() -> tuple[type[BaseException], ...]:
    """Error classes of the installed parts whose message is complete text for a user."""
    from plantprint.factors import FactorError
    from plantprint.neutral import FactsError
    from plantprint.plant.check import PlantError
    from plantprint_cli.embedded import EmbeddedError

    found: list[type[BaseException]] = [CommandError, EmbeddedError, PlantError, FactorError, FactsError]
    if find_spec("psycopg"):
        import psycopg

        from plantprint_collector.migrate import MigrationError

        found += [MigrationError, psycopg.OperationalError]
    return tuple(found)


def need(module: str, extra: str) -> None:
    """Stops with the right pip line when an optional part is not installed."""
    if find_spec(module) is None:
        typer.secho(
            f"this command needs an extra part:  pip install 'plantprint[{extra}]'", fg=typer.colors.RED, err=True
        )
        raise typer.Exit(2)
