"""The embedded broker under its supervisor: restarts, its port, and what an instance remembers."""

import socket
import threading

import pytest
from embedded_broker_support import Client, wait_for

from plantprint_cli.embedded import BrokerError, EmbeddedBroker, Instance, Part, RestartPolicy, Supervisor
from plantprint_cli.embedded.instance import temporary_instance

pytestmark = pytest.mark.integration


def test_supervisor_replaces_a_broken_broker() -> None:
    with temporary_instance() as instance:
        broker = EmbeddedBroker(instance)
        part = Part(broker, restart=RestartPolicy(delay_s_first=0.05), health_interval_s=0.1)
        supervisor = Supervisor(instance, [part])
        seen: list[bool] = []

        def break_then_stop() -> None:
            for _ in range(2):
                Client(broker, "a/b", timeout_s=0.3).close()
            seen.append(wait_for(lambda: supervisor.restarts["broker"] == 1 and broker.is_ready()))
            supervisor.request_stop()

        thread = threading.Thread(target=break_then_stop)
        assert supervisor.run(on_ready=thread.start) == 0
        thread.join()
        assert seen == [True]


def test_restart_keeps_the_port_and_forgets_the_rest() -> None:
    with temporary_instance() as instance:
        broker = EmbeddedBroker(instance)
        url = broker.url
        with broker:
            client = Client(broker, "p")
            client.publish("kept/x", b"1", retain=True)
            client.close()
        with broker:
            assert broker.url == url
            client = Client(broker, "s").subscribe("kept/#")
            assert client.payloads(0) == []
            client.close()
        assert EmbeddedBroker(instance).url == url


def test_taken_port_is_an_error_with_words() -> None:
    with temporary_instance() as instance, socket.socket() as other:
        broker = EmbeddedBroker(instance)
        other.bind(("127.0.0.1", broker.port))
        other.listen()
        with pytest.raises(BrokerError, match=f"Port {broker.port}"):
            broker.start()


def test_supervisor_restarts_a_broker_that_died() -> None:
    with temporary_instance() as instance:
        broker = EmbeddedBroker(instance)
        supervisor = Supervisor(instance, [Part(broker, restart=RestartPolicy(delay_s_first=0.05))])
        seen: list[int] = []

        def crash_then_stop() -> None:
            Client(broker, "before").cut()
            broker._process.kill()  # type: ignore[union-attr]
            wait_for(lambda: supervisor.restarts["broker"] == 1 and broker.is_ready())
            seen.append(supervisor.restarts["broker"])
            supervisor.request_stop()

        thread = threading.Thread(target=crash_then_stop)
        assert supervisor.run(on_ready=thread.start) == 0
        thread.join()
        assert seen == [1]


def test_instance_is_what_remembers_the_port() -> None:
    with temporary_instance() as instance:
        url = EmbeddedBroker(instance).url
        instance.close()
        with Instance.open(instance.path) as again:
            assert EmbeddedBroker(again).url == url
