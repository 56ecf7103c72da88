"""`bench ingest`: a broker full of chunks, drained by real collector processes into committed, deduplicated readings.

The clock runs from the collector's start of work (its process is up, nothing is connected yet) to the last
acknowledgement that an agent would get, which follows the commit. The yardstick is the same readings by COPY into a
plain table with the same key on the same server, from bytes that are ready.
"""

import json
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from plantprint.facts import Channel, Quality
from plantprint.times import parse_instant
from plantprint.wire import chunk, messages, topics
from plantprint_cli.bench.common import (
    BenchError,
    Json,
    Servers,
    connect,
    cpu_s,
    fresh_database,
    median,
    scalar,
    wait_until,
)
from plantprint_cli.embedded import Child
from plantprint_cli.parts import plantprint
from plantprint_collector import rows as r

SITE = "bench"
CLIENT_ID = "bench-collector"
_TIMEOUT_S = 120.0
_SESSION_S = 3600
_BLOCK = 1 << 18
_PLAIN = (
    "create table plain_copy (measured_at timestamptz not null, value bigint not null, channel_id integer not null,"
    " quality smallint not null, revision smallint not null, primary key (channel_id, measured_at))"
)
