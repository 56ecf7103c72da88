"""The generated files as bytes by relative path, written to a folder or compared with one."""

from pathlib import Path

from plantprint_dashboards.plant_now import plant_now
from plantprint_dashboards.provisioning import READER_ROLE, boards_yaml, datasource_yaml, reader_sql

__all__ = ["READER_ROLE", "build", "check", "files"]


def files() -> dict[Path, bytes]:
    """Everything that is generated; the same bytes every time."""
    return {
        Path("dashboards/plant-now.json"): plant_now(),
        Path("provisioning/dashboards/plantprint.yaml"): boards_yaml(),
        Path("provisioning/datasources/plantprint.yaml"): datasource_yaml(),
        Path("reader.sql"): reader_sql(),
    }


def build(out: Path) -> list[Path]:
    """Writes the files under `out`, only where they differ, and returns the paths of all of them."""
    paths = []
    for name, content in files().items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
        paths.append(path)
    return paths


def check(out: Path) -> list[str]:
    """What is not as `build` would write it, one line per missing, outdated or left-over file; empty is good."""
    wanted = files()
    found = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    complaints = [f"{out / name}: missing" for name in sorted(wanted.keys() - found)]
    complaints += [f"{out / name}: nothing generates this file" for name in sorted(found - wanted.keys())]
    complaints += [
        f"{out / name}: not up to date"
        for name in sorted(wanted.keys() & found)
        if (out / name).read_bytes() != wanted[name]
    ]
    return complaints
