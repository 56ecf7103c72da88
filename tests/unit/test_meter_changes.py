"""Meters exchanged, channels bound anew and ratios changed: exact on both sides of the instant, at an hour or inside one."""

from fed_meters import bound_meter, counter, fed_hours

from plantprint.facts import Channel, Quality, Reading
from plantprint.times import HOUR_MS

HOUR = 480_000 * HOUR_MS
MINUTE = 60_000
KWH = 1_000_000


def every(minutes: int, first: int, last: int, per_minute: int = 1, start: int = 0) -> list[Reading]:
    """Readings of a counter in Wh from minute `first` to `last` after HOUR, `per_minute` x 10 Wh a minute."""
    return [Reading(HOUR + m * MINUTE, start + (m - first) * per_minute * 10) for m in range(first, last + 1, minutes)]


def amounts(meter: object, channels: object, hours: int = 1) -> list[list[int]]:
    return [hour.amount.tolist() for hour, _ in fed_hours(meter, channels, HOUR, hours)]  # type: ignore[arg-type]


def test_an_exchange_at_an_hours_start_counts_the_new_device_from_its_reading_at_that_instant() -> None:
    meter = bound_meter(("gw/old", None, HOUR, "1"), ("gw/new", HOUR, None, "1"))
    channels = {
        "gw/old": counter("gw/old", every(5, -60, 0, 1, 5_000_000)),
        "gw/new": counter("gw/new", every(5, 0, 60, 2)),
    }
    [(hour, issues)] = fed_hours(meter, channels, HOUR, 1)
    assert hour.amount.tolist() == [KWH * 3 // 10] * 4
    assert not hour.missing_ms.any()
    assert not issues


def test_what_ran_before_it_was_bound_counts_from_the_instant_on_at_an_hours_start() -> None:
    """The readings lie two minutes beside every edge, so both registers are interpolated at the change."""
    meter = bound_meter(("gw/a", None, HOUR, "1"), ("gw/b", HOUR, None, "1"))
    channels = {
        "gw/a": counter("gw/a", every(5, -62, 68, 1, 9_000)),
        "gw/b": counter("gw/b", every(5, -62, 68, 3, 77_000)),
    }
    before, after = (hour.amount.tolist() for hour, _ in fed_hours(meter, channels, HOUR - HOUR_MS, 2))
    assert after == [KWH * 45 // 100] * 4
    assert before[1:] == [KWH * 15 // 100] * 3


def test_an_exchange_inside_an_hour_is_exact_to_the_bucket() -> None:
    change = HOUR + 30 * MINUTE
    meter = bound_meter(("gw/old", None, change, "1"), ("gw/new", change, None, "1"))
    channels = {
        "gw/old": counter("gw/old", every(5, -60, 30, 1, 5_000_000)),
        "gw/new": counter("gw/new", every(5, 30, 90, 2)),
    }
    [(hour, issues)] = fed_hours(meter, channels, HOUR, 1)
    assert hour.amount.tolist() == [150_000, 150_000, 300_000, 300_000]
    assert hour.quality.tolist() == [Quality.MEASURED] * 4
    assert not issues


def test_a_ratio_changes_inside_an_hour_and_the_amounts_with_it() -> None:
    change = HOUR + 15 * MINUTE
    meter = bound_meter(("gw/c", None, change, "100"), ("gw/c", change, None, "150"))
    channels = {"gw/c": counter("gw/c", every(4, -62, 130, 1, 1_000))}
    first, second = amounts(meter, channels, 2)
    assert first == [15 * KWH, *[15 * KWH * 3 // 2] * 3]
    assert second == [15 * KWH * 3 // 2] * 4


def test_a_device_that_moves_to_another_meter_is_neither_lost_nor_counted_twice() -> None:
    change = HOUR + 45 * MINUTE
    channels = {"gw/c": counter("gw/c", every(7, -62, 130, 1, 1_000))}
    old, new = bound_meter(("gw/c", None, change, "1")), bound_meter(("gw/c", change, None, "1"))
    both = [a + b for a, b in zip(amounts(old, channels)[0], amounts(new, channels)[0], strict=True)]
    assert both == amounts(bound_meter(("gw/c", None, None, "1")), channels)[0]
    assert amounts(old, channels)[0][3] == 0
    assert amounts(new, channels)[0][:3] == [0, 0, 0]


def test_the_stretch_that_no_device_saw_is_missing_and_told() -> None:
    """The old one was read last at minute 20, the new one first at 40; the change was at 30."""
    change = HOUR + 30 * MINUTE
    meter = bound_meter(("gw/old", None, change, "1"), ("gw/new", change, None, "1"))
    channels = {"gw/old": counter("gw/old", every(5, -60, 20)), "gw/new": counter("gw/new", every(5, 40, 90))}
    [(hour, issues)] = fed_hours(meter, channels, HOUR, 1)
    assert hour.missing_ms.tolist() == [0, 10 * MINUTE, 10 * MINUTE, 0]
    assert hour.amount.tolist() == [150_000, 50_000, 50_000, 150_000]
    assert [issue.code for issue in issues] == ["channel-changed"]


def test_time_between_two_bindings_is_missing_even_if_the_channel_tells_it() -> None:
    meter = bound_meter(("gw/c", None, HOUR + 15 * MINUTE, "1"), ("gw/c", HOUR + 45 * MINUTE, None, "1"))
    channels = {"gw/c": counter("gw/c", every(5, -60, 90))}
    [(hour, _)] = fed_hours(meter, channels, HOUR, 1)
    assert hour.amount.tolist() == [150_000, 0, 0, 150_000]
    assert hour.missing_ms.tolist() == [0, 15 * MINUTE, 15 * MINUTE, 0]


def test_a_channel_that_pauses_until_an_hours_start_goes_on_from_its_register_there() -> None:
    """The state at the hour's end is that of its end, not of the quarter hour before it, when the pause began."""
    meter = bound_meter(("gw/c", None, HOUR + 45 * MINUTE, "1"), ("gw/c", HOUR + 60 * MINUTE, None, "1"))
    channels = {"gw/c": counter("gw/c", [*every(5, -60, 45), *every(5, 60, 190, start=99_000)])}
    hours = fed_hours(meter, channels, HOUR, 2)
    assert [hour.amount.tolist() for hour, _ in hours] == [[150_000] * 3 + [0], [150_000] * 4]
    assert [hour.missing_ms.tolist() for hour, _ in hours] == [[0, 0, 0, 15 * MINUTE], [0] * 4]
    assert [issues for _, issues in hours] == [[], []]


def test_a_gauge_takes_over_from_a_counter_and_an_amount_from_the_gauge() -> None:
    gauge, amount = HOUR + 15 * MINUTE, HOUR + 30 * MINUTE
    meter = bound_meter(("gw/c", None, gauge, "1"), ("gw/g", gauge, amount, "2"), ("gw/a", amount, None, "1"))
    channels = {
        "gw/c": counter("gw/c", every(5, -60, 60)),
        "gw/g": (Channel("gw", "g", "kW", 0, "gauge"), [Reading(HOUR + m * MINUTE, 3) for m in range(-57, 60, 4)]),
        "gw/a": (
            Channel("gw", "a", "kWh", 1, "amount", 1200),
            [Reading(HOUR + m * MINUTE, 40) for m in range(0, 99, 20)],
        ),
    }
    [(hour, issues)] = fed_hours(meter, channels, HOUR, 1)
    assert hour.amount.tolist() == [150_000, 1_500_000, 3_000_000, 3_000_000]
    assert not hour.missing_ms.any()
    assert not issues


def test_two_exchanges_within_two_hours_keep_every_stretch() -> None:
    one, two = HOUR + 45 * MINUTE, HOUR + 75 * MINUTE
    meter = bound_meter(("gw/a", None, one, "1"), ("gw/b", one, two, "1"), ("gw/a", two, None, "1"))
    channels = {
        "gw/a": counter("gw/a", every(5, -62, 190, 1, 50)),
        "gw/b": counter("gw/b", every(5, -62, 190, 2, 9_999_990)),
    }
    assert amounts(meter, channels, 3) == [
        [150_000, 150_000, 150_000, 300_000],
        [300_000, 150_000, 150_000, 150_000],
        [150_000] * 4,
    ]
