"""Checks of idle windows, inferred states, drivers and dispositions in a plant file."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from plantprint.plant.model import Flow, Idle, Plant, StateRule
from plantprint.plant.nodes import ModelIssue, Nodes, error
from plantprint.quantities import UnitError, conversion

_RESIDUALS = ("losses", "unmetered")


def check_rules(plant: Plant, nodes: Nodes) -> Iterator[ModelIssue]:
    """Everything about how time is divided at the site and its places."""
    try:
        ZoneInfo(plant.site.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"there is no time zone {plant.site.timezone!r}"
        yield error("site.timezone", message, "use a name of the IANA database such as Asia/Shanghai or Europe/Zurich")
    if plant.idle is not None:
        yield from _check_idle("idle", plant.idle)
    for c, center in enumerate(plant.work_centers):
        if center.idle is not None:
            yield from _check_idle(f"work_centers.{c}.idle", center.idle)
        for u, unit in enumerate(center.work_units):
            path = f"work_centers.{c}.work_units.{u}"
            if unit.idle is not None:
                yield from _check_idle(f"{path}.idle", unit.idle)
            if unit.infer_state is not None:
                yield from _check_state_rule(f"{path}.infer_state", unit.infer_state, plant, nodes)
    for index, flow in enumerate(plant.flows):
        yield from _check_driver(f"flows.{index}.driver", flow, nodes)
        yield from _check_disposition(f"flows.{index}", flow, nodes)


def _check_idle(path: str, rule: Idle) -> Iterator[ModelIssue]:
    if len(set(rule.starts)) < len(rule.starts):
        yield error(f"{path}.starts", "a start is given twice", "keep one of them")
    if rule.window in ("day", "week") and len(rule.starts) > 1:
        message = f"a {rule.window} has one start, not {len(rule.starts)}"
        yield error(f"{path}.starts", message, "keep one of them, or make it window: shift")


def _check_state_rule(path: str, rule: StateRule, plant: Plant, nodes: Nodes) -> Iterator[ModelIssue]:
    meter = nodes.meters.get(rule.meter)
    if meter is None:
        yield error(f"{path}.meter", f"there is no meter {rule.meter!r}", "declare it under meters, or correct it here")
    else:
        try:
            conversion(meter.unit, "kWh")
        except UnitError:
            message = f"meter {rule.meter!r} counts {meter.unit}, and states are inferred from power"
            yield error(f"{path}.meter", message, "name a meter of energy")
    if rule.idle_kw >= rule.processing_kw:
        message = f"idle_kw {rule.idle_kw} is not below processing_kw {rule.processing_kw}"
        yield error(f"{path}.idle_kw", message, "set it between what the work unit draws switched off and processing")
    if 3600 % rule.mean_over_s or rule.mean_over_s % plant.bucket_s:
        message = f"{rule.mean_over_s} s is no multiple of bucket_s ({plant.bucket_s}) that divides an hour"
        yield error(f"{path}.mean_over_s", message, "use such as 300, or bucket_s itself")


def _check_driver(path: str, flow: Flow, nodes: Nodes) -> Iterator[ModelIssue]:
    if flow.amount.split() != ["rest"]:
        if flow.driver != "fixed":
            yield error(path, "a driver divides a rest, and this flow has an amount", "set amount: rest, or drop it")
        return
    others = {f.driver for f in nodes.plant.flows if f.giver == flow.giver and f.amount.split() == ["rest"]}
    if len(others) > 1:
        message = f"the rest of {flow.giver!r} has several drivers: {', '.join(sorted(others))}"
        yield error(path, message, "give all flows that take it one driver; weight can tell them apart")
    if flow.driver != "fixed" and not (nodes.downstream(flow.taker) | {flow.taker}) & nodes.work_units.keys():
        message = f"no work unit is behind {flow.taker!r}, so nothing that runs can say its {flow.driver}"
        yield error(path, message, "let it take what is left by driver: fixed, or measure it")


def _check_disposition(path: str, flow: Flow, nodes: Nodes) -> Iterator[ModelIssue]:
    if flow.reason and flow.disposition != "outside":
        yield error(f"{path}.reason", "only disposition: outside has a reason", "leave it out")
    if flow.disposition is None:
        return
    if flow.taker not in _RESIDUALS:
        message = f"a flow to {flow.taker!r} has no disposition"
        yield error(f"{path}.disposition", message, "leave it out: it is for flows to losses or unmetered")
    elif flow.disposition == "outside" and not flow.reason.strip():
        message = "what is left outside is exempted emissions, and nobody says why"
        yield error(f"{path}.disposition", message, "add a reason")
    elif flow.disposition == "window" and (nodes.plant.idle is None or nodes.plant.idle.window == "none"):
        message = "there is no window whose jobs could take it"
        yield error(f"{path}.disposition", message, "declare the site's idle windows, as in idle: {window: day}")
    elif flow.disposition == "consumers" and not any(
        f.giver == flow.giver and f.taker not in _RESIDUALS for f in nodes.plant.flows
    ):
        message = f"{flow.giver!r} gives to nothing else that could carry it"
        yield error(f"{path}.disposition", message, "add a flow to a work unit or pool")
