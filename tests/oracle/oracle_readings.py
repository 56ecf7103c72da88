"""Oracle: the channels of a document, one winner per instant, and which of them feeds a meter in an hour."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from oracle.oracle_heat import Gauge, gauge, heat_of
from oracle.oracle_meters import Bucket, Hour, amount_hour, counter_hour, gauge_hour
from oracle.oracle_numbers import HOUR_MS, MICRO, MISSING, QUALITIES, RATES, converted, half_even, number
from oracle.oracle_plant import Plant
from oracle.oracle_register import Believed, Value, course
from oracle.oracle_shaping import Power, shaped_hour
from oracle.oracle_time import instant

# Nothing that is beyond this, in millionths in an hour, is believed of any meter, even if all its registers say so.
HOUR_MAX = 2**53
# No register holds more, in millionths of the meter's unit and in steps of the channel.
REGISTER_MAX, VALUE_MAX = 2**60, 2**62


@dataclass
class Stream:
    """A channel with all of its readings that count, in order of time; `begins_ms` is when it began to tell anything."""

    body: Mapping[str, Any]
    values: list[Value] = field(default_factory=list)
    begins_ms: int = 0
    told: dict[tuple[int, str, str, int], list[Bucket]] = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)  # by meter: what is counted beyond a coarse register so far

    @property
    def period_ms(self) -> int:
        return int(self.body.get("period_s", 0)) * 1000


def streams(document: Mapping[str, Any]) -> dict[str, Stream]:
    """(value, quality, revision) of an instant in any order, repeated or not: the highest (revision, quality, value)."""
    found: dict[str, Stream] = {}
    for channel in document["channels"]:
        stream, best = Stream(channel), dict[int, tuple[int, int, int]]()
        for block in document["readings"]:
            if block["channel"] != channel["channel"]:
                continue
            for at, text in block["rows"]:
                value = number(text) * 10 ** channel["decimals"]
                assert value.denominator == 1, "a value has no more digits than its channel"
                rank = block.get("revision", 0), QUALITIES[block.get("quality", "measured")], int(value)
                best[instant(at)] = max(best.get(instant(at), rank), rank)
        if best:
            counted = [Value(t_ms, value, quality) for t_ms, (_, quality, value) in sorted(best.items())]
            stream.begins_ms = counted[0].t_ms - stream.period_ms
            stream.values = [value for value in counted if value.quality != MISSING]
            found[channel["channel"]] = stream
    return found


def bound(meter: Mapping[str, Any], at_ms: int) -> Mapping[str, Any] | None:
    """The binding that holds at an instant."""
    for binding in meter["bindings"]:
        if _from(binding) <= at_ms and (not binding.get("valid_to") or at_ms < instant(binding["valid_to"])):
            return dict(binding)
    return None


def _from(binding: Mapping[str, Any]) -> int:
    return instant(binding["valid_from"]) if binding.get("valid_from") else -(2**62)


def begins(meter: Mapping[str, Any], known: Mapping[str, Stream]) -> int | None:
    """When a meter began to be read, over whatever channel; None where it never was."""
    bindings = [binding for binding in meter["bindings"] if binding["channel"] in known]
    return min((max(known[b["channel"]].begins_ms, _from(b)) for b in bindings), default=None)


def meter_hour(
    plant: Plant, meter: Mapping[str, Any], known: Mapping[str, Stream], hour: Hour, wrong: set[tuple[str, str]]
) -> list[Bucket]:
    """Each bucket is told by the channel that is bound as it begins."""
    blank = counter_hour([], Fraction(1), 0, hour)
    buckets = []
    for k, start_ms in enumerate(hour.edges[:-1]):
        binding = bound(meter, start_ms)
        told = blank if binding is None else _told(plant, meter, binding, known, hour)
        buckets.append(told[k])
    if max(bucket.amount for bucket in buckets) >= HOUR_MAX // len(buckets):
        wrong.add(("amount-impossible", meter["id"]))
        return blank
    return buckets


def _told(
    plant: Plant, meter: Mapping[str, Any], binding: Mapping[str, Any], known: Mapping[str, Stream], hour: Hour
) -> list[Bucket]:
    """The hour as one channel tells it."""
    stream = known.get(binding["channel"])
    is_level = stream is not None and stream.body["kind"] == "gauge" and stream.body["unit"] not in RATES
    if stream is None or is_level:  # What told the level of a store that has gone tells no amount.
        return counter_hour([], Fraction(1), 0, hour)
    since_ms = max(_followed_since(meter, binding), plant.came.get((meter["id"], binding["channel"]), -(2**62)))
    of_binding = [str(binding.get(name)) for name in ("ratio", "pressure", "temperature")]
    place = (since_ms, " ".join(of_binding), meter["id"], hour.start_ms)
    if place in stream.told:
        return stream.told[place]
    rules = _Rules(plant, meter["id"], binding, stream.body)
    step, max_gap_ms = rules.of(binding, meter).step, meter.get("max_gap_s", 300) * 1000
    values = [v for v in stream.values if v.t_ms > since_ms and rules.at(v.t_ms).can_be(v.value)]
    # The power beside a channel is followed from the hour in which the channel begins to tell anything.
    begun_ms = values[0].t_ms if values else 0
    if stream.body["kind"] == "counter":
        # An hour is accounted from its own readings and the four after it: what ends later is not known to it.
        seen = bisect_right(values, hour.end_ms, key=lambda value: value.t_ms) + 4
        points = course(values[:seen], lambda t_ms: rules.at(t_ms).believed)
        begun_ms = points[0].t_ms if points else 0
        if meter.get("resolution"):
            ahead = stream.ahead.get(meter["id"], 0)
            power = _power(meter, binding, known, _hour_before(begun_ms))
            told = shaped_hour(
                points, step, half_even(number(meter["resolution"]) * MICRO), power, ahead, max_gap_ms, hour
            )
            buckets, stream.ahead[meter["id"]] = told
        else:
            buckets = counter_hour(points, step, max_gap_ms, hour)
    elif stream.body["kind"] == "gauge":
        buckets = gauge_hour(values, step, max_gap_ms, hour)
    else:
        values = [v for v in stream.values if rules.of(binding, meter).can_be(v.value)]
        buckets = amount_hour(values, step, stream.period_ms, hour)
    if "steam" in meter or "condensate" in meter:
        buckets = heat_of(meter, buckets, _gauges(meter, binding, known), hour)
    stream.told[place] = buckets
    return buckets


@dataclass(frozen=True)
class Rule:
    """What a binding says of a channel: millionths of the meter's unit in a step, values that can be, what is believed."""

    step: Fraction
    least: int
    most: int
    believed: Believed

    def can_be(self, value: int) -> bool:
        """All others are a device's way to say that it cannot read: they decide nothing."""
        return self.least <= value <= self.most


