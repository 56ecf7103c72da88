"""What a single pasted message becomes, with a mapping or with a whole agent.yaml: readings, and what is ignored and why."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from zoneinfo import ZoneInfo

from plantprint.quantities import UnitError, is_unit
from plantprint.times import format_instant
from plantprint_edge.clock import Clock
from plantprint_edge.config import AgentConfig, MqttSource
from plantprint_edge.load import AUXILIARY_UNITS
from plantprint_edge.mappings import Mapping, number_text
from plantprint_edge.payloads import NO_LIMITS_GIVEN, Decoded, Found, Limits, PayloadError
from plantprint_edge.payloads.mapped import Arrival, decode
from plantprint_edge.payloads.numbers import unit_factor
from plantprint_edge.payloads.paths import topic_of
from plantprint_edge.payloads.sparkplug_nodes import Nodes
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.mqtt_routes import Router

COMMON_UNITS = ("kWh", "kW", "kg", "kg/h", "m3", "m3/h", "Nm3", "Nm3/h")


def try_payload(
    mapping: Mapping,
    topic: str,
    payload: bytes,
    now_ms: int,
    *,
    base: str | None = None,
    zone: ZoneInfo | None = None,
    births: Sequence[bytes] = (),
    limits: Limits = NO_LIMITS_GIVEN,
) -> Decoded:
    """The message as all rules that fit its topic read it; raises `PayloadError` when none does or it is unreadable.

    `births` are Sparkplug payloads of the same node or device, whose aliases the message uses.
    """
    patterns = [(topic_of(rule.topic, mapping.base if base is None else base), rule) for rule in mapping.messages]
    fitting = [(names, rule) for pattern, rule in patterns if (names := pattern.match(topic)) is not None]
    if not fitting:
        known = ", ".join(pattern.text for pattern, _ in patterns)
        raise PayloadError(f"topic {topic!r} is none of {mapping.id}: {known}")
    whole = Decoded()
    for names, rule in fitting:
        if rule.format == "sparkplug":
            part = _sparkplug(names, payload, births, limits)
        else:
            part = decode(rule, names, payload, Arrival(now_ms, zone, limits))
        whole.found += part.found
        whole.ignored += part.ignored
        whole.dead = [*whole.dead, *part.dead]
    return whole


def _sparkplug(names: dict[str, str], payload: bytes, births: Sequence[bytes], limits: Limits) -> Decoded:
    nodes = Nodes(["/".join(names[key] for key in ("group", "node", "device") if key in names)])
    kind = "DBIRTH" if "device" in names else "NBIRTH"
    for birth in births:
        nodes.take({**names, "message": kind}, birth, limits)
    decoded = nodes.take(names, payload, limits)
    # A message out of its order says nothing about sequence numbers.
    decoded.ignored = [item for item in decoded.ignored if item[1] != "seq"]
    return decoded


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a running agent would make of a message: (channel, value and unit, instant), what it refuses, strangers."""

    readings: list[tuple[str, str, int]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    undeclared: list[str] = field(default_factory=list)
    missing: int = 0


def try_config(config: AgentConfig, topic: str, payload: bytes, clock: Clock, *, retained: bool = False) -> Outcome:
    """The message as the MQTT sources of `config` would take it; raises `PayloadError` when none subscribes to it."""
    outcomes: list[Outcome] = []
    for source in config.sources:
        if isinstance(source, MqttSource):
            counts = SourceCounts(source.name, "mqtt")
            router, channels = Router(source, 0, counts, clock), source.channels()
            if router.route(topic):
                rows = router.read(topic, payload, retained=retained)
                named = [(channels[index], t_ms, value) for index, t_ms, value, _ in rows]
                readings = [(c.name, f"{Decimal(value).scaleb(-c.decimals)} {c.unit}", t) for c, t, value in named]
                outcomes.append(Outcome(readings, router.refused, list(counts.undeclared), counts.missing))
    if not outcomes:
        raise PayloadError(f"no MQTT source of this agent.yaml listens to {topic!r}")
    return Outcome(
        [reading for one in outcomes for reading in one.readings],
        {reason: text for one in outcomes for reason, text in one.refused.items()},
        [who for one in outcomes for who in one.undeclared],
        sum(one.missing for one in outcomes),
    )


def value_text(found: Found) -> str:
    """The value with the unit that the message or the mapping gives."""
    if found.number is None:
        return f"missing ({found.why})"
    return f"{number_text(found.number, found.factor)} {found.unit}".rstrip()


def time_text(found: Found) -> str:
    """The value's own time, `arrival` where the message has none."""
    if found.t_ms is None:
        return "arrival"
    return format_instant(found.t_ms) if 0 <= found.t_ms < 10**14 else f"{found.t_ms} ms since 1970"


def line(found: Found) -> str:
    """A reading in one line: `device name = value unit @ time`."""
    late = ", late" if found.historical else ""
    return f"{found.device or '-'} {found.name} = {value_text(found)} @ {time_text(found)}{late}"


def unit_remark(found: Found) -> str:
    """What is to be said of a unit that is not one of ours."""
    if not found.unit or found.number is None or is_unit(found.unit) or found.unit in AUXILIARY_UNITS:
        return ""
    for ours in (*COMMON_UNITS, *AUXILIARY_UNITS):
        with suppress(UnitError):
            unit_factor(found.unit, ours)
            return f"can become {ours}"
    return "no unit known here: give device_unit"
