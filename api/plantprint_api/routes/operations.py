"""GET /healthz, /readyz and /metrics: for those who run the service."""

import psycopg
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolTimeout

from plantprint import __version__
from plantprint_api import metrics
from plantprint_api import responses as r
from plantprint_api.context import Context, Ctx
from plantprint_api.database import SCHEMA_VERSION_MIN

router = APIRouter(tags=["operations"])
NO_STORE = {"Cache-Control": "no-store"}


@router.get("/healthz")
async def healthz() -> r.Health:
    """The process is up. Says nothing about the database."""
    return r.Health(version=__version__)


@router.get("/readyz", response_model=r.Readiness, responses={503: {"model": r.Readiness, "description": "Not ready"}})
async def readyz(ctx: Ctx) -> Response:
    """Ready to serve: the database answers, its schema is there, and an accountant keeps the live picture fresh."""
    checks = {**await _database_checks(ctx), "accountant": _accountant_check(ctx)}
    ready = all(check.ok for check in checks.values())
    answer = r.Readiness(ready=ready, checks=checks)
    return JSONResponse(answer.model_dump(), 200 if ready else 503, NO_STORE)


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def get_metrics() -> Response:
    """Counters of this process in the Prometheus text format."""
    return Response(generate_latest(metrics.REGISTRY), headers={**NO_STORE, "Content-Type": CONTENT_TYPE_LATEST})


async def _database_checks(ctx: Context) -> dict[str, r.Check]:
    try:
        row = await ctx.database.find("ping")
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
        missing = r.Check(ok=False, detail="tables are missing: run `plantprint migrate`")
        return {"database": r.Check(ok=True), "schema": missing}
    except (PoolTimeout, psycopg.Error) as error:
        lost = r.Check(ok=False, detail=f"the database does not answer ({type(error).__name__}): see its log")
        return {"database": lost, "schema": r.Check(ok=False, detail="unknown while the database does not answer")}
    version = (row or {}).get("schema_version") or 0
    fits = version >= SCHEMA_VERSION_MIN
    detail = (
        f"version {version}" if fits else f"version {version}, {SCHEMA_VERSION_MIN} is needed: run `plantprint migrate`"
    )
    return {"database": r.Check(ok=True), "schema": r.Check(ok=fits, detail=detail)}


def _accountant_check(ctx: Context) -> r.Check:
    ages_s = ctx.hub.plant_ages_s()
    limit_s = ctx.settings.accountant_stale_s
    if not ages_s:
        return r.Check(ok=False, detail="no live picture yet: is the collector running, with a plant model applied?")
    ages = ", ".join(f"{site} {age_s:.1f} s" for site, age_s in sorted(ages_s.items()))
    if min(ages_s.values()) > limit_s:
        return r.Check(ok=False, detail=f"live picture unchanged for {ages} (limit {limit_s:g} s): see the collector")
    return r.Check(ok=True, detail=f"live picture changed {ages} ago")
