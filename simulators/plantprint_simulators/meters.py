"""The dye house's meters: which stream each counts, in what unit and steps, and over which device it is read."""

from dataclasses import dataclass

from plantprint_simulators.physics import Total
from plantprint_simulators.process import STEAM_UNITS, UNITS
from plantprint_simulators.schedule import draw

# Thousandths of a stream's unit (J, mL, g, mg) in one unit of the meter that counts it.
KWH, NM3, KG_STEAM, KG_CO2 = 3_600_000_000, 1_000_000_000, 1_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Meter:
    """A counter of one stream: `size` is its unit in thousandths of the stream's, `decimals` its smallest step."""

    name: str
    unit: str
    size: int
    decimals: int

    def count(self, seed: int, total: Total) -> int:
        """The register in steps of 10^-decimals units; it begins where years of use have left it, never at zero."""
        steps: int = 10**self.decimals
        begin = draw(seed, 2_000, 9_000, "register", self.name) * steps
        return begin + total.thousandths[self.name] * steps // self.size

    def per_hour(self, total: Total) -> float:
        """The present rate in units per hour (kW, Nm3/h, kg/h)."""
        return total.per_second[self.name] * 3_600_000 / self.size


@dataclass(frozen=True, slots=True)
class ModbusDevice:
    """A meter behind a gateway's unit id that answers with the registers of `model`."""

    gateway: str
    unit_id: int
    model: str
    meter: Meter


@dataclass(frozen=True, slots=True)
class MqttDevice:
    """A meter that publishes on `topic` of the plant's own broker, total and rate under the names in `keys`."""

    topic: str
    keys: tuple[str, str]
    meter: Meter


GATEWAYS = ("main", "line-1", "line-2", "line-3")
_LINE_MODEL = {"l1": ("acrel_adl400", 2), "l2": ("siemens_pac2200", 3), "l3": ("schneider_iem3000", 3)}


def _submeter(index: int, unit: str) -> ModbusDevice:
    model, decimals = _LINE_MODEL[unit[:2]]
    return ModbusDevice(f"line-{unit[1]}", index % 4 + 1, model, Meter(unit, "kWh", KWH, decimals))


MODBUS_DEVICES = (
    ModbusDevice("main", 1, "eastron_sdm630", Meter("incomer", "kWh", KWH, 3)),
    ModbusDevice("main", 2, "eastron_sdm630", Meter("pv", "kWh", KWH, 3)),
    ModbusDevice("main", 3, "siemens_pac2200", Meter("boiler-aux", "kWh", KWH, 3)),
    ModbusDevice("main", 4, "fuxin_gas_flow", Meter("gas", "Nm3", NM3, 4)),
    *(_submeter(index, unit) for index, unit in enumerate(UNITS)),
)


def mqtt_devices(site: str) -> tuple[MqttDevice, ...]:
    def steam(name: str, place: str) -> MqttDevice:
        return MqttDevice(f"plant/{site}/steam/{place}", ("total_kg", "flow_kg_h"), Meter(name, "kg", KG_STEAM, 1))

    return (
        steam("steam-out", "boiler"),
        *(steam(f"steam-{unit}", unit) for unit in STEAM_UNITS),
        MqttDevice(
            f"plant/{site}/carbon/l3-stenter", ("co2_total_kg", "co2_kg_h"), Meter("stack-co2", "kg", KG_CO2, 3)
        ),
    )


METERS = {meter.name: meter for meter in (*(d.meter for d in MODBUS_DEVICES), *(d.meter for d in mqtt_devices("any")))}
