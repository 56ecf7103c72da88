"""What left a lot with rework and co-products, and who took it: why a product carries less than the lot caused."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from plantprint.genealogy import Genealogy, Handed
from plantprint.lots import Facts, LineKey, Vector, add
from plantprint.quantities import divide


@dataclass(frozen=True, slots=True)
class Left:
    """`quantity_micro` (millionths of the lot's unit) of rework, or of a co-product, with the lines that went along.

    `own` is what of them came from the lot's own postings, not with materials.
    A co-product has the one taker that it became. Rework is of one piece with the good output, so its takers are all lots
    that used any of this one, in order of time; none while it waits.
    """

    kind: Literal["rework", "co-product"]
    quantity_micro: int
    takers: tuple[str, ...]
    lines: Vector
    own: Vector = field(default_factory=dict)


def left_of(lot: str, found: Genealogy, facts: Facts, carried: Vector, kept: Vector) -> tuple[Left, ...]:
    """Co-products by taker, then rework: `carried` is what co-products leave, `kept` what the good output has of that."""
    moves = sorted(
        (m for m in found.handed if m.giver == lot and m.taker and (m.lines or m.quantity_micro)),
        key=lambda move: (move.at_ms, move.event_id, move.taker),
    )
    parts = list(_co_products(move for move in moves if move.sold))
    back = [move for move in moves if move.taker == lot and not move.sold]  # it came back, so it has not left
    quantity = sum(output.quantity_micro for output in facts.outputs_of(lot) if output.kind == "rework")
    quantity -= sum(move.quantity_micro for move in back)
    if quantity > 0:
        stayed = dict(kept)
        for move in back:
            add(stayed, move.lines)
        rework = {key: kg - stayed.get(key, 0) for key, kg in carried.items() if kg != stayed.get(key, 0)}
        takers = tuple(dict.fromkeys(move.taker for move in moves if not move.sold and move.taker != lot))
        parts.append(Left("rework", quantity, takers, rework))
    return tuple(parts)


def _co_products(moves: Iterable[Handed]) -> Iterable[Left]:
    lines: dict[str, dict[LineKey, int]] = defaultdict(dict)
    quantities: dict[str, int] = defaultdict(int)
    for move in moves:
        add(lines[move.taker], move.lines)
        quantities[move.taker] += move.quantity_micro
    return (Left("co-product", quantities[taker], (taker,), lines[taker]) for taker in lines)


def with_own(parts: Sequence[Left], gone: Vector) -> tuple[Left, ...]:
    """Each with its part of `gone`, the own lines that the product does not carry: divided by the lines that left (R1)."""
    own: list[dict[LineKey, int]] = [{} for _ in parts]
    for key, kg in gone.items() if parts else ():  # Where all rework came back, rounding may leave a digit to nobody.
        for mine, share in zip(own, divide(kg, [abs(part.lines.get(key, 0)) for part in parts]), strict=True):
            if share:
                mine[key] = share
    return tuple(replace(part, own=mine) for part, mine in zip(parts, own, strict=True))
