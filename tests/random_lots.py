"""Made-up genealogies: lots that split, merge, go back for rework and put out co-products, and a slow exact oracle."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from hypothesis import strategies as st

from plantprint.lots import Facts, LineKey, Lot, Material, MaterialReturn, MaterialUse, Output, Pcf

MICRO = 10**6
GRID = LineKey("grid", "dyeing", "2", "production", "co2e", "cn.grid@1")
GAS = LineKey("gas", "drying", "1", "production", "co2e", "cn.gas@1")
YARN = Material("yarn", "kg", Pcf.of("mill 2026", "4.25", Fraction(7, 10)))
NAMES = ("a", "b", "c", "d", "e", "f")

Own = dict[str, dict[LineKey, int]]


@dataclass(frozen=True)
class Case:
    facts: Facts
    own: Own


def use(batch: str, lot: str, kg: str | int, at_ms: int = 0, event_id: str = "") -> MaterialUse:
    return MaterialUse(at_ms, event_id or f"{lot}>{batch}@{at_ms}", batch, lot, "lot", int(Decimal(kg) * MICRO))


def bought(batch: str, material: str, kg: str | int, at_ms: int = 0) -> MaterialUse:
    return MaterialUse(at_ms, f"{material}>{batch}@{at_ms}", batch, material, "material", int(Decimal(kg) * MICRO))


def good(lot: str, kg: str | int, at_ms: int = 0, price: str | None = None) -> Output:
    return Output(
        at_ms, f"good {lot}@{at_ms}", lot, "good", int(Decimal(kg) * MICRO), "kg",
        unit_price=None if price is None else Decimal(price),
    )  # fmt: skip


def rework(lot: str, kg: str | int) -> Output:
    return Output(0, f"rework {lot}", lot, "rework", int(Decimal(kg) * MICRO), "kg")


def scrap(lot: str, kg: str | int, price: str | None = None, as_lot: str = "") -> Output:
    return Output(
        0, f"scrap {lot}", lot, "scrap", int(Decimal(kg) * MICRO), "kg", as_lot,
        unit_price=None if price is None else Decimal(price),
    )  # fmt: skip


@st.composite
def genealogies(draw: st.DrawFn, *, loops: bool = True, coproducts: bool = True) -> Case:
    """Up to six lots; without `loops` a lot only goes into later ones. Uses may exceed what was made."""
    names = NAMES[: draw(st.integers(1, 6))]
    amounts = st.integers(0, 50)
    outputs, uses, returns = [], [], []
    for number, lot in enumerate(names):
        made = draw(st.integers(0, 200))
        if made:
            outputs.append(
                Output(number, f"o{number}", lot, "good", made, "kg", unit_price=Decimal(draw(st.integers(1, 9))))
            )
        if again := draw(st.integers(0, 20)):
            outputs.append(Output(number, f"r{number}", lot, "rework", again, "kg"))
        if waste := draw(st.integers(0, 20)):
            price = Decimal(draw(st.integers(-2, 60))) if coproducts else None
            outputs.append(Output(number, f"s{number}", lot, "scrap", waste, "kg", f"{lot}-scrap", price))
    for number in range(draw(st.integers(0, 10))):
        giver, taker = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        if not loops and names.index(giver) >= names.index(taker):
            continue
        uses.append(MaterialUse(draw(st.integers(0, 3)), f"u{number}", taker, giver, "lot", draw(amounts)))
        if back := draw(st.integers(0, 3)):
            returns.append(MaterialReturn(4, f"b{number}", taker, giver, "lot", back))
    for number in range(draw(st.integers(0, 3))):
        batch = draw(st.sampled_from(names))
        uses.append(MaterialUse(draw(st.integers(0, 3)), f"m{number}", batch, "yarn", "material", draw(amounts)))
    opening = Lot("old", "kg", "opening", draw(st.integers(1, 100)), Pcf.of("stock count", draw(st.integers(0, 9))))
    uses.append(MaterialUse(1, "old", names[0], "old", "lot", draw(amounts)))
    own = {
        lot: {key: draw(st.integers(0, 10**6)) for key in draw(st.sampled_from(((), (GRID,), (GRID, GAS))))}
        for lot in names
    }
    return Case(Facts((opening,), (YARN,), tuple(uses), tuple(returns), tuple(outputs)), own)


def series(shares: Mapping[tuple[str, str], Fraction], entered: Mapping[str, int], rounds: int) -> dict[str, Fraction]:
    """What passes each lot, by walking around: `rounds` steps of what entered, handed on by shares again and again."""
    passing = {lot: Fraction(amount) for lot, amount in entered.items()}
    moving = dict(passing)
    for _ in range(rounds):
        ahead = dict.fromkeys(moving, Fraction(0))
        for (giver, taker), share in shares.items():
            ahead[taker] += moving[giver] * share
        moving = ahead
        passing = {lot: passing[lot] + moving[lot] for lot in passing}
    return passing
