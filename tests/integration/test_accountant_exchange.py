"""A meter is exchanged inside an hour: exact in the ledger, whatever comes late, however the model came to say so."""

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from accounting_cases import HOUR
from ledger_chaos import chunks
from ledger_rig import METERS, Rig, mill, steady

from plantprint.facts import Channel, Reading
from plantprint.quantities import MICRO
from plantprint.times import format_instant
from plantprint_cli.errors import CommandError
from plantprint_cli.setup import apply_model_file

pytestmark = pytest.mark.integration

HOUR_S = 3600
CHANGE_S = HOUR_S + 1200
OTHERS = [meter for meter in METERS if meter != "m1"]


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.declare()
        made.declare(Channel("gw", "m1-new", "kWh", 2, "counter"))
        made.job("j1", "u1", 0, None)
        yield made


def exchanged(**changes: Any) -> dict[str, Any]:
    """The mill whose m1 has another device, with a ratio of 10, since twenty minutes past the first hour."""
    at = format_instant(HOUR + CHANGE_S * 1000)
    body = mill(**changes)
    meters = [dict(meter) for meter in body["meters"]]
    next(m for m in meters if m["id"] == "m1")["bindings"] = [
        {"channel": "gw/m1", "valid_to": at},
        {"channel": "gw/m1-new", "valid_from": at, "ratio": "10"},
    ]
    return body | {"meters": meters}


