"""JSON of devices: exact values, times in every format, and refusals that say what is wrong."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantprint_edge.config import MqttChannel, MqttTopic
from plantprint_edge.sources.mqtt import PayloadError, find, parse_payload, read_time, read_value

NOON_MS = 1_764_072_000_000


def channel(value: str = "co2_kg", decimals: int = 3) -> MqttChannel:
    return MqttChannel(name="co2", value=value, kind="counter", unit="kg", decimals=decimals)


def topic(time_format: str = "auto") -> MqttTopic:
    return MqttTopic.model_validate({"topic": "t", "time": "ts", "time_format": time_format, "channels": [channel()]})


def test_paths_of_keys_and_positions() -> None:
    body = parse_payload(b'{"a": {"b": [1, {"c": 2}]}, "x.y": 3}')
    assert find(body, "a.b.1.c") == 2
    assert find(body, "a.b.0") == 1
    assert [find(body, path) for path in ("a.b.2", "a.c", "a.b.0.c", "b")] == [None] * 4


@pytest.mark.parametrize(
    ("json", "expected"),
    [
        ("12.3", 12_300),
        ("12.3456", 12_346),
        ("0.0005", 0),
        ("0.0015", 2),
        ("1e3", 1_000_000),
        ('"12.5"', 12_500),
        ("null", None),
        ("1e-400", 0),
    ],
)
def test_values_are_exact_and_rounded_half_to_even(json: str, expected: int | None) -> None:
    assert read_value(channel(), parse_payload(b'{"co2_kg": %s}' % json.encode())) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=3))
def test_a_number_of_few_digits_survives_json(value: Decimal) -> None:
    assert read_value(channel(), parse_payload(b'{"co2_kg": %s}' % str(value).encode())) == int(value * 1000)


@pytest.mark.parametrize("json", ["true", "[]", '"n/a"', '"NaN"', "1e40", "9" * 30])
def test_what_is_no_number_is_refused(json: str) -> None:
    with pytest.raises(PayloadError, match="co2_kg"):
        read_value(channel(), parse_payload(b'{"co2_kg": %s}' % json.encode()))


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{", b'{"a": NaN}', b"[" * 100_000, b'{"a": %s}' % (b"9" * 5_000)])
def test_what_is_no_json_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        parse_payload(payload)


@pytest.mark.parametrize(
    ("json", "time_format"),
    [
        ('"2025-11-25T12:00:00Z"', "auto"),
        ('"2025-11-25T20:00:00+08:00"', "rfc3339"),
        ("1764072000", "auto"),
        ("1764072000000", "auto"),
        ("1764072000.0", "s"),
        ('"1764072000000"', "ms"),
    ],
)
def test_times(json: str, time_format: str) -> None:
    assert read_time(topic(time_format), parse_payload(b'{"ts": %s}' % json.encode())) == NOON_MS


@pytest.mark.parametrize(
    ("json", "time_format", "expected"),
    [
        ('"2025-11-25T12:00:00"', "auto", "with an offset"),
        ("1764072000", "rfc3339", "no time of the format"),
        ("-5", "auto", "no time of the format"),
        ("null", "auto", "no time at 'ts'"),
        ('"soon"', "ms", "is not a number"),
    ],
)
def test_times_that_are_none(json: str, time_format: str, expected: str) -> None:
    with pytest.raises(PayloadError, match=expected):
        read_time(topic(time_format), parse_payload(b'{"ts": %s}' % json.encode()))
