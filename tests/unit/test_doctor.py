"""What `plantprint doctor` says of a machine, in words and as JSON."""

import json

from typer.testing import CliRunner

from plantprint import __version__
from plantprint_cli.__main__ import app

RUN = CliRunner()


def test_both_forms_say_the_same() -> None:
    found = json.loads(RUN.invoke(app, ["doctor", "--json"]).output)
    words = RUN.invoke(app, ["doctor"]).output
    assert found["plantprint"] == __version__
    assert f"plantprint {__version__}, python {found['python']}" in words
    for packages in found["parts"].values():
        for package, version in packages.items():
            assert f"{package} {version or 'not installed'}" in words
    for program, path in found["programs"].items():
        assert f"{program}: {path or 'not found'} (" in words
