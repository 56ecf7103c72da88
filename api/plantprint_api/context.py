"""What every route works with: settings, database, live hub; and the parameters that many of them share."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import orjson
from fastapi import Depends, Path, Query, Request
from pydantic import TypeAdapter

from plantprint.plant import Plant
from plantprint.plant.model import Source
from plantprint.source_history import SourceHistory
from plantprint.times import SiteClock, from_ms, parse_instant, to_ms
from plantprint_api.config import ApiSettings
from plantprint_api.database import Database, Row
from plantprint_api.live import LiveHub
from plantprint_api.problems import ProblemError, invalid, not_found

SiteQuery = Annotated[
    str | None,
    Query(
        max_length=64, description="Only this site; may be left out where a name exists once.", examples=["dyehouse"]
    ),
]
Limit = Annotated[
    int | None, Query(ge=1, description="Rows at most; the service has a ceiling of its own.", examples=[50])
]
Cursor = Annotated[
    str | None, Query(max_length=1000, description="`next_cursor` of the previous page; its values go on from there.")
]
Name = Annotated[str, Path(min_length=1, max_length=200, description="Its id.")]


_SOURCES = TypeAdapter(tuple[Source, ...])


@dataclass(frozen=True)
class Context:
    settings: ApiSettings
    database: Database
    hub: LiveHub

    def limit(self, asked: int | None) -> int:
        """Rows to give: as asked, and never above the ceiling."""
        return min(asked or self.settings.http_list_rows, self.settings.http_list_rows_max)

    async def site(self, site: str | None) -> Row:
        """The row of the named site, or of the only one; raises a problem when there is none or a choice.

        Sites without a plant model, which any mistyped message makes, are no choice where there are others.
        """
        if site is not None:
            row = await self.database.find("site", site=site)
            if row is None:
                raise not_found("site", site, site=None, remedy="list the sites with GET /v1/sites")
            return row
        rows = await self.database.rows("sites_to_choose", limit=2)
        if not rows:
            raise ProblemError(
                404, "Not found", "no site is known yet", place="database",
                remedy="apply a plant model: plantprint model apply plant.yaml",
            )  # fmt: skip
        return the_only(rows, "this")

    async def plant(self, site: Row, known_at: datetime | None = None) -> tuple[int, Plant] | None:
        """Version and model in force at the site's time; None before a model was applied.

        `known_at`: of the versions that were known then, of which the first always is one.
        """
        now_ms = await self.site_now_ms(site)
        row = await self.database.find("model", site=site["site"], at=from_ms(now_ms), known_at=known_at)
        if row is None:
            return None
        return row["version"], _plant(orjson.dumps(row["body"]))

    async def sources(self, site: str, known_at: datetime | None = None) -> SourceHistory:
        """The sources of every version of a site's plant model, or of those that were known then."""
        rows = await self.database.rows("model_sources", site=site, known_at=known_at)
        return SourceHistory(
            (
                None if row["effective_at"] is None else to_ms(row["effective_at"]),
                _sources(orjson.dumps(row["sources"])),
            )
            for row in rows
        )

    async def site_now_ms(self, site: Row) -> int:
        """The site's own time; for recorded data the time of its live picture."""
        clock = SiteClock(**site["clock"])
        newest_ms = None
        if clock.kind == "data":
            plant = await self.database.find("live_one", kind="plant", id=site["site"], site=site["site"])
            newest_ms = parse_instant(plant["body"]["at"]) if plant else None
        return clock.now_ms(time.time_ns() // 1_000_000, newest_ms)


@lru_cache(maxsize=32)
def _plant(body: bytes) -> Plant:
    return Plant.model_validate_json(body)


@lru_cache(maxsize=256)
def _sources(body: bytes) -> tuple[Source, ...]:
    return _SOURCES.validate_json(body)


def the_only(rows: Sequence[Row], what: str) -> Row:
    """The first of rows that were asked for by name; raises a problem when other sites have the name too."""
    if len(rows) > 1:
        sites = ", ".join(sorted({str(row["site"]) for row in rows}))
        raise ProblemError(
            409, "Ambiguous", f"{what} exists at several sites: {sites}", place="query: site", remedy="add ?site=…"
        )
    return rows[0]


def get_context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(get_context)]


def choices(values: Sequence[str] | None, allowed: Sequence[str], *, place: str) -> list[str] | None:
    """Values given as repeated keys or separated by commas; None for no restriction, which `*` also means."""
    asked = [part.strip() for value in values or () for part in value.split(",") if part.strip()]
    if not asked or "*" in asked:
        return None
    unknown = sorted(set(asked) - set(allowed))
    if unknown:
        raise invalid(f"{', '.join(unknown)!r} is not known", place=place, remedy=f"use any of {', '.join(allowed)}")
    return asked


def page(items: list[Any], rows: Sequence[Row], limit: int, cursor: str) -> dict[str, Any]:
    """A page of a list; `next_cursor` only when the page is full."""
    return {"items": items, "next_cursor": cursor if rows and len(rows) == limit else None}