def counts_in(meter: Mapping[str, Any]) -> str:
    """What the meter's channel counts; `wrap` and `rated_per_hour` are of that."""
    block = meter["steam"] if "steam" in meter else meter.get("condensate")
    return str(meter["unit"] if block is None else block.get("mass_unit", "t"))


def rule_of(meter: Mapping[str, Any], binding: Mapping[str, Any], channel: Mapping[str, Any]) -> Rule:
    kind, unit = channel["kind"], channel["unit"]
    factor = converted(RATES[unit] if kind == "gauge" else unit, counts_in(meter))
    assert factor is not None, "channels of the test's documents convert"
    step = factor * number(binding.get("ratio", 1)) * Fraction(MICRO, 10 ** channel["decimals"])
    rated = Fraction(12, 10) * number(meter["rated_per_hour"]) * MICRO / step if meter.get("rated_per_hour") else None
    if kind == "amount":
        per_hour = Fraction(HOUR_MS, channel["period_s"] * 1000)
        return Rule(step, 0, int(min(rated or REGISTER_MAX / step, REGISTER_MAX / step) / per_hour), Believed())
    most = min(VALUE_MAX, int(REGISTER_MAX / step))
    if kind == "gauge":
        return Rule(step, -most, most if rated is None else min(most, int(rated)), Believed())
    modulus = half_even(number(meter["wrap"]) * MICRO / step) if meter.get("wrap") else None
    return Rule(step, 0, most, Believed(modulus, rated))


