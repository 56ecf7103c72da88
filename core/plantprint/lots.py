"""Facts of genealogy as frozen values: lots, materials with footprints, what was used, returned and put out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import Literal, NamedTuple

from plantprint.data_quality import UNRATED, DataQuality
from plantprint.facts import Issue
from plantprint.quantities import FACTOR_SCALE, round_half_even, scaled


class LineKey(NamedTuple):
    """One line of a lot's emissions; `factor` is its id with version, or the reference of a bought footprint.

    `gas` is a gas, or co2e where it cannot be split. Amounts are integers in kg x EMISSION_SCALE of that gas.
    """

    source: str
    step: str
    scope: str
    stage: str
    gas: str
    factor: str


Vector = Mapping[LineKey, int]
EMPTY: Vector = MappingProxyType({})

PcfKind = Literal["supplier", "background"]
LotKind = Literal["made", "purchased", "opening", "return", "unknown"]
OutputKind = Literal["good", "rework", "scrap", "co-product"]
Consumed = Literal["lot", "material"]


def add(sums: dict[LineKey, int], lines: Vector) -> None:
    for key, value in lines.items():
        sums[key] = sums.get(key, 0) + value


@dataclass(frozen=True, slots=True, order=True)
class Pcf:
    """A bought footprint per unit: (gas, kg per unit x FACTOR_SCALE), whose word it is, and its primary data share.

    `co2e` is the whole; `ghg_fossil`, `ghg_biogenic` and `co2_land_use` (kg CO2e) are parts of it, `co2_uptake` is beside.
    """

    reference: str
    kind: PcfKind
    per_unit: tuple[tuple[str, int], ...]
    primary_share: Fraction = Fraction(0)
    scope: str = "3.1"
    stage: str = "raw materials"
    quality: DataQuality = UNRATED

    @staticmethod
    def of(
        reference: str,
        kg_co2e: str | int | Decimal,
        primary_share: Fraction = Fraction(0),
        origins: Mapping[str, Decimal] = MappingProxyType({}),
        quality: DataQuality = UNRATED,
        told_in: Fraction = Fraction(1),
    ) -> "Pcf":
        """A supplier's footprint: the number, and what of it is `ORIGINS`, as far as the supplier says.

        The numbers are per `told_in` units of what carries them. Raises `ValueError` beyond twelve decimals, for a share
        outside 0 to 1, and for origins above the number.
        """
        if not 0 <= primary_share <= 1:
            raise ValueError(f"{reference}: a primary data share is 0 to 1, not {primary_share}")
        whole, parts = scaled(kg_co2e, FACTOR_SCALE), {k: scaled(kg, FACTOR_SCALE) for k, kg in sorted(origins.items())}
        if whole < 0:
            raise ValueError(
                f"{reference}: {kg_co2e} kg CO2e is below zero; state it without what was taken up, and that as co2_uptake "
                "(pcf_uptake_kg_co2)"
            )
        rest = whole - sum(kg for name, kg in parts.items() if name != "co2_uptake")
        if rest < 0 or (rest and {"ghg_fossil", "ghg_biogenic", "co2_land_use"} <= parts.keys()):
            raise ValueError(f"{reference}: fossil, biogenic and land use do not add up to {kg_co2e} kg CO2e")
        per_unit = {n: round_half_even(kg * told_in.denominator, told_in.numerator) for n, kg in parts.items()}
        whole = round_half_even(whole * told_in.denominator, told_in.numerator)
        return Pcf(reference, "supplier", (("co2e", whole), *per_unit.items()), primary_share, quality=quality)

    def lines(self, source: str, step: str, quantity_micro: int) -> dict[LineKey, int]:
        """The footprint of a quantity, exactly: millionths x FACTOR_SCALE is EMISSION_SCALE."""
        return {
            LineKey(source, step, self.scope, self.stage, gas, self.reference): quantity_micro * kg
            for gas, kg in self.per_unit
        }


@dataclass(frozen=True, slots=True, order=True)
class Lot:
    """A material lot. What was `purchased`, `opening` stock and a customer's `return` come from outside with a footprint.

    `quantity_micro` (millionths of `unit`) is what such a lot holds, or what was ordered of a made one. A lot without a
    footprint of its own takes that of its `material`. An `unknown` one was used and nothing else is known of it.
    """

    lot: str
    unit: str = ""
    kind: LotKind = "made"
    quantity_micro: int | None = None
    pcf: Pcf | None = None
    at_ms: int = 0
    material: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Material:
    """A purchased material with a supplier's footprint or a background factor per `unit`."""

    material: str
    unit: str
    pcf: Pcf | None = None


@dataclass(frozen=True, slots=True, order=True)
class MaterialUse:
    """`quantity_micro` (millionths of the consumed thing's unit) of a lot or a material that went into `batch`.

    A shipment can be a batch too: what is used by it has left.
    """

    at_ms: int
    event_id: str
    batch: str
    consumed: str
    of: Consumed
    quantity_micro: int
    step: str = ""


