"""GET /v1/batches/{batch}/explain and /v1/compare: where a figure comes from, and why two differ."""

from typing import Annotated

from fastapi import APIRouter, Query

from plantprint.times import to_ms
from plantprint_api import explanations
from plantprint_api.context import Ctx, Name, SiteQuery
from plantprint_api.footprint_responses import ComparisonInfo, Explanation
from plantprint_api.problems import ProblemError, responses
from plantprint_api.routes.batches import GwpQuery, KnownAt, asked, find_batch
from plantprint_api.rows import parse_time

router = APIRouter(prefix="/v1", tags=["explanations"])

StepQuery = Annotated[
    str | None, Query(max_length=64, description="Only what a step used; empty for no step.", examples=["dyeing"])
]
SourceQuery = Annotated[
    str | None, Query(max_length=200, description="Only what came from a source.", examples=["grid"])
]
HourQuery = Annotated[
    str | None,
    Query(
        max_length=40, description="Only what was used in the hour of an instant.", examples=["2026-11-24T08:00:00Z"]
    ),
]
BatchQuery = Annotated[str, Query(min_length=1, max_length=200, description="A batch.", examples=["B-12"])]


@router.get("/batches/{batch:path}/explain", tags=["batches"], responses=responses(404, 409))
async def get_explanation(
    ctx: Ctx,
    batch: Name,
    site: SiteQuery = None,
    step: StepQuery = None,
    source: SourceQuery = None,
    hour: HourQuery = None,
    gwp: GwpQuery = None,
    known_at: KnownAt = None,
) -> Explanation:
    """Where a figure of a batch comes from: postings, what the meters counted, the raw readings, and the rules in words.

    Bounded: the latest hours, the nearest meters and the first readings of each come; `is_cut` says that there is more,
    and `step`, `source` and `hour` narrow it.
    """
    row = await find_batch(ctx, batch, site)
    hour_ms = None if hour is None else to_ms(parse_time(hour, place="query: hour"))
    found = await explanations.explain(ctx, row, asked(gwp, known_at), step, source, hour_ms)
    return Explanation.model_validate(found)


@router.get("/compare", responses=responses(404, 409))
async def get_comparison(
    ctx: Ctx,
    a: BatchQuery,
    b: BatchQuery,
    site: SiteQuery = None,
    gwp: GwpQuery = None,
    known_at: KnownAt = None,
) -> ComparisonInfo:
    """Why the product footprints of two batches differ, per unit: by step and source, from activity, mix and factors.

    The effects add up to the difference. Where one has no quantity, or the units differ, whole batches are compared.
    """
    before, after = await find_batch(ctx, a, site), await find_batch(ctx, b, site)
    if before["site"] != after["site"]:
        raise ProblemError(
            409, "Not comparable", f"{a!r} was made at {before['site']}, {b!r} at {after['site']}",
            place="query: a, b", remedy="compare batches of one site",
        )  # fmt: skip
    return ComparisonInfo.model_validate(await explanations.compare_batches(ctx, before, after, asked(gwp, known_at)))
