"""Random channels and readings for a plant's meters: what devices tell, in any order, repeated, corrected, with faults."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from oracle.oracle_numbers import HOUR_MS

from plantprint.times import format_instant

Body = dict[str, Any]
# Channel units by the meter's unit and kind.
TOLD = {
    "counter": {"kWh": ("kWh", "kWh", "Wh", "MWh"), "kg": ("kg", "t"), "Nm3": ("Nm3",)},
    "amount": {"kWh": ("kWh", "MJ", "Wh"), "kg": ("kg",), "Nm3": ("Nm3",)},
    "gauge": {"kWh": ("kW", "MW", "W"), "kg": ("kg/h", "t/h"), "Nm3": ("Nm3/h",)},
}
GAPS_MS = (300_000, 300_001, 754_321, 754_321, 1_800_000, 60_000, 299_999, 4_000_000)
LONG_GAPS_MS = (1_800_000, 3_600_000, 3_600_001, 9_876_543)


def seeded(seed: int) -> random.Random:
    return random.Random(seed)


class Row(NamedTuple):
    t_ms: int
    value: int
    quality: str = "measured"
    revision: int = 0


class Feeds:
    """A few courses of readings, of which every meter gets one."""

    def __init__(
        self, chance: random.Random, start_ms: int, hours: int, *, large: bool = False, faults: bool = True
    ) -> None:
        self.chance, self.start_ms, self.hours, self.large, self.faults = chance, start_ms, hours, large, faults
        self.end_ms = start_ms + hours * HOUR_MS
        self.channels: set[str] = set()

    def of(self, model: Mapping[str, Any]) -> tuple[list[Body], list[Body]]:
        """Channels and blocks of readings; gives some meters a ratio, a belief, a wrap or an exchange."""
        levels = {store.get("level"): store for store in model["stores"]}
        channels: list[Body] = []
        blocks: list[Body] = []
        for meter in model["meters"]:
            if not self.chance.randrange(10):
                continue  # nobody reads it
            fed = self._level(levels[meter["id"]]) if meter["id"] in levels else self._meter(meter)
            told = {meter["bindings"][0]["channel"]: fed}
            if (
                meter["id"] not in levels
                and not self.large
                and fed[0]["kind"] == "counter"
                and not self.chance.randrange(4)
            ):
                told |= self._with_power(meter)
            elif meter["id"] not in levels and not self.large and not self.chance.randrange(6):
                told |= self._exchange(meter, model["bucket_s"] * 1000)
            self.channels |= {*told}
            for channel, (body, rows) in told.items():
                channels.append({"channel": channel, **body})
                blocks += self.blocks(channel, body["decimals"], rows)
        self.chance.shuffle(blocks)
        if not blocks:
            channel = {"channel": "gw/other", "unit": "kWh", "decimals": 0, "kind": "counter"}
            return [*channels, channel], self.blocks("gw/other", 0, [Row(self.start_ms, 1)])
        return channels, blocks

    def _meter(self, meter: Body) -> tuple[Body, list[Row]]:
        chance = self.chance
        kind = chance.choice(("counter", "counter", "gauge", "amount"))
        told = TOLD[kind][meter["unit"]]
        if self.large:  # The finer the unit, the more steps a register has.
            told = tuple(unit for unit in told if unit in ("Wh", *told[:1]))
        channel: Body = {"unit": chance.choice(told), "kind": kind}
        channel["decimals"] = 6 if self.large else chance.choice((0, 1, 2, 3, 4))
        if channel["unit"] in ("MWh", "MW", "t", "t/h"):
            channel["decimals"] = max(3, channel["decimals"])
        if not self.large and not chance.randrange(4):
            meter["bindings"][0]["ratio"] = chance.choice(("0.3", "40", "0.123457"))
        if not self.large and not chance.randrange(5):
            meter["rated_per_hour"] = chance.choice(("0.5", "50", "5000", "400000"))
        if chance.randrange(3):
            meter["max_gap_s"] = chance.choice((60, 300, 901, 3600))
        if kind == "amount":
            channel["period_s"] = chance.choice((450, 900, 1500, 3600, 5400, 7200))
            return channel, self._untidy(self._amounts(channel["period_s"] * 1000))
        if kind == "gauge":
            rows = [Row(t_ms, chance.choice((0, 0, 1, 7, 999, 123_456, -5))) for t_ms in self._times()]
            rows = [row._replace(value=chance.randrange(self._much())) for row in rows] if self.large else rows
            return channel, self._untidy(rows)
        return channel, self._untidy(self._counter(meter, channel))

    def _with_power(self, meter: Body) -> dict[str, tuple[Body, list[Row]]]:
        """The power of the same device; most of them need it, because their register moves in coarse steps."""
        if self.chance.randrange(4):
            meter["resolution"] = self.chance.choice(("0.001", "0.125", "1", "50"))
        binding = meter["bindings"][0]
        binding["power"] = f"{binding['channel']}-power"
        if not self.chance.randrange(6):
            return {}
        unit = self.chance.choice(TOLD["gauge"][meter["unit"]])
        channel: Body = {"unit": unit, "kind": "gauge", "decimals": self.chance.choice((0, 3))}
        rows = [Row(t_ms, self.chance.choice((0, 0, 1, 7, 999))) for t_ms in self._times()]
        return {binding["power"]: (channel, self._untidy(rows))}

    def _exchange(self, meter: Body, bucket_ms: int) -> dict[str, tuple[Body, list[Row]]]:
        """From a bucket's edge on another device or another ratio of the same one, perhaps after a pause."""
        old, chance = meter["bindings"][0], self.chance
        if "wrap" in meter:  # a register's modulus is that of its first ratio
            return {}
        at_ms = (self.start_ms + chance.randrange(self.hours * HOUR_MS)) // bucket_ms * bucket_ms
        new: Body = {**old, "ratio": chance.choice(("0.3", "7")), "valid_from": format_instant(at_ms)}
        old["valid_to"] = format_instant(at_ms - chance.choice((0, bucket_ms)))
        meter["bindings"].append(new)
        if chance.randrange(2):
            return {}
        new["channel"] = f"{old['channel']}-new"
        return {new["channel"]: self._meter({**meter, "bindings": [{}], "wrap": "1"})}

    def gauge(self, tells: str) -> tuple[Body, list[Row]]:
        """A pressure or temperature; now and then nobody reads it."""
        chance = self.chance
        unit, decimals, values = chance.choice(GAUGES[tells])
        rows = (
            [Row(t_ms, chance.choice((*values[:2], *values))) for t_ms in self._times()] if chance.randrange(8) else []
        )
        return {"unit": unit, "decimals": decimals, "kind": "gauge"}, self._untidy(rows)

    def fed(self, channel: str, meter: Mapping[str, Any]) -> tuple[Body, list[Body]]:
        """A channel that comes to a meter, which stays as it is."""
        body, rows = self._meter({**meter, "bindings": [{}], "wrap": "1"})
        self.channels.add(channel)
        return {"channel": channel, **body}, self.blocks(channel, body["decimals"], rows)

    def _times(self) -> list[int]:
        chance, every = self.chance, GAPS_MS if self.hours < 10 else LONG_GAPS_MS
        gaps = chance.sample(every, chance.randrange(2, len(every)))
        t_ms = self.start_ms + chance.choice((0, -HOUR_MS // 2, -1, 1, chance.randrange(2 * HOUR_MS)))
        times = []
        while t_ms < self.end_ms + HOUR_MS:
            times.append(t_ms)
            t_ms += chance.choice(gaps)
        return times

    def _amounts(self, period_ms: int) -> list[Row]:
        chance = self.chance
        often_ms = max(period_ms // 12, 300_000)
        apart_ms = chance.choice((period_ms, period_ms, period_ms + 1234, period_ms - 777, period_ms // 2, often_ms))
        t_ms = self.start_ms + chance.choice((0, 1, 123_457)) + chance.choice((0, period_ms, 2 * period_ms))
        rows = []
        while t_ms < self.end_ms + max(HOUR_MS, 2 * period_ms):
            value = chance.randrange(self._much()) if self.large else chance.choice((0, 0, 1, 7, 999, 123_456))
            if chance.randrange(8):
                rows.append(Row(t_ms, value))
            t_ms += apart_ms
        return rows

    def _counter(self, meter: Body, channel: Body) -> list[Row]:
        """A register that grows; then one story of what a device did to it."""
        chance = self.chance
        times = self._times()
        base = chance.randrange(1, 1000)
        if self.large and chance.randrange(3):
            # Some grow beyond the most that a register or its channel can hold, and are then no longer believed.
            near = chance.randrange(2**54) if chance.randrange(2) else 2**54
            base = (2**62 if channel["unit"] == "Wh" else 2**60) - chance.choice((near, 2**58))
        elif chance.randrange(2):
            base = chance.randrange(10**8, 10**9) if not self.large else 2**58 + chance.randrange(2**40)
        rows, value = [], base
        for t_ms in times:
            rows.append(Row(t_ms, value))
            value += chance.randrange(self._much()) if self.large else chance.choice((0, 0, 1, 7, 999, 123_456))
        if base < 10**8 or self.large or not self.faults or "wrap" in meter:
            return rows
        story = chance.choice(("plain", "zeros", "dips", "wrap", "reset", "spike", "outage", "late", "noise"))
        if story == "wrap":
            modulus = base + chance.randrange(1, 200_000)
            meter["wrap"] = _text(modulus, 0)
            channel |= {"decimals": 0, "unit": meter["unit"]}
            meter["bindings"][0]["ratio"] = "1"
            return [row._replace(value=row.value % modulus) for row in rows]
        return self._told(rows, story)

    def _told(self, rows: list[Row], story: str) -> list[Row]:
        chance, many = self.chance, len(rows)
        at, until = sorted((chance.randrange(1, many), chance.randrange(1, many + 1)))
        match story:
            case "zeros":
                return self._low(rows, lambda _: 0)
            case "dips":
                return self._low(rows, lambda v: v - chance.choice((1, v // 50)))
            case "spike":
                return self._low(rows, lambda v: v * 3)
            case "reset":
                starts = chance.choice((0, 0, 5))
                return [*rows[:at], *(r._replace(value=r.value - rows[at].value + starts) for r in rows[at:])]
            case "outage":  # It reads zero for a while, then goes on where it was.
                return [row._replace(value=0) if at <= n < until else row for n, row in enumerate(rows)]
            case "late":  # It reads zero until it is there.
                return [row._replace(value=0) if n < at else row for n, row in enumerate(rows)]
            case "noise":
                return [row._replace(value=chance.choice((0, 7, row.value, row.value, row.value * 2))) for row in rows]
        return rows

    def _much(self) -> int:
        """In millionths; 2^53 in an hour is the most that is believed of any meter."""
        return 1 << self.chance.choice((40, 46, 50, 51, 53))

    def _low(self, rows: Sequence[Row], change: Any) -> list[Row]:
        """One or two readings in a row, now and then, that are not what the register says."""
        told, at = list(rows), self.chance.randrange(1, 5)
        while at < len(rows) - 4:
            for n in range(self.chance.choice((1, 1, 2)) if change(100) < 100 else 1):
                told[at + n] = rows[at + n]._replace(value=change(rows[at - 1].value))
            at += self.chance.randrange(6, 12)
        return told

    def _level(self, store: Mapping[str, Any]) -> tuple[Body, list[Row]]:
        times, chance = self._times(), self.chance
        is_part = "capacity" in store
        channel = {"unit": "%" if is_part else store["unit"], "decimals": 1 if is_part else 2, "kind": "gauge"}
        most = 1000 if is_part else chance.choice((10, 1000, 10**6))
        return channel, self._untidy([Row(t_ms, chance.randrange(most)) for t_ms in times])

    def _untidy(self, rows: list[Row]) -> list[Row]:
        """Copies, worse versions, corrections of what was told wrong at first, and readings taken back, in any order."""
        told: list[Row] = []
        taken_back = 0
        for read in rows:
            quality = self.chance.choice(("measured",) * 6 + ("estimated", "recovered"))
            row = read._replace(quality=quality, revision=1)
            told.append(row)
            if taken_back and row.value < 10**8:  # a story stays one
                taken_back -= 1
                told.append(row._replace(quality="missing", revision=2))
                continue
            match self.chance.randrange(16):
                case 0:
                    told.append(row)
                case 1:
                    first = row.value // 2 if self.faults else row.value
                    told.append(row._replace(value=first, quality="estimated", revision=0))
                case 2:
                    told.append(row._replace(value=row.value // 3, quality="missing"))
                case 3:
                    taken_back = self.chance.choice((1, 1, 2, 6))
        self.chance.shuffle(told)
        return told

    def blocks(self, channel: str, decimals: int, rows: Sequence[Row]) -> list[Body]:
        blocks: dict[tuple[str, int], list[list[str]]] = {}
        for row in rows:
            text = [format_instant(row.t_ms), _text(row.value, decimals)]
            blocks.setdefault((row.quality, row.revision), []).append(text)
        return [{"channel": channel, "quality": q, "revision": r, "rows": texts} for (q, r), texts in blocks.items()]


MASS_UNITS = {"kWh": "kg", "Wh": "kg", "MJ": "kg", "MWh": "t", "kW": "kg/h", "W": "kg/h", "MW": "t/h"}
# What gauges of steam say: unit, decimals, values in steps; some beyond what steam can be, or what a gauge can say.
GAUGES = {
    "pressure": (("MPa", 2, (70, 80, 3, 3000, 0)), ("bar", 1, (70, 81, 0, 250, 9999)), ("kPa", 0, (700, 801, 45, -3))),
    "temperature": (("degC", 1, (1650, 2000, 5501, 900, 3, -5)), ("degC", 0, (165, 250, 373, 9999))),
}


def with_heat(feeds: "Feeds", plants: Sequence[Body], channels: list[Body], blocks: list[Body]) -> None:
    """Makes meters of steam or condensate of some that count kWh, in every plant, and adds what their gauges say.

    Each plant is `{"model": …}`. Only meters with one plain binding: what is read beside a channel is followed with it.
    """
    chance = feeds.chance
    base = chance.choice(({}, {}, {"base_kj_per_kg": "0"}, {"base_kj_per_kg": "440.1"}))
    versions: dict[str, list[Body]] = {}
    for meter in (meter for plant in plants for meter in plant["model"]["meters"]):
        versions.setdefault(meter["id"], []).append(meter)
    levels = {store.get("level") for plant in plants for store in plant["model"].get("stores", ())}
    for name, several in sorted(versions.items()):
        bindings = [b for meter in several for b in meter["bindings"]]
        is_plain = len(bindings) == len(several) and len({b["channel"] for b in bindings}) == 1
        is_plain &= not any("power" in b for b in bindings) and not any("resolution" in meter for meter in several)
        if not is_plain or name in levels or several[0]["unit"] != "kWh" or chance.randrange(4):
            continue
        kind, block, reads = _heat(chance, base, has_wrap=any("wrap" in meter for meter in several))
        for body in channels:
            if body["channel"] == bindings[0]["channel"]:
                body["unit"] = MASS_UNITS[body["unit"]]
        told = {tells: f"{bindings[0]['channel']}-{tells}" for tells in reads}
        for meter in several:
            meter[kind] = block
            meter["bindings"][0] |= told
        named = list(told.items())
        if told and not chance.randrange(3):
            named.append(_other_gauge(feeds, plants, several))
        for tells, channel in named:
            body, rows = feeds.gauge(tells)
            if rows:
                channels.append({"channel": channel, **body})
                blocks += feeds.blocks(channel, body["decimals"], rows)


def _other_gauge(feeds: "Feeds", plants: Sequence[Body], several: Sequence[Body]) -> tuple[str, str]:
    """From an edge of buckets on, what one gauge of a meter told is told by another channel, beside the same mass."""
    chance, (binding, *_) = feeds.chance, several[0]["bindings"]
    tells = chance.choice(sorted(binding.keys() & GAUGES.keys()))
    edge_ms = max(plant["model"].get("bucket_s", 900) for plant in plants) * 1000
    edge_ms = HOUR_MS if not chance.randrange(3) else edge_ms
    at = format_instant((feeds.start_ms + chance.randrange(feeds.hours * HOUR_MS)) // edge_ms * edge_ms)
    other = f"{binding[tells]}-new"
    for meter in several:
        (old,) = meter["bindings"]
        meter["bindings"] = [{**old, "valid_to": at}, {**old, "valid_from": at, tells: other}]
    return tells, other


def _heat(chance: random.Random, base: Body, *, has_wrap: bool) -> tuple[str, Body, list[str]]:
    """The key of a block, the block, and what is read beside the mass."""
    # A modulus is in the unit of the channel.
    block: Body = {
        "mass_unit": "kg" if has_wrap else chance.choice(("kg", "t")),
        "hold_s": chance.choice((450, 1800, 7200)),
    }
    if not chance.randrange(4):
        fixed = chance.randrange(2)
        return "condensate", block | base | ({"temperature": "90"} if fixed else {}), [] if fixed else ["temperature"]
    block |= base | {"pressure_is": chance.choice(("absolute", "gauge"))}
    match chance.randrange(5):
        case 0:
            return "steam", block | {"pressure": "0.7", "dryness": "0.93"}, []
        case 1:
            return "steam", block | {"pressure": "1.25"}, ["temperature"]
        case 2:
            return "steam", block, ["pressure"]
        case 3:
            return "steam", block | {"dryness": "0.9707"}, ["pressure"]
    return "steam", block, ["pressure", "temperature"]


def told_at(chance: random.Random, facts: Sequence[Body], start_ms: int) -> None:
    """Gives facts the instants at which they became known."""
    for fact in facts:
        fact["known_at"] = format_instant(start_ms + chance.randrange(6) * HOUR_MS)


def _text(value: int, decimals: int) -> str:
    sign, digits = "-" if value < 0 else "", str(abs(value)).rjust(decimals + 1, "0")
    return f"{sign}{digits[: len(digits) - decimals]}" + (f".{digits[len(digits) - decimals :]}" if decimals else "")
