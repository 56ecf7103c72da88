"""Edge, broker, collector and database of the delivery test as processes, and what can be read from what they leave."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import apsw
import psycopg
import servers
from delivery_meters import Meters, agent_yaml, instant_of, plant_yaml

from plantprint.times import format_instant, parse_instant
from plantprint.wire.chunk import decode_rows, decode_table, table_hash, unseal
from plantprint_cli import setup
from plantprint_cli.embedded import Child, Command, EmbeddedBroker, EmbeddedPostgres, Instance, PostgresSettings
from plantprint_cli.embedded.postgres_install import find_install

_WRONG = Path(__file__).with_name("delivery_wrong.py")
_REPEATED = "plantprint_intake_repeated_chunks_total "
# A disk that takes 100 ms to write: what a gateway's card or a busy array does, and where a crash finds a commit half done.
_SLOW_COMMIT = {"commit_delay": "100000", "commit_siblings": "0"}
_START_S_MAX = 30.0
_COMMIT_S_MAX = 3.0

Readings = dict[tuple[str, int], int]


@dataclasses.dataclass(frozen=True, slots=True)
class OutboxContent:
    """What the edge's file holds after its end: readings, how many of its rows repeat one, and seqs per epoch."""

    readings: Readings
    repeated_rows: int
    unacked_chunks: int
    seqs: dict[str, set[int]]


