"""Prints how many tests ran on each database tier and fails when one falls below its committed minimum."""

import json
import sys
from pathlib import Path

MINIMUM = Path(__file__).with_name("tier-minimum.json")
PASSES = {
    "PostgreSQL 18 (wheel)": ("wheel.json", "native"),
    "PostgreSQL 15 (Debian)": ("apt.json", "native"),
    "TimescaleDB (npm)": ("wheel.json", "tsl"),
}


def main(folder: Path) -> int:
    minimum: dict[str, int] = json.loads(MINIMUM.read_text(encoding="utf-8"))
    failed = False
    for tier, (file, kind) in PASSES.items():
        count = json.loads((folder / file).read_text(encoding="utf-8")).get(kind, 0)
        short = count < minimum[tier]
        failed |= short
        print(f"{tier}: {count} tests, at least {minimum[tier]} wanted{'  TOO FEW' if short else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
