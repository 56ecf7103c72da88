"""Whether the factors that a plant model names are among those that ship, and in a unit that fits: warnings with lines."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from plantprint.factors import Factor, builtin_factors, latest
from plantprint.plant.check import ModelIssue
from plantprint.plant.model import Plant
from plantprint.plant.nodes import warning
from plantprint.quantities import UnitError, conversion


def factor_warnings(plant: Plant) -> Iterator[ModelIssue]:
    """A site may have factors of its own, so a name that is not known here is no error."""
    shipped = builtin_factors()
    library, subjects = latest(shipped), {factor.subject for factor in shipped}
    for path, name, unit in _named(plant):
        if name in library:
            yield from _unit(path, library, name, unit)
        elif name not in subjects:
            close = get_close_matches(name, library, n=1)
            hint = f"correct it (did you mean {close[0]}?)" if close else "correct it"
            message = f"{name} is none of the factors that ship; without one of the site's own the emission is unknown"
            yield warning(path, message, f"add it with `plantprint factors add`, or {hint}")


def _named(plant: Plant) -> Iterator[tuple[str, str, str]]:
    """Path, factor id or subject, and the unit in which amounts are counted."""
    yield from ((f"sources.{n}.factor", source.factor, source.unit) for n, source in enumerate(plant.sources))
    yield from ((f"materials.{n}.factor", one.factor, one.unit) for n, one in enumerate(plant.materials) if one.factor)
    if plant.market is not None:
        units = {source.id: source.unit for source in plant.sources}
        unit = units.get(plant.market.source, "")
        yield from ((f"market.contracts.{n}.factor", one.factor, unit) for n, one in enumerate(plant.market.contracts))
        if plant.market.residual:
            yield "market.residual", plant.market.residual, unit


def _unit(path: str, library: Mapping[str, Factor], name: str, unit: str) -> Iterator[ModelIssue]:
    per = library[name].unit
    try:
        conversion(unit, per)
    except UnitError:
        message = f"{name} is per {per}, which {unit} cannot be converted to, so the emission is unknown"
        yield warning(path, message, f"name a factor per {unit}")
