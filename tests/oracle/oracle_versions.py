"""Random later versions of a plant: what is said of its parts changes; nodes, meters and idle windows come and go."""

import random
from collections.abc import Mapping
from copy import deepcopy
from fractions import Fraction
from typing import Any

from oracle.oracle_feeds import Feeds

from plantprint.plant import Plant
from plantprint.plant.check import PlantError
from plantprint.plant.graph import compile_plant

Body = dict[str, Any]
Told = tuple[list[Body], list[Body]]
"""Channels and blocks of readings."""
RESIDUALS = ("export", "losses", "unmetered")


def another_version(
    chance: random.Random, before: Mapping[str, Any], first: Mapping[str, Any], feeds: Feeds
) -> tuple[Body, Told]:
    """The plant after some changes, now and then as it was `first`, and channels with readings that are new to it."""
    model: Body = deepcopy(dict(before if chance.randrange(5) else first))
    told: Told = ([], [])
    _said_anew(chance, model)
    for change in (_flows_end, _node_goes, _unit_comes, _pool_comes, _meter_comes, _windows_change):
        if not chance.randrange(3):
            changed = deepcopy(model)
            came = change(chance, changed)
            if _is_valid(changed):
                model = changed
                _feed(chance, [meter for meter in model["meters"] if meter["id"] in came], feeds, told)
    chance.shuffle(model["flows"])
    levels = {store.get("level") for store in model["stores"]}
    for meter in model["meters"]:
        is_plain = "resolution" not in meter and meter["id"] not in levels and len(meter["bindings"]) == 1
        if is_plain and not feeds.large and not chance.randrange(4):
            _fed_anew(chance, meter, feeds, told)
    return model, told


def _said_anew(chance: random.Random, model: Body) -> None:
    spans = [
        u["infer_state"]["mean_over_s"] for c in model["work_centers"] for u in c["work_units"] if "infer_state" in u
    ]
    spans += [model["bucket_s"]] if any(len(meter["bindings"]) > 1 for meter in model["meters"]) else []
    fits = [s for s in (300, 900, 1800, 3600) if all(span % s == 0 for span in spans)]
    model["bucket_s"] = chance.choice([model["bucket_s"], *fits])
    model["job_days_max"] = chance.choice((1, 2, 31))
    for step in model["steps"]:
        step["rule"] = chance.choice((step["rule"], "weight", "equal"))
    for pool in model["pools"]:
        pool["mix_window"] = chance.choice((pool.get("mix_window", "auto"), "bucket", "hour"))
    for flow in model["flows"]:
        if flow["amount"] == "rest":
            flow["weight"] = chance.choice((flow.get("weight", 1), 3))


def _is_valid(model: Body) -> bool:
    """A change that breaks the plant is not made."""
    try:
        compile_plant(Plant.model_validate(model))
    except (PlantError, ValueError):
        return False
    return True


def _flows_end(chance: random.Random, model: Body) -> list[str]:
    for flow in [flow for flow in model["flows"] if not chance.randrange(3)]:
        if _may_end(flow, model):
            model["flows"].remove(flow)
    return []


def _may_end(flow: Body, model: Body) -> bool:
    """One to a work unit, where both of its ends have another."""
    if flow["amount"] == "rest" or not flow["to"].startswith("u") or "recovery" in flow or flow["to"] in RESIDUALS:
        return False
    out = [
        f for f in model["flows"] if f["from"] == flow["from"] and f["amount"] != "rest" and f["to"] not in RESIDUALS
    ]
    return len(out) > 1 and sum(f["to"] == flow["to"] for f in model["flows"]) > 1


def _node_goes(chance: random.Random, model: Body) -> list[str]:
    """A pool, a store or a work unit with all its flows, and meters that nothing names any more."""
    lists = [model["pools"], model["stores"], *(center["work_units"] for center in model["work_centers"])]
    nodes = [node["id"] for several in lists for node in several]
    gone = chance.choice(nodes)
    for several in lists:
        several[:] = [node for node in several if node["id"] != gone]
    model["flows"] = [flow for flow in model["flows"] if gone not in (flow["from"], flow["to"])]
    used = {word for flow in model["flows"] for word in flow["amount"].split()}
    used |= {u["infer_state"]["meter"] for c in model["work_centers"] for u in c["work_units"] if "infer_state" in u}
    used |= {store.get("level") for store in model["stores"]}
    if chance.randrange(2):
        model["meters"] = [meter for meter in model["meters"] if meter["id"] in used]
        model["sources"] = [s for s in model["sources"] if any(f["from"] == s["id"] for f in model["flows"])]
    return []


