"""Device types and mappings for commands: those that ship and a folder's own, each found by its id or alike."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from plantprint_cli.errors import CommandError, need

if TYPE_CHECKING:
    from plantprint_edge.mappings import Mapping, Mappings
    from plantprint_edge.meters import Device, Library

T = TypeVar("T")


def meters_of(folder: Path | None) -> "Library":
    """All device types; raises `CommandError` where those of `folder` cannot be used."""
    need("apsw", "edge")
    from plantprint_edge.meters import SHIPPED, read_library

    return _read(folder, SHIPPED, read_library)


def mappings_of(folder: Path | None) -> "Mappings":
    """All mappings; raises `CommandError` where those of `folder` cannot be used."""
    need("apsw", "edge")
    from plantprint_edge.mappings import SHIPPED, read_mappings

    return _read(folder, SHIPPED, read_mappings)


def device_of(library: "Library", device_id: str) -> "Device":
    """Raises `CommandError` that names what is alike."""
    return library.find(device_id) or _unknown("device type", "meters", device_id, library.ids())


def mapping_of(library: "Mappings", mapping_id: str) -> "Mapping":
    """Raises `CommandError` that names what is alike."""
    return library.find(mapping_id) or _unknown("mapping", "mappings", mapping_id, library.ids())


def _read(folder: Path | None, shipped: T, read: Callable[[Path], T]) -> T:
    from plantprint_edge.yamlfile import ConfigError

    try:
        return read(folder) if folder else shipped
    except ConfigError as error:
        raise CommandError(str(error)) from error


def _unknown(what: str, command: str, wanted: str, known: Sequence[str]) -> NoReturn:
    alike = [one for one in known if wanted.lower() in one] or get_close_matches(wanted.lower(), known)
    hint = f", among them {', '.join(alike)}" if alike else ""
    raise CommandError(f"no {what} {wanted!r}; `plantprint edge {command}` lists them{hint}")
