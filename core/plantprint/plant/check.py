"""Meaning across the nouns of a plant model: ids, bindings, units, flows; every error and warning of it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import combinations, pairwise

from plantprint.plant.check_heat import check_heat
from plantprint.plant.check_materials import check_materials
from plantprint.plant.check_parts import (
    check_product,
    check_products,
    check_recovery_rest,
    check_store,
    check_wraps,
    dead_end,
)
from plantprint.plant.check_rules import check_rules
from plantprint.plant.model import RESERVED_NODES, Binding, Flow, Plant, Pool
from plantprint.plant.nodes import ModelIssue, Nodes, error, warning
from plantprint.quantities import UnitError, integral_unit, is_unit
from plantprint.times import HOUR_MS, format_instant, to_ms

__all__ = ["ModelIssue", "PlantError", "check_plant", "parse_amount"]

RESERVED_IDS = (*RESERVED_NODES, "rest")
_BESIDE_UNITS = {"power": "kW", "pressure": "MPa, bar, kPa", "temperature": "degC"}


class PlantError(ValueError):
    """A plant model that cannot be used; `issues` are all its errors."""

    def __init__(self, issues: Iterable[ModelIssue], place: str) -> None:
        self.issues = tuple(issues)
        self.place = place
        super().__init__("\n".join(f"{place}:{i.line}: {i.path}: {i.message}; {i.remedy}" for i in self.issues))


def parse_amount(text: str, meter_ids: AbstractSet[str]) -> tuple[tuple[int, str], ...]:
    """`m1 + m2 - m3` → ((1, "m1"), (1, "m2"), (-1, "m3")); `rest` → (). Raises `ValueError` naming what is wrong.

    Ids may hold `-`, so an operator is a `+` or `-` with spaces around it; `m-l1-dye` is one meter.
    """
    words = text.split()
    if words == ["rest"]:
        return ()
    names, operators = words[::2], words[1::2]
    unknown = [name for name in names if name not in meter_ids]
    if len(words) % 2 == 0 or any(operator not in {"+", "-"} for operator in operators):
        raise ValueError(f"{text!r} is not a sum of meters like `m1 + m2 - m3`, with spaces around + and -, nor `rest`")
    if unknown:
        raise ValueError(f"there is no meter {unknown[0]!r} (an operator needs spaces around it)")
    if len(set(names)) < len(names):
        raise ValueError(f"{text!r} names a meter twice")
    return tuple((-1 if operator == "-" else 1, name) for operator, name in zip(["+", *operators], names, strict=True))


def check_plant(plant: Plant) -> list[ModelIssue]:
    """Every error and warning of a model, with line 0; no order is promised."""
    nodes = Nodes.of(plant)
    checks = (_check_times(plant), _check_ids(plant), _check_units(plant), _check_bindings(plant), _check_beside(plant))
    issues = [issue for check in checks for issue in check]
    for index, flow in enumerate(plant.flows):
        issues.extend(_check_flow(f"flows.{index}", flow, nodes))
    issues.extend(_check_network(plant, nodes))
    for index, pool in enumerate(plant.pools):
        issues.extend(check_products(f"pools.{index}", pool, plant))
    for index, store in enumerate(plant.stores):
        issues.extend(check_store(f"stores.{index}", store, nodes))
    issues.extend(check_rules(plant, nodes))
    issues.extend(check_materials(plant))
    issues.extend(check_wraps(plant))
    issues.extend(check_heat(plant, nodes))
    return issues


def _check_times(plant: Plant) -> Iterator[ModelIssue]:
    if 3600 % plant.bucket_s:
        divisors = [n for n in range(1, 3601) if 3600 % n == 0]
        nearest = min(divisors, key=lambda n: abs(n - plant.bucket_s))
        yield error("bucket_s", f"{plant.bucket_s} s do not divide an hour", f"use {nearest}, for example")
    if plant.effective_at is not None:
        yield from _check_instant("effective_at", plant.effective_at, 3600)
    for m, meter in enumerate(plant.meters):
        for b, binding in enumerate(meter.bindings):
            path = f"meters.{m}.bindings.{b}"
            for name in ("valid_from", "valid_to"):
                instant = getattr(binding, name)
                if instant is not None:
                    yield from _check_instant(f"{path}.{name}", instant, plant.bucket_s)
            start, end = _validity(binding)
            if start >= end:
                yield error(f"{path}.valid_to", "the binding ends before it starts", "put valid_to after valid_from")


def _check_instant(path: str, instant: datetime, step_s: int) -> Iterator[ModelIssue]:
    """A plant changes at full hours, a binding at edges of buckets."""
    if instant.tzinfo is None:
        yield error(path, "the time has no offset", "write it as 2026-11-24T08:00:00Z or with +08:00")
    elif rest_ms := to_ms(instant) % (step_s * 1000):
        edge = "a full hour (UTC)" if step_s * 1000 == HOUR_MS else f"the edge of a bucket of {step_s} s"
        more = "; a binding may change inside an hour" if path == "effective_at" else ""
        remedy = f"use {format_instant(to_ms(instant) - rest_ms)}{more}"
        yield error(path, f"a change takes effect at {edge}", remedy)


def _validity(binding: Binding) -> tuple[float, float]:
    start, end = binding.valid_from, binding.valid_to
    return (
        float("-inf") if start is None else start.timestamp(),
        float("inf") if end is None else end.timestamp(),
    )


def _check_ids(plant: Plant) -> Iterator[ModelIssue]:
    units = [
        (unit, f"work_centers.{c}.work_units.{u}")
        for c, center in enumerate(plant.work_centers)
        for u, unit in enumerate(center.work_units)
    ]
    nodes = [(source.id, f"sources.{i}.id") for i, source in enumerate(plant.sources)]
    nodes += [(pool.id, f"pools.{i}.id") for i, pool in enumerate(plant.pools)]
    nodes += [(store.id, f"stores.{i}.id") for i, store in enumerate(plant.stores)]
    nodes += [(unit.id, f"{path}.id") for unit, path in units]
    meters = [(meter.id, f"meters.{i}.id") for i, meter in enumerate(plant.meters)]
    steps = [(step.id, f"steps.{i}.id") for i, step in enumerate(plant.steps)]
    centers = [(center.id, f"work_centers.{i}.id") for i, center in enumerate(plant.work_centers)]
    for named in (nodes, meters, steps, centers):
        first: dict[str, str] = {}
        for name, path in named:
            if name in first:
                yield error(path, f"id {name!r} is used twice, first at {first[name]}", "give one of them another id")
            first.setdefault(name, path)
    for name, path in (*nodes, *meters):
        if name in RESERVED_IDS:
            yield error(path, f"{name!r} is reserved for flows", "choose another id")
    known_steps = {name for name, _ in steps}
    for unit, path in units:
        if unit.step is not None and unit.step not in known_steps:
            yield error(f"{path}.step", f"there is no step {unit.step!r}", "declare it under steps, or correct it here")


def _check_units(plant: Plant) -> Iterator[ModelIssue]:
    units = [(f"sources.{i}.unit", source.unit) for i, source in enumerate(plant.sources)]
    units += [(f"pools.{i}.unit", pool.unit) for i, pool in enumerate(plant.pools)]
    units += [
        (f"pools.{i}.products.{n}.unit", product.unit)
        for i, pool in enumerate(plant.pools)
        for n, product in enumerate(pool.products)
    ]
    units += [(f"stores.{i}.unit", store.unit) for i, store in enumerate(plant.stores)]
    units += [(f"meters.{i}.unit", meter.unit) for i, meter in enumerate(plant.meters)]
    for path, unit in units:
        if not is_unit(unit):
            yield error(path, f"{unit!r} is not a known unit", "use a unit such as kWh, Nm3, kg or t")
            continue
        try:
            integral = integral_unit(unit)
        except UnitError:
            continue
        remedy = f"use {integral}: a channel in {unit} is integrated over time"
        yield error(path, f"{unit!r} is a rate, not an amount", remedy)


def _check_bindings(plant: Plant) -> Iterator[ModelIssue]:
    bound: dict[str, list[tuple[Binding, str, str]]] = defaultdict(list)
    for m, meter in enumerate(plant.meters):
        for b, binding in enumerate(meter.bindings):
            bound[binding.channel].append((binding, meter.id, f"meters.{m}.bindings.{b}.channel"))
        for (_, one), (b, two) in combinations(enumerate(meter.bindings), 2):
            if one.channel != two.channel and _overlap(one, two):
                message = f"{one.channel} and {two.channel} feed meter {meter.id!r} at the same time"
                remedy = "end one with valid_to before the other's valid_from, or make two meters of them"
                yield error(f"meters.{m}.bindings.{b}", message, remedy)
        for (_, one), (b, two) in pairwise(sorted(enumerate(meter.bindings), key=lambda item: _validity(item[1]))):
            end, start = one.valid_to, two.valid_from
            if end is not None and start is not None and end < start:
                span = f"from {format_instant(to_ms(end))} to {format_instant(to_ms(start))}"
                message = f"nothing feeds meter {meter.id!r} {span}: that time is missing"
                yield warning(f"meters.{m}.bindings.{b}", message, "bind a channel in between if one was there")
    for channel, places in bound.items():
        for (one, first, _), (two, second, path) in combinations(places, 2):
            if _overlap(one, two):
                message = f"channel {channel} is bound twice at the same time, to {first!r} and {second!r}"
                remedy = "bind it once: what it counts would be counted twice"
                yield error(path, message, remedy)


def _check_beside(plant: Plant) -> Iterator[ModelIssue]:
    for m, meter in enumerate(plant.meters):
        for b, binding in enumerate(meter.bindings):
            named = [binding.channel]
            for tells, channel in binding.beside.items():
                if channel in named:
                    message = f"{channel} cannot be the {tells} of itself"
                    remedy = f"name the channel of the device's {tells} ({_BESIDE_UNITS[tells]})"
                    yield error(f"meters.{m}.bindings.{b}.{tells}", message, remedy)
                named.append(channel)


def _overlap(one: Binding, two: Binding) -> bool:
    (start, end), (other_start, other_end) = _validity(one), _validity(two)
    return max(start, other_start) < min(end, other_end)


def _check_flow(path: str, flow: Flow, nodes: Nodes) -> Iterator[ModelIssue]:
    yield from _check_ends(path, flow, nodes)
    pool, store = nodes.pools.get(flow.taker), nodes.stores.get(flow.taker)
    unit = nodes.unit_of(flow)
    if pool is not None and not pool.converts and unit is not None and unit != pool.unit:
        message = f"pool {pool.id!r} passes on {pool.unit} as it gets it, but {flow.giver!r} gives {unit}"
        yield error(f"{path}.to", message, f"give both the same unit, or make {pool.id!r} a converting pool")
    if store is not None and unit is not None and unit != store.unit:
        message = f"store {store.id!r} keeps {store.unit}, but {flow.giver!r} gives {unit}"
        yield error(f"{path}.to", message, "give both the same unit; put a converting pool between where it changes")
    yield from check_product(path, flow, nodes)
    try:
        terms = parse_amount(flow.amount, nodes.meters.keys())
    except ValueError as wrong:
        yield error(f"{path}.amount", str(wrong), "use meter ids of this file with ` + ` and ` - ` between them")
        return
    if not terms:
        yield from _check_rest(path, flow, nodes)
    for _, meter in terms:
        if unit is not None and nodes.meters[meter].unit != unit:
            message = f"meter {meter!r} counts {nodes.meters[meter].unit}, but {flow.giver!r} gives {unit}"
            remedy = f"set the unit of meter {meter!r} to {unit}; its channel may count in any unit that converts"
            yield error(f"{path}.amount", message, remedy)


def _check_ends(path: str, flow: Flow, nodes: Nodes) -> Iterator[ModelIssue]:
    if flow.giver in nodes.work_units or flow.giver in RESERVED_NODES:
        message = f"{flow.giver!r} cannot give: flows end there"
        yield error(f"{path}.from", message, "make a work unit that hands something on a converting pool")
    elif flow.giver not in nodes.units:
        yield error(f"{path}.from", f"there is no source or pool {flow.giver!r}", "declare it, or correct the id")
    if flow.taker == flow.giver:
        yield error(f"{path}.to", f"{flow.giver!r} gives to itself", "leave this flow out")
    elif flow.taker in nodes.sources:
        yield error(f"{path}.to", f"source {flow.taker!r} cannot take", "name a pool or a work unit")
    elif flow.taker in RESERVED_NODES:
        if flow.giver in nodes.sources:
            message = f"only a pool can give to {flow.taker!r}"
            yield error(f"{path}.to", message, "let the source flow into a pool first")
    elif flow.taker not in {*nodes.pools, *nodes.stores, *nodes.work_units}:
        message = f"there is no pool or work unit {flow.taker!r}"
        yield error(f"{path}.to", message, f"declare it, correct the id, or use one of {', '.join(RESERVED_NODES)}")


def _check_rest(path: str, flow: Flow, nodes: Nodes) -> Iterator[ModelIssue]:
    if flow.giver in nodes.sources:
        message = f"source {flow.giver!r} has no inflow of which something could be left"
        yield error(f"{path}.amount", message, "measure the flow, or let the source flow into a pool")
        return
    if flow.giver in nodes.stores:
        message = f"what store {flow.giver!r} does not give out it keeps, so it has no rest to hand on"
        yield error(f"{path}.amount", message, "measure the flow")
        return
    if flow.taker in nodes.pools and flow.giver in nodes.downstream(flow.taker):
        message = f"the rest of {flow.giver!r} comes back to it through {flow.taker!r}"
        yield error(f"{path}.amount", message, "measure one of the flows in this cycle")
    pool = nodes.pools.get(flow.giver)
    own = [f for f in nodes.plant.flows if f.giver == flow.giver]
    others = [f for f in own if f.amount.split() != ["rest"] and f.recovery is None]
    if flow.recovery is not None:
        message = f"what is recovered from {flow.giver!r} is no rest of it"
        yield error(f"{path}.amount", message, "measure the recovered heat")
    if pool is not None and {f.recovery for f in own} & {"energy", "exergy"}:
        yield from check_recovery_rest(path, flow, pool, nodes)
    if pool is not None and pool.converts and others:
        message = f"{flow.giver!r} converts, so its output is not its input and a rest of it is unknown"
        remedy = "give an amount (its output meter less the others), or let all of its flows take the rest by weight"
        yield error(f"{path}.amount", message, remedy)


def _check_network(plant: Plant, nodes: Nodes) -> Iterator[ModelIssue]:
    pairs: set[tuple[str, str]] = set()
    for index, flow in enumerate(plant.flows):
        if (flow.giver, flow.taker) in pairs:
            message = f"there is another flow from {flow.giver!r} to {flow.taker!r}"
            yield error(f"flows.{index}", message, "write one flow with a sum of meters")
        pairs.add((flow.giver, flow.taker))
    fed = set().union(*(nodes.downstream(source) for source in nodes.sources))
    levels = {store.level for store in plant.stores}
    for index, pool in enumerate(plant.pools):
        yield from _check_pool(f"pools.{index}", pool, nodes, is_fed=pool.id in fed)
    givers = {flow.giver for flow in plant.flows}
    for index, source in enumerate(plant.sources):
        if source.id not in givers:
            message = f"nothing flows from source {source.id!r}"
            yield warning(f"sources.{index}", message, "add a flow, or leave the source out")
    for unit, path in nodes.work_units.items():
        if unit not in fed:
            message = f"work unit {unit!r} can never receive anything"
            yield warning(path, message, "add a flow to it if it uses energy or material")
    named = {word for flow in plant.flows for word in flow.amount.split()}
    for index, meter in enumerate(plant.meters):
        if meter.id not in named and meter.id not in levels:
            message = f"no flow uses meter {meter.id!r}"
            yield warning(f"meters.{index}", message, "name it in a flow; until then it counts for nothing")


def _check_pool(path: str, pool: Pool, nodes: Nodes, *, is_fed: bool) -> Iterator[ModelIssue]:
    if not is_fed:
        message = f"nothing that enters the site comes to pool {pool.id!r}"
        yield error(path, message, "add a flow into it, or leave the pool out")
    downstream = nodes.downstream(pool.id)
    if not downstream & (nodes.work_units.keys() | set(RESERVED_NODES)):
        message = f"nothing that pool {pool.id!r} holds can ever flow out{dead_end(pool.id, nodes)}"
        yield error(path, message, "add a flow to a work unit, export, unmetered or losses")
    elif not pool.converts and pool.id not in nodes.rest_givers():
        message = f"pool {pool.id!r} has no flow that takes its rest: what no meter sees is spread over all its takers"
        remedy = f"add {{from: {pool.id}, to: unmetered, amount: rest}} to keep it apart"
        yield warning(path, message, remedy)
