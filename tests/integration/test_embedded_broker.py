"""What the embedded broker does and does not do, seen by paho-mqtt over MQTT 5: the wire contract relies on this."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from embedded_broker_support import Client, properties, wait_for
from paho.mqtt.packettypes import PacketTypes

from plantprint_cli.embedded import BrokerSettings, EmbeddedBroker
from plantprint_cli.embedded.broker import INFLIGHT_MAX
from plantprint_cli.embedded.broker_worker import NOTICE
from plantprint_cli.embedded.instance import temporary_instance

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with temporary_instance() as instance, EmbeddedBroker(instance) as started:
        yield started


@pytest.fixture
def connect(broker: EmbeddedBroker) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(name: str, **options: Any) -> Client:
        clients.append(Client(broker, name, **options))
        assert clients[-1].is_connected
        return clients[-1]

    yield make
    for client in clients:
        client.close()


Connect = Callable[..., Client]


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def test_listens_on_loopback_only_and_says_what_it_is_not(broker: EmbeddedBroker) -> None:
    assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
    assert broker.log is not None
    assert NOTICE in broker.log.tail(5)
    listening = [line.split() for line in open("/proc/net/tcp") if line.split()[3] == "0A"]  # noqa: PTH123, SIM115
    addresses = [fields[1] for fields in listening if fields[1].endswith(f":{broker.port:04X}")]
    assert addresses == [f"0100007F:{broker.port:04X}"]


def test_qos_1_carries_64_kb_with_user_properties_in_order(connect: Connect) -> None:
    subscriber, publisher = connect("s").subscribe("up/#"), connect("p")
    user = [("epoch", "e1"), ("seq", "7"), ("epoch", "again"), ("name", "Wärme")]
    payload = bytes(range(256)) * 256
    publisher.publish("up/3/agent/live", payload, UserProperty=user, ContentType="chunk", CorrelationData=b"\x00\x01")
    assert subscriber.payloads(1) == [payload]
    message = subscriber.received[0]
    assert (message.qos, message.retain, message.topic) == (1, False, "up/3/agent/live")
    assert message.properties is not None
    assert message.properties.UserProperty == user  # type: ignore[attr-defined]
    assert message.properties.ContentType == "chunk"  # type: ignore[attr-defined]
    assert message.properties.CorrelationData == b"\x00\x01"  # type: ignore[attr-defined]


def test_retained_message_is_kept_replaced_and_removed(connect: Connect) -> None:
    publisher = connect("p")
    publisher.publish("state/a", b"old", retain=True)
    publisher.publish("state/a", b"new", retain=True, UserProperty=[("v", "1")])
    early = connect("early").subscribe("state/+")
    assert early.payloads(1) == [b"new"]
    assert early.received[0].retain
    assert early.received[0].properties is not None
    assert early.received[0].properties.UserProperty == [("v", "1")]  # type: ignore[attr-defined]
    assert connect("late").subscribe("state/+").payloads(1) == [b"new"]
    assert early.payloads(1) == [b"new"], "the second subscriber's copy goes to that one only"
    publisher.publish("state/a", b"", retain=True)
    assert connect("later").subscribe("state/+").payloads(0) == []


def test_will_is_sent_and_retained_when_the_connection_is_cut(connect: Connect) -> None:
    watcher = connect("watcher").subscribe("state/#")
    options = properties(PacketTypes.WILLMESSAGE, UserProperty=[("epoch", "e1")])
    will = {"topic": "state/w", "payload": b"offline", "qos": 1, "retain": True, "properties": options}
    connect("w", will=will).cut()
    assert watcher.payloads(1) == [b"offline"]
    assert watcher.received[0].properties is not None
    assert watcher.received[0].properties.UserProperty == [("epoch", "e1")]  # type: ignore[attr-defined]
    assert connect("late").subscribe("state/w").payloads(1) == [b"offline"]
    connect("w", will=will).close()
    assert watcher.payloads(1) == [b"offline"], "a clean goodbye fires no will"


def test_will_is_sent_when_keep_alive_is_missed(connect: Connect) -> None:
    watcher = connect("watcher").subscribe("alive/#")
    silent = connect("silent", will={"topic": "alive/x", "payload": b"offline", "qos": 1}, keepalive_s=2)
    silent.paho.loop_stop()
    assert watcher.payloads(1, timeout_s=8) == [b"offline"]


@pytest.mark.parametrize("pause_s", [0.0, 0.5])
def test_will_delay_spares_a_client_that_returns_to_its_session(connect: Connect, pause_s: float) -> None:
    watcher = connect("watcher").subscribe("back/#")
    options = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=2)
    will = {"topic": "back/x", "payload": b"offline", "qos": 1, "properties": options}
    connect("x", keep_session=True, will=will).cut()
    time.sleep(pause_s)
    connect("x", keep_session=True, will=will).publish("back/x", b"online")
    time.sleep(3.2)
    assert watcher.payloads(1) == [b"online"]


def test_without_session_the_will_comes_before_the_next_words(connect: Connect) -> None:
    watcher = connect("watcher").subscribe("fresh/#")
    will = {"topic": "fresh/x", "payload": b"offline", "qos": 1}
    connect("x", will=will).cut()
    connect("x", will=will).publish("fresh/x", b"online")
    time.sleep(1.5)
    said = watcher.payloads(2)
    assert set(said[:-1]) == {b"offline"}
    assert said[-1] == b"online"


def test_killed_client_gets_what_it_did_not_acknowledge(connect: Connect) -> None:
    publisher, before = connect("p"), connect("c", keep_session=True, manual_ack=True).subscribe("work/#")
    publisher.publish("work/x", *numbers(10))
    before.payloads(10)
    before.ack(*before.received[:4])
    time.sleep(0.2)
    before.cut()
    publisher.publish("work/x", *numbers(5, start=10))
    after = connect("c", keep_session=True, manual_ack=True)
    assert after.payloads(11) == numbers(11, start=4)
    assert not after.received[0].dup, "not marked as sent before"
    after.subscribe("work/#")
    assert after.payloads(11) == numbers(11, start=4), "subscribing again doubles nothing"
    after.ack(*after.received)
    publisher.publish("work/x", b"more")
    assert after.payloads(12)[-1] == b"more"


def test_session_begun_with_clean_start_cannot_be_resumed(connect: Connect) -> None:
    publisher, before = connect("p"), connect("c2", manual_ack=True).subscribe("lost/#")
    publisher.publish("lost/x", b"1")
    before.payloads(1)
    before.cut()
    assert connect("c2", keep_session=True).payloads(0) == []


@pytest.mark.parametrize("receive_maximum", [None, 10, 500, 65535])
def test_exactly_100_messages_are_in_flight_whatever_the_client_asks(
    connect: Connect, receive_maximum: int | None
) -> None:
    topic = f"flight/{receive_maximum}"
    subscriber = connect("f", manual_ack=True, receive_maximum=receive_maximum).subscribe(f"{topic}/#")
    connect("p").publish(f"{topic}/x", *numbers(500))
    assert len(subscriber.payloads(INFLIGHT_MAX)) == INFLIGHT_MAX
    for position in range(500):
        subscriber.ack(subscriber.message(position))
    assert subscriber.payloads(500) == numbers(500)


def test_full_window_of_one_topic_stops_all_topics_of_the_connection(connect: Connect) -> None:
    publisher, subscriber = connect("p"), connect("s", manual_ack=True).subscribe("full/#").subscribe("other/#")
    publisher.publish("full/x", *numbers(INFLIGHT_MAX + 20))
    publisher.publish("other/x", b"urgent")
    assert b"urgent" not in subscriber.payloads(INFLIGHT_MAX)


def test_acknowledging_out_of_order_closes_the_connection(connect: Connect) -> None:
    subscriber = connect("o", keep_session=True, manual_ack=True).subscribe("order/#")
    connect("p").publish("order/x", *numbers(3))
    subscriber.payloads(3)
    subscriber.ack(subscriber.received[1])
    assert wait_for(lambda: not subscriber.paho.is_connected())


def test_second_client_of_a_name_closes_the_first(connect: Connect) -> None:
    first = connect("twin")
    second = connect("twin")
    assert wait_for(lambda: not first.paho.is_connected())
    assert second.paho.is_connected()


def test_publisher_may_have_thousands_in_flight(connect: Connect) -> None:
    connect("p").publish("flood/x", *numbers(5000))


def test_old_messages_expire_while_their_receiver_is_away(connect: Connect) -> None:
    connect("e", keep_session=True).subscribe("expire/#").cut()
    connect("p").publish("expire/x", b"old", MessageExpiryInterval=1)
    time.sleep(2.1)
    assert connect("e", keep_session=True).payloads(0) == []


def test_payload_above_the_limit_cuts_the_sender(connect: Connect) -> None:
    connect("fits").publish("big/x", b"x" * 1_000_000)
    sender = connect("big")
    sender.paho.publish("big/x", b"x" * 1_100_000, 1)
    assert wait_for(lambda: not sender.paho.is_connected())


def test_receiver_that_falls_too_far_behind_loses_the_oldest_silently() -> None:
    settings = BrokerSettings(segment_bytes=65_536, segments_max=2)
    with temporary_instance() as instance, EmbeddedBroker(instance, settings) as small:
        away, publisher = Client(small, "a", keep_session=True), Client(small, "p")
        away.subscribe("log/#").cut()
        publisher.publish("log/x", *(b"%03d" % number + bytes(10_000) for number in range(40)))
        after = Client(small, "a", keep_session=True)
        kept = [int(payload[:3]) for payload in after.payloads(5)]
        assert 5 <= len(kept) < 25
        assert kept == list(range(40 - len(kept), 40))
        after.close()
        publisher.close()


@pytest.mark.parametrize("name", ["site/agent", "site+agent", "site#agent", "$agent"])
def test_forbidden_client_id_breaks_the_broker_at_its_second_try(name: str) -> None:
    with temporary_instance() as instance, EmbeddedBroker(instance) as fragile:
        settled = Client(fragile, "settled").subscribe("settled/#")
        assert not Client(fragile, name, timeout_s=0.3).is_connected
        assert fragile.is_ready()
        assert not Client(fragile, name, timeout_s=0.3).is_connected
        assert not fragile.is_ready(), "nobody can connect"
        settled.publish("settled/x", b"still here")
        assert settled.payloads(1) == [b"still here"]
        settled.close()


def test_keep_alive_0_is_refused() -> None:
    with temporary_instance() as instance, EmbeddedBroker(instance) as other:
        assert not Client(other, "k", keepalive_s=0, timeout_s=0.3).is_connected
        assert not Client(other, "k", keepalive_s=0, timeout_s=0.3).is_connected
        assert other.is_ready()


def test_asking_whether_it_is_ready_leaves_nothing_behind() -> None:
    """It is asked every two seconds for as long as it runs, and keeps of each new client id 0.75 KiB."""
    with temporary_instance() as instance, EmbeddedBroker(instance) as asked:
        before = _anonymous_kb(asked)
        assert all(asked.is_ready() for _ in range(2000))
        assert _anonymous_kb(asked) < before + 800


def _anonymous_kb(broker: EmbeddedBroker) -> int:
    lines = Path(f"/proc/{broker.pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
