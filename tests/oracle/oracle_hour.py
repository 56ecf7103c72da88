"""Oracle: whole hours of a plant, from all its facts to postings; a second opinion on `plantprint.account`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oracle.oracle_flows import edge_hours
from oracle.oracle_jobs import Account, give
from oracle.oracle_meters import Bucket
from oracle.oracle_trace import Content, Row, Stock, add, trace_hour
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production

Key = tuple[str, str, str, str, str, int, int]
"""Account kind and id, work unit, step, source, hour of entry, quality."""


@dataclass
class OracleHour:
    """The net postings of an hour, and what pools kept."""

    net: dict[Key, int] = field(default_factory=dict)
    stock: Stock = field(default_factory=dict)

    def post(self, account: Account, row: Row, amount: int) -> None:
        key = (account.kind, account.id, account.work_unit, account.step, *row)
        self.net[key] = self.net.get(key, 0) + amount


def oracle_hour(
    graph: PlantGraph,
    production: Production,
    hour_ms: int,
    meters: Mapping[str, Sequence[Bucket]],
    stock: Mapping[str, Content],
) -> OracleHour:
    flows = edge_hours(graph, meters)
    traced = trace_hour(graph, flows, stock, hour_ms)
    hour = OracleHour(stock=traced.stock)
    came: dict[str, list[Content]] = {unit: [{} for _ in range(graph.buckets)] for unit in graph.work_units}
    for edge in graph.edges:
        for k, content in enumerate(traced.along[edge.index]):
            for row, amount in content.items():
                if edge.taker_kind == "work_unit":
                    add(came[edge.taker][k], row, amount)
                elif edge.taker_kind in ("export", "losses", "unmetered"):
                    hour.post(Account(edge.taker_kind, edge.giver), row, amount)
    rules = {step: node.rule for step, node in graph.steps.items()}
    for unit in sorted(came):
        for (account, row), amount in give(unit, came[unit], production.jobs, production.states, rules, hour_ms).items():
            hour.post(account, row, amount)
    for held, sign in ((stock, -1), (traced.stock, 1)):
        for pool, content in held.items():
            for row, amount in content.items():
                hour.post(Account("stock", pool), row, sign * amount)
    hour.net = {key: amount for key, amount in hour.net.items() if amount}
    return hour
