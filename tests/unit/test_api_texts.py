"""The pages' words: every key in both languages, every key used, and nothing used that is not there."""

import re
from pathlib import Path

import pytest
from starlette.requests import Request

from plantprint_api import pages
from plantprint_api.pages.text import LANGUAGES, choose_language, issue_texts, name_in, table

FOLDER = Path(pages.__file__).parent
SOURCES = [*FOLDER.glob("*.py"), *FOLDER.glob("templates/*.html"), *FOLDER.glob("static/*.js")]
_LITERAL = re.compile(r"""\bt\(\s*["'`]([a-z_.]+)["'](?!\s*~)""")
_CHOICE = re.compile(r"""\bt\(\s*[^)"'`]*\?\s*"([a-z_.]+)"\s*:\s*"([a-z_.]+)\"""")
_PREFIX = re.compile(r"""\bt\(\s*(?:["']([a-z_]+\.)["']\s*~|`([a-z_]+\.)\$\{|f"([a-z_]+\.)\{)""")


def _used() -> tuple[set[str], set[str]]:
    """Keys named in full, and beginnings of keys that are put together while running."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    keys = set(_LITERAL.findall(text)) | {key for pair in _CHOICE.findall(text) for key in pair}
    keys |= set(re.findall(r"""["']((?:time)\.[a-z]+)["']""", text))
    return keys, {next(filter(None, found)) for found in _PREFIX.findall(text)}


@pytest.mark.parametrize("key", sorted(table()))
def test_a_text_exists_in_every_language_with_the_same_values(key: str) -> None:
    texts = table()[key]
    assert set(texts) == set(LANGUAGES)
    assert all(text.strip() for text in texts.values())
    values = [set(re.findall(r"\{(\w+)\}", text)) for text in texts.values()]
    assert values[0] == values[1]


def test_every_used_key_exists_and_every_key_is_used() -> None:
    keys, prefixes = _used()
    assert keys, "the patterns found nothing, so this test would prove nothing"
    assert keys <= set(table())
    unused = {key for key in set(table()) - keys if not any(key.startswith(prefix) for prefix in prefixes)}
    assert not unused


def test_every_translated_issue_is_one_that_the_core_or_the_collector_tells() -> None:
    root = FOLDER.parents[2]
    told = "".join(
        path.read_text(encoding="utf-8") for leaf in ("core", "collector") for path in (root / leaf).rglob("*.py")
    )
    texts = issue_texts("zh")
    assert len(texts) > 30
    assert {code for code in texts if f'"{code}"' not in told} == set()
    assert all(set(text) == {"message", "remedy"} and all(text.values()) for text in texts.values())


def _request(query: str = "", accept: str = "", cookie: str = "") -> Request:
    headers = [(b"accept-language", accept.encode()), (b"cookie", cookie.encode())]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": headers})


@pytest.mark.parametrize(
    ("query", "cookie", "accept", "language"),
    [
        ("lang=zh", "plantprint_lang=en", "en", "zh"),
        ("", "plantprint_lang=zh", "en", "zh"),
        ("lang=tlh", "", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "", "de-DE,en;q=0.5", "en"),
        ("", "", "fr", "en"),
    ],
)
def test_a_reader_gets_the_language_asked_for(query: str, cookie: str, accept: str, language: str) -> None:
    assert choose_language(_request(query, accept, cookie)) == language


def test_a_name_falls_back_to_the_other_language_and_then_to_the_id() -> None:
    assert name_in("zh", {"en": "Dyeing", "zh": "染色"}, "dyeing") == "染色"
    assert name_in("zh", {"en": "Dyeing", "zh": ""}, "dyeing") == "Dyeing"
    assert name_in("en", {}, "dyeing") == "dyeing"
