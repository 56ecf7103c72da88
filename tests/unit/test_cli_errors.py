"""The command line's errors: each class that is a user's to solve is there, and a command that ends well loads no part for it."""

import subprocess
import sys
from importlib import import_module

import pytest

from plantprint_cli import __main__ as command
from plantprint_cli.errors import USER_ERRORS, CommandError, user_errors

END = """
import sys
from plantprint_cli.__main__ import main
sys.argv = ["plantprint", "--version"]
try:
    main()
except SystemExit:
    print(sorted({"psycopg", "numpy", "plantprint.neutral", "plantprint.factors"} & set(sys.modules)))
"""


def test_every_error_of_a_user_is_found_once_its_part_is_loaded() -> None:
    classes = [getattr(import_module(module), name) for module, name in USER_ERRORS.items()]
    assert user_errors() == (CommandError, *classes)
    assert all(issubclass(one, Exception) for one in classes)


def test_a_command_loads_no_part_at_its_end() -> None:
    done = subprocess.run([sys.executable, "-c", END], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["[]"]


@pytest.mark.parametrize("error", [CommandError("write so"), ValueError("a bug")])
def test_only_a_bug_shows_its_trace(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(command, "app", fail)
    with pytest.raises(SystemExit if isinstance(error, CommandError) else ValueError) as raised:
        command.main()
    assert (capsys.readouterr().err == "plantprint: write so\n") == (raised.type is SystemExit)