@dataclass(frozen=True, slots=True, order=True)
class MaterialReturn:
    """What was issued to `batch` and came back unused."""

    at_ms: int
    event_id: str
    batch: str
    consumed: str
    of: Consumed
    quantity_micro: int


@dataclass(frozen=True, slots=True)
class Output:
    """What a lot's making put out, in millionths of `unit`.

    A co-product, or scrap sold at a price above zero, becomes lot `as_lot`; other scrap burdens the good output.
    `unit_price` (of one `unit`) at the day of `priced_on`, `physical` and `displaced_kg_co2e` (per `unit`) are for the rules
    of `coproducts`.
    """

    at_ms: int
    event_id: str
    lot: str
    kind: OutputKind
    quantity_micro: int
    unit: str = ""
    as_lot: str = ""
    unit_price: Decimal | Fraction | None = None
    priced_on: str = ""
    physical: Decimal | None = None
    displaced_kg_co2e: Decimal | Fraction | None = None

    @property
    def is_sold(self) -> bool:
        if self.as_lot in ("", self.lot):
            return False
        return self.kind == "co-product" or (
            self.kind == "scrap" and self.unit_price is not None and self.unit_price > 0
        )


@dataclass(frozen=True)
class Facts:
    """Everything that genealogy may look at; copies of a fact count once, whatever their order.

    `reported` is what the events behind the facts got wrong.
    """

    lots: Sequence[Lot] = ()
    materials: Sequence[Material] = ()
    uses: Sequence[MaterialUse] = ()
    returns: Sequence[MaterialReturn] = ()
    outputs: Sequence[Output] = ()
    reported: Sequence[Issue] = ()

    def uses_of(self, lot: str) -> Sequence[MaterialUse]:
        """Uses of a lot by others (or itself) in order of time and id, returns taken off."""
        return self._of_lot.get(lot, ())

    def uses_by(self, batch: str) -> Sequence[MaterialUse]:
        return self._by_batch.get(batch, ())

    def outputs_of(self, lot: str) -> Sequence[Output]:
        return self._outputs.get(lot, ())

    @cached_property
    def declared(self) -> Mapping[str, Lot]:
        """By id; of a lot that is declared more than once the last in order of time counts."""
        return {one.lot: one for one in sorted(set(self.lots), key=lambda one: (one.lot, one.at_ms, repr(one)))}

    def received_as(self, lot: str) -> int:
        """What other lots put out as this one: the quantity of a co-product or of sold scrap, in millionths."""
        return self._received.get(lot, 0)

    def material(self, material: str) -> Material | None:
        return self._materials.get(material)

    @property
    def issues(self) -> list[Issue]:
        return [*self.reported, *self._net_uses[1]]

    @cached_property
    def _materials(self) -> dict[str, Material]:
        return {one.material: one for one in sorted(self.materials, key=repr)}

    @cached_property
    def _outputs(self) -> dict[str, list[Output]]:
        by_lot: dict[str, list[Output]] = defaultdict(list)
        for one in sorted(set(self.outputs), key=lambda one: (one.at_ms, one.event_id, repr(one))):
            by_lot[one.lot].append(one)
        return by_lot

    @cached_property
    def _received(self) -> dict[str, int]:
        received: dict[str, int] = defaultdict(int)
        for one in set(self.outputs):
            if one.is_sold:
                received[one.as_lot] += one.quantity_micro
        return received

    @cached_property
    def _of_lot(self) -> dict[str, list[MaterialUse]]:
        of_lot: dict[str, list[MaterialUse]] = defaultdict(list)
        for use in self._net_uses[0]:
            if use.of == "lot":
                of_lot[use.consumed].append(use)
        return of_lot

    @cached_property
    def _by_batch(self) -> dict[str, list[MaterialUse]]:
        by_batch: dict[str, list[MaterialUse]] = defaultdict(list)
        for use in self._net_uses[0]:
            by_batch[use.batch].append(use)
        return by_batch

    @cached_property
    def _net_uses(self) -> tuple[list[MaterialUse], list[Issue]]:
        """Uses in order of time and id with returns taken off the latest uses before them, and what did not fit."""
        left = {use: use.quantity_micro for use in sorted(set(self.uses))}
        issued: dict[tuple[str, str, str], list[MaterialUse]] = defaultdict(list)
        for use in left:
            issued[use.batch, use.consumed, use.of].append(use)
        issues = []
        for back in sorted(set(self.returns)):
            rest = back.quantity_micro
            for use in reversed(issued[back.batch, back.consumed, back.of]):
                if use.at_ms <= back.at_ms:
                    taken = min(rest, left[use])
                    left[use] -= taken
                    rest -= taken
            if rest:
                message = f"more of {back.consumed!r} came back from batch {back.batch!r} than had been issued to it"
                remedy = "correct the return, or report what was issued"
                issues.append(Issue("returned-more-than-issued", back.batch, message, remedy, back.at_ms))
        uses = [
            MaterialUse(use.at_ms, use.event_id, use.batch, use.consumed, use.of, quantity, use.step)
            for use, quantity in left.items()
        ]
        return uses, issues
