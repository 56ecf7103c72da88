"""What a plant file's flows may name, and the form in which everything wrong with the file is told."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from plantprint.plant.model import Flow, Meter, Plant, Pool, Store


@dataclass(frozen=True, slots=True, order=True)
class ModelIssue:
    """Something wrong in a plant file; `line` counts from 1 (0: unknown), `path` is like `meters.3.unit`."""

    line: int
    path: str
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"


def error(path: str, message: str, remedy: str) -> ModelIssue:
    return ModelIssue(0, path, message, remedy)


def warning(path: str, message: str, remedy: str) -> ModelIssue:
    return ModelIssue(0, path, message, remedy, "warning")


@dataclass(frozen=True)
class Nodes:
    """What flows may name, and the plant they are in; of an id used twice the first counts."""

    units: Mapping[str, str]  # of what each source, pool and store gives
    sources: AbstractSet[str]
    pools: Mapping[str, Pool]
    stores: Mapping[str, Store]
    work_units: Mapping[str, str]  # id -> path
    meters: Mapping[str, Meter]
    plant: Plant

    @classmethod
    def of(cls, plant: Plant) -> "Nodes":
        return cls(
            units={store.id: store.unit for store in plant.stores}
            | {pool.id: pool.unit for pool in plant.pools}
            | {source.id: source.unit for source in plant.sources},
            sources={source.id for source in plant.sources},
            pools={pool.id: pool for pool in plant.pools},
            stores={store.id: store for store in plant.stores},
            work_units={
                unit.id: f"work_centers.{c}.work_units.{u}"
                for c, center in enumerate(plant.work_centers)
                for u, unit in enumerate(center.work_units)
            },
            meters={meter.id: meter for meter in plant.meters},
            plant=plant,
        )

    def unit_of(self, flow: Flow) -> str | None:
        """The unit in which a flow counts: its product's, where its giver has several."""
        pool = self.pools.get(flow.giver)
        product = pool.product(flow.product) if pool is not None else None
        return self.units.get(flow.giver) if product is None else product.unit

    def rest_givers(self) -> set[str]:
        return {flow.giver for flow in self.plant.flows if flow.amount.split() == ["rest"]}

    def downstream(self, node: str) -> set[str]:
        """Every node that what `node` gives can come to; `node` itself only over a cycle."""
        seen: set[str] = set()
        frontier = [node]
        while frontier:
            giver = frontier.pop()
            found = {flow.taker for flow in self.plant.flows if flow.giver == giver} - seen
            seen |= found
            frontier.extend(found)
        return seen
