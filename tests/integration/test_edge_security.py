"""Brokers that check who comes: an ACL that forbids, and certificates on both sides, passwords."""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import servers
from edge_support import config
from parts import need_program
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from plantprint.times import SiteClock
from plantprint_cli.embedded.ports import find_free_port
from plantprint_edge.agent import Agent
from plantprint_edge.config import AgentConfig, Broker
from plantprint_edge.status import Metrics, status_path

pytestmark = pytest.mark.integration


@asynccontextmanager
async def running(of: AgentConfig) -> AsyncIterator[Agent]:
    agent = Agent(of, SiteClock(), {})
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        agent.stop()
        assert await task == 0


async def until(agent: Agent, field: str, at_least: int = 1) -> None:
    await holds(lambda: getattr(agent.snapshot().uplink, field) >= at_least)


async def holds(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - counters make no noise
            await asyncio.sleep(0.02)


@contextmanager
def broker_folder() -> Iterator[Path]:
    """A folder that the broker's unprivileged account can read too."""
    with tempfile.TemporaryDirectory(prefix="plantprint-acl-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def readable() -> Iterator[Path]:
    with broker_folder() as folder:
        yield folder


def mosquitto_with(monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    monkeypatch.setattr(servers, "MOSQUITTO_CONFIG", servers.MOSQUITTO_CONFIG + more)


async def test_a_publish_that_the_broker_forbids_is_an_alarm_and_loses_nothing(
    tmp_path: Path, readable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acl = readable / "acl"
    acl.write_text("topic read plantprint/#\ntopic write plantprint/v1/s/state/+\n")
    acl.chmod(0o644)
    mosquitto_with(monkeypatch, f"acl_file {acl}\n")
    with servers.mosquitto() as url:
        async with running(config(tmp_path, top="drain_s: 0", url=url)) as agent:
            await until(agent, "refused")
            assert agent.snapshot().uplink.acked == 0
            assert agent.snapshot().outbox.unacked_chunks == 1


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run([need_program("openssl", "openssl"), *arguments], cwd=folder, check=True, capture_output=True)


def certificate(folder: Path, name: str, ca: str, san: str, *more: str) -> None:
    openssl(
        folder, "req", *KEY, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
        "-subj", f"/CN={name}",
    )  # fmt: skip
    (folder / f"{name}.san").write_text(f"subjectAltName={san}\n")
    openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial",
        "-out", f"{name}.crt", "-extfile", f"{name}.san", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """A CA with a server for 127.0.0.1, one for elsewhere and an expired one, and two gateways; and a stranger's CA."""
    servers.need_mosquitto()
    with broker_folder() as folder:
        for ca in ("ca", "strange-ca"):
            openssl(
                folder, "req", "-x509", *KEY, "-nodes", "-keyout", f"{ca}.key", "-out", f"{ca}.crt",
                "-subj", f"/CN={ca}",
            )  # fmt: skip
        certificate(folder, "server", "ca", "IP:127.0.0.1")
        certificate(folder, "elsewhere", "ca", "DNS:broker.example,IP:10.9.8.7")
        certificate(folder, "gw-1", "ca", "DNS:gw-1")
        certificate(folder, "stranger", "strange-ca", "DNS:gw-1")
        for name in ("expired", "gw-old"):
            certificate(folder, name, "ca", "IP:127.0.0.1", "-days", "0")
        for path in folder.iterdir():
            path.chmod(0o644)
        yield folder


@contextmanager
def guarded_broker(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, server: str = "server", more: str = ""
) -> Iterator[str]:
    """A mosquitto that shows a certificate and wants one, and takes the name in it for the user's."""
    port = find_free_port(set())
    mosquitto_with(
        monkeypatch,
        f"listener {port} 127.0.0.1\ncafile {certificates}/ca.crt\ncertfile {certificates}/{server}.crt\n"
        f"keyfile {certificates}/{server}.key\nrequire_certificate true\nuse_identity_as_username true\n{more}",
    )
    with servers.mosquitto():
        yield f"mqtts://127.0.0.1:{port}"


def gateway(folder: Path, url: str, certificates: Path, name: str | None, ca: str | None) -> AgentConfig:
    files = {} if name is None else {"cert_file": f"{name}.crt", "key_file": f"{name}.key"}
    if ca is not None:
        files["ca_file"] = f"{ca}.crt"
    broker = Broker.model_validate({"url": url, **{key: certificates / file for key, file in files.items()}})
    return config(folder, top="drain_s: 0").model_copy(update={"broker": broker})


async def test_a_gateway_of_the_brokers_ca_is_let_in(
    tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded_broker(certificates, monkeypatch) as url:
        async with running(gateway(tmp_path, url, certificates, "gw-1", "ca")) as agent:
            await until(agent, "connections")


@pytest.mark.parametrize(
    ("server", "name", "ca", "reason"),
    [
        ("server", "stranger", "ca", "check cert_file and key_file"),
        ("server", None, "ca", "check cert_file and key_file"),
        ("server", "gw-old", "ca", "check cert_file and key_file"),
        ("server", "gw-1", "strange-ca", "certificate verify failed"),
        ("server", "gw-1", None, "certificate verify failed"),
        ("elsewhere", "gw-1", "ca", "IP address mismatch"),
        ("expired", "gw-1", "ca", "certificate has expired"),
    ],
    ids=[
        "foreign client",
        "no client certificate",
        "expired client",
        "wrong CA",
        "no CA",
        "wrong name",
        "expired server",
    ],
)
async def test_who_cannot_prove_its_name_is_not_spoken_to(
    tmp_path: Path,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    name: str | None,
    ca: str | None,
    reason: str,
) -> None:
    with guarded_broker(certificates, monkeypatch, server) as url, capture_logs() as logs:
        async with running(gateway(tmp_path, url, certificates, name, ca)) as agent:
            await holds(lambda: any(entry["event"] == "broker_unreachable" for entry in logs))
            await asyncio.sleep(0.3)
            assert agent.snapshot().uplink.published == 0
            assert agent.snapshot().outbox.unacked_chunks == 1
    (told, *_) = (entry for entry in logs if entry["event"] == "broker_unreachable")
    assert reason in told["reason"], told
    assert str(certificates / "gw-1.key") not in str(logs)


async def test_a_wrong_password_is_told_a_right_one_lets_in_and_neither_is_ever_shown(
    tmp_path: Path, readable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = readable / "passwords"
    command = [need_program("mosquitto_passwd", "mosquitto"), "-c", "-b", str(passwords), "gw-1", "right-secret"]
    await asyncio.to_thread(lambda: subprocess.run(command, check=True, capture_output=True))
    passwords.chmod(0o644)
    port = find_free_port(set())
    monkeypatch.setattr(servers, "MOSQUITTO_CONFIG", servers.MOSQUITTO_CONFIG.replace("allow_anonymous true", ""))
    mosquitto_with(monkeypatch, f"allow_anonymous false\npassword_file {passwords}\n")
    secret = readable / "gw-password"
    secret.write_text("wrong-secret\n")
    with servers.mosquitto(port) as url, capture_logs() as logs:
        broker = Broker.model_validate({"url": url, "username": "gw-1", "password_file": secret})
        of = config(tmp_path, top="drain_s: 0\nstatus_every_s: 0.1").model_copy(update={"broker": broker})
        async with running(of) as agent:
            await holds(lambda: any("check username and password" in str(entry.get("reason")) for entry in logs))
            # A secret that was put right is read again without a restart.
            secret.write_text("right-secret\n")
            await until(agent, "connections")
        shown = str(logs) + status_path(of).read_text("utf-8") + generate_latest(_registry(agent)).decode()
    assert "-secret" not in shown
    assert "-secret" not in repr(of)


def _registry(agent: Agent) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Metrics(agent.snapshot))
    return registry
