"""docs/edge-faults.md names every known fault, and no test that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/edge-faults.md").read_text("utf-8")
ROWS = [
    line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| #", "| ---", "| fault"))
]


def test_each_test_that_the_page_names_is_there() -> None:
    there = {
        name
        for path in (ROOT / "tests").glob("*/test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert len(ROWS) > 35
    for row in ROWS:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, f"no test is named: {row}"
        assert not set(named) - there, f"no such test: {sorted(set(named) - there)}"


def test_the_twenty_faults_of_real_meters_have_a_row_each() -> None:
    numbers = sorted(int(match[1]) for row in ROWS if (match := re.match(r"\| (\d+) \|", row)))
    assert numbers == list(range(1, 21))
