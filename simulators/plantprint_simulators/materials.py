"""What goes into the dye house's batches and comes out of them: bought lots, rework, scrap, good output, as events.

Grey cloth and dyestuff come in lots with a supplier's footprint, salt in lots and caustic soda from the tank with none:
for these two the plant model names background factors. Suppliers and their figures are invented for this plant.
"""

from dataclasses import dataclass

from plantprint.facts import EventKind, ProductionEvent

SOURCE = "mes"
PERIOD_S = 3600
"""Every hour after the opening brings lots of its own."""

CLOTH_LOT_KG, DYE_LOT_KG, SALT_LOT_KG = 4000, 200, 2500
CLOTH_KG_CO2E = ("8.92", "9.47", "8.61", "9.05", "8.78")
DYE_KG_CO2E = ("7.4", "6.9", "8.1")
CAUSTIC_PER_KG, SALT_PER_KG = 0.03, 0.4
DYE_PER_KG = {False: 0.02, True: 0.05}


@dataclass(frozen=True, slots=True)
class Yield:
    """A batch's fabric in kg: what was put in, what was cut off as scrap, and what the next batch of its line dyes again."""

    put_in_kg: int
    scrap_kg: int = 0
    rework_kg: int = 0
    rework_into: str = ""

    @property
    def good_kg(self) -> int:
        return self.put_in_kg - self.scrap_kg - self.rework_kg


def event(kind: EventKind, name: str, at_s: int, /, **body: str | float) -> ProductionEvent:
    return ProductionEvent(SOURCE, f"{name}.{kind}", 0, kind, at_s * 1000, {**body})


def lots(code: str, opening_s: int, from_s: int, to_s: int, ordered_from_s: int = 0) -> list[ProductionEvent]:
    """The lots that are told of in [from_s, to_s): at the start of their hour, or when telling begins at `ordered_from_s`."""
    found: list[ProductionEvent] = []
    first = max((min(from_s, ordered_from_s) - opening_s) // PERIOD_S - 1, 0)
    for hour in range(first, max((to_s - opening_s) // PERIOD_S, -1) + 1):
        start_s = opening_s + hour * PERIOD_S
        if start_s + PERIOD_S > ordered_from_s and from_s <= max(start_s, ordered_from_s) < to_s:
            found += _lots(code, hour, start_s)
    return found


def _lots(code: str, hour: int, at_s: int) -> list[ProductionEvent]:
    cloth, dye, salt = lot_names(code, hour)
    return [
        event(
            "lot", cloth, at_s, lot=cloth, material="grey-cloth", supplier="Tongxiang Weaving", quantity=CLOTH_LOT_KG,
            unit="kg", pcf_kg_co2e=CLOTH_KG_CO2E[hour % 5], primary_share="0.38", technological_dqr=2,
            geographical_dqr=1, temporal_dqr=1,
        ),
        event(
            "lot", dye, at_s, lot=dye, material="dyestuff", supplier="Shangyu Colour", quantity=DYE_LOT_KG, unit="kg",
            pcf_kg_co2e=DYE_KG_CO2E[hour % 3], primary_share="0.62", technological_dqr=1, geographical_dqr=1,
            temporal_dqr=2,
        ),
        event("lot", salt, at_s, lot=salt, material="salt", quantity=SALT_LOT_KG, unit="kg"),
    ]  # fmt: skip


def lot_names(code: str, hour: int) -> tuple[str, str, str]:
    """Of cloth, dyestuff and salt."""
    return f"CLOTH-{code}-{hour:04d}", f"DYE-{code}-{hour:04d}", f"SALT-{code}-{hour:04d}"


def uses(
    batch: str, lot_hour: tuple[str, int], made: Yield, starts_s: dict[str, int], *, deep_shade: bool
) -> list[ProductionEvent]:
    """What went into a batch, at the start of the step that takes it; deep shades bring a little salt back."""
    cloth, dye, salt = lot_names(*lot_hour)
    kg, first = made.put_in_kg, min(starts_s, key=lambda step: starts_s[step])

    def use(name: str, step: str, kilograms: float, **what: str) -> ProductionEvent:
        quantity = round(kilograms, 3)
        body: dict[str, str | float] = {"batch": batch, "quantity": quantity, "unit": "kg", "step": step, **what}
        return event("material_use", f"{batch}.{name}", starts_s[step], **body)

    found = [use("cloth", first, kg, lot=cloth)]
    if "scouring-bleaching" in starts_s:
        found.append(use("caustic", "scouring-bleaching", kg * CAUSTIC_PER_KG, material="caustic-soda"))
    if "dyeing" in starts_s:
        found.append(use("dye", "dyeing", kg * DYE_PER_KG[deep_shade], lot=dye))
        found.append(use("salt", "dyeing", kg * SALT_PER_KG, lot=salt))
        if deep_shade:
            back_s = starts_s["dyeing"] + 30
            found.append(event("return", f"{batch}.salt", back_s, batch=batch, lot=salt, quantity=1, unit="kg"))
    return found


def outputs(batch: str, made: Yield, reworked_s: int, ended_s: int) -> list[ProductionEvent]:
    """What a batch put out: fabric for the next batch to dye again at `reworked_s`, scrap and good fabric at the end."""
    found = [event("output", batch, ended_s, batch=batch, kind="good", quantity=made.good_kg, unit="kg")]
    if made.scrap_kg:
        found.append(event("scrap", batch, ended_s, batch=batch, quantity=made.scrap_kg, unit="kg"))
    if made.rework_kg:
        name, again = f"{batch}.rework", {"batch": made.rework_into, "lot": batch, "step": "dyeing"}
        found.append(event("output", name, reworked_s, batch=batch, kind="rework", quantity=made.rework_kg, unit="kg"))
        found.append(event("material_use", name, reworked_s, quantity=made.rework_kg, unit="kg", **again))
    return found