class Rig:
    """`children` by name in the order they are started; `wrong` names the one that runs with its mistake."""

    def __init__(
        self,
        instance: Instance,
        site: str,
        meters: Meters,
        meters_url: str,
        wrong: str,
        *,
        persistent: bool = False,
        with_api: bool = False,
    ) -> None:
        """A `persistent` broker keeps its sessions on disk, a second old when it is killed."""
        self.site = site
        self.repeated_chunks = 0
        self._instance = instance
        self._meters = meters
        self._outbox = instance.path / "outbox.db"
        self._metrics_port = instance.port("metrics")
        bin_dir = servers.apt_postgres() if os.environ.get("PLANTPRINT_TEST_POSTGRES") == "apt" else None
        self.database = EmbeddedPostgres(
            instance, PostgresSettings(bin_dir=bin_dir, connections_max=30, extra=_SLOW_COMMIT)
        )
        self.broker, mqtt_url = _make_broker(instance, persistent=persistent)
        self.mqtt_url = mqtt_url
        self._dump = instance.path / "backup.dump"
        config = instance.path / "agent.yaml"
        config.write_text(agent_yaml(site, meters_url, mqtt_url), "utf-8")
        self._env = {
            **os.environ,
            "PLANTPRINT_DATABASE_URL": self.database.dsn,
            "PLANTPRINT_MQTT_URL": mqtt_url,
            "PLANTPRINT_CLOCK": json.dumps(dataclasses.asdict(meters.clock)),
            "PLANTPRINT_METRICS_PORT": str(self._metrics_port),
            "PLANTPRINT_COLLECTOR_CLIENT_ID": f"collector-{site}",
            "PLANTPRINT_RECONNECT_S_MIN": "0.1",
            "PLANTPRINT_RECONNECT_S_MAX": "0.5",
            "PLANTPRINT_ACCOUNTANT_RETRY_S": "0.5",
        }
        edge = [str(_WRONG), "edge", str(config)] if wrong == "edge" else _cli("edge", "--config", str(config))
        collect = [str(_WRONG), "collect"] if wrong == "collector" else _cli("collect")
        self.edge, self.collector = self._python("edge", edge), self._python("collector", collect)
        self.children: dict[str, Child] = {
            "database": self.database,
            "broker": self.broker,
            "collector": self.collector,
            "edge": self.edge,
        }
        if with_api:
            port = instance.port("api")
            self.api_url = f"http://127.0.0.1:{port}"
            self.children["api"] = self._python("api", _cli("serve", "--port", str(port)))

    def start(self) -> None:
        """Returns once the collector has subscribed to the edge, and the edge to its meters."""
        self.database.start()
        self.database.wait_ready()
        plant = self._instance.path / "plant.yaml"
        plant.write_text(plant_yaml(self.site), "utf-8")
        setup.prepare(self.database.dsn, plant, self._meters.clock)
        self.broker.start()
        self._start_and_hear(self.collector, "broker_connected")
        if "api" in self.children:
            self._start_and_hear(self.children["api"], "api listens")
        self._start_and_hear(self.edge, "mqtt_source_connected")

    def _start_and_hear(self, child: Child, event: str) -> None:
        child.start()
        deadline_s = time.monotonic() + _START_S_MAX
        while event not in self._instance.log(child.name).tail(50):
            assert child.is_alive(), str(child.failure("ended"))
            assert time.monotonic() < deadline_s, str(child.failure(f"has not said {event}"))
            time.sleep(0.02)

    def show_logs(self) -> None:
        """The end of each process's log, for whoever looks for the cause of a failure."""
        for name in self.children:
            print(f"---- {name}\n{self._instance.log(name).tail(40)}")

    def kill_all(self) -> None:
        for child in reversed(self.children.values()):
            child.kill()

    def before_kill(self, victim: str) -> None:
        """What a collector has counted dies with it."""
        if victim == "collector":
            self.count_repeats()

    def count_repeats(self) -> None:
        try:
            with urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=0.5) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return  # it is only starting, and has nothing to tell
        self.repeated_chunks += sum(int(float(line.split()[1])) for line in lines if line.startswith(_REPEATED))

    def dump(self) -> None:
        """A backup of the database as it is now."""
        self._postgres("pg_dump", "--format=custom", "--file", str(self._dump), "--dbname", self.database.dsn)

    def restore(self) -> None:
        """Puts the backup in the place of the database, while everybody goes on; nobody gets at a half restored one."""
        other = self.database.dsn.replace("/plantprint?", "/{}?")
        with psycopg.connect(other.format("postgres"), autocommit=True) as conn:
            conn.execute("create database restored template template0")
            self._postgres("pg_restore", "--single-transaction", "--dbname", other.format("restored"), str(self._dump))
            conn.execute("alter database plantprint allow_connections false")
            conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'plantprint'")
            conn.execute("alter database plantprint rename to lost")
            conn.execute("alter database restored rename to plantprint")

    def _postgres(self, program: str, *arguments: str) -> None:
        bin_dir = find_install(self.database.settings.bin_dir).bin_dir
        subprocess.run([str(bin_dir / program), *arguments], check=True, capture_output=True, timeout=60)

    # ---- while they run

    def status(self) -> dict[str, Any]:
        """What the running edge says of itself; empty while it has not said anything yet."""
        try:
            status: dict[str, Any] = json.loads(Path(f"{self._outbox}.status.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return status if status["pid"] == self.edge.pid else {}

    def flows_since(self, wall_s: float) -> bool:
        """Whether the edge, as it runs now, has heard of something stored after this instant."""
        status = self.status()
        last_ack_at = status["uplink"]["last_ack_at"] if status else None
        return last_ack_at is not None and parse_instant(last_ack_at) > wall_s * 1000

    def wait_for_commit(self) -> None:
        """Returns while the collector's intake is in the middle of a commit, or after a while without one."""
        committing = (
            "select from pg_stat_activity where application_name = 'plantprint-intake' and state = 'active'"
            " and query ilike 'commit%'"
        )
        with psycopg.connect(self.database.dsn, autocommit=True) as conn:
            until_s = time.monotonic() + _COMMIT_S_MAX
            while not conn.execute(committing).rowcount and time.monotonic() < until_s:
                time.sleep(0.002)

    def drained(self) -> bool:
        """The edge has taken the last that the meters emitted, and holds nothing that is not acknowledged."""
        status = self.status()
        return (
            bool(status)
            and status["outbox"]["unacked_chunks"] == 0
            and status["sources"][0]["last_good_at"] == format_instant(instant_of(self._meters.last_step))
        )

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.dsn, autocommit=True) as conn:
            return conn.execute(sql.encode(), values).fetchall()

    # ---- what is left

    def stored(self) -> tuple[int, Readings]:
        """How many rows the store holds, and (channel, instant) → value."""
        rows = self.query(
            "select name, (extract(epoch from measured_at) * 1000)::bigint, value"
            " from reading join channel using (channel_id) where site = %s",
            (self.site,),
        )
        return len(rows), {(name, t_ms): value for name, t_ms, value in rows}

    def received(self) -> dict[str, set[int]]:
        """Epoch → seqs of the chunks that the store says it has."""
        rows = self.query(
            "select epoch, lower(r), upper(r) from received, unnest(chunks) as r where site = %s", (self.site,)
        )
        seqs: dict[str, set[int]] = {}
        for epoch, low, high in rows:
            seqs.setdefault(epoch, set()).update(range(low, high))
        return seqs

    def outbox(self) -> OutboxContent:
        return read_outbox(self._outbox)

    def audit(self) -> dict[str, Any]:
        """What `plantprint audit --json` says, in a process of its own; its exit code must agree."""
        audit = self._python("audit", _cli("audit", "--json"))
        out = self._instance.log("audit")
        audit.start()
        while audit.is_alive():
            time.sleep(0.05)
        report: dict[str, Any] = json.loads(out.path.read_text("utf-8").splitlines()[-1])
        assert audit.exit_code == (0 if report["clean"] else 1), out.tail(20)
        return report

    def _python(self, name: str, arguments: Sequence[str]) -> Child:
        command = Command([sys.executable, *arguments], env=self._env)
        return Child(name, command, self._instance.log(name))


def read_outbox(path: Path) -> OutboxContent:
    """The file of an edge that has ended, with all it ever held: it keeps for a day what was acknowledged."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = list(connection.execute("select acked_ms, bytes from chunk join payload using (id) order by id"))
    connection.close()
    chunks = [unseal(payload) for _, payload in rows]
    tables = {table_hash(body): decode_table(header, body) for header, body in chunks if header.kind == "declare"}
    content = OutboxContent({}, 0, sum(acked is None for acked, _ in rows), {})
    number = 0
    for header, body in chunks:
        content.seqs.setdefault(header.epoch, set()).add(header.seq)
        assert header.kind in {"declare", "readings"}, f"the edge stored a {header.kind}"
        if header.kind == "readings":
            for index, t_ms, value, _ in decode_rows(header, body):
                number += 1
                key = tables[header.table][index].name, t_ms
                assert content.readings.setdefault(key, value) == value, f"the edge stored two values for {key}"
    return dataclasses.replace(content, repeated_rows=number - len(content.readings))


def _cli(*arguments: str) -> list[str]:
    return ["-m", "plantprint_cli", *arguments]


def _make_broker(instance: Instance, *, persistent: bool) -> tuple[Child, str]:
    """Debian's mosquitto; where it is absent the embedded broker."""
    program = servers.find_mosquitto()
    if program is None:
        embedded = EmbeddedBroker(instance)
        return embedded, embedded.url
    port = instance.port("mqtt")
    config = instance.path / "mosquitto.conf"
    text = servers.MOSQUITTO_CONFIG.format(port=port)
    folder = instance.path / "mosquitto"
    folder.mkdir()
    if persistent:
        text = text.replace(
            "persistence false", f"persistence true\npersistence_location {folder}/\nautosave_interval 1"
        )
    config.write_text(text, "utf-8")
    if instance.account is not None:
        for path in (config, folder):
            shutil.chown(path, instance.account.uid)
    command = Command([program, "-c", str(config)], cwd=instance.path, account=instance.account)
    return Child("broker", command, instance.log("broker")), f"mqtt://127.0.0.1:{port}"
