"""The embedded MQTT 5 broker: iotcore 0.4 (rumqttd 0.20) as our child on 127.0.0.1, for trials and tests.

Measured with paho-mqtt 2.2; `tests/integration/test_embedded_broker.py` holds each point.

Works: QoS 0, 1 and 2; wildcards; messages up to the limit set here (1 MiB); MQTT 5 user properties (order and repeats
kept), content type, correlation data, response topic and message expiry, on live and on retained messages; retained
messages and their removal; last will with properties, on a cut connection (1 s later) and on a missed keep-alive;
redelivery of unacknowledged messages to a client that was killed, if *every* connect of it had clean_start=False;
resubscribing after that does not duplicate them; a second client with the same id closes the first.

Does not work, or not as in the standard:
- At most 100 messages are in flight to one connection, over all its subscriptions. The number is compiled in: the
  receive maximum of the client is ignored in both directions, no setting raises it. A subscriber that acknowledges
  nothing receives 100 messages and then nothing more on any topic.
- Acknowledgements must come in the order of the messages. One out of order closes the connection, so a message that is
  never to be acknowledged needs a reconnect, after which it comes again.
- Each subscription filter has a log of `segments_max` x `segment_bytes`. A subscriber that falls further behind, online
  or offline, loses the oldest messages although their publisher has got its PUBACK, and nobody is told.
- Redelivered messages lack the DUP flag and packet ids start again at 1.
- The session expiry interval is ignored: a session lives until the broker stops. CONNACK never says session present.
- A reconnect with clean_start=True fires the will of the former connection (once or twice, within its will delay too);
  what the new connection says comes after it. With clean_start=False and a will delay a reconnect within the delay
  fires none. The will is sent up to 1 s later than its delay says.
- `retain_as_published` and `no_local` are ignored. Overlapping subscriptions deliver a message once per subscription.
- Client ids must not contain any of / + # $, and keep-alive must not be 0: refused without a reason code, as are
  payloads above the limit.
- **One client can stop the broker from accepting anybody.** A connect that is refused after its id was read (one of the
  characters above, or the connection limit) leaves a mark behind on which the next connect of that id breaks the
  listener; established connections go on. A malformed packet can do the same. Hence the limit of connections is out of
  reach, and the supervisor must ask `is_ready` every `HEALTH_INTERVAL_S` and start a broken one again.
- MQTT 3.1.1 gets no listener: a message with properties for a 3.1.1 subscriber breaks it likewise, after which nobody
  can connect there. 3.1.1 devices need mosquitto.
- No ACL, nothing on disk: a restart forgets sessions, retained messages and the log.
- Memory grows with traffic until the logs are full: 28 MiB at the start, and up to `segments_max` x `segment_bytes` (32 MiB)
  more for each filter. The demo at speed 20 adds 0.85 MiB a minute. A client id that is new costs 0.75 KiB for good.
"""

import json
import os
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from plantprint_cli.embedded.children import Child, Command
from plantprint_cli.embedded.errors import BrokerError, ChildError, require_linux
from plantprint_cli.embedded.folders import write_durably
from plantprint_cli.embedded.instance import Instance
from plantprint_cli.embedded.ports import is_port_free

HOST = "127.0.0.1"
# Compiled into rumqttd; the collector must not wait for more than this before it acknowledges.
INFLIGHT_MAX = 100
# For `Part.health_interval_s`: what a broken listener costs at most, three times over.
HEALTH_INTERVAL_S = 2.0
_WORKER = Path(__file__).with_name("broker_worker.py")
_CONNACK = b"\x20"
_PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class BrokerSettings:
    """Limits of the embedded broker."""

    payload_bytes_max: int = 1_048_576
    segment_bytes: int = 8_388_608
    segments_max: int = 4
    # Reaching it breaks the broker, so it lies above the number of files the worker may open.
    connections_max: int = 20_000


class EmbeddedBroker(Child):
    """An MQTT 5 broker on a loopback port that the instance remembers."""

    def __init__(self, instance: Instance, settings: BrokerSettings | None = None) -> None:
        super().__init__("broker", self._prepare, instance.log("broker"))
        self.settings = settings or BrokerSettings()
        self._instance = instance
        self.port = instance.port("mqtt")
        self._probe_id = _new_probe_id()

    @property
    def url(self) -> str:
        """Address for MQTT 5 clients; the same at every start of the instance while the port stays free."""
        return f"mqtt://{HOST}:{self.port}"

    def is_ready(self) -> bool:
        """Whether a client can connect now: a broker that has a listener but answers nobody is not ready."""
        if not self.is_alive():
            return False
        answers = _answers_connect(self.port, self._probe_id)
        if not answers:
            self._probe_id = _new_probe_id()
        return answers

    def _error(self, message: str) -> ChildError:
        return BrokerError(message)

    def _prepare(self) -> Command:
        require_linux("broker", "PLANTPRINT_MQTT_URL")
        if not is_port_free(self.port):
            raise BrokerError(f"Port {self.port}, which clients of the embedded broker know, was taken meanwhile.")
        config = self._instance.run_dir / "broker.toml"
        write_durably(config, self._config())
        # By path and without its folder on the module path: the worker needs iotcore and nothing of ours.
        argv = [sys.executable, "-P", str(_WORKER), str(config)]
        return Command(argv, env={**os.environ, "RUST_BACKTRACE": "0"})

    def _config(self) -> str:
        settings = self.settings
        return f"""\
# Written at every start by plantprint.
id = 0

[router]
id = 0
max_connections = {settings.connections_max}
max_outgoing_packet_count = 2000
max_segment_size = {settings.segment_bytes}
max_segment_count = {settings.segments_max}

[v5.main]
name = "main"
listen = {json.dumps(f"{HOST}:{self.port}")}
next_connection_delay_ms = 1

[v5.main.connections]
connection_timeout_ms = 5000
max_payload_size = {settings.payload_bytes_max}
max_inflight_count = 2000
dynamic_filters = true
"""


def _new_probe_id() -> bytes:
    return b"probe-" + secrets.token_hex(8).encode("ascii")


def _answers_connect(port: int, client_id: bytes) -> bool:
    """Shake hands as an MQTT 5 client would and leave.

    The broker keeps a little of every id for good, so one that was answered is used again; one that was not might break the
    listener.
    """
    body = b"\x00\x04MQTT\x05\x02\x00\x0a\x00" + len(client_id).to_bytes(2, "big") + client_id
    try:
        with socket.create_connection((HOST, port), timeout=_PROBE_TIMEOUT_S) as connection:
            connection.sendall(bytes([0x10, len(body)]) + body)
            answer = connection.recv(256)
            connection.sendall(b"\xe0\x00")
    except OSError:
        return False
    return answer[:1] == _CONNACK
