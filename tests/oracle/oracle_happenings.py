"""Random production events of a document: jobs, states, orders and activities at any millisecond, corrected, withdrawn."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from oracle.oracle_numbers import HOUR_MS

from plantprint.times import format_instant

Body = dict[str, Any]


def happenings(chance: random.Random, models: Sequence[Mapping[str, Any]], start_ms: int, hours: int) -> list[Body]:
    """`models` are the plant's versions; what one of them names happens whenever."""
    events: list[Body] = []
    model = models[0]
    units = sorted({u["id"] for one in models for center in one["work_centers"] for u in center["work_units"]})
    pools = sorted({pool["id"] for one in models for pool in one["pools"]})
    steps = [step["id"] for step in model["steps"]]

    def some_ms() -> int:
        """At any millisecond, second or quarter of an hour: windows, hours and buckets begin there too."""
        step_ms = chance.choice((1, 1000, 900_000, 900_000))
        return start_ms + chance.randrange(-HOUR_MS, (hours + 1) * HOUR_MS) // step_ms * step_ms

    def tell(kind: str, at_ms: int, body: Body) -> None:
        event = {
            "kind": kind,
            "at": format_instant(at_ms),
            "source": "mes",
            "event_id": f"e{len(events)}",
            "revision": 1,
        }
        events.append({**event, "body": body})

    def job(number: int) -> None:
        at_ms = some_ms()
        body = {
            "job": f"j{number}",
            "batch": f"b{chance.randrange(4)}",
            "work_unit": chance.choice((*units, units[0], units[0])),
        }
        body["step"] = chance.choice([*steps, ""])
        tell("job_start", at_ms, body | {"weight": chance.choice((None, 1, "2.5", "0.000001", 700))})
        if not chance.randrange(4):
            return
        lasts_ms = (
            0,
            1,
            777,
            chance.choice((24 * HOUR_MS, 24 * HOUR_MS + 1)),
            chance.randrange(hours * HOUR_MS),
            chance.randrange(4 * hours) * HOUR_MS // 4,
        )
        end_ms = at_ms + chance.choice(lasts_ms)
        tell("job_end", end_ms, {"job": body["job"]})
        if not chance.randrange(4):  # What follows begins as the job ends, perhaps with a window.
            tell(
                "state",
                end_ms,
                {"work_unit": body["work_unit"], "state": chance.choice(("clean-down", "setup", "idle"))},
            )

    for number in range(chance.randrange(8)):
        job(number)
    for _ in range(chance.randrange(9)):
        names = (
            "processing",
            "processing",
            "setup",
            "warm-up",
            "clean-down",
            "clean-down",
            "idle",
            "fault",
            "paused",
            "x",
        )
        tell("state", some_ms(), {"work_unit": chance.choice(units), "state": chance.choice(names)})
    for _ in range(chance.randrange(5)):
        body = {"batch": f"b{chance.randrange(4)}", "quantity": chance.choice((1, "0.5", 900, "33.333333"))}
        tell("order", some_ms(), body | {"unit": chance.choice(("kg", "kg", "t", "piece", "m2"))})
    for _ in range(chance.choice((0, 0, 1, 2))):
        begin_ms = some_ms()
        end_ms = begin_ms + chance.choice((HOUR_MS // 4, HOUR_MS, chance.randrange(1, 5 * HOUR_MS)))
        span = {"from": format_instant(begin_ms), "to": format_instant(end_ms)}
        place = chance.choice(({}, {"work_unit": chance.choice(units)}, {"pool": chance.choice(pools)}))
        source = chance.choice(model["sources"])["id"]
        tell(
            "activity", some_ms(), {"source": source, "amount": chance.choice((3, "0.000007", "1e3")), **span, **place}
        )
    return untidy(chance, events)


def untidy(chance: random.Random, events: list[Body]) -> list[Body]:
    told = list(events)
    for event in events:
        match chance.randrange(12):
            case 0:
                told.append({**event, "revision": 0, "at": "2020-01-01T00:00:00Z"})
            case 1:
                told.append(event)
            case 2 if event["kind"] != "activity":
                told.append({**event, "revision": 2, "at": chance.choice(events)["at"]})
            case 3:
                gone = {"kind": "withdraw", "at": event["at"], "source": "mes", "revision": 0}
                told.append({**gone, "event_id": f"w-{event['event_id']}", "body": {"event_id": event["event_id"]}})
    chance.shuffle(told)
    return told
