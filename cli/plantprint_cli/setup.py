"""What must be in the database before the parts of an all-in-one run start: schema, factors, plant model, clock."""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from plantprint.factors import builtin_factors
from plantprint.times import SiteClock, to_ms
from plantprint_cli.errors import CommandError
from plantprint_cli.plant_files import read_site
from plantprint_collector import migrate, series_store, store

Conn = psycopg.Connection[tuple[Any, ...]]


def apply_model_file(
    conn: Conn, path: Path, effective_ms: int | None = None, say: Callable[[str], None] = lambda _: None
) -> tuple[str, int]:
    """Stores a plant file, its hourly files and the factors that ship; returns (site, version). Raises `PlantError`.

    It takes effect at `effective_ms`, a full hour; without one, when the file says. `say` is told of hourly files.
    """
    text = path.read_text(encoding="utf-8")
    files = read_site(path)
    plant = files.plant
    body = plant.model_dump(mode="json", by_alias=True)
    if effective_ms is None and plant.effective_at is not None:
        effective_ms = to_ms(plant.effective_at)
    try:
        version = store.apply_plant_model(conn, plant.site.id, text, body, effective_ms)
    except ValueError as error:
        raise CommandError(str(error)) from error
    for series in files.series.values():
        version_of_hours = series_store.apply_series(conn, plant.site.id, series)
        say(f"{series.factor_id}: version {version_of_hours}, {len(series.hours)} hours in the file")
    store.load_factors(conn, [(f.factor_id, f.to_json()) for f in builtin_factors()], keep_own=True)
    return plant.site.id, version


def prepare(dsn: str, plant_file: Path, clock: SiteClock) -> str:
    """Migrates, applies the model, sets the clock; doing it again changes nothing. Returns the site."""
    migrate.migrate(dsn)
    with psycopg.connect(dsn) as conn:
        site, _ = apply_model_file(conn, plant_file)
        store.set_clock(conn, site, clock)
    return site


def next_clock(record: Path, speed: int) -> SiteClock:
    """The clock of a run that continues an instance: wall time unless an earlier faster run is ahead of it."""
    wall_ms = time.time_ns() // 1_000_000
    site_ms = wall_ms
    if record.exists():
        saved = json.loads(record.read_text(encoding="utf-8"))
        # The last run may have been killed, so its clock is taken as having run on until the record was last touched.
        ran_until_ms = int(record.stat().st_mtime * 1000)
        site_ms = max(wall_ms, SiteClock(**saved).now_ms(ran_until_ms) + 1000)
    if speed == 1 and site_ms == wall_ms:
        return SiteClock()
    return SiteClock("run", wall_ms, site_ms, speed)


def write_clock(record: Path, clock: SiteClock) -> None:
    record.write_text(json.dumps(dataclasses.asdict(clock)), encoding="utf-8")
