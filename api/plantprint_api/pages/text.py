"""The words of the pages in their languages, and which language a reader gets."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal, get_args

from fastapi import Request

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
COOKIE = "plantprint_lang"


@cache
def table() -> Mapping[str, Mapping[str, str]]:
    """Every text by key and language."""
    text = resources.files("plantprint_api.pages").joinpath("strings.json").read_text("utf-8")
    found: Mapping[str, Mapping[str, str]] = json.loads(text)
    return found


@cache
def strings(language: Language) -> Mapping[str, str]:
    return {key: texts[language] for key, texts in table().items()}


@cache
def issue_texts(language: Language) -> Mapping[str, Mapping[str, str]]:
    """Message and remedy of an issue by its code, where the pages have them; English is the core's own."""
    if language == "en":
        return {}
    text = resources.files("plantprint_api.pages").joinpath("issues_zh.json").read_text("utf-8")
    found: Mapping[str, Mapping[str, str]] = json.loads(text)
    return found


def choose_language(request: Request) -> Language:
    """`?lang=`, else what was chosen before, else the first language of the browser that the pages speak."""
    for wish in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if wish in LANGUAGES:
            return wish
    for part in request.headers.get("accept-language", "").split(","):
        wish = part.partition(";")[0].strip().lower()[:2]
        if wish in LANGUAGES:
            return wish
    return "en"


def name_in(language: Language, name: Mapping[str, str], fallback: str) -> str:
    """A name of the plant model in the reader's language, else in the other, else its id."""
    return name.get(language) or next((text for text in name.values() if text), fallback)
