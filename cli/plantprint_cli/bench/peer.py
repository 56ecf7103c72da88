"""`bench peer`: the same backlog, kills and late data for plantprint and for a service written the usual way.

The peer is `tests/peers/straightforward.py`, so a source checkout is needed.
"""

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plantprint.times import HOUR_MS
from plantprint.wire import topics
from plantprint_cli.bench import ingest
from plantprint_cli.bench.backlog import Backlog, connected, filled, make_backlog, publish
from plantprint_cli.bench.common import (
    BenchError,
    Conn,
    Json,
    Servers,
    connect,
    fresh_database,
    median,
    scalar,
    wait_until,
)
from plantprint_cli.embedded import Child, Command
from plantprint_cli.parts import plantprint
from plantprint_collector import rows as r

_SCRIPT = Path(__file__).parents[3] / "tests" / "peers" / "straightforward.py"
_METERS = 2000
_DONE_S = 120.0
_QUIET_S = 3.0
_KILLS_AT = (0.2, 0.5, 0.8)
Make = Callable[[Servers, str, str], Child]


def run(servers: Servers, *, full: bool, seconds: int = 0, rounds: int = 0) -> Json:
    """Speed in alternation, then a storm of kill -9 for each: under a backlog, and at a pace that both can follow."""
    if not _SCRIPT.exists():
        return {"not_measured": f"{_SCRIPT.name} is part of the source checkout only"}
    backlog = make_backlog(_METERS, seconds or (100 if full else 30), 500)
    speeds: dict[str, list[float]] = {"plantprint": [], "peer": []}
    for _ in range(rounds or (5 if full else 2)):
        for name, make in CANDIDATES.items():
            speeds[name].append(_speed(servers, backlog, make))
    rates = {name: median(runs, 0) for name, runs in speeds.items()}
    return {
        "peer": "aiomqtt acknowledging by itself, one executemany INSERT … ON CONFLICT and commit per message",
        "broker": servers.broker_name,
        "readings": backlog.readings,
        "readings_per_s": rates,
        "times_faster": round(rates["plantprint"] / rates["peer"], 1),
        "kill_9": {
            "kills": len(_KILLS_AT),
            "backlog": {name: storm(servers, backlog, make, paced=False) for name, make in CANDIDATES.items()},
            "at_10000_per_s": {name: storm(servers, backlog, make, paced=True) for name, make in CANDIDATES.items()},
        },
        "late_data": late_data(servers),
    }


def _plantprint(servers: Servers, dsn: str, client_id: str) -> Child:
    env = servers.environment(dsn, PLANTPRINT_COLLECTOR_CLIENT_ID=client_id)
    return Child(client_id, plantprint(env, "collect", "--intake-only"), servers.instance.log(client_id))


def _peer(servers: Servers, dsn: str, client_id: str) -> Child:
    env = {**os.environ, "PEER_DATABASE_URL": dsn, "PEER_MQTT_URL": servers.broker.url, "PEER_CLIENT_ID": client_id}
    return Child(client_id, Command([sys.executable, str(_SCRIPT)], env=env), servers.instance.log(client_id))


CANDIDATES: dict[str, Make] = {"plantprint": _plantprint, "peer": _peer}
_FILTERS: dict[Make, list[str]] = {_plantprint: ingest.filters(topics.SLOTS), _peer: [topics.up_filter()]}


@contextmanager
def _database(servers: Servers, make: Make) -> Iterator[str]:
    """The peer makes a schema of its own, so what is there already goes."""
    with fresh_database(servers.postgres.dsn) as dsn:
        if make is _peer:
            with connect(dsn) as conn:
                conn.execute("drop schema public cascade; create schema public")
        yield dsn


def _stored(conn: Conn) -> int:
    if scalar(conn, "select to_regclass('reading')") is None:
        return 0
    return int(scalar(conn, "select count(*) from reading"))


def _speed(servers: Servers, backlog: Backlog, make: Make) -> float:
    """Readings per second from the start of work to the last row, as seen by counting."""
    with (
        _database(servers, make) as dsn,
        filled(servers.broker.url, [_FILTERS[make]], backlog) as (name,),
        make(servers, dsn, name) as child,
        connect(dsn) as conn,
    ):
        wait_until("the backlog is stored", lambda: _is_stored(conn, backlog, child), _DONE_S, poll_s=0.05)
        return backlog.readings / (time.time() - ingest.began_s(child))


