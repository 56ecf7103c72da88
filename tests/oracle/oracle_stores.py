"""Oracle: what stores hold, in layers by the hour in which it came in; what they give out, keep and lose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from typing import Any

from oracle.oracle_numbers import ESTIMATED, HOUR_MS, MICRO, half_even, number, r1

Part = tuple[str, int, int]
"""Source, hour of entry, quality."""
Parts = dict[Part, int]
Known = tuple[int, int]
"""A level and how well it is known."""


@dataclass(frozen=True)
class Layer:
    """What came in together and is still there; without content it was there before accounting began.

    `is_unread`: it stands for what may be there besides, because no level has been read yet.
    """

    amount: int
    content: Parts = field(default_factory=dict)
    is_unread: bool = False


@dataclass(frozen=True)
class Draw:
    """A store's hour: what goes out of what was held, what stays of it, and of what comes in what goes out again."""

    taken: Parts
    kept: list[Layer]
    charged: int
    passing: int
    is_unread: bool
    held: int

    @property
    def staying(self) -> int:
        return self.charged - self.passing


def gathered(contents: Sequence[Parts]) -> Parts:
    whole: Parts = {}
    for content in contents:
        for part, amount in content.items():
            whole[part] = whole.get(part, 0) + amount
    return {part: amount for part, amount in sorted(whole.items()) if amount}


def draw(store: Mapping[str, Any], before: list[Layer] | None, charged: int, drawn: int, level: Known | None) -> Draw:
    """It gives out what it held at the hour's start, oldest layer first; only beyond that what comes in meanwhile."""
    is_unread = before is None or any(layer.is_unread for layer in before)
    layers = [layer for layer in before or () if not layer.is_unread]
    if is_unread and level:  # Its first known level opens it: nobody knows with what.
        opening = level[0] - charged + drawn - sum(layer.amount for layer in layers)
        layers = _one_if_mixed(store, [Layer(opening), *layers] if opening > 0 else layers)
    missing, gone, kept = drawn, [], []
    for layer in layers:
        out, stays = split(layer, min(missing, layer.amount))
        missing -= out.amount
        gone.append(out.content)
        kept += [stays] if stays.amount else []
    is_unread = is_unread and bool(store.get("level")) and not level
    held = sum(layer.amount for layer in layers)
    return Draw(gathered(gone), kept, charged, min(missing, charged), is_unread, held)


def _one_if_mixed(store: Mapping[str, Any], layers: list[Layer]) -> list[Layer]:
    if store.get("kind", "fifo") != "mixed" or not layers:
        return layers
    return [Layer(sum(layer.amount for layer in layers), gathered([layer.content for layer in layers]))]


def split(layer: Layer, amount: int) -> tuple[Layer, Layer]:
    """An amount taken out of a layer carries the same part of every content."""
    out, stays = Layer(amount), Layer(layer.amount - amount)
    for part, content in layer.content.items():
        out.content[part], stays.content[part] = r1(content, [out.amount, stays.amount])
    return Layer(amount, gathered([out.content])), Layer(stays.amount, gathered([stays.content]))


def close(
    store: Mapping[str, Any], drawn: Draw, entered: Parts, level: Known | None, hour_ms: int
) -> tuple[list[Layer], Parts]:
    """The layers at the hour's end and what was lost: every layer by its part of the level."""
    layers = list(drawn.kept)
    if drawn.staying or entered:
        layers.append(Layer(drawn.staying, gathered([entered])))
    layers = _one_if_mixed(store, layers)
    bound = _most(store, level, hour_ms)
    balance = sum(layer.amount for layer in layers)
    unread = [Layer(0, is_unread=True)] if drawn.is_unread and (bound is None or bound != (0, ESTIMATED)) else []
    if bound is None or balance <= bound[0]:
        return [*unread, *layers], {}
    kept, lost = [], []
    for layer, part in zip(layers, r1(balance - bound[0], [layer.amount for layer in layers]), strict=True):
        gone, stays = split(layer, part)
        lost.append({(source, at_ms, min(q, bound[1])): a for (source, at_ms, q), a in gone.content.items()})
        kept += [stays] if stays.amount else []
    return [*unread, *kept], gathered(lost)


def _most(store: Mapping[str, Any], level: Known | None, hour_ms: int) -> Known | None:
    """The most that can be there at the hour's end: its level; nothing at its empty point; else its capacity."""
    if level is not None:
        return level
    if store.get("empty_point") and _is_empty(time.fromisoformat(store["empty_point"]), hour_ms):
        return 0, ESTIMATED
    if store.get("capacity") is not None:
        return half_even(number(store["capacity"]) * MICRO), ESTIMATED
    return None


def _is_empty(at: time, hour_ms: int) -> bool:
    """Whether a time of day lies in the hour, its end included."""
    offset = at.utcoffset()
    assert offset is not None, "the plant is a valid one"
    day_ms = 24 * HOUR_MS
    empty_ms = (at.hour * 3600 + at.minute * 60 + at.second - int(offset.total_seconds())) * 1000
    return any(
        hour_ms < day * day_ms + empty_ms <= hour_ms + HOUR_MS
        for day in range(hour_ms // day_ms - 2, hour_ms // day_ms + 3)
    )
