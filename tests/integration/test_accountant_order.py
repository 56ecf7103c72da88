"""Order does not matter: whatever arrives when, with restarts in between, the net ledger is that of one recompute."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from accounting_cases import HOUR
from ledger_chaos import HOURS, KINDS, chunks
from ledger_rig import Rig, mill
from settled_alike import settled_alike  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration

Action = Callable[[Rig], None]


def readings(chance: random.Random, kind: str) -> list[tuple[float, Action]]:
    return [(heard_ms, partial(Rig.store, readings=chunk)) for heard_ms, chunk in chunks(chance, kind)]


def events(chance: random.Random) -> list[tuple[float, Action]]:
    """Jobs and states on both machines; some reported late, some corrected, some withdrawn."""
    actions: list[tuple[float, Action]] = []

    def add(at_s: float, kind: Any, name: str, revision: int = 0, /, **body: Any) -> None:
        heard_ms = HOUR + at_s * 1000 + chance.choice([0, 0, 0, 3_000_000, 8_000_000])
        actions.append((heard_ms, lambda rig: rig.event(kind, at_s, name, revision, **body)))

    for number in range(8):
        start_s, unit = chance.randrange(-1000, HOURS * 3600), chance.choice(["u1", "u2"])
        job = {"job": f"j{number}", "batch": f"b{chance.randrange(4)}", "work_unit": unit}
        add(start_s, "job_start", f"s{number}", **job)
        if chance.random() < 0.8:
            add(start_s + chance.randrange(6000), "job_end", f"e{number}", job=f"j{number}")
        if chance.random() < 0.3:
            add(start_s + chance.randrange(-2000, 2000), "job_start", f"s{number}", 1, **job)
        if chance.random() < 0.2:
            add(chance.randrange(HOURS * 3600), "withdraw", f"w{number}", event_id=f"s{number}")
        add(
            chance.randrange(HOURS * 3600),
            "state",
            f"t{number}",
            work_unit=unit,
            state=chance.choice(["idle", "setup", "processing"]),
        )
    return actions


def test_hours_are_settled_from_memory_as_they_would_be_from_the_database(
    database_url: str,
    settled_alike: list[int],  # noqa: F811
) -> None:
    with Rig(database_url) as rig:
        rig.apply(mill())
        rig.declare()
        rig.job("j", "u1", 600, 9000)
        for hour in range(4):
            rig.steady(-60 if hour == 0 else hour * 3600, (hour + 1) * 3600 + 300)
            rig.run()
        rig.assert_clean()
    assert len(settled_alike) >= 3


@pytest.mark.usefixtures("settled_alike")
@pytest.mark.parametrize("seed", range(8))
def test_any_order_ends_in_the_net_of_one_recompute(database_url: str, seed: int) -> None:
    chance = random.Random(f"order {seed}")
    kind = chance.choice(sorted(KINDS))
    actions = sorted([*readings(chance, kind), *events(chance)], key=lambda action: action[0])
    if chance.random() < 0.5:  # a model that gets its own hours, told at some time
        body = mill(settle_after_s=600)
        body["flows"][1], body["flows"][2] = (
            {**f, "amount": a} for f, a in zip(body["flows"][1:3], ("m2", "m1"), strict=True)
        )
        actions.insert(
            chance.randrange(len(actions)), (0, lambda rig: rig.apply(body, effective_s=chance.randrange(2) * 3600))
        )
    with Rig(database_url, settle_slice_s=chance.choice([0.001, 2.0])) as rig:
        rig.apply(mill())
        rig.declare(*KINDS[kind].values())
        for _, act in actions:
            act(rig)
            if chance.random() < 0.4:
                rig.run()
                if chance.random() < 0.1:
                    rig.restart()
        rig.run()
        assert len(rig.recomputed()) >= HOURS
        rig.assert_clean()
