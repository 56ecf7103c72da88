"""Reading `plant.yaml`: every error with its line, its path and what to do, duplicate keys included."""

import reprlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from plantprint.plant.check import ModelIssue, PlantError, check_plant
from plantprint.plant.model import Plant
from plantprint.spelling import keys_of, remedy

_Path = tuple[int | str, ...]

_REMEDIES = {
    "missing": "add it",
    "string_pattern_mismatch": "ids have a-z, 0-9, `-`, `_`, `.`; channels are agent/name; amounts name meters",
    "string_type": "put the text in quotes if YAML took it for a number, a date or a yes/no",
    "timezone_aware": "write the time with an offset, as in 2026-11-24T08:00:00Z",
}

_SEE_SCHEMA = "see the schema: plantprint model schema"


class Inspection(NamedTuple):
    """A plant if the text holds a usable one, and every error and warning found, in order of lines."""

    plant: Plant | None
    issues: tuple[ModelIssue, ...]


def load_plant(text: str, place: str) -> Plant:
    """The plant that a YAML text declares; raises `PlantError` with all its errors (warnings: see `inspect_plant`).

    `place` names the text in messages, as a path does.
    """
    plant, issues = inspect_plant(text)
    if plant is None:
        raise PlantError((issue for issue in issues if issue.severity == "error"), place)
    return plant


def inspect_plant(text: str, check: Callable[[Plant], Iterable[ModelIssue]] | None = None) -> Inspection:
    """Everything that can be said about a YAML text as a plant, and what `check` adds to it; never raises."""
    document = _Document(text)
    plant = None
    if document.is_readable:
        try:
            plant = Plant.model_validate(document.body)
        except ValidationError as error:
            document.report(model_issues(error))
        else:
            document.report(check_plant(plant))
            document.report(() if check is None else check(plant))
    issues = tuple(sorted(document.issues))
    usable = all(issue.severity != "error" for issue in issues)
    return Inspection(plant if usable else None, issues)


def plant_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `plant.yaml`, for editors."""
    schema = Plant.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "plantprint plant model"}


class _Document:
    """A YAML text as plain values in `body`, with the line of every path and the issues found so far."""

    def __init__(self, text: str) -> None:
        self.body: Any = None
        self.is_readable = True
        self.issues: list[ModelIssue] = []
        self._lines: dict[_Path, int] = {(): 1}
        try:
            loader = _Loader(text)
            root = loader.get_single_node()
            self.body = None if root is None else self._value(loader, root, ())
        except (yaml.YAMLError, RecursionError) as error:
            self._give_up(error, text)

    def report(self, issues: Iterable[ModelIssue]) -> None:
        """Adds issues, each at the line of its path or of the nearest part above it."""
        for issue in issues:
            path: _Path = tuple(int(part) if part.isdecimal() else part for part in issue.path.split("."))
            while path not in self._lines:
                path = path[:-1]
            self.issues.append(replace(issue, line=self._lines[path]))

    def _give_up(self, error: Exception, text: str) -> None:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        self.issues.append(ModelIssue(line, "", f"this is not YAML: {problem}", "correct the text at this line"))
        self.is_readable = False

    def _value(self, loader: "_Loader", node: yaml.Node, path: _Path) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            return loader.construct_object(node)
        except ValueError as error:  # a date such as 2026-02-30
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error

    def _mapping(self, loader: "_Loader", node: yaml.MappingNode, path: _Path) -> dict[Hashable, Any]:
        body: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else f"line {line}"
            here = (*path, key)
            if key in body:
                first = self._lines[here]
                message = f"{key!r} is given twice, first at line {first}"
                self.issues.append(ModelIssue(line, _dotted(here), message, "keep one of them"))
                continue
            self._lines[here] = line
            body[key] = self._value(loader, value_node, here)
        return body


class _Loader(yaml.SafeLoader):
    """Plain values only: no aliases (they could unfold without end), and decimals keep their digits."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not supported", mark)
        return super().compose_node(parent, index)


def _construct_decimal(loader: _Loader, node: yaml.ScalarNode) -> Decimal | float:
    try:
        return Decimal(node.value.replace("_", ""))
    except InvalidOperation:
        return loader.construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_decimal)


def model_issues(
    error: ValidationError, keys: Iterable[str] = (), otherwise: str = _SEE_SCHEMA
) -> Iterable[ModelIssue]:
    """What pydantic found, in words with a remedy each; `keys` are known besides those of a plant file."""
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and detail["input"]:
            continue  # it has items, but each has an error of its own
        yield ModelIssue(0, _dotted(detail["loc"]), _what(detail), _remedy(detail, keys, otherwise))


def _what(detail: ErrorDetails) -> str:
    name = detail["loc"][-1] if detail["loc"] else "the file"
    if detail["type"] == "missing":
        return f"{name!r} is missing"
    if detail["type"] == "extra_forbidden":
        return f"{name!r} is not known here"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    message = detail["msg"][0].lower() + detail["msg"][1:]
    if detail["type"] == "json_invalid" or isinstance(detail["input"], Mapping | list):
        return message
    return f"{message}, not {reprlib.repr(detail['input'])}"


def _remedy(detail: ErrorDetails, keys: Iterable[str], otherwise: str) -> str:
    if detail["type"] != "extra_forbidden":
        return _REMEDIES.get(detail["type"], otherwise)
    return remedy(str(detail["loc"][-1]), {*keys_of(Plant.model_json_schema(by_alias=True)), *keys})


def _dotted(path: _Path) -> str:
    return ".".join(str(part) for part in path)
