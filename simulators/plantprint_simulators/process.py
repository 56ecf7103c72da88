"""The machines of the simulated dye house and what each process step takes from them per kilogram of fabric.

Specific figures come from Ecobalyse's data (MIT) without its uplift of 50 %: averages of about 20 sites from the EU's
reference document on textiles, for desizing, scouring + bleaching, continuous and batch dyeing, chemical finishing.
Throughputs are those of small ranges: a lot of 40 kg takes minutes, its energy per kilogram is that of a real plant.
"""

from dataclasses import dataclass

LINES = (1, 2, 3)
STEAM_MJ_PER_KG = 2.68  # saturated at 0.7 MPa, above water of 20 °C
GAS_MJ_PER_NM3 = 38.931  # 389.31 GJ / 10^4 Nm3, China default
GAS_KG_CO2_PER_NM3 = 2.16219


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of work unit: `throughput_g_s` of fabric at full speed; `standby_w` is drawn day and night."""

    short: str
    step: str
    throughput_g_s: int
    standby_w: int


MACHINES = (
    Machine("desize", "desizing", 400, 6_000),
    Machine("bleach", "scouring-bleaching", 300, 12_000),
    Machine("dye", "dyeing", 220, 18_000),
    Machine("stenter", "stentering", 350, 25_000),
)
MACHINE = {machine.step: machine for machine in MACHINES}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one kilogram of fabric takes in a step."""

    electricity_j_per_kg: int
    steam_g_per_kg: int
    co2_mg_per_g: int = 0


RECIPES = {
    "desizing": Recipe(240_000, 796),
    "scouring-bleaching": Recipe(1_200_000, 4_703),
    "dyeing": Recipe(1_920_000, 4_031),
    "dyeing-deep-shade": Recipe(2_880_000, 8_063),
    "stentering": Recipe(1_440_000, 3_359),
    # Heated by a gas flame instead of steam: 9 MJ of heat per kg, seen only by the carbon collector on its exhaust.
    "stentering-gas": Recipe(1_440_000, 0, round(9 / GAS_MJ_PER_NM3 * GAS_KG_CO2_PER_NM3 * 1000)),
}

GAS_STENTER = "l3-stenter"
PILOT_FLAME_MG_CO2_S = 3_000


def unit_id(line: int, step: str) -> str:
    return f"l{line}-{MACHINE[step].short}"


UNITS = tuple(unit_id(line, machine.step) for line in LINES for machine in MACHINES)
STEAM_UNITS = tuple(unit for unit in UNITS if unit != GAS_STENTER)
STANDBY_W = {unit_id(line, machine.step): machine.standby_w for line in LINES for machine in MACHINES}