@dataclass(frozen=True)
class _Rules:
    """By which binding of a channel a reading is judged: until the one that asks holds, by that of its own instant."""

    plant: Plant
    meter: str
    binding: Mapping[str, Any]
    channel: Mapping[str, Any]

    def of(self, binding: Mapping[str, Any], meter: Mapping[str, Any]) -> Rule:
        return rule_of(meter, binding, self.channel)

    def at(self, t_ms: int) -> Rule:
        plant, binding = self.plant, self.binding
        while plant.earlier and t_ms <= plant.from_ms and self._bindings(plant.earlier):
            plant = plant.earlier
            binding = self._bindings(plant)[-1]
        several = self._bindings(plant)
        if t_ms <= _from(binding) or plant is not self.plant:
            binding = next(
                (b for b in several if t_ms <= (instant(b["valid_to"]) if b.get("valid_to") else 2**62)), binding
            )
        return self.of(binding, plant.meters[self.meter])

    def _bindings(self, plant: Plant) -> list[Mapping[str, Any]]:
        """Those of the channel, in order of time."""
        bindings = plant.meters.get(self.meter, {"bindings": ()})["bindings"]
        return sorted((b for b in bindings if b["channel"] == self.channel["channel"]), key=_from)


def _power(
    meter: Mapping[str, Any], binding: Mapping[str, Any], known: Mapping[str, Stream], since_ms: int
) -> Power | None:
    """What tells how a coarse step was used; more than the meter is rated for is not believed of it either."""
    stream = known.get(binding.get("power", ""))
    if stream is None:
        return None
    rule = rule_of(meter, binding, stream.body)
    values = [v for v in stream.values if v.t_ms > since_ms and rule.can_be(v.value)]
    return Power(values, rule.step, meter.get("max_gap_s", 300) * 1000)


def _hour_before(t_ms: int) -> int:
    """The start of the hour that a reading belongs to; one at a full hour is the last of the hour before."""
    return (t_ms - (not t_ms % HOUR_MS)) // HOUR_MS * HOUR_MS


def _gauges(
    meter: Mapping[str, Any], binding: Mapping[str, Any], known: Mapping[str, Stream]
) -> dict[str, Gauge | None]:
    """Those that the binding names, None where nobody reads one: all that they ever said, whatever counted the mass then."""
    found: dict[str, Gauge | None] = {}
    for name in ("pressure", "temperature"):
        if name in binding:
            read = known.get(binding[name])
            found[name] = None if read is None else gauge(meter, name, read.body, read.values)
    return found


def _followed_since(meter: Mapping[str, Any], binding: Mapping[str, Any]) -> int:
    """A channel that is new to a meter is followed from the hour before the one in which it begins to count."""
    if any(other["channel"] == binding["channel"] and _from(other) < _from(binding) for other in meter["bindings"]):
        return -(2**62)
    return _from(binding) // HOUR_MS * HOUR_MS - HOUR_MS


def level(plant: Plant, store: str, known: Mapping[str, Stream], hour: Hour) -> tuple[int, int] | None:
    """What is in a store at the hour's end by its meter, and how well that is known."""
    meter = plant.meters[plant.stores[store]["level"]]
    binding = bound(meter, hour.start_ms)
    if binding is None or binding["channel"] not in known:
        return None
    stream = known[binding["channel"]]
    gap_ms, unit = meter.get("max_gap_s", 300) * 1000, plant.stores[store]["unit"]
    read: Sequence[Value] = [value for value in stream.values if value.t_ms > hour.start_ms]
    last = next((value for value in reversed(read) if value.t_ms <= hour.end_ms), None)
    after = next((value for value in read if value.t_ms > hour.end_ms), None)
    if last is None or hour.end_ms - last.t_ms > gap_ms:
        return None
    there, quality = Fraction(last.value), last.quality
    if after is not None and after.t_ms - last.t_ms <= gap_ms:
        there += Fraction((after.value - last.value) * (hour.end_ms - last.t_ms), after.t_ms - last.t_ms)
        quality = min(quality, after.quality) if last.t_ms < hour.end_ms else quality
    if stream.body["unit"] == "%":
        whole = number(plant.stores[store]["capacity"]) / 100
    else:
        whole = converted(stream.body["unit"], unit) or Fraction(0)
    scale = whole * number(binding.get("ratio", 1)) * Fraction(MICRO, 10 ** stream.body["decimals"])
    return max(0, half_even(there * scale)), quality
