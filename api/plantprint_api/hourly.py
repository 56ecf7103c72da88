"""Hourly factors of a plant's sources: the hours that are asked for, as known now or at an earlier instant."""

from collections.abc import Iterable
from datetime import datetime

from plantprint.factor_series import FactorSeries, HourIntensity
from plantprint.source_history import SourceHistory
from plantprint.times import from_ms, hour_floor, to_ms
from plantprint_api.context import Context


async def load_series(
    ctx: Context,
    site: str,
    sources: SourceHistory,
    entered: Iterable[tuple[str, int]],
    known_at: datetime | None = None,
) -> dict[str, FactorSeries]:
    """Series by their name, with the hours in which a source's amounts entered, (source, ms) each."""
    named = {(source.id, source.series) for source in sources.ever() if source.hourly is not None}
    hourly = {source_id for source_id, _ in named}
    hours = sorted({hour_floor(at_ms) for source, at_ms in entered if source in hourly})
    if not hours:
        return {}
    rows = await ctx.database.rows(
        "factor_series",
        site=site,
        series=sorted({series for _, series in named}),
        hours=[from_ms(hour) for hour in hours],
        known_at=known_at,
    )
    found: dict[str, dict[int, HourIntensity]] = {row["series"]: {} for row in rows}
    for row in rows:
        if row["hour_at"] is not None:
            found[row["series"]][to_ms(row["hour_at"])] = HourIntensity(
                row["direct_kg_per_kwh"], row["life_cycle_kg_per_kwh"], row["is_estimated"]
            )
    return {
        row["series"]: FactorSeries(
            row["series"], row["zone"], row["credit"], found[row["series"]], version=row["version"]
        )
        for row in rows
    }
