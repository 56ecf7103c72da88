"""What to do about a key that a file's schema does not know: the one that was meant, if one is alike."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


def keys_of(schema: Mapping[str, Any]) -> set[str]:
    """Every key that a JSON schema knows, wherever it may stand."""
    return {key for model in (schema, *schema.get("$defs", {}).values()) for key in model.get("properties", ())}


def remedy(key: str, known: Iterable[str]) -> str:
    """The advice about a key that is not known where it stands."""
    others = set(known)
    if key in others:
        return "it belongs elsewhere: move it or remove it"
    close = get_close_matches(key, sorted(others), n=1)
    return f"did you mean {close[0]!r}? Otherwise remove it" if close else "remove it or correct its spelling"
