"""What the broker's URL and certificates mean to a client of the collector."""

import ssl
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from plantprint_collector.broker import use_broker
from plantprint_collector.config import Settings


def used(url: str, **more: str) -> tuple[Client, tuple[str, int]]:
    client = Client(CallbackAPIVersion.VERSION2)
    settings = Settings.model_validate({"mqtt_url": url, "database_url": "postgresql://nobody", **more})
    return client, use_broker(client, settings)


def test_account_and_port_are_those_of_the_url() -> None:
    client, place = used("mqtt://collector:p%40ss%2Fword@broker.example")
    assert place == ("broker.example", 1883)
    assert (client.username, client.password) == ("collector", "p@ss/word")
    assert client._ssl_context is None
    client, place = used("mqtt://127.0.0.1:21883")
    assert (place, client.username) == (("127.0.0.1", 21883), None)


def test_mqtts_checks_the_broker_and_wants_certificates_that_are_there(tmp_path: Path) -> None:
    client, place = used("mqtts://broker.example")
    assert place == ("broker.example", 8883)
    context = client._ssl_context
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    absent = str(tmp_path / "absent.pem")
    for files in ({"mqtt_ca_file": absent}, {"mqtt_cert_file": absent, "mqtt_key_file": absent}):
        with pytest.raises(FileNotFoundError):
            used("mqtts://broker.example", **files)


@pytest.mark.parametrize("url", ["http://broker.example", "mqtt://", "broker.example:1883"])
def test_an_unusable_url_says_what_one_looks_like(url: str) -> None:
    with pytest.raises(ValueError, match="PLANTPRINT_MQTT_URL must look like mqtt://host:1883 or mqtts://"):
        used(url)
