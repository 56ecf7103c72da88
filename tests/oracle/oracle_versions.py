"""Random later versions of a plant: other buckets, ratios, channels, mix windows, weights, rules, flows that ended."""

import random
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from oracle.oracle_feeds import Feeds

Body = dict[str, Any]
RESIDUALS = ("export", "losses", "unmetered")


def another_version(
    chance: random.Random, before: Mapping[str, Any], feeds: Feeds
) -> tuple[Body, tuple[list[Body], list[Body]]]:
    """The plant after some changes, and channels with readings that are new to it. Nodes and idle windows stay."""
    model: Body = deepcopy(dict(before))
    spans = [
        u["infer_state"]["mean_over_s"] for c in model["work_centers"] for u in c["work_units"] if "infer_state" in u
    ]
    spans += [model["bucket_s"]] if any(len(meter["bindings"]) > 1 for meter in model["meters"]) else []
    fits = [s for s in (300, 900, 1800, 3600) if all(span % s == 0 for span in spans)]
    model["bucket_s"] = chance.choice([model["bucket_s"], *fits])
    for step in model["steps"]:
        step["rule"] = chance.choice((step["rule"], "weight", "equal"))
    for pool in model["pools"]:
        pool["mix_window"] = chance.choice((pool.get("mix_window", "auto"), "bucket", "hour"))
    for flow in model["flows"]:
        if flow["amount"] == "rest":
            flow["weight"] = chance.choice((flow.get("weight", 1), 3))
    for flow in [flow for flow in model["flows"] if not chance.randrange(6)]:
        if _may_end(flow, model):
            model["flows"].remove(flow)
    chance.shuffle(model["flows"])
    told: tuple[list[Body], list[Body]] = ([], [])
    levels = {store.get("level") for store in model["stores"]}
    for meter in model["meters"]:
        is_plain = (
            not {"wrap", "resolution", "rated_per_hour"} & meter.keys()
            and meter["id"] not in levels
            and len(meter["bindings"]) == 1
        )
        if is_plain and not feeds.large and not chance.randrange(4):
            _fed_anew(chance, meter, feeds, told)
    return model, told


def _may_end(flow: Body, model: Body) -> bool:
    """One to a work unit, where both of its ends have another."""
    if flow["amount"] == "rest" or not flow["to"].startswith("u") or "recovery" in flow or flow["to"] in RESIDUALS:
        return False
    out = [
        f for f in model["flows"] if f["from"] == flow["from"] and f["amount"] != "rest" and f["to"] not in RESIDUALS
    ]
    return len(out) > 1 and sum(f["to"] == flow["to"] for f in model["flows"]) > 1


def _fed_anew(chance: random.Random, meter: Body, feeds: Feeds, told: tuple[list[Body], list[Body]]) -> None:
    """Another ratio, or another device altogether."""
    old = meter["bindings"][0]
    if chance.randrange(2):
        meter["bindings"] = [{**old, "ratio": chance.choice(("0.3", "7"))}]
        return
    channel = f"{old['channel']}-next"
    body, blocks = feeds.fed(channel, meter)
    meter["bindings"] = [{"channel": channel, "ratio": chance.choice(("1", "0.123457"))}]
    told[0].append(body)
    told[1].extend(blocks)
