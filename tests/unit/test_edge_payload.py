"""Values of devices: exact numbers, units as written, times in every format, and refusals that say what is wrong."""

from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_support import NOON_MS

from plantprint.quantities import UnitError
from plantprint_edge.payloads import Limits, PayloadError
from plantprint_edge.payloads.influx import parse_lines
from plantprint_edge.payloads.jsons import parse_json
from plantprint_edge.payloads.numbers import at_decimals, read_number, unit_factor
from plantprint_edge.payloads.paths import parse_path, parse_template, parse_topic, topic_of
from plantprint_edge.payloads.times import check_format, read_time

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")


def scaled(json: str, decimals: int = 3) -> int:
    number, _ = read_number(parse_json(b'{"v": %s}' % json.encode())["v"])
    return at_decimals(number, Fraction(1), decimals)


@pytest.mark.parametrize(
    ("json", "expected"),
    [
        ("12.3", 12_300),
        ("12.3456", 12_346),
        ("0.0005", 0),
        ("0.0015", 2),
        ("1e3", 1_000_000),
        ('"12.5"', 12_500),
        ('" -12.5 "', -12_500),
        ('"12.5 kWh"', 12_500),
        ("1e-400", 0),
        ("1e-999999", 0),
    ],
)
def test_values_are_exact_and_rounded_half_to_even(json: str, expected: int) -> None:
    assert scaled(json) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=3))
def test_a_number_of_few_digits_survives_json(value: Decimal) -> None:
    assert scaled(str(value)) == int(value * 1000)


@pytest.mark.parametrize(
    "json",
    [
        "true",
        "[]",
        "{}",
        '"n/a"',
        '"NaN"',
        '"inf"',
        '""',
        '"1_000"',
        '"１２"',
        '"1 2"',
        "1e40",
        "9" * 40,
        "0." + "3" * 200,
    ],
)
def test_what_is_no_number_is_refused(json: str) -> None:
    with pytest.raises(PayloadError):
        scaled(json)


@pytest.mark.parametrize("text", ["1e31", "1e999999999", "-1e999999999"])
def test_a_huge_exponent_is_refused_before_anybody_counts_with_it(text: str) -> None:
    with pytest.raises(PayloadError, match="not a number"):
        read_number(Decimal(text))


