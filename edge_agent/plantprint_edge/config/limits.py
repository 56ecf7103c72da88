"""The agent's own limits in `agent.yaml`: outbox, chunks, uplink."""

from typing import Literal

from pydantic import Field

from plantprint_edge.config.base import ConfigPath, Model


class OutboxLimits(Model):
    """The durable queue on disk. It takes at most size_mb_max + reserve_mb + ballast_mb, and 16 MB of write-ahead log.

    `ballast_mb` (more than the log) is given up on a full disk, so that deleting goes on, and reserved again once there is
    room for three; `reserve_mb` keeps room for records of loss and channel tables. `keep_acked_h`: how long
    delivered chunks stay, for a store that was restored.
    `retry_s`: how often a full disk or broken file is tried again. A file above `check_mb_max` is not checked at start.
    `pending_chunks_max`: sources wait while more are on their way to the disk. `packing: zstd` makes readings a third to a
    fifth of their size, on disk and on the way; the collector must speak wire version 2.
    """

    path: ConfigPath
    size_mb_max: int = Field(default=512, ge=1)
    ballast_mb: int = Field(default=16, ge=8)
    reserve_mb: int = Field(default=4, ge=1)
    keep_acked_h: float = Field(default=24, ge=0)
    check_mb_max: int = Field(default=256, ge=0)
    retry_s: float = Field(default=5, gt=0)
    pending_chunks_max: int = Field(default=64, ge=1)
    packing: Literal["none", "zstd"] = "none"


class ChunkLimits(Model):
    """A chunk is closed at `rows_max` readings or when its first one has waited `age_ms_max`.

    `undated_rows_max`: how many readings wait in memory while this machine does not know the time; then the oldest go.
    """

    rows_max: int = Field(default=500, ge=1, le=500)
    age_ms_max: int = Field(default=250, ge=1, le=60_000)
    undated_rows_max: int = Field(default=50_000, ge=0)


class Uplink(Model):
    """Sending to the collector. `window_chunks` may be unacknowledged by it; `inflight_max` by the broker (its receive
    maximum). Without progress for `resend_after_s` one chunk is sent again, then ever more rarely up to `resend_s_max`.
    """

    window_chunks: int = Field(default=64, ge=4, le=1024)
    inflight_max: int = Field(default=20, ge=1, le=1024)
    resend_after_s: float = Field(default=5, gt=0)
    resend_s_max: float = Field(default=10, gt=0)
    backoff_s_min: float = Field(default=0.5, gt=0)
    backoff_s_max: float = Field(default=30, gt=0)
    state_every_s: float = Field(default=10, gt=0)
