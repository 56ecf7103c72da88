r"""Where things stand in a message: paths into JSON, texts made of what was found, patterns of topics.

A path is keys and positions with dots between (`items.0.value`; a dot inside a key is written `\.`). `*` is any key or
position, `{x}` any and remembered as x, with text around it if need be (`em:{n}`). A part whose names are known by then
is looked up (`errors.{tag}`). A path that begins with `$.` counts from the whole message, others from the present item.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

NAME_CHARS_MAX = 200
_CAPTURE = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_Bound = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """One step of a path; without `pattern` a plain key or position."""

    text: str
    name: str = ""
    pattern: re.Pattern[str] | None = None

    def children(self, body: Any, bound: _Bound) -> Iterator[tuple[Any, _Bound]]:
        if self.pattern is None:
            yield from _at(body, self.text, bound)
        elif self.name in bound:
            yield from _at(body, self.text.replace(f"{{{self.name}}}", bound[self.name]), bound)
        else:
            for key, child in _items(body):
                if match := self.pattern.fullmatch(key):
                    yield child, {**bound, **match.groupdict()}


def _at(body: Any, key: str, bound: _Bound) -> Iterator[tuple[Any, _Bound]]:
    if isinstance(body, dict):
        if key in body:
            yield body[key], bound
    elif isinstance(body, list) and key.isascii() and key.isdecimal() and len(key) < 9 and int(key) < len(body):
        yield body[int(key)], bound


def _items(body: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(body, dict):
        yield from body.items()
    elif isinstance(body, list):
        yield from ((str(position), child) for position, child in enumerate(body))


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path; `whole` when it counts from the whole message."""

    text: str
    parts: tuple[Part, ...]
    whole: bool = False

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> set[str]:
        return {part.name for part in self.parts if part.name}

    @property
    def literal(self) -> bool:
        return all(part.pattern is None for part in self.parts)

    def walk(self, item: Any, body: Any, bound: _Bound) -> Iterator[tuple[Any, _Bound]]:
        """Everything that stands there, each with the names known then."""
        yield from _walk(self.parts, body if self.whole else item, bound)

    def first(self, item: Any, body: Any, bound: _Bound) -> Any:
        """What stands there first, None where nothing does."""
        return next((found for found, _ in self.walk(item, body, bound)), None)


def _walk(parts: tuple[Part, ...], body: Any, bound: _Bound) -> Iterator[tuple[Any, _Bound]]:
    if not parts:
        yield body, bound
        return
    for child, more in parts[0].children(body, bound):
        yield from _walk(parts[1:], child, more)


def parse_path(text: str) -> Path:
    """The path that `text` says; raises `ValueError`."""
    whole = text == "$" or text.startswith("$.")
    rest = text[2:] if whole else text
    parts = re.split(r"(?<!\\)\.", rest) if rest else []
    return Path(text, tuple(_part(part.replace("\\.", "."), text) for part in parts), whole)


def _part(text: str, path: str) -> Part:
    if not text:
        raise ValueError(f"path {path!r} has an empty part; write keys with one dot between them")
    if text == "*":
        return Part(text, pattern=re.compile(r"(?s:.*)"))
    names = _CAPTURE.findall(text)
    if not names:
        return Part(text)
    # One name per part: two would let a hostile key make the search long.
    if len(names) > 1 or not _NAME.fullmatch(names[0]):
        raise ValueError(f"path {path!r}: a part holds one {{name}} of small letters, digits and _")
    before, after = text.split(f"{{{names[0]}}}")
    return Part(text, names[0], re.compile(f"{re.escape(before)}(?P<{names[0]}>(?s:.+)){re.escape(after)}"))


@dataclass(frozen=True, slots=True)
class Template:
    """Text with what was found in it: `{x}` a remembered name, `{.path}` of the item, `{$.path}` of the message."""

    text: str
    # Plain text, the name of something remembered (in a tuple of one), or a path.
    pieces: tuple[str | tuple[str] | Path, ...]

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> set[str]:
        return {piece[0] for piece in self.pieces if isinstance(piece, tuple)}

    @property
    def needs_message(self) -> bool:
        return any(isinstance(piece, Path) for piece in self.pieces)

    def render(self, item: Any, body: Any, bound: _Bound) -> str | None:
        """The text, None where a part of it is absent, no plain value, or all of it too long for a name."""
        texts = [piece if isinstance(piece, str) else _text(piece, item, body, bound) for piece in self.pieces]
        full = "".join(text or "" for text in texts)
        return full if all(texts) and len(full) <= NAME_CHARS_MAX else None


def _text(piece: tuple[str] | Path, item: Any, body: Any, bound: _Bound) -> str | None:
    if isinstance(piece, tuple):
        return bound.get(piece[0])
    found = piece.first(item, body, bound)
    return str(found) if isinstance(found, (str, int, Decimal)) else None


def parse_template(text: str) -> Template:
    """The template that `text` says; raises `ValueError`."""
    pieces: list[str | tuple[str] | Path] = []
    for number, piece in enumerate(_CAPTURE.split(text)):
        if number % 2 == 0:
            pieces += [piece] if piece else []
        elif piece.startswith(("$.", ".")):
            pieces.append(parse_path(piece.removeprefix(".")))
        elif _NAME.fullmatch(piece):
            pieces.append((piece,))
        else:
            raise ValueError(f"{text!r}: write {{name}}, {{.path}} or {{$.path}}")
    return Template(text, tuple(pieces))


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """A topic with named levels: `{x}` is one level, `{x#}` one or more; `filter` is what to subscribe to."""

    text: str
    filter: str
    names: frozenset[str]
    _regex: re.Pattern[str]

    def __str__(self) -> str:
        return self.text

    def match(self, topic: str) -> dict[str, str] | None:
        """The names of a topic that fits, else None."""
        found = self._regex.fullmatch(topic)
        return found.groupdict() if found else None


def parse_topic(text: str) -> TopicPattern:
    """The pattern that `text` says; raises `ValueError`."""
    filters, regex, names = [], [], []
    for level in text.split("/"):
        name = level[1:-1].removesuffix("#") if level.startswith("{") and level.endswith("}") else ""
        if name and _NAME.fullmatch(name) and name not in names:
            many = level.endswith("#}")
            names.append(name)
            filters.append("#" if many else "+")
            regex.append(f"(?P<{name}>.+)" if many else f"(?P<{name}>[^/]+)")
        elif set("{}+#\0") & set(level):
            raise ValueError(f"topic {text!r}: a level is plain text, {{name}}, or once {{name#}} for several levels")
        else:
            filters.append(level)
            regex.append(re.escape(level))
    ends = filters.count("#")
    if ends > 1 or not any(
        level not in ("+", "#", "") for level in (filters[: filters.index("#")] if ends else filters)
    ):
        raise ValueError(f"topic {text!r}: needs a level of plain text before {{name#}}, and that only once")
    cut = filters[: filters.index("#") + 1] if ends else filters
    return TopicPattern(text, "/".join(cut), frozenset(names), re.compile("/".join(regex), re.DOTALL))


def topic_of(text: str, base: str) -> TopicPattern:
    """The pattern of a mapping's topic with `{base}` at its start replaced; an empty base takes its slash with it."""
    if not text.startswith("{base}"):
        return parse_topic(text)
    return parse_topic(base + text.removeprefix("{base}") if base else text.removeprefix("{base}/"))