def new_device(from_s: int, to_s: int) -> list[Reading]:
    """48 kWh an hour behind a ratio of 10, in hundredths: read half a minute beside the full ones."""
    return [Reading(HOUR + s * 1000, 700 + (s - from_s) * 480 // 3600) for s in range(from_s + 30, to_s + 1, 60)]


def test_amounts_are_those_of_each_device_on_its_side_of_the_instant(rig: Rig) -> None:
    rig.apply(exchanged())
    rig.steady(0, 4 * HOUR_S, meters=OTHERS)
    rig.store({"m1": steady("m1", 0, CHANGE_S), "m1-new": new_device(CHANGE_S - 600, 4 * HOUR_S + 60)})
    rig.run()
    assert rig.amount("batch/b-j1", "grid", 0) == 60 * MICRO
    assert rig.amount("batch/b-j1", "grid", 1) == pytest.approx((20 + 32) * MICRO, abs=100_000)  # a hundredth x 10
    assert rig.amount("batch/b-j1", "grid", 2) == pytest.approx(48 * MICRO, abs=100_000)
    ((missing,),) = rig.rows("select count(*) from batch_missing where hour_at >= to_timestamp(%s)", HOUR / 1000)
    assert missing == 0
    rig.assert_clean()


def test_readings_of_both_devices_may_come_in_any_order_and_the_model_last(rig: Rig) -> None:
    rig.apply(mill())
    rig.steady(0, 4 * HOUR_S, meters=OTHERS)
    rig.store({"m1-new": new_device(CHANGE_S - 600, 4 * HOUR_S + 60)[::2]})
    rig.run()
    rig.store({"m1": steady("m1", 0, CHANGE_S)[1::2]})
    rig.run()
    rig.apply(exchanged(), HOUR_S)
    rig.run()
    rig.store({"m1-new": new_device(CHANGE_S - 600, 4 * HOUR_S + 60), "m1": steady("m1", 0, CHANGE_S)})
    rig.run()
    late = rig.net()
    rig.assert_clean()
    assert {key: amount for key, amount in late.items() if amount} == {
        key: amount for hour in rig.recomputed() for key, amount in hour.net.items()
    }
    assert rig.amount("batch/b-j1", "grid", 1) == pytest.approx(52 * MICRO, abs=100_000)


def test_a_meter_that_comes_with_a_model_counts_from_its_first_instant_whatever_comes_late(rig: Rig) -> None:
    """It is read half a minute beside the hour; nothing of it is missing, and the hour before its own is read for it."""
    body = mill()
    meters = [
        *body["meters"],
        {"id": "m3", "name": {"en": "m3"}, "unit": "kWh", "bindings": [{"channel": "gw/m1-new"}]},
    ]
    flows = [
        {**flow, "amount": "m1 + m3"} if flow["to"] == "u1" and flow["from"] == "bus" else flow
        for flow in body["flows"]
    ]
    rig.apply(body)
    rig.apply(body | {"meters": meters, "flows": flows}, HOUR_S)
    rig.steady(0, 4 * HOUR_S)
    readings = new_device(0, 4 * HOUR_S + 60)
    rig.store({"m1-new": [reading for reading in readings if reading.t_ms > HOUR + HOUR_S * 1000]})
    rig.run()
    rig.store({"m1-new": readings})
    rig.run()
    assert rig.amount("batch/b-j1", "grid", 0) == 60 * MICRO
    assert rig.amount("batch/b-j1", "grid", 1) == pytest.approx(64_800_000, abs=20_000)
    assert rig.rows("select count(*) from batch_missing where hour_at >= to_timestamp(%s)", HOUR / 1000) == [(0,)]
    rig.assert_clean()
    assert {key: amount for key, amount in rig.net().items() if amount} == {
        key: amount for hour in rig.recomputed() for key, amount in hour.net.items()
    }


def test_a_model_that_takes_effect_inside_an_hour_is_refused_with_the_remedy(rig: Rig, tmp_path: Any) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(yaml.safe_dump(mill()))
    with pytest.raises(CommandError, match=r"full hour .* use 2025-12-01T01:00:00Z; valid_from"):
        apply_model_file(rig.conn, path, HOUR + CHANGE_S * 1000)
    apply_model_file(rig.conn, path)
    path.write_text(yaml.safe_dump(mill(effective_at=format_instant(HOUR + HOUR_S * 1000), bucket_s=30)))
    assert apply_model_file(rig.conn, path) == ("mill", 2)
    ((effective_s,),) = rig.rows("select extract(epoch from effective_at)::bigint from plant_model where version = 2")
    assert effective_s * 1000 == HOUR + HOUR_S * 1000
    assert apply_model_file(rig.conn, path) == ("mill", 2)


def test_a_coarse_counter_is_spread_by_its_power_whichever_of_the_two_is_late(rig: Rig) -> None:
    """m1 counts whole kWh and runs at 12 kW for the first half of every hour."""
    rig.declare(Channel("gw", "pulse", "kWh", 0, "counter"), Channel("gw", "kw", "kW", 0, "gauge"))
    body = mill()
    meters = [dict(meter) for meter in body["meters"]]
    coarse = next(m for m in meters if m["id"] == "m1")
    coarse |= {"resolution": "1", "bindings": [{"channel": "gw/pulse", "power": "gw/kw"}]}
    rig.apply(body | {"meters": meters})
    rig.steady(0, 3 * HOUR_S, meters=OTHERS)
    seconds = range(0, 3 * HOUR_S + 1, 60)
    pulse = [Reading(HOUR + s * 1000, 500 + (s // HOUR_S * 1800 + min(s % HOUR_S, 1800)) // 300) for s in seconds]
    instants = sorted({ms for s in seconds for ms in (s * 1000, s * 1000 - 1) if ms >= 0})
    power = [Reading(HOUR + ms, 12 if ms % 3_600_000 < 1_800_000 else 0) for ms in instants]
    rig.store({"pulse": pulse, "kw": power[::7]})
    rig.run()
    rig.store({"kw": power})
    rig.run()
    rig.job("j2", "u1", HOUR_S, HOUR_S + 600, batch="early")
    rig.run()
    assert rig.amount("batch/early", "grid", 1) + rig.amount("batch/b-j1", "grid", 1) == 6 * MICRO
    halved = rig.amount("batch/early", "grid", 1)
    assert halved == pytest.approx(1 * MICRO, abs=50)  # 2 kWh in ten minutes, shared with j1
    assert {key: amount for key, amount in rig.net().items() if amount} == {
        key: amount for hour in rig.recomputed() for key, amount in hour.net.items()
    }
    rig.assert_clean()


@pytest.mark.parametrize("seed", range(int(os.environ.get("PLANTPRINT_EXCHANGE_SEEDS", "3"))))
def test_whatever_comes_when_the_net_is_that_of_one_recompute(database_url: str, seed: int) -> None:
    """Two devices that misbehave, a power channel, a change at some bucket of some hour, told at some time."""
    chance = random.Random(f"exchange {seed}")
    at = format_instant(HOUR + chance.randrange(1, 180) * 60_000)
    power = {"power": "gw/m1-kw"} if chance.random() < 0.7 else {}
    body = mill(settle_after_s=600)
    m1 = next(meter for meter in body["meters"] if meter["id"] == "m1")
    m1["bindings"] = [
        {"channel": "gw/m1", "valid_to": at, **power},
        {"channel": "gw/m1-new", "valid_from": at, **power},
    ]
    m1 |= {"resolution": "2"} if chance.random() < 0.7 else {}
    actions: list[tuple[float, dict[str, list[Reading]]]] = [
        *chunks(chance, "counters"),
        *chunks(chance, "counters", ["m1-new"]),
        *chunks(chance, "gauges", ["m1-kw"]),
    ]
    actions.sort(key=lambda action: action[0])
    told = chance.randrange(len(actions))
    with Rig(database_url, settle_slice_s=chance.choice([0.001, 2.0])) as rig:
        rig.apply(mill())
        rig.declare()
        rig.declare(Channel("gw", "m1-new", "kWh", 3, "counter"), Channel("gw", "m1-kw", "kW", 3, "gauge"))
        rig.job("j1", "u1", 0, None)
        for number, (_, readings) in enumerate(actions):
            if number == told:
                rig.apply(body, chance.choice([None, 0, HOUR_S]))
            rig.store(readings)
            if chance.random() < 0.3:
                rig.run()
                if chance.random() < 0.1:
                    rig.restart()
        rig.run()
        assert {key: amount for key, amount in rig.net().items() if amount} == {
            key: amount for hour in rig.recomputed() for key, amount in hour.net.items()
        }
        rig.assert_clean()
