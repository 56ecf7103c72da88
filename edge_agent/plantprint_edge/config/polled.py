"""What `agent.yaml` says of every device that is polled, whatever it speaks."""

from pydantic import Field

from plantprint_edge.config.base import Model, Name


class PolledSource(Model):
    """A device that is only ever read. `interval_s` and `timeout_s` are real seconds, at any speed of the site.

    A clock that steps back by less than `clock_hold_s` is waited for, so that no channel's time runs backwards. Where
    frames carry no number, a reply may come up to `late_s_max` after its request: so long a device that did not answer
    is first asked for something else. `pause_ms` is the rest of the device between two requests.
    """

    name: Name
    interval_s: float = Field(default=1, ge=0.05)
    timeout_s: float = Field(default=1, gt=0)
    backoff_s_max: float = Field(default=30, gt=0)
    clock_hold_s: float = Field(default=300, ge=0)
    late_s_max: float = Field(default=30, ge=0)
    pause_ms: int | None = Field(default=None, ge=0, le=10_000)
