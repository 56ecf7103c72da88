"""Every metric that a part of plantprint tells is explained in docs/operating.md with its labels, and nothing else is."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from edge_support import config
from prometheus_client import Metric

from plantprint.times import SiteClock
from plantprint_api import metrics as api
from plantprint_collector.accountant_watch import AccountantWatch
from plantprint_collector.metrics import Metrics
from plantprint_collector.store_watch import Sight, families
from plantprint_edge.agent import Agent
from plantprint_edge.status import Metrics as EdgeMetrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
ROW = re.compile(r"^\| `(plantprint_\w+)` \| ([\w, ]*)\|", re.MULTILINE)


class _Leader:
    leads: ClassVar[dict[str, bool]] = {}

    def pass_ages_s(self) -> dict[str, float]:
        return {}


def _rows() -> list[tuple[str, str]]:
    """(metric, its labels) of the page's tables of metrics."""
    _, _, tables = PAGE.read_text(encoding="utf-8").partition("\n## Metrics of ")
    return ROW.findall(tables)


def _names(metrics: Iterable[Metric]) -> Iterator[str]:
    for metric in metrics:
        yield metric.name + ("_total" if metric.type == "counter" else "")


def _told(folder: Path) -> list[str]:
    agent = Agent(config(folder), SiteClock())
    store_up = "plantprint_store_up"  # told by the watch itself, whatever it sees
    return [
        store_up,
        *_names(Metrics().registry.collect()),
        *_names(families(Sight(), 1)),
        *_names(AccountantWatch(_Leader(), 1).collect()),
        *_names(api.REGISTRY.collect()),
        *_names(EdgeMetrics(agent.snapshot).collect()),
    ]


def test_every_metric_is_documented_and_every_documented_one_exists(tmp_path: Path) -> None:
    documented = [name for name, _ in _rows()]
    assert sorted(documented) == sorted(_told(tmp_path))


def test_labels_are_few_and_none_is_somebody_s_text() -> None:
    """Only agents and sites are many, and those are bounded by a setting."""
    labels = {label for _, names in _rows() for label in names.split(", ")}
    bounded = {"lane", "reason", "kind", "acknowledged", "status", "outcome", "part", "table"}
    assert {label.strip() for label in labels} - {""} == bounded | {"site", "agent", "source", "method", "route"}
    for family in Metrics().registry.collect():
        assert all(set(sample.labels) <= bounded | {"le"} for sample in family.samples)
