"""The `plantprint` command: each subcommand imports its own leaf, so a gateway needs no database driver."""

import sys

import typer

from plantprint import __version__
from plantprint_cli import (
    bench,
    edge_commands,
    event_commands,
    factor_commands,
    operate,
    plant_commands,
    run,
    services,
    site_commands,
    trials,
)
from plantprint_cli.errors import user_errors

app = typer.Typer(
    name="plantprint",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Live carbon footprints of production batches, from the plant's own meters. Start with: plantprint run",
)
for module in (
    run, edge_commands, services, operate, site_commands, event_commands, plant_commands, factor_commands, trials, bench,
):  # fmt: skip
    module.register(app)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line; an error that a user can do something about is one line, not a trace."""
    try:
        app()
    except Exception as error:
        if not isinstance(error, user_errors()):
            raise
        typer.secho(f"plantprint: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
