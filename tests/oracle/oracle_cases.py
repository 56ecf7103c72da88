"""Random plants and facts for the oracle, and both ways to account them: the product with carry, the oracle without."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from accounting_cases import HOUR, HOUR_MS, NO_PRODUCTION
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from oracle.oracle_hour import NOTHING_HELD, Key, oracle_hour
from oracle.oracle_meters import Bucket, Value, amount_hour, counter_hour, gauge_hour, winners, without_dips
from oracle.oracle_numbers import MISSING
from oracle.oracle_plants import base_plants
from random_plants import HOURS, productions

from plantprint.account import EMPTY_CARRY, Carry, account_hour
from plantprint.facts import Channel, ChannelKind, Reading
from plantprint.intervals import LOOKAHEAD, MeterSeries
from plantprint.ledger import PostingKey
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production, reduce_events

EXAMPLES = int(os.environ.get("PLANTPRINT_ORACLE_EXAMPLES", "100"))
ORACLE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="PLANTPRINT_ORACLE_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)

# Channel units per meter unit, and how many meter units one channel unit is worth (an hour of a rate).
UNITS: Mapping[str, Sequence[tuple[str, Fraction]]] = {
    "counter": (("kWh", Fraction(1)), ("Wh", Fraction(1, 1000)), ("GJ", Fraction(2500, 9))),
    "amount": (("kWh", Fraction(1)), ("MJ", Fraction(5, 18))),
    "gauge": (("kW", Fraction(1)), ("MW", Fraction(1000))),
}
PERIOD_S = 450
END_MS = HOUR + HOURS * HOUR_MS


@dataclass(frozen=True)
class Fed:
    """A meter's channel and all facts of it, in the order in which they came."""

    channel: Channel
    ratio: Decimal
    per_unit: Fraction
    facts: tuple[Reading, ...]

    @property
    def step(self) -> Fraction:
        """Millionths of the meter's unit in one step of the channel."""
        return self.per_unit * Fraction(self.ratio) * Fraction(10**6, 10**self.channel.decimals)


@dataclass(frozen=True)
class Facts:
    graph: PlantGraph
    fed: dict[str, Fed]
    production: Production


