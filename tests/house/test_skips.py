"""No test is skipped in silence: a part that CI promises goes through `parts.missing`, every other skip is named here."""

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
WAYS = {"skip", "skipif", "importorskip"}
# What a machine may lack even in CI: an ordinary account or root, systemd, kubectl; and what one database tier has not.
ALLOWED = {
    "conftest.py": 1,
    "integration/test_run_command.py": 1,
    "integration/test_migrate.py": 2,
    "integration/test_old_days.py": 1,
    "unit/test_embedded_children.py": 1,
    "unit/test_instance.py": 2,
    "unit/test_edge_systemd.py": 1,
    "house/test_k8s.py": 1,
}


def _skips(path: Path) -> int:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return sum(
        isinstance(node, ast.Attribute)
        and node.attr in WAYS
        and ast.unparse(node.value) in ("pytest", "pytest.mark", "unittest")
        for node in nodes
    )


def test_a_missing_part_is_told_by_the_one_helper_that_fails_in_ci() -> None:
    found = Counter({str(path.relative_to(TESTS)): _skips(path) for path in TESTS.rglob("*.py")})
    assert found.pop("parts.py") == 1
    assert {name: number for name, number in found.items() if number} == ALLOWED