def _is_stored(conn: Conn, backlog: Backlog, child: Child) -> bool:
    if not child.is_alive():
        raise BenchError(str(child.failure("ended")))
    return _stored(conn) >= backlog.readings


def storm(servers: Servers, backlog: Backlog, make: Make, *, paced: bool) -> Json:
    """Kills the service as it works, starts it again each time, and counts what is missing when all is quiet."""
    sent = backlog if not paced else Backlog([], {}, backlog.rows, backlog.channels)
    with _database(servers, make) as dsn, filled(servers.broker.url, [_FILTERS[make]], sent) as (name,):
        child = make(servers, dsn, name)
        with child, connect(dsn) as conn:
            sender = threading.Thread(target=_send_paced, args=(servers.broker.url, backlog), daemon=True)
            if paced:
                sender.start()
            for starts, share in enumerate(_KILLS_AT, start=1):
                _wait_for(conn, share * backlog.readings, child, starts)
                child.kill()
                child.start()
            if paced:
                sender.join()
            stored = _wait_for(conn, backlog.readings, child, len(_KILLS_AT) + 1)
    return {"lost_readings": backlog.readings - stored, "lost_percent": round(100 * (1 - stored / backlog.readings), 2)}


def _wait_for(conn: Conn, wanted: float, child: Child, starts: int) -> int:
    """Waits until so many rows are stored, or none more comes although the service works; how many there are."""
    seen, changed_s = -1, time.monotonic()
    while time.monotonic() - changed_s < _QUIET_S:
        stored = _stored(conn)
        if stored >= wanted:
            return stored
        if stored != seen or ingest.runs(child) < starts:
            seen, changed_s = stored, time.monotonic()
        time.sleep(0.02)
    return seen


def _send_paced(url: str, backlog: Backlog) -> None:
    with connected(url, f"bench-{secrets.token_hex(4)}", 0) as client:
        began_s = time.monotonic()
        for number, message in enumerate(backlog.messages):
            time.sleep(max(0.0, began_s + number * 0.05 - time.monotonic()))
            last = publish(client, *message)
        last.wait_for_publish(30)


def late_data(servers: Servers) -> Json:
    """Consumption of two hours as the peer tells it, when all is on time and when the second hour arrives last.

    plantprint's figures in such a case are exact, which `bench late` waits for.
    """
    backlog = make_backlog(80, 3 * 60, 60, period_s=60)
    late = Backlog(sorted(backlog.messages, key=_as_if_late), backlog.chunks, backlog.rows, backlog.channels)
    first = backlog.rows[0, r.T] // HOUR_MS * HOUR_MS
    counted = [backlog.rows[backlog.rows[:, r.T] // HOUR_MS * HOUR_MS == first + 2 * h * HOUR_MS] for h in range(2)]
    true = sum(_firsts(counted[1])) - sum(_firsts(counted[0]))
    missing = {
        name: round(100 * (1 - _peer_counts(servers, b) / true), 1)
        for name, b in (("on_time", backlog), ("an_hour_late", late))
    }
    return {"peer_missing_percent": missing}


def _firsts(rows: NDArray[np.int64]) -> list[int]:
    """The lowest value of each channel."""
    return [int(rows[rows[:, r.CHANNEL] == channel, r.VALUE].min()) for channel in np.unique(rows[:, r.CHANNEL])]


def _peer_counts(servers: Servers, backlog: Backlog) -> int:
    with (
        _database(servers, _peer) as dsn,
        filled(servers.broker.url, [_FILTERS[_peer]], backlog) as (name,),
        _peer(servers, dsn, name),
        connect(dsn) as conn,
    ):
        wait_until("the peer has stored it", lambda: _stored(conn) >= backlog.readings, _DONE_S)
        return int(scalar(conn, "select coalesce(sum(amount), 0) from consumption_hour"))


def _as_if_late(message: tuple[str, bytes, list[tuple[str, str]]]) -> int:
    """Order of hours 1, 3, 2; a chunk holds ten meters' six minutes, the first one is the declaration."""
    seq = int(dict(message[2])["seq"])
    return 0 if seq == 0 else (1, 3, 2)[(seq - 1) // 10]
