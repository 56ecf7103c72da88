"""A peer to measure against: a collector written the way such services usually are.

aiomqtt hands over a message and confirms it to the broker by itself; each message becomes one executemany of INSERT …
ON CONFLICT DO NOTHING and a commit; consumption is an SQL aggregate that runs when an hour is over. Nothing in it is made
bad on purpose: it is what a capable engineer writes in a day. Its session outlives it (clean_start=False).

Run: PEER_DATABASE_URL=… PEER_MQTT_URL=mqtt://… python tests/peers/straightforward.py
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import psycopg
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SCHEMA = """
create table if not exists channel (
    channel_id integer generated always as identity primary key,
    site text not null, agent text not null, name text not null, decimals integer not null,
    unique (site, agent, name));
create table if not exists channel_table (
    agent text not null, hash text not null, channel_ids integer[] not null, primary key (agent, hash));
create table if not exists reading (
    channel_id integer not null, measured_at timestamptz not null, value bigint not null, quality smallint not null,
    received_at timestamptz not null default clock_timestamp(), primary key (channel_id, measured_at));
create table if not exists consumption_hour (
    channel_id integer not null, hour_at timestamptz not null, amount bigint not null,
    primary key (channel_id, hour_at));
"""
CLOSE_HOURS = """
insert into consumption_hour
select channel_id, date_trunc('hour', measured_at), max(value) - min(value) from reading
where measured_at < %(now)s and measured_at >= %(since)s group by 1, 2
on conflict do nothing
"""
Row = tuple[int, int, int, int]


class Service:
    """Remembers the channel ids of every agent's table."""

    def __init__(self, conn: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        self._conn = conn
        self._tables: dict[tuple[str, str], list[int]] = {}
        self._hour: datetime | None = None

    async def handle(self, payload: bytes) -> None:
        head, _, body = payload.partition(b"\n")
        header = json.loads(head)
        content = json.loads(body)
        if header["kind"] == "declare":
            await self._declare(header, content)
        elif header["kind"] == "readings":
            ids = await self._find_table(header["agent"], header["table"])
            if ids is not None:
                await self._store(ids, content)

    async def _declare(self, header: dict[str, Any], channels: Sequence[dict[str, Any]]) -> None:
        ids = []
        for channel in channels:
            cursor = await self._conn.execute(
                "insert into channel (site, agent, name, decimals) values (%s, %s, %s, %s)"
                " on conflict (site, agent, name) do update set decimals = excluded.decimals returning channel_id",
                (header["site"], header["agent"], channel["name"], channel["decimals"]),
            )
            row = await cursor.fetchone()
            assert row is not None
            ids.append(row[0])
        await self._conn.execute(
            "insert into channel_table values (%s, %s, %s) on conflict do nothing",
            (header["agent"], header["table"], ids),
        )
        await self._conn.commit()

    async def _find_table(self, agent: str, table: str) -> list[int] | None:
        if (agent, table) not in self._tables:
            query = "select channel_ids from channel_table where agent = %s and hash = %s"
            row = await (await self._conn.execute(query, (agent, table))).fetchone()
            if row is None:
                return None
            self._tables[agent, table] = row[0]
        return self._tables[agent, table]

    async def _store(self, ids: list[int], rows: Sequence[Row]) -> None:
        values = [
            (ids[index], datetime.fromtimestamp(t / 1000, UTC), value, quality) for index, t, value, quality in rows
        ]
        async with self._conn.cursor() as cursor:
            await cursor.executemany(
                "insert into reading (channel_id, measured_at, value, quality) values (%s, %s, %s, %s)"
                " on conflict (channel_id, measured_at) do nothing",
                values,
            )
        await self._conn.commit()
        await self._close_hours(max(at for _, at, _, _ in values))

    async def _close_hours(self, newest: datetime) -> None:
        """Totals of the hours that are over, once."""
        hour = newest.replace(minute=0, second=0, microsecond=0)
        if self._hour is not None and hour > self._hour:
            await self._conn.execute(CLOSE_HOURS, {"since": self._hour, "now": hour})
            await self._conn.commit()
        self._hour = hour if self._hour is None else max(hour, self._hour)


async def main() -> None:
    url = urlsplit(os.environ["PEER_MQTT_URL"])
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    async with await psycopg.AsyncConnection.connect(os.environ["PEER_DATABASE_URL"]) as conn:
        await conn.execute(SCHEMA)
        await conn.commit()
        service = Service(conn)
        print(json.dumps({"event": "peer runs", "timestamp": datetime.now(UTC).isoformat()}), flush=True)
        async with aiomqtt.Client(
            str(url.hostname),
            url.port or 1883,
            identifier=os.environ.get("PEER_CLIENT_ID", "peer"),
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
        ) as client:
            await client.subscribe("plantprint/v1/+/up/+/+/+", qos=1)
            async for message in client.messages:
                await service.handle(bytes(message.payload))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