def _unit_comes(chance: random.Random, model: Body) -> list[str]:
    """A work unit behind a pool, a store or a source; where it is there already a flow to it."""
    center = chance.choice(model["work_centers"])
    if not any(unit["id"] == "u4" for c in model["work_centers"] for unit in c["work_units"]):
        center["work_units"].append({"id": "u4", "name": {"en": "u4"}, "step": chance.choice(("dye", "wash", "spin"))})
    giver = chance.choice((*model["sources"], *model["pools"], *model["stores"]))
    if "products" in giver:
        return []
    return [_flow(model, giver["id"], "u4", giver["unit"])]


def _pool_comes(chance: random.Random, model: Body) -> list[str]:
    """A pool between a source and a work unit, which may have a rest."""
    source = chance.choice(model["sources"])
    units = [unit["id"] for center in model["work_centers"] for unit in center["work_units"]]
    kind = chance.choice(("conserving", "converting"))
    pool = f"p9-{source['id']}"  # of another version's pool the meters would count something else
    model["pools"].append({"id": pool, "name": {"en": pool}, "unit": source["unit"], "kind": kind})
    came = [_flow(model, source["id"], pool, source["unit"]), _flow(model, pool, chance.choice(units), source["unit"])]
    if kind == "conserving" and chance.randrange(2):
        model["flows"].append({"from": pool, "to": "unmetered", "amount": "rest"})
    return came


def _meter_comes(chance: random.Random, model: Body) -> list[str]:
    """A second meter beside the first of a flow."""
    flow = chance.choice([flow for flow in model["flows"] if flow["amount"] != "rest"])
    first = next(meter for meter in model["meters"] if meter["id"] == flow["amount"].split()[0])
    name = f"{first['id']}-more"
    model["meters"].append({"id": name, "name": {"en": name}, "unit": first["unit"], "bindings": [_channel(name)]})
    flow["amount"] += f" + {name}"
    return [name]


def _windows_change(chance: random.Random, model: Body) -> list[str]:
    """Idle windows that begin, end, or become others, of a work unit, a line or the site."""
    units = [unit for center in model["work_centers"] for unit in center["work_units"]]
    place: Body = chance.choice((model, *model["work_centers"], *units))
    rule = {
        "window": chance.choice(("shift", "shift", "day", "none")),
        "starts": chance.choice((["01:30"], ["02:45"])),
        "driver": chance.choice(("processing_time", "mass", "equal")),
    }
    if rule["window"] == "shift":
        rule["starts"] = chance.choice((["00:30", "01:15", "02:30", "04:00"], ["02:00", "14:00"], ["01:00", "03:00"]))
    place.pop("idle", None)
    if chance.randrange(3):
        place["idle"] = rule
    return []


def _flow(model: Body, giver: str, taker: str, unit: str) -> str:
    name = f"m-{giver}-{taker}"
    if not any(flow["from"] == giver and flow["to"] == taker for flow in model["flows"]):
        model["flows"].append({"from": giver, "to": taker, "amount": name})
    if not any(meter["id"] == name for meter in model["meters"]):
        model["meters"].append({"id": name, "name": {"en": name}, "unit": unit, "bindings": [_channel(name)]})
    return name


def _channel(meter: str) -> Body:
    return {"channel": f"gw/{meter}"}


def _feed(chance: random.Random, came: list[Body], feeds: Feeds, told: Told) -> None:
    """What devices tell of meters that have come, from long before or after they did."""
    for meter in came:
        channel = meter["bindings"][0]["channel"]
        if channel not in feeds.channels and chance.randrange(8):
            _add(told, *feeds.fed(channel, meter))


def _fed_anew(chance: random.Random, meter: Body, feeds: Feeds, told: Told) -> None:
    """Another ratio, with it the modulus that is told in the meter's unit, or another device altogether."""
    old = meter["bindings"][0]
    if "wrap" in meter or chance.randrange(2):
        ratio = chance.choice(("0.3", "7"))
        meter["bindings"] = [{**old, "ratio": ratio}]
        if "wrap" in meter:
            wrap = Fraction(str(meter["wrap"])) * Fraction(ratio) / Fraction(str(old.get("ratio", 1)))
            if wrap.denominator > 10:
                meter["bindings"] = [old]
                return
            meter["wrap"] = str(float(wrap))
        return
    channel = f"{old['channel']}-next"
    meter["bindings"] = [{"channel": channel, "ratio": chance.choice(("1", "0.123457"))}]
    if channel not in feeds.channels:
        _add(told, *feeds.fed(channel, meter))


def _add(told: Told, channel: Body, blocks: list[Body]) -> None:
    told[0].append(channel)
    told[1].extend(blocks)
