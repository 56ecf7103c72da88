"""The mill with purchased steam instead of gas: mass, pressure and temperature, and condensate that comes back."""

import random
from typing import Any

from ledger_chaos import chunks
from ledger_rig import METERS, mill

from plantprint.facts import Channel, Reading

OTHERS = [meter for meter in METERS if meter != "gas"]
STEAM = {
    "mass": Channel("gw", "mass", "kg", 1, "counter"),
    "kpa": Channel("gw", "kpa", "kPa", 1, "gauge"),
    "degc": Channel("gw", "degc", "degC", 2, "gauge"),
    "back": Channel("gw", "back", "kg", 1, "counter"),
    "back-degc": Channel("gw", "back-degc", "degC", 3, "gauge"),
}
COUNTERS = ("mass", "back")


def steam_mill(hold_s: int = 1800, **changes: Any) -> dict[str, Any]:
    """Steam → u1, less the heat of its condensate."""
    body = mill(**changes)
    read = [{"channel": "gw/mass", "pressure": "gw/kpa", "temperature": "gw/degc"}]
    back = [{"channel": "gw/back", "temperature": "gw/back-degc"}]
    meters = [
        *(meter for meter in body["meters"] if meter["id"] != "gas"),
        _named("steam") | {"unit": "GJ", "steam": {"hold_s": hold_s}, "bindings": read},
        _named("back") | {"unit": "GJ", "condensate": {"hold_s": hold_s, "mass_unit": "kg"}, "bindings": back},
    ]
    heat = _named("heat") | {"unit": "GJ", "kind": "purchased", "factor": "cn.heat.default", "scope": 2}
    return body | {
        "meters": meters,
        "sources": [source for source in body["sources"] if source["id"] != "gas"] + [heat],
        "flows": [
            *(flow for flow in body["flows"] if flow["from"] != "gas"),
            {"from": "heat", "to": "u1", "amount": "steam - back"},
        ],
    }


def steam_chunks(chance: random.Random) -> list[tuple[float, dict[str, list[Reading]]]]:
    """Pieces of all channels in the order in which they are heard: late, twice, corrected, withdrawn, impossible."""
    gauges = [name for name in STEAM if name not in COUNTERS]
    pieces = [*chunks(chance, "counters", [*OTHERS, *COUNTERS]), *chunks(chance, "gauges", gauges)]
    return sorted(pieces, key=lambda piece: piece[0])


def _named(name: str) -> dict[str, Any]:
    return {"id": name, "name": {"en": name}}
