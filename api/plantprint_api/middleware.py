"""Around every request: what bodies may be, security headers, and counting."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plantprint_api import metrics
from plantprint_api.problems import Problem, problem_response

# No inline code or style, nothing from elsewhere, no framing: pages of a closed plant need nothing more.
CONTENT_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECURITY_HEADERS = [
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]


class Guard:
    """Refuses bodies that are not JSON or over `body_bytes_max` before anyone parses them; adds headers, measures.

    A page of another origin can make a browser post text or forms here, but JSON only if we allow it, and we never do.
    """

    def __init__(self, app: ASGIApp, *, body_bytes_max: int) -> None:
        self._app = app
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        status = 500

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *SECURITY_HEADERS]}
            await send(message)

        try:
            if scope["method"] in {"POST", "PUT", "PATCH"}:
                await self._with_body(scope, receive, send_guarded)
            else:
                await self._app(scope, receive, send_guarded)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in METHODS else "other"
            metrics.REQUESTS.labels(method, route, status).inc()
            metrics.REQUEST_S.labels(route).observe(time.perf_counter() - started_s)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_json(scope):
            await problem_response(NOT_JSON)(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._body_bytes_max:
                metrics.BODIES_REFUSED.inc()
                await problem_response(_too_large(self._body_bytes_max))(scope, receive, send)
                return
        given = False

        async def receive_given() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_given, send)


NOT_JSON = Problem(
    title="Unsupported media type",
    status=415,
    detail="the body is not declared as JSON",
    place="header: content-type",
    remedy="send content-type: application/json",
)


def _is_json(scope: Scope) -> bool:
    kinds = [value.partition(b";")[0].strip().lower() for name, value in scope["headers"] if name == b"content-type"]
    return kinds == [b"application/json"]


def _too_large(limit: int) -> Problem:
    return Problem(
        title="Too large",
        status=413,
        detail=f"the body is larger than {limit} bytes",
        place="body; setting: PLANTPRINT_HTTP_BODY_BYTES_MAX",
        remedy="send it in several requests; repeating one is harmless",
    )
