"""YAML text as plain data with the line of every value, so that each error can say where; doubled keys are refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Location = tuple[str | int, ...]

# libyaml takes a tenth of the time, during which a running agent would poll nothing.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfigError(ValueError):
    """A configuration that cannot be used; `problems` holds one line each: place, what is wrong, what to do."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a YAML file and the line (from 1) of each value by its path of keys and positions."""

    name: str
    data: Any
    lines: dict[Location, int]

    def place(self, location: Location) -> str:
        """`file:line` of the value, or of the nearest value around it that the file really holds."""
        known: Location = ()
        for part in location:
            # A path given by a checker may name things that no file holds, such as the tag of a union.
            if (*known, part) in self.lines:
                known = (*known, part)
        return f"{self.name}:{self.lines.get(known, 1)}"


def read_yaml(path: Path) -> Document:
    """The document in `path`; raises `ConfigError` when it is absent, no YAML, or holds a key twice."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            [f"{path}: cannot be read ({error}); check the path, its rights and that it is UTF-8"]
        ) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Document:
    """The document in `text`; `name` stands for the file in errors. Raises `ConfigError`."""
    loader = _Loader(text)
    lines: dict[Location, int] = {}
    try:
        node = loader.get_single_node()
        data = None if node is None else _construct(loader, node, (), lines, name)
    except yaml.MarkedYAMLError as error:
        # libyaml finds the end of an unfinished file in the line after it.
        last = max(1, len(text.splitlines()))
        line = min(error.problem_mark.line + 1, last) if error.problem_mark else 1
        raise ConfigError([f"{name}:{line}: not readable as YAML: {error.problem}; correct this line"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{name}:1: not readable as YAML: {error}"]) from error
    finally:
        loader.dispose()
    return Document(name, data, lines)


def _construct(loader: yaml.SafeLoader, node: yaml.Node, at: Location, lines: dict[Location, int], name: str) -> Any:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, item, (*at, i), lines, name) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key in mapping:
            first = lines[*at, key]
            line = key_node.start_mark.line + 1
            raise ConfigError([f"{name}:{line}: key {key!r} stands twice (first in line {first}); remove one of them"])
        mapping[key] = _construct(loader, value_node, (*at, key), lines, name)
        lines[*at, key] = key_node.start_mark.line + 1
    return mapping
