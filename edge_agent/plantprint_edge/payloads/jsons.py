"""JSON of devices with exact decimals: no key twice, no NaN, no depth or number that could do harm."""

import json
from decimal import Decimal
from typing import Any, NoReturn

from plantprint_edge.payloads import NO_LIMITS_GIVEN, Limits, PayloadError


def parse_json(payload: bytes, limits: Limits = NO_LIMITS_GIVEN) -> Any:
    """The body of a payload; raises `PayloadError`."""
    limits.check_size(payload)
    try:
        body = json.loads(payload, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_without_doubles)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise PayloadError(f"not readable as JSON: {str(error)[:200]}") from error
    if payload.count(b"[") + payload.count(b"{") > limits.depth_max:
        _check_depth(body, limits.depth_max)
    return body


def _no_constant(name: str) -> NoReturn:
    raise PayloadError(f"{name} is no JSON")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) < len(pairs):
        raise PayloadError("a key stands twice in one object")
    return body


def _check_depth(body: Any, depth_max: int) -> None:
    level = [body]
    for _ in range(depth_max):
        level = [child for item in level for child in _children(item) if isinstance(child, (dict, list))]
        if not level:
            return
    raise PayloadError(f"nested more than {depth_max} levels deep")


def _children(item: Any) -> list[Any]:
    return list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []
