"""Durations as people write them on the command line: 90s, 2m, 1.5h."""

import re

import typer

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TEXT = re.compile(r"^(\d+(?:\.\d+)?)(s|m|h|d|)$")


def parse_duration_s(text: str) -> float:
    """Seconds; raises a usage error that shows the form."""
    match = _TEXT.match(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration: write 90s, 2m or 1h")
    return float(match[1]) * _UNITS[match[2]]
