"""Counters of the api, in a registry of their own; names are part of the public surface."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "plantprint_api_requests", "Requests by route and status", ["method", "route", "status"], registry=REGISTRY
)
REQUEST_S = Histogram("plantprint_api_request_seconds", "Time to the end of the answer", ["route"], registry=REGISTRY)
BODIES_REFUSED = Counter("plantprint_api_bodies_refused", "Request bodies over the limit", registry=REGISTRY)
EVENTS = Counter("plantprint_api_events", "Production events by outcome", ["status"], registry=REGISTRY)
STREAM_CLIENTS = Gauge("plantprint_api_stream_clients", "Open event streams", registry=REGISTRY)
STREAM_REFUSED = Counter("plantprint_api_streams_refused", "Event streams refused at the limit", registry=REGISTRY)
STREAM_DROPPED = Counter("plantprint_api_streams_dropped", "Streams closed: the client read nothing", registry=REGISTRY)
STREAM_SENT = Counter("plantprint_api_stream_events", "Events handed to streams", registry=REGISTRY)
STREAM_OVERWRITTEN = Counter(
    "plantprint_api_stream_events_overwritten",
    "Events replaced by a newer one before they were sent",
    registry=REGISTRY,
)
LIVE_PASS_S = Histogram("plantprint_api_live_pass_seconds", "Time to read and encode live rows", registry=REGISTRY)
LIVE_ERRORS = Counter("plantprint_api_live_errors", "Times the live listener lost the database", registry=REGISTRY)
