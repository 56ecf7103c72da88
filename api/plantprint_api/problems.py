"""Errors as problem documents (RFC 9457) that say the place and the remedy."""

import re
from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong, where, and what to do about it."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not found",
                    "status": 404,
                    "detail": "there is no batch 'B-12' at site 'dyehouse'",
                    "place": "path: batch",
                    "remedy": "list the batches with GET /v1/batches",
                }
            ]
        },
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    place: str = Field(description="the parameter, field or part of the service that the problem is about")
    remedy: str = Field(description="what makes it go away")


class ProblemError(Exception):
    """A problem that the caller is told; anything else that is raised is a bug and answers 500."""

    def __init__(
        self, status: int, title: str, detail: str, *, place: str, remedy: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(title=title, status=status, detail=detail, place=place, remedy=remedy)
        self.headers = dict(headers or {})


def not_found(what: str, name: str, *, site: str | None, remedy: str) -> ProblemError:
    where = f" at site {site!r}" if site else ""
    detail = f"there is no {what} {name!r}{where}"
    return ProblemError(404, "Not found", detail, place=f"path: {what}", remedy=remedy)


def invalid(detail: str, *, place: str, remedy: str) -> ProblemError:
    return ProblemError(422, "Invalid request", detail, place=place, remedy=remedy)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    content = problem.model_dump(mode="json")
    return JSONResponse(content, problem.status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documentation of problem answers for a route."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in (*statuses, 422, 503)
    }


_TITLES = {
    404: "Not found",
    405: "Method not allowed",
    409: "Ambiguous or conflicting",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid request",
    500: "Internal error",
    503: "Not available now",
}
_RETRY = {"Retry-After": "2"}
EXPECTED = (PoolTimeout, psycopg.DataError, psycopg.OperationalError, psycopg.errors.UndefinedTable)
"""Errors of the database that are answered, not reported as bugs."""


def install(app: FastAPI) -> None:
    """Makes every error of `app` a problem document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(PoolTimeout, _on_database)
    app.add_exception_handler(psycopg.Error, _on_database)
    app.add_exception_handler(Exception, _on_bug)


def _on_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return problem_response(error.problem, error.headers)


def _on_validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where, *path = (str(part) for part in first["loc"])
    found = invalid(
        first["msg"], place=f"{where}: {'.'.join(path)}", remedy="see the parameter's description in /openapi.json"
    )
    found.problem.__pydantic_extra__ = {
        "errors": [{"place": ".".join(str(part) for part in e["loc"]), "detail": e["msg"]} for e in error.errors()[:20]]
    }
    return problem_response(found.problem)


def http_problem(request: Request, error: HTTPException) -> Problem:
    """What the framework found wrong, before a route had a say."""
    status = error.status_code
    if status == 400:  # the framework's word for a body that it could not decode
        return invalid(
            "the body is not JSON in UTF-8", place="body", remedy="see the request's schema in /openapi.json"
        ).problem
    return Problem(
        title=_TITLES.get(status, error.detail),
        status=status,
        detail=f"{request.method} {request.url.path}: {error.detail}",
        place="request line",
        remedy="the routes and their methods are in /openapi.json",
    )


def _on_database(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, EXPECTED):
        return _on_bug(request, error)
    problem = database_problem(error)
    if problem.status == 503:
        log.warning("the database refused a request", path=request.url.path, error=_first_line(error))
    return problem_response(problem, _RETRY if problem.status == 503 else None)


def database_problem(error: Exception) -> Problem:
    """What the caller is told about a value the database cannot hold, a query cut off, or a database away."""
    if isinstance(error, psycopg.DataError):
        return Problem(
            title=_TITLES[422],
            status=422,
            detail=_first_line(error),
            place="a value in the request",
            remedy="use values that the database can hold: no NUL characters, numbers and times in range",
        )
    if isinstance(error, psycopg.errors.UndefinedTable):
        detail, remedy = "the database has no plantprint schema", "run `plantprint migrate`"
    elif isinstance(error, psycopg.errors.QueryCanceled):
        detail, remedy = "the query took longer than its limit", "narrow it: one site, a shorter time, a smaller limit"
    else:
        detail, remedy = "the database does not answer", "try again; if it stays so, see /readyz and the database's log"
    return Problem(title=_TITLES[503], status=503, detail=detail, place="database", remedy=remedy)


def _on_bug(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    problem = Problem(
        title=_TITLES[500],
        status=500,
        detail="the service made an error; nothing of this request was stored",
        place="service",
        remedy="report it with the log lines of this time",
    )
    return problem_response(problem)


def _first_line(error: Exception) -> str:
    """The message without anything that looks like a password in a connection string."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"(//[^:/@\s]+):[^@\s]+@", r"\1:***@", re.sub(r"password=\S+", "password=***", line))
