"""Oracle: whole hours of a plant, from the amounts of its meters to postings; a second opinion on `plantprint.account`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oracle.oracle_flows import edge_hours
from oracle.oracle_jobs import Account, UnitFacts, give
from oracle.oracle_meters import Bucket
from oracle.oracle_numbers import MEASURED
from oracle.oracle_trace import Content, Held, Row, Traced, add, trace_hour

from plantprint.plant.graph import PlantGraph
from plantprint.production import Production

Key = tuple[str, str, str, str, str, int, int]
"""Account kind and id, work unit, step, source, hour of entry, quality."""
NOTHING_HELD: Held = {}


@dataclass
class OracleHour:
    """The net postings of an hour, and what pools kept."""

    net: dict[Key, int] = field(default_factory=dict)
    stock: Held = field(default_factory=dict)

    def post(self, account: Account, row: Row, amount: int, quality: int) -> None:
        key = (account.kind, account.id, account.work_unit, account.step, *row, quality)
        self.net[key] = self.net.get(key, 0) + amount


def oracle_hour(
    graph: PlantGraph,
    production: Production,
    hour_ms: int,
    meters: Mapping[str, Sequence[Bucket]],
    stock: Mapping[str, Content],
) -> OracleHour:
    traced = trace_hour(graph, edge_hours(graph, meters), stock, hour_ms)
    hour = OracleHour(stock=traced.stock)
    for edge in graph.edges:
        if edge.taker_kind in ("export", "losses", "unmetered"):
            for row, (amount, quality) in _summed(traced.along[edge.index]).items():
                hour.post(Account(edge.taker_kind, edge.giver), row, amount, quality)
    for unit in graph.work_units:
        for posted in give(_unit_facts(graph, production, unit), _arrived(graph, traced, unit), hour_ms):
            hour.post(posted.account, posted.row, posted.amount, posted.quality)
    for held, sign in ((stock, -1), (traced.stock, 1)):
        for pool, content in held.items():
            for row, (amount, quality) in content.items():
                hour.post(Account("stock", pool), row, sign * amount, quality)
    hour.net = {key: amount for key, amount in hour.net.items() if amount}
    return hour


def _arrived(graph: PlantGraph, traced: Traced, unit: str) -> list[Content]:
    came: list[Content] = [{} for _ in range(graph.buckets)]
    for edge in graph.edges:
        if edge.taker == unit:
            for k, content in enumerate(traced.along[edge.index]):
                for row, (amount, quality) in content.items():
                    add(came[k], row, amount, quality)
    return came


def _unit_facts(graph: PlantGraph, production: Production, unit: str) -> UnitFacts:
    return UnitFacts(
        graph.work_units[unit],
        [job for job in production.jobs if job.work_unit == unit],
        [span for span in production.states if span.work_unit == unit],
        {step: node.rule for step, node in graph.steps.items()},
    )


def _summed(buckets: Sequence[Content]) -> Content:
    whole: Content = {}
    for content in buckets:
        for row, (amount, quality) in content.items():
            known, worst = whole.get(row, (0, MEASURED))
            whole[row] = (known + amount, min(worst, quality))
    return whole
