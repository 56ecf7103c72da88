"""How a page is rendered: templates, static files under addresses of their content, problems as pages too."""

import hashlib
from collections.abc import Callable, Coroutine
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from plantprint import __version__
from plantprint_api.database import Row
from plantprint_api.pages.text import COOKIE, LANGUAGES, Language, choose_language, name_in
from plantprint_api.pages.view import View, budget_bar, zone
from plantprint_api.problems import EXPECTED, Problem, ProblemError, database_problem, http_problem, problem_response

FOLDER = resources.files("plantprint_api.pages")
YEAR_S = 31_536_000
LANGUAGE_NAMES = {"en": "English", "zh": "中文"}


class PageRoute(APIRoute):
    """Shows problems as pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except ProblemError as error:
                return problem_page(request, error.problem)
            except EXPECTED as error:
                return problem_page(request, database_problem(error))

        return handler


async def on_http(request: Request, error: Exception) -> Response:
    """An address that there is not, as a page to who asks for pages, as a problem document to everybody else."""
    assert isinstance(error, HTTPException)
    problem = http_problem(request, error)
    if error.status_code == HTTPStatus.NOT_FOUND and "text/html" in request.headers.get("accept", ""):
        return problem_page(request, problem)
    return problem_response(problem, error.headers)


def page(
    request: Request, template: str, view: View, site: Row | None, *, keep_language: bool = True, **values: Any
) -> Response:
    """A template with what every page needs; a language in the address is kept as the reader's choice, or not."""
    text = _templates().get_template(template).render(
        v=view,
        t=view.t,
        site=site,
        site_name=name_in(view.language, site["name"], site["site"]) if site else "",
        static=static_url,
        page_path=request.url.path,
        budget_bar=budget_bar,
        version=__version__,
        languages=[(code, LANGUAGE_NAMES[code], _here(request, lang=code)) for code in LANGUAGES],
        here=lambda **changes: _here(request, **changes),
        **values,
    )  # fmt: skip
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie", "Content-Language": view.language}
    response = HTMLResponse(text, headers=headers)
    if keep_language and request.query_params.get("lang") in LANGUAGES:
        response.set_cookie(COOKIE, view.language, max_age=YEAR_S, samesite="lax", httponly=True)
    return response


def _here(request: Request, **changes: str) -> str:
    """The same page with other query parameters, as a path on this origin."""
    url = request.url.include_query_params(**changes)
    return f"{url.path}?{url.query}"


def problem_page(request: Request, problem: Problem) -> Response:
    language: Language = choose_language(request)
    view = View(language, None, zone("UTC"))
    response = page(request, "problem.html", view, None, problem=problem)
    response.status_code = problem.status
    return response


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("plantprint_api.pages", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.ChainableUndefined,  # a field that a live row lacks is unknown, not an error
    )


@cache
def static_url(path: str) -> str:
    """The address of a static file, which changes with its content, so that no browser keeps an old one."""
    content = FOLDER.joinpath("static", path).read_bytes()
    return f"/static/{path}?v={hashlib.sha256(content).hexdigest()[:10]}"
