"""Checks of what a plant buys: materials with their background factors, and the market of a source."""

from collections.abc import Iterator

from plantprint.plant.model import Plant
from plantprint.plant.nodes import ModelIssue, error, warning
from plantprint.quantities import is_unit


def check_materials(plant: Plant) -> Iterator[ModelIssue]:
    """Ids that clash, units that nobody knows, a market of no source."""
    first: dict[str, str] = {source.id: f"sources.{i}.id" for i, source in enumerate(plant.sources)}
    for number, material in enumerate(plant.materials):
        path = f"materials.{number}"
        if material.id in first:
            words = f"id {material.id!r} is used twice, first at {first[material.id]}"
            yield error(f"{path}.id", words, "give one of them another id: a footprint tells both by it")
        first.setdefault(material.id, f"{path}.id")
        if not is_unit(material.unit):
            yield warning(
                f"{path}.unit",
                f"the unit {material.unit!r} is not known, so uses in other units cannot be converted",
                "use kg, t, m, m2, m3, L or piece, or report every use in this unit",
            )
    if plant.market is not None:
        yield from _check_market(plant)


def _check_market(plant: Plant) -> Iterator[ModelIssue]:
    assert plant.market is not None
    if plant.market.source not in {source.id for source in plant.sources}:
        remedy = "name the source that is bought under contracts, such as the grid"
        yield error("market.source", f"there is no source {plant.market.source!r}", remedy)
    first: dict[str, int] = {}
    for number, contract in enumerate(plant.market.contracts):
        if contract.id in first:
            words = f"id {contract.id!r} is used twice, first at market.contracts.{first[contract.id]}.id"
            yield error(f"market.contracts.{number}.id", words, "give one of them another id")
        first.setdefault(contract.id, number)
