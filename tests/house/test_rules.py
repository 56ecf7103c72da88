"""House rules: sizes, opening docstrings, banned calls, documented settings, and what gets installed."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [
    ROOT / p
    for p in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "packages"
    ]
]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_is_small_and_says_in_its_first_sentence_what_it_is_for(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert ast.get_docstring(tree), f"{_name(path)}: open it with one sentence that says what it is for"
    assert source.count("\n") <= FILE_LINES_MAX, f"{_name(path)}: split it, {FILE_LINES_MAX} lines are the limit"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{_name(path)}:{node.lineno} {node.name} has {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_error_is_swallowed_in_silence(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            silent = all(isinstance(statement, ast.Pass) for statement in node.body)
            assert not (broad and silent), f"{_name(path)}:{node.lineno} swallows every error"


def test_the_import_rules_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_nothing_generic_is_importable_from_elsewhere(tmp_path: Path) -> None:
    """A distribution that owned `api` or `tests` would overwrite somebody else's, or be overwritten, without a word."""
    names = ("api", "collector", "core", "simulators", "dashboards", "cli", "tests", "deploy")
    code = f"import importlib.util as u; print([n for n in {names!r} if u.find_spec(n)])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_setting_is_documented() -> None:
    """Each PLANTPRINT_ variable that the code reads has a line in docs/settings.md."""
    from plantprint_cli.settings_doc import all_settings

    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    missing = [setting.name for setting in all_settings() if f"`{setting.name}`" not in page]
    assert not missing, f"run `plantprint doctor --settings > docs/settings.md`: missing {missing}"
