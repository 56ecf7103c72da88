"""Checks of meters of steam and condensate in a plant file: what is read, what is fixed, what cannot be both."""

from collections.abc import Iterator

from plantprint.plant.model import Beside, Meter, Plant, Steam
from plantprint.plant.nodes import ModelIssue, Nodes, error, warning
from plantprint.quantities import conversion, is_unit

_READ: tuple[Beside, ...] = ("pressure", "temperature")


def check_heat(plant: Plant, nodes: Nodes) -> Iterator[ModelIssue]:
    for m, meter in enumerate(plant.meters):
        path = f"meters.{m}"
        if meter.heat is None:
            yield from _unheated(path, meter)
        else:
            yield from _heated(path, meter, nodes)
    for f, flow in enumerate(plant.flows):
        yield from _one_base(f"flows.{f}.amount", flow.amount.split(), nodes)


def _unheated(path: str, meter: Meter) -> Iterator[ModelIssue]:
    for b, binding in enumerate(meter.bindings):
        for name in _READ:
            if name in binding.beside:
                message = f"meter {meter.id!r} counts {meter.unit} as it is, so a {name} says nothing about it"
                remedy = f"give the meter steam or condensate, or leave {name} out"
                yield error(f"{path}.bindings.{b}.{name}", message, remedy)


def _heated(path: str, meter: Meter, nodes: Nodes) -> Iterator[ModelIssue]:
    if meter.steam is not None and meter.condensate is not None:
        message = f"meter {meter.id!r} is said to count steam and condensate"
        yield error(f"{path}.condensate", message, "make two meters of them, and take one off the other in the flow")
        return
    if not is_unit(meter.unit) or not _is_energy(meter.unit):
        message = f"meter {meter.id!r} tells the heat of a mass, which is not counted in {meter.unit}"
        remedy = "use GJ, MJ, kWh or MWh; its channel counts kg or t, and mass_unit is that of wrap and rated_per_hour"
        yield error(f"{path}.unit", message, remedy)
    if any(store.level == meter.id for store in nodes.plant.stores):
        message = f"meter {meter.id!r} tells the level of a store, through which nothing flows"
        yield error(path, message, "leave steam and condensate out of it")
    for name in _READ:
        yield from _one_word(path, meter, name)
    if isinstance(meter.heat, Steam):
        yield from _steam(path, meter, meter.heat)


def _is_energy(unit: str) -> bool:
    try:
        conversion(unit, "MJ")
    except ValueError:
        return False
    return True


def _one_word(path: str, meter: Meter, name: Beside) -> Iterator[ModelIssue]:
    """A pressure or temperature is read under all bindings, or it has a fixed value; some need one of the two."""
    block = "condensate" if meter.steam is None else "steam"
    fixed: object = getattr(meter.heat, name, None)
    named = [name in binding.beside for binding in meter.bindings]
    if block == "condensate" and name == "pressure":
        if any(named):
            message = f"condensate of meter {meter.id!r} needs no pressure"
            yield error(f"{path}.bindings.{named.index(True)}.pressure", message, "leave it out")
        return
    if fixed is not None and any(named):
        message = f"the {name} of meter {meter.id!r} is fixed at {fixed} and read from a channel"
        yield error(f"{path}.{block}.{name}", message, "leave out the fixed value, or the channel")
    elif any(named) and not all(named):
        message = f"the {name} of meter {meter.id!r} is read under some of its bindings only"
        remedy = f"name the channel of its {name} under each; the same channel may serve several"
        yield error(f"{path}.bindings.{named.index(False)}", message, remedy)
    elif fixed is None and not any(named) and (name == "pressure" or block == "condensate"):
        message = f"nothing says the {name} of meter {meter.id!r}"
        unit = "MPa" if name == "pressure" else "°C"
        remedy = f"name its channel in the bindings ({name}: agent/channel), or a fixed value in {block} ({unit})"
        yield error(f"{path}.{block}", message, remedy)


def _steam(path: str, meter: Meter, steam: Steam) -> Iterator[ModelIssue]:
    reads_temperature = any("temperature" in binding.beside for binding in meter.bindings)
    if steam.dryness is not None and (reads_temperature or steam.temperature is not None):
        message = f"steam of meter {meter.id!r} has a dryness and a temperature: wet steam has that of its pressure"
        remedy = "keep the dryness for wet steam, or the temperature for superheated steam"
        yield error(f"{path}.steam.dryness", message, remedy)
    elif steam.pressure is not None and not reads_temperature:
        yield from _fixed(f"{path}.steam.pressure", steam, float(steam.pressure))


def _fixed(path: str, steam: Steam, pressure_mpa: float) -> Iterator[ModelIssue]:
    """Whether the tables know such steam; a gateway, which has none, checks all else of a plant file."""
    try:
        from plantprint.steam import ATMOSPHERE_MPA, SteamError, SteamState, steam_enthalpy  # noqa: PLC0415 - see above
    except ModuleNotFoundError:
        message = "there are no steam tables here (seuif97), so nobody has looked whether there is such steam"
        yield warning(path, message, "check this file where the collector or the api is installed")
        return
    absolute = pressure_mpa + (ATMOSPHERE_MPA if steam.pressure_is == "gauge" else 0)
    try:
        steam_enthalpy(SteamState(absolute, None if steam.temperature is None else float(steam.temperature)))
    except SteamError as wrong:
        remedy = "correct the pressure (MPa) or the temperature (°C), or say pressure_is: gauge"
        yield error(path, str(wrong), remedy)


def _one_base(path: str, words: list[str], nodes: Nodes) -> Iterator[ModelIssue]:
    """What is added up or taken off is counted from one water."""
    heats = {word: heat for word in words if word in nodes.meters and (heat := nodes.meters[word].heat) is not None}
    bases = {heat.base_kj_per_kg for heat in heats.values()}
    if len(bases) > 1:
        said = ", ".join(f"{meter} from {heat.base_kj_per_kg} kJ/kg" for meter, heat in heats.items())
        message = f"these meters count heat from different water: {said}"
        yield error(path, message, "give them the same base_kj_per_kg")
