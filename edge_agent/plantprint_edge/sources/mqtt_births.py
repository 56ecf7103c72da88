"""What Sparkplug nodes said at their birth, on disk beside the outbox, so that a restart need not wait for the next birth.

It is believed only if the broker kept our session, so that no death passed unheard, and after a short absence. Once a
birth or death changes it, it is off the disk before anything else happens.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from plantprint_edge.clock import wall_ms
from plantprint_edge.payloads.sparkplug_nodes import Life

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """The file: by `group/node`, as it was at `at_ms` of this machine's time."""

    at_ms: int
    lives: dict[str, Life]


_KEPT = TypeAdapter(Kept)


class BirthFile:
    """`age_s_max`: the longest absence after which it is believed; 0 for never."""

    def __init__(self, path: Path, age_s_max: float) -> None:
        self._path = path
        self._draft = path.with_name(path.name + ".new")
        self._age_ms_max = age_s_max * 1000
        self._failing = False

    def load(self) -> dict[str, Life]:
        """What may be believed."""
        try:
            kept = _KEPT.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            log.warning(
                "births_unreadable", path=str(self._path), reason=str(error)[:300], remedy="births are waited for"
            )
            return {}
        return kept.lives if 0 <= wall_ms() - kept.at_ms < self._age_ms_max else {}

    def prepare(self, lives: Mapping[str, Life]) -> None:
        """Write it beside the file."""
        try:
            self._draft.write_bytes(_KEPT.dump_json(Kept(wall_ms(), dict(lives))))
        except OSError as error:
            if not self._failing:
                log.warning("births_not_written", reason=str(error), remedy="births are waited for after a restart")
            self._failing = True
        else:
            self._failing = False

    def publish(self) -> None:
        """Put what was prepared, if it could be, in the place of the file."""
        if not self._failing:
            with suppress(OSError):
                self._draft.replace(self._path)

    def drop(self) -> None:
        """It no longer holds: take it off the disk, also where the power is cut right after."""
        with suppress(OSError):
            self._path.unlink()
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