instants = st.integers(HOUR - HOUR_MS + 1, END_MS + HOUR_MS // 2)


@st.composite
def feeds(draw: st.DrawFn, *, large: bool = False) -> Fed:
    kind: ChannelKind = draw(st.sampled_from(["counter", "counter", "gauge", "amount"]))
    unit, per_unit = draw(st.sampled_from(UNITS[kind]))
    decimals = draw(st.integers(0, 4))
    ratio = draw(st.sampled_from([Decimal(1), Decimal(1), Decimal("0.3"), Decimal(40)]))
    if unit == "GJ":  # more would be beyond what is believed of any meter
        decimals, ratio = 4, Decimal("0.3")
    if large:
        unit, per_unit, decimals, ratio = UNITS[kind][0][0], Fraction(1), 6, Decimal(1)
    steps = st.integers(0, 2**46) if large else st.sampled_from([0, 0, 1, 7, 999, 123_456])
    if kind == "amount":
        grid = range(HOUR - HOUR_MS + PERIOD_S * 1000, END_MS + HOUR_MS // 2, PERIOD_S * 1000)
        offset = draw(st.sampled_from([0, 0, 1, 123_457]))
        silent = draw(st.sets(st.sampled_from(grid), max_size=4))
        times = [t_ms + offset for t_ms in grid if t_ms not in silent]
    else:
        gaps = draw(st.lists(st.sampled_from([60_000, 299_999, 300_000, 300_001, 754_321, 4_000_000]), max_size=60))
        times = [draw(st.integers(HOUR - HOUR_MS + 1, HOUR + HOUR_MS))]
        for gap in gaps:
            times.append(times[-1] + gap)
        times = [t_ms for t_ms in times if t_ms < END_MS + HOUR_MS // 2]
    facts: list[Reading] = []
    value = draw(st.integers(1, 1000) | st.integers(10**7, 10**8))
    for t_ms in times:
        value = value + draw(steps) if kind == "counter" else draw(steps)
        facts.append(Reading(t_ms, value, draw(st.sampled_from([3, 3, 3, 3, 3, 1]))))
    if kind == "counter":
        facts += draw(_dips(facts))
    facts += draw(_false_starts(facts))
    return Fed(
        Channel("gw", "c", unit, decimals, kind, PERIOD_S if kind == "amount" else 0), ratio, per_unit, tuple(facts)
    )


@st.composite
def _dips(draw: st.DrawFn, facts: Sequence[Reading]) -> list[Reading]:
    """Readings of zero or of a little less, each alone between two good ones, where one step is no tenth of the register."""
    dips = []
    for a, b in zip(facts[::4], facts[1::4], strict=False):
        low = draw(st.sampled_from([None, None, 0, a.value - 1, a.value - a.value // 50]))
        if low is not None and low < a.value and a.value >= 10**7:
            dips.append(Reading(draw(st.integers(a.t_ms + 1, b.t_ms - 1)), low))
    return dips


@st.composite
def _false_starts(draw: st.DrawFn, facts: Sequence[Reading]) -> list[Reading]:
    """Copies, and worse readings of the same instants that came before or after and do not count."""
    if not facts:
        return []
    copies = draw(st.lists(st.sampled_from(facts), max_size=4))
    return [*copies, *(Reading(r.t_ms, r.value // 2, 0, -1) for r in copies[:2])]


@st.composite
def cases(draw: st.DrawFn, *, large: bool = False) -> Facts:
    graph = draw(base_plants())
    several = draw(st.lists(feeds(large=large), min_size=1, max_size=4))
    fed = {meter: draw(st.sampled_from(several)) for meter in graph.meters if draw(st.integers(0, 9))}
    fed = {meter: _shuffled(one, draw(st.randoms(use_true_random=False)).random()) for meter, one in fed.items()}
    made = reduce_events(draw(productions()), graph) if draw(st.integers(0, 9)) else NO_PRODUCTION
    return Facts(graph, fed, made)


def _shuffled(fed: Fed, where: float) -> Fed:
    cut = int(len(fed.facts) * where)
    return Fed(fed.channel, fed.ratio, fed.per_unit, fed.facts[cut:] + fed.facts[:cut][::-1])


# ---- the product -----------------------------------------------------------------------------------------------------


def best(facts: Sequence[Reading]) -> list[Reading]:
    chosen: dict[int, Reading] = {}
    for reading in facts:
        if reading.t_ms not in chosen or reading.rank > chosen[reading.t_ms].rank:
            chosen[reading.t_ms] = reading
    return [chosen[t_ms] for t_ms in sorted(chosen)]


def product_hours(facts: Facts, until_ms: int = END_MS, hours: int = HOURS) -> list[dict[Key, int]]:
    """Net postings of the hours from one before HOUR on."""
    carry: Carry = EMPTY_CARRY
    nets = []
    for number in range(-1, hours):
        hour_ms = HOUR + number * HOUR_MS
        series = {}
        for meter, fed in facts.fed.items():
            readings = [r for r in best(fed.facts) if r.t_ms > hour_ms]
            within = [r for r in readings if r.t_ms <= hour_ms + HOUR_MS]
            chosen = tuple(readings[: len(within) + LOOKAHEAD])
            series[meter] = MeterSeries(fed.channel, facts.graph.meters[meter], fed.ratio, chosen)
        account = account_hour(facts.graph, facts.production, hour_ms, series, carry, until_ms)
        carry = Carry.from_json(account.carry.to_json())
        nets.append(plain(account.net))
    return nets


def plain(net: Mapping[PostingKey, int]) -> dict[Key, int]:
    sums: dict[Key, int] = {}
    for key, amount in net.items():
        short = (key.account_kind, key.account_id, key.work_unit, key.step, key.source, key.entered_ms, key.quality)
        sums[short] = sums.get(short, 0) + amount
    return {key: amount for key, amount in sums.items() if amount}


# ---- the oracle ------------------------------------------------------------------------------------------------------


def oracle_hours(facts: Facts, until_ms: int = END_MS, hours: int = HOURS) -> list[dict[Key, int]]:
    stock = NOTHING_HELD
    nets = []
    for number in range(-1, hours):
        hour_ms = HOUR + number * HOUR_MS
        meters = {meter: meter_buckets(facts, meter, hour_ms, until_ms) for meter in facts.graph.meters}
        hour = oracle_hour(facts.graph, facts.production, hour_ms, meters, stock)
        stock = hour.stock
        nets.append(hour.net)
    return nets


def meter_buckets(facts: Facts, meter: str, hour_ms: int, until_ms: int) -> list[Bucket]:
    bucket_s = facts.graph.plant.bucket_s
    if meter not in facts.fed:
        return counter_hour([], Fraction(1), 0, hour_ms, bucket_s, until_ms)
    fed = facts.fed[meter]
    values: list[Value] = winners([(r.t_ms, r.value, r.quality, r.revision) for r in fed.facts])
    values = [value for value in values if value.quality != MISSING]
    if fed.channel.kind == "amount":
        return amount_hour(values, fed.step, PERIOD_S * 1000, hour_ms, bucket_s, until_ms)
    max_gap_ms = facts.graph.meters[meter].max_gap_s * 1000
    if fed.channel.kind == "counter":
        values = without_dips(values)
    count = counter_hour if fed.channel.kind == "counter" else gauge_hour
    return count(values, fed.step, max_gap_ms, hour_ms, bucket_s, until_ms)


def without_quality(net: Mapping[Key, int]) -> dict[tuple[str, str, str, str, str, int], int]:
    sums: dict[tuple[str, str, str, str, str, int], int] = {}
    for key, amount in net.items():
        sums[key[:-1]] = sums.get(key[:-1], 0) + amount
    return {key: amount for key, amount in sums.items() if amount}
