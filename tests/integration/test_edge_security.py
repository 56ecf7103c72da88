"""Brokers that check who comes: an ACL that forbids, and certificates on both sides."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import servers
from edge_support import config

from plantprint.times import SiteClock
from plantprint_cli.embedded.ports import find_free_port
from plantprint_edge.agent import Agent
from plantprint_edge.config import AgentConfig, Broker

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
    async with asyncio.timeout(15):
        while getattr(agent.snapshot().uplink, field) < at_least:  # noqa: ASYNC110 - counters make no noise
            await asyncio.sleep(0.02)


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that the broker's unprivileged account can read too."""
    with tempfile.TemporaryDirectory(prefix="plantprint-acl-") as name:
        folder = Path(name)
        folder.chmod(0o755)
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


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certificates(folder: Path) -> None:
    """A CA, a server for 127.0.0.1 and one gateway; and a gateway of a stranger's CA."""
    for ca in ("ca", "strange-ca"):
        openssl(
            folder,
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{ca}.key",
            "-out",
            f"{ca}.crt",
            "-subj",
            f"/CN={ca}",
        )
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, ca in (("server", "ca"), ("gw-1", "ca"), ("stranger", "strange-ca")):
        openssl(
            folder,
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
        )
        openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key",
            "-CAcreateserial", "-out", f"{name}.crt", "-extfile", "san",
        )  # fmt: skip
    for path in folder.iterdir():
        path.chmod(0o644)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_certificates_on_both_sides(tmp_path: Path, readable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates(readable)
    tls_port = find_free_port(set())
    mosquitto_with(
        monkeypatch,
        f"listener {tls_port} 127.0.0.1\ncafile {readable}/ca.crt\ncertfile {readable}/server.crt\n"
        f"keyfile {readable}/server.key\nrequire_certificate true\n",
    )
    url = f"mqtts://127.0.0.1:{tls_port}"

    def of(name: str, ca: str = "ca") -> AgentConfig:
        files = {"ca_file": f"{ca}.crt", "cert_file": f"{name}.crt", "key_file": f"{name}.key"}
        broker = Broker.model_validate({"url": url, **{key: readable / file for key, file in files.items()}})
        return config(tmp_path, top="drain_s: 0").model_copy(update={"broker": broker})

    with servers.mosquitto():
        async with running(of("gw-1")) as agent:
            await until(agent, "connections")
        for refused in (of("stranger"), of("gw-1", ca="strange-ca")):
            async with running(refused) as agent:
                await asyncio.sleep(1)
                assert agent.snapshot().uplink.connections == 0
