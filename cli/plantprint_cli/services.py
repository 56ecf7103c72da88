"""Commands that run one part: collect, serve, simulate. In production each is a process or pod of its own."""

from typing import TypeVar

import typer

from plantprint_cli.errors import CommandError, need
from plantprint_cli.logs import configure_logging

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    app.command()(collect)
    app.command()(serve)
    app.command()(simulate)


def collect(
    intake_only: bool = typer.Option(
        False, "--intake-only", help="Store readings; leave accounting to another collector."
    ),
) -> None:
    """Run the collector: store what agents send, account it, keep the live picture, issue statements and alerts.

    Needs PLANTPRINT_DATABASE_URL and PLANTPRINT_MQTT_URL.
    """
    need("psycopg", "collector")
    from plantprint_collector import service
    from plantprint_collector.accountant_config import AccountantSettings
    from plantprint_collector.config import Settings

    configure_logging()
    raise typer.Exit(service.run(read_settings(Settings), AccountantSettings(), intake_only=intake_only))


def serve(
    host: str = typer.Option(None, "--host", help="Address to listen on; loopback unless told otherwise."),
    port: int = typer.Option(None, "--port", help="Port to listen on."),
) -> None:
    """Run the API and the live page. Needs PLANTPRINT_DATABASE_URL."""
    need("fastapi", "api")
    from plantprint_api import app as api
    from plantprint_api.config import ApiSettings

    configure_logging()
    given = {"http_host": host, "http_port": port}
    raise typer.Exit(api.serve(read_settings(ApiSettings, **{k: v for k, v in given.items() if v is not None})))


def simulate() -> None:
    """Run the simulated dye house: meters on Modbus TCP and MQTT, and its MES. Settings come from PLANTPRINT_ variables."""
    need("pymodbus", "simulators")
    from plantprint_simulators import dyehouse
    from plantprint_simulators.config import DyehouseSettings

    configure_logging()
    raise typer.Exit(dyehouse.run(read_settings(DyehouseSettings)))


def read_settings(model: type[T], **given: object) -> T:
    """Settings from the environment; a wrong or missing one is an error that names its variable."""
    from pydantic import ValidationError

    try:
        return model(**given)
    except ValidationError as error:
        lines = [
            f"PLANTPRINT_{str(problem['loc'][0]).upper() if problem['loc'] else '?'}: {problem['msg']}"
            for problem in error.errors()
        ]
        remedy = "`plantprint doctor --settings` lists them all"
        raise CommandError(f"settings are not usable. {'; '.join(lines)}. {remedy}") from error