def test_a_number_beyond_64_bits_is_refused() -> None:
    assert scaled("9223372036854775807", 0) == 2**63 - 1
    with pytest.raises(PayloadError, match="too large"):
        scaled("9223372036854775808", 0)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xff", b"{", b'{"a": NaN}', b'{"a": -Infinity}', b"[" * 100_000, b"[" * 40 + b"]" * 40, b'{"a": 1, "a": 2}',
        b'{"a": %s}' % (b"9" * 5_000), b'{"a": 1e99999999999999999999}', b" " * 70_000 + b"{}",
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        parse_json(payload, Limits(bytes_max=100_000 if payload.startswith(b"[") else 65_536))


@pytest.mark.parametrize(
    ("written", "unit", "expected"),
    [
        ("KWh", "kWh", Fraction(1)),
        ("kW·h", "kWh", Fraction(1)),
        ("Wmin", "Wh", Fraction(1, 60)),
        ("kgCO2e", "kg", Fraction(1)),
        ("t CO2", "kg", Fraction(1000)),
        ("tCO₂eq", "t", Fraction(1)),
        ("g/s", "kg/h", Fraction(36, 10)),
        ("kgCO2/h", "kg/h", Fraction(1)),
        ("mg/s", "kg/h", Fraction(36, 10_000)),
        ("Nm³/h", "Nm3/h", Fraction(1)),
        ("L/min", "m3/h", Fraction(6, 100)),
        ("%", "%", Fraction(1)),
    ],
)
def test_units_as_devices_write_them(written: str, unit: str, expected: Fraction) -> None:
    assert unit_factor(written, unit) == expected


@pytest.mark.parametrize(("written", "unit"), [("furlong", "m"), ("kW", "kWh"), ("", "kWh"), ("mW", "kW")])
def test_units_that_do_not_fit_are_refused(written: str, unit: str) -> None:
    with pytest.raises(UnitError):
        unit_factor(written, unit)


@pytest.mark.parametrize(
    ("found", "time_format", "expected"),
    [
        ("2025-11-25T12:00:00Z", "auto", NOON_MS),
        ("2025-11-25T20:00:00+08:00", "rfc3339", NOON_MS),
        ("20251125T120000Z", "auto", NOON_MS),
        (1_764_072_000, "auto", NOON_MS),
        (1_764_072_000_000, "auto", NOON_MS),
        (1_764_072_000_000_000, "auto", NOON_MS),
        (1_764_072_000_000_000_000, "auto", NOON_MS),
        (Decimal("1764072000.0405"), "s", NOON_MS + 40),
        ("1764072000000", "ms", NOON_MS),
        ("2025-11-25T20:00:00", "auto", NOON_MS),
        ("20251125200000", "%Y%m%d%H%M%S", NOON_MS),
        (20251125200000, "%Y%m%d%H%M%S", NOON_MS),
        ("20251125200000105", "%Y%m%d%H%M%S%f", NOON_MS + 105),
        ("25.11.2025 20:00", "%d.%m.%Y %H:%M", NOON_MS),
    ],
)
def test_times(found: Any, time_format: str, expected: int) -> None:
    assert read_time(found, time_format, SHANGHAI, NOON_MS) == expected


@pytest.mark.parametrize(
    ("found", "time_format", "message"),
    [
        ("2025-11-25T12:00:00", "auto", "with an offset"),
        (1_764_072_000, "rfc3339", "no time of the format"),
        (-5, "auto", "no time of the format"),
        (True, "auto", "not a number"),
        ([], "s", "not a number"),
        ("soon", "ms", "is not a number"),
        ("soon", "auto", "no time of the format"),
        (10**20, "s", "no time of the format"),
        (10**30, "%Y%m%d%H%M%S", "no time of the format"),
    ],
)
def test_times_that_are_none(found: Any, time_format: str, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        read_time(found, time_format, None, NOON_MS)


def test_the_hour_that_comes_twice_is_the_one_nearer_to_the_arrival() -> None:
    first = read_time("2025-10-26T02:30:00+02:00", "auto", None, 0)
    for arrival_ms in (first + 1_000, first + 3_601_000):
        assert read_time("2025-10-26T02:30:00", "auto", BERLIN, arrival_ms) == arrival_ms - 1_000


@pytest.mark.parametrize("text", ["noon", "%H:%M", "%Q", "%Y-%m-%d"])
def test_time_formats_that_cannot_say_an_instant_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time format"):
        check_format(text)


def walk(path: str, body: Any) -> list[Any]:
    return [found for found, _ in parse_path(path).walk(body, body, {})]


def test_paths_of_keys_and_positions() -> None:
    body = {"a": {"b": [1, {"c": 2}]}, "x.y": 3, "em:0": {"p": 4}, "em:1": {"p": 5}}
    assert walk("a.b.1.c", body) == [2]
    assert walk("a.b.*", body) == [1, {"c": 2}]
    assert walk(r"x\.y", body) == [3]
    assert walk("em:{n}.p", body) == [4, 5]
    assert walk("", body) == [body]
    assert [walk(path, body) for path in ("a.b.2", "a.c", "a.b.0.c", "b", "a.b.-1", "a.b.٠")] == [[]] * 6


def test_names_found_on_the_way_are_remembered_and_looked_up() -> None:
    body = {"values": {"a": 1}, "errors": {"a": 7, "b": 8}}
    ((found, bound),) = parse_path("values.{tag}").walk(body, body, {})
    assert (found, bound) == (1, {"tag": "a"})
    assert parse_path("errors.{tag}").first(body, body, bound) == 7
    assert parse_template("{tag}/{.values.a}/{$.errors.b}").render(body, body, bound) == "a/1/8"
    assert parse_template("{.gone}").render(body, body, bound) is None
    assert parse_template("{.values}").render(body, body, bound) is None
    assert parse_template("{.k}").render({"k": "x" * 201}, body, bound) is None


@pytest.mark.parametrize("text", ["a..b", ".a", "{a}{b}", "{A}", "x{}"])
def test_paths_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(text)


def test_topics_with_named_levels() -> None:
    pattern = topic_of("{base}/{device#}/{name}", "umh/v1")
    assert pattern.filter == "umh/v1/#"
    assert pattern.match("umh/v1/a/b/energy") == {"device": "a/b", "name": "energy"}
    assert pattern.match("umh/v1/energy") is None
    assert topic_of("{base}/{device}/events/rpc", "").filter == "+/events/rpc"
    assert topic_of("{base}/{device}/events/rpc", "f/1").match("f/1/x/events/rpc") == {"device": "x"}
    assert parse_topic("a/{b}").match("a/b/c") is None


@pytest.mark.parametrize("text", ["{a#}", "{a}", "#", "a/+", "a/{b#}/{c#}", "a/x{b}", "{a}/{a}", "a/\0"])
def test_topics_that_would_take_everything_or_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        parse_topic(text)


def test_line_protocol() -> None:
    text = r"""
# a comment
meter,id=m\ 1,place=a\,b energy=12.5,n=7i,u=8u,on=true,text="a \"b\", c = d" 1764072000000000000
meter energy=-1e3
"""
    first, second = parse_lines(text.encode())
    assert first == {
        "measurement": "meter",
        "tags": {"id": "m 1", "place": "a,b"},
        "fields": {"energy": Decimal("12.5"), "n": 7, "u": 8, "on": True, "text": 'a "b", c = d'},
        "time": 1_764_072_000_000_000_000,
    }
    assert second == {"measurement": "meter", "tags": {}, "fields": {"energy": Decimal("-1e3")}, "time": None}


@pytest.mark.parametrize(
    "line",
    ["meter", "meter energy", "meter energy=", "meter energy=x", "meter energy=NaN", "m a=1 soon", "m a=1 2 3", "m,t a=1",
     "m a=1,a=2", "m,t=1,t=2 a=1", 'm a="x', "m a=1e99999", "\xff"],
)  # fmt: skip
def test_what_is_no_line_protocol_is_refused(line: str) -> None:
    with pytest.raises(PayloadError):
        parse_lines(line.encode("latin-1"))
