"""Which errors are the user's to solve: shown as one line, without a trace; and what commands that need a part share."""

import sys
from importlib.util import find_spec

import typer

DATABASE = typer.Option(
    ..., "--database-url", envvar="PLANTPRINT_DATABASE_URL", help="libpq URL of the database.", show_envvar=True
)


class CommandError(RuntimeError):
    """A command cannot do what was asked; the message says why and what to do."""


# By module, so that a command loads none of them only to ask whether it failed with its error.
USER_ERRORS = {
    "plantprint.factors": "FactorError",
    "plantprint.neutral": "FactsError",
    "plantprint.plant.check": "PlantError",
    "plantprint_cli.embedded": "EmbeddedError",
    "plantprint_collector.migrate": "MigrationError",
    "psycopg": "OperationalError",
}


def user_errors() -> tuple[type[Exception], ...]:
    """Error classes of what is loaded whose message is complete text for a user."""
    loaded = (getattr(sys.modules.get(module), name, None) for module, name in USER_ERRORS.items())
    return (CommandError, *(error for error in loaded if error is not None))


def need(module: str, extra: str) -> None:
    """Stops with the right pip line when an optional part is not installed."""
    if find_spec(module) is None:
        typer.secho(
            f"this command needs an extra part:  pip install 'plantprint[{extra}]'", fg=typer.colors.RED, err=True
        )
        raise typer.Exit(2)
