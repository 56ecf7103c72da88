"""Logs of the entry points: an error is told with its traceback and without the local variables around it."""

import logging

import pytest
import structlog

from plantprint_cli.logs import configure_logging


def connect(dsn: str) -> None:
    raise ValueError(f"cannot reach {dsn.rpartition('@')[2]}")


@pytest.mark.parametrize("json_lines", [False, True])
def test_a_traceback_shows_no_local_variables(json_lines: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json_lines=json_lines, level=logging.INFO)
    dsn = "postgresql://plantprint:" + "s3cr3t@db/plantprint"
    try:
        connect(dsn)
    except ValueError:
        structlog.get_logger("test").exception("database lost")
    told = capsys.readouterr().err
    assert "cannot reach db/plantprint" in told
    assert "test_logs.py" in told
    assert "s3cr3t" not in told
