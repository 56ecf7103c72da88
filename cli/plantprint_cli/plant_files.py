"""A plant file with the files that lie beside it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plantprint.hourly_files import SiteFiles


def read_site(path: Path) -> "SiteFiles":
    """The plant and its hourly files; raises `PlantError` with the line of everything that is wrong."""
    from plantprint.hourly_files import load_site

    return load_site(
        path.read_text(encoding="utf-8"), str(path), lambda name: (path.parent / name).read_text(encoding="utf-8")
    )
