"""What a test does where a real part is missing: it is skipped with the remedy; in CI it fails."""

import os
import shutil
from typing import NoReturn

import pytest


def in_ci() -> bool:
    return os.environ.get("PLANTPRINT_CI") == "1"


def missing(problem: str) -> NoReturn:
    """Ends the test: failed in CI, which promises every part, skipped elsewhere."""
    if in_ci():
        pytest.fail(problem)
    pytest.skip(problem)


def need_program(name: str, package: str, why: str = "") -> str:
    """Path of a program of a Debian package."""
    return find_program(name) or missing(f"{name} is not installed: apt-get install {package}{why}")


def find_program(name: str) -> str | None:
    """Debian puts servers where ordinary users' PATH does not reach."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
