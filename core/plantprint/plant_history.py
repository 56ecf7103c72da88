"""The versions of a plant: which one is in force at an instant."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from plantprint.plant.graph import Place, PlantGraph

_BEGINNING_MS = -(2**62)


class PlantHistory:
    """Plants by the instant from which they hold; the first one holds before it too.

    `versions` are (effective from in ms, None for the beginning; plant), in the order in which they take over; of several
    from one instant the last counts.
    """

    __slots__ = ("_since", "graphs")

    def __init__(self, versions: Iterable[tuple[int | None, PlantGraph]]) -> None:
        known = {_BEGINNING_MS if at_ms is None else at_ms: graph for at_ms, graph in versions}
        self._since = sorted(known)
        self.graphs: Sequence[PlantGraph] = tuple(known[at_ms] for at_ms in self._since)

    @classmethod
    def of(cls, plant: "PlantGraph | PlantHistory") -> "PlantHistory":
        """A plant that has always been what it is."""
        return plant if isinstance(plant, PlantHistory) else cls([(None, plant)])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlantHistory):
            return NotImplemented
        return (self._since, self.graphs) == (other._since, other.graphs)

    def __hash__(self) -> int:
        return hash((*self._since, *self.graphs))

    def at(self, t_ms: int) -> PlantGraph:
        """The plant in force."""
        return self.graphs[max(bisect_right(self._since, t_ms) - 1, 0)]

    def during(self, from_ms: int, to_ms: int | None) -> list[tuple[int, PlantGraph]]:
        """The plant in force at `from_ms`, and those that take over before `to_ms` (None: ever), each with the instant."""
        first = max(bisect_right(self._since, from_ms), 1)
        behind = len(self._since) if to_ms is None else max(first, bisect_left(self._since, to_ms))
        later = zip(self._since[first:behind], self.graphs[first:behind], strict=True)
        return [(from_ms, self.at(from_ms)), *later]

    def place(self, work_unit: str) -> Place | None:
        """A work unit as any version has it."""
        return next((found for graph in self.graphs if (found := graph.work_units.get(work_unit)) is not None), None)
