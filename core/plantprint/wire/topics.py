"""Topic grammar: the only place that writes or reads a topic.

plantprint/v1/{site}/up/{slot}/{agent}/{live|fill}     chunks, agent → collector
plantprint/v1/{site}/ack/{agent}                       what is committed, collector → agent
plantprint/v1/{site}/state/{agent}                     retained, with last will
plantprint/v1/{site}/production/{source}               production events; confirmed on …/{source}/ack
plantprint/v1/{site}/alert/{work_center}               retained budget alerts
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

ROOT = "plantprint/v1"
SLOTS = "0123456789abcdef"
Lane = Literal["live", "fill"]

_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")


class TopicError(ValueError):
    """A topic, or a name that should become part of one, breaks the grammar."""


@dataclass(frozen=True, slots=True)
class UpTopic:
    site: str
    slot: str
    agent: str
    lane: Lane


def check_name(name: str) -> str:
    """The name unchanged; raises `TopicError` when it holds anything but letters, digits, `_`, `.`, `-`."""
    if not _NAME.match(name):
        raise TopicError(f"{name!r}: use 1 to 64 letters, digits, '_', '.' or '-'")
    return name


def slot_of(agent: str) -> str:
    """The first hex digit of sha256(agent): what a collector shard subscribes by."""
    return hashlib.sha256(agent.encode()).hexdigest()[0]


def up(site: str, agent: str, lane: Lane) -> str:
    return f"{ROOT}/{check_name(site)}/up/{slot_of(agent)}/{check_name(agent)}/{lane}"


def up_filter(slot: str = "+", site: str = "+") -> str:
    return f"{ROOT}/{site}/up/{slot}/+/+"


def parse_up(topic: str) -> UpTopic:
    """Raises `TopicError` on any other topic, a foreign slot included."""
    parts = topic.split("/")
    if len(parts) != 7 or "/".join(parts[:2]) != ROOT or parts[3] != "up" or parts[6] not in ("live", "fill"):
        raise TopicError(f"{topic!r} is no chunk topic")
    site, slot, agent = check_name(parts[2]), parts[4], check_name(parts[5])
    if slot != slot_of(agent):
        raise TopicError(f"{topic!r}: agent {agent!r} belongs to slot {slot_of(agent)}")
    return UpTopic(site, slot, agent, "live" if parts[6] == "live" else "fill")


def ack(site: str, agent: str) -> str:
    return f"{ROOT}/{check_name(site)}/ack/{check_name(agent)}"


def state(site: str, agent: str) -> str:
    return f"{ROOT}/{check_name(site)}/state/{check_name(agent)}"


def state_filter(site: str = "+") -> str:
    return f"{ROOT}/{site}/state/+"


def production(site: str, source: str) -> str:
    return f"{ROOT}/{check_name(site)}/production/{check_name(source)}"


def production_filter(site: str = "+") -> str:
    return f"{ROOT}/{site}/production/+"


def production_ack(site: str, source: str) -> str:
    return f"{production(site, source)}/ack"


def alert(site: str, work_center: str) -> str:
    return f"{ROOT}/{check_name(site)}/alert/{check_name(work_center)}"


def parse_named(topic: str) -> tuple[str, str, str]:
    """(site, kind, name) of a state, ack, production or alert topic; raises `TopicError`."""
    parts = topic.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != ROOT or parts[3] not in ("state", "ack", "production", "alert"):
        raise TopicError(f"{topic!r} is no state, ack, production or alert topic")
    return check_name(parts[2]), parts[3], check_name(parts[4])
