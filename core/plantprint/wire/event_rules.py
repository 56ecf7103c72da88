"""What a production event must say to be taken, whichever way it comes: HTTP, MQTT, an agent's outbox or a sheet."""

from collections.abc import Mapping

from plantprint.facts import EventKind, ProductionEvent
from plantprint.wire import VERSION
from plantprint.wire.messages import EventMessage, MessageError, to_event
from plantprint.wire.topics import TopicError, check_name

REQUIRED: Mapping[EventKind, tuple[str, ...]] = {
    "order": ("batch",),
    "job_start": ("job", "batch", "work_unit"),
    "job_end": ("job",),
    "state": ("work_unit", "state"),
    "shipment": ("shipment", "batch"),
    "withdraw": ("event_id",),
    "activity": ("source", "from", "to"),
    "lot": ("lot",),
    "material_use": ("batch",),
    "output": ("batch",),
    "return": ("batch",),
    "scrap": ("batch",),
    "certificate": ("contract", "from", "to"),
}
"""What the body of each kind must name; more is allowed and kept."""
NAME_LENGTH_MAX = 200
REVISION_MAX = 2**31 - 1
# Facts beyond these instants are nobody's: the first is zero on every clock, the second (the year 3000) one gone wrong.
FACT_MS_MIN = 0
FACT_MS_MAX = 32_503_680_000_000


class RefusedEventError(MessageError):
    """A readable event that cannot be taken: `field` of the body is to blame, empty where it is none of them."""

    def __init__(self, text: str, field: str = "", remedy: str = "") -> None:
        super().__init__(text)
        self.field, self.remedy = field, remedy


def accept(message: EventMessage, source: str) -> ProductionEvent:
    """The fact behind a message; raises `MessageError` where a rule is broken, with the field and what to do."""
    if message.v != VERSION:
        raise RefusedEventError(f"v {message.v} is not known; this program reads production events of v {VERSION}")
    try:
        event = to_event(message, check_name(source))
    except TopicError as error:
        raise RefusedEventError(f"source: {error}") from error
    if event.revision > REVISION_MAX:
        raise RefusedEventError(f"revision {event.revision} is beyond {REVISION_MAX}")
    if len(event.event_id) > NAME_LENGTH_MAX:
        raise RefusedEventError(f"event_id has more than {NAME_LENGTH_MAX} characters")
    if not FACT_MS_MIN <= event.at_ms < FACT_MS_MAX:
        raise RefusedEventError(f"at: {message.at} is an impossible time: the year is before 1970 or after 2999")
    _check_body(event)
    return event


def _check_body(event: ProductionEvent) -> None:
    names = REQUIRED[event.kind]
    for field in names:
        value = event.body.get(field)
        if not isinstance(value, str) or not value.strip() or len(value) > NAME_LENGTH_MAX:
            raise RefusedEventError(
                f"a {event.kind} event needs text in body.{field}, of at most {NAME_LENGTH_MAX} characters, not "
                f"{str(value)[:40]!r}",
                field,
                f"a {event.kind} names {', '.join(names)}",
            )
