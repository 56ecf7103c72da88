"""Database, broker and workers of an all-in-one run, as children of one process, in one instance folder."""

from plantprint_cli.embedded.broker import HEALTH_INTERVAL_S, BrokerSettings, EmbeddedBroker
from plantprint_cli.embedded.children import Account, Child, Command
from plantprint_cli.embedded.errors import (
    BrokerError,
    ChildError,
    EmbeddedError,
    InstanceError,
    PostgresError,
    UnsupportedPlatformError,
)
from plantprint_cli.embedded.instance import Instance, InstanceSettings, temporary_instance
from plantprint_cli.embedded.postgres import EmbeddedPostgres, PostgresSettings
from plantprint_cli.embedded.supervisor import Part, RestartPolicy, Supervisor

__all__ = [
    "HEALTH_INTERVAL_S",
    "Account",
    "BrokerError",
    "BrokerSettings",
    "Child",
    "ChildError",
    "Command",
    "EmbeddedBroker",
    "EmbeddedError",
    "EmbeddedPostgres",
    "Instance",
    "InstanceError",
    "InstanceSettings",
    "Part",
    "PostgresError",
    "PostgresSettings",
    "RestartPolicy",
    "Supervisor",
    "UnsupportedPlatformError",
    "temporary_instance",
]
