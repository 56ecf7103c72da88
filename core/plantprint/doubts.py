"""What pools and stores keep from an hour whose facts contradict each other, until it has gone out again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from plantprint.contradictions import Doubt, downstream
from plantprint.facts import Issue
from plantprint.plant.graph import PlantGraph
from plantprint.sharing import StockLayer
from plantprint.stores import Layers
from plantprint.times import format_instant


class Held(NamedTuple):
    """What pools and stores hold at an hour's edge."""

    stock: Mapping[str, tuple[StockLayer, ...]]
    stores: Mapping[str, Layers]

    def kept(self, node: str, stored_ms: int) -> int | None:
        """How much a node has of what came into it in an hour, in millionths; None where it has nothing of that.

        A pool and a mixed store tell no hours apart: of those it is all that they hold.
        """
        if node in self.stock:
            return sum(abs(amount) for *_, amount in self.stock[node])
        layers = self.stores.get(node, ())
        found = [
            layer.level for layer in layers if layer.stored_ms in (0, stored_ms) and (layer.level or layer.content)
        ]
        return sum(found) if found else None

    def is_next(self, node: str, stored_ms: int) -> bool:
        """Whether nothing that came in before that hour is left, which goes out first."""
        return all(layer.stored_ms >= stored_ms or not layer.stored_ms for layer in self.stores.get(node, ()))


@dataclass(frozen=True, slots=True)
class Doubts:
    """By pool or store the contradictions behind what it holds, each at the hour in which that came in."""

    by_node: Mapping[str, tuple[Issue, ...]]

    def given_out(self, graph: PlantGraph, before: Held, after: Held, hour_ms: int) -> list[Doubt]:
        """The contradictions behind what goes out in an hour, with all that it comes to."""
        found: list[Doubt] = []
        for node, issues in self.by_node.items():
            for issue in issues:
                if _went_out(graph, node, issue.at_ms, before, after):
                    message = f"{issue.message} (it shares what {node} kept at {format_instant(issue.at_ms)})"
                    told = replace(issue, message=message, at_ms=hour_ms, contradicts=True)
                    # A store doubts no layer but the one that it was; it comes to itself only by a way back.
                    ahead = {edge.taker for edge in graph.outflows.get(node, ())} if node in graph.stores else {node}
                    found.append(Doubt(told, downstream(graph, ahead), issue))
        return found

    def after(self, doubts: Sequence[Doubt], held: Held, hour_ms: int) -> "Doubts":
        """What of it stays, with what an hour's doubts leave behind."""
        if not self.by_node and not doubts:
            return self
        found: dict[str, dict[tuple[str, str, int], Issue]] = {}

        def keep(node: str, issues: Iterable[Issue]) -> None:
            known = found.setdefault(node, {})
            for issue in issues:
                if held.kept(node, issue.at_ms) is not None:
                    told_ms = issue.at_ms if node in held.stores else 0
                    known.setdefault((issue.code, issue.place, told_ms), issue)

        for node, issues in self.by_node.items():
            keep(node, issues)
        for doubt in doubts:
            for node in doubt.nodes & (held.stock.keys() | held.stores.keys()):
                keep(node, [replace(doubt.first or doubt.issue, at_ms=hour_ms)])
        return Doubts({node: tuple(sorted(known.values())) for node, known in sorted(found.items()) if known})

    def to_json(self) -> dict[str, Any]:
        return {
            node: [[one.code, one.place, one.message, one.remedy, one.at_ms] for one in issues]
            for node, issues in self.by_node.items()
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> "Doubts":
        return Doubts({node: tuple(Issue(*one) for one in issues) for node, issues in body.items()})


def _went_out(graph: PlantGraph, node: str, stored_ms: int, before: Held, after: Held) -> bool:
    """Whether anything is gone of what a node had of an hour. A pool's new stock makes no difference to its old."""
    if node in before.stock:
        rest = {layer[:3]: layer[3] for layer in after.stock.get(node, ())}
        return any(rest.get(layer[:3], 0) != layer[3] for layer in before.stock[node])
    was, left = before.kept(node, stored_ms), after.kept(node, stored_ms)
    is_mixed = node in graph.stores and graph.stores[node].kind == "mixed"
    return was is not None and (left is None or is_mixed or (left < was and after.is_next(node, stored_ms)))


NO_DOUBTS = Doubts({})
