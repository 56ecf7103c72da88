"""What goes into the outbox and comes out of it, and how losses add up until a gap chunk has reported them."""

from dataclasses import dataclass

import msgspec

from plantprint.wire.chunk import ChunkKind, Gap


class Draft(msgspec.Struct, frozen=True):
    """A chunk before it has a number: its body, how many rows it holds, the span of time of these, and their revision."""

    kind: ChunkKind
    body: bytes
    n: int
    table: str = ""
    from_ms: int = 0
    to_ms: int = 0
    revision: int = 0


class Stored(msgspec.Struct, frozen=True):
    """A chunk as it lies in the outbox; `id` grows in the order of storing, `table` is its channel table's hash."""

    id: int
    epoch: str
    seq: int
    n: int
    table: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stats:
    """What the outbox holds and has lost since the start. `generation` changes when a damaged file was replaced.

    Chunks are in doubt after a commit that failed on a file which cannot be read since: stored or lost, nobody knows yet.
    """

    epoch: str = ""
    generation: int = 0
    newest_id: int = 0
    unacked_chunks: int = 0
    oldest_ms: int | None = None
    used_bytes: int = 0
    full: str = ""
    lost_chunks: int = 0
    lost_rows: int = 0
    gap_chunks: int = 0
    doubtful_chunks: int = 0
    doubtful_rows: int = 0


def loss(reason: str, from_ms: int, to_ms: int, chunks: int, rows: int) -> Gap:
    return Gap(from_ms=from_ms, to_ms=to_ms, lost_chunks=chunks, lost_rows=rows, reason=reason)


def add_loss(losses: dict[str, Gap], new: Gap) -> Gap:
    """Count `new` into the record of its reason and return that record."""
    known = losses.get(new.reason)
    if known:
        new = loss(
            new.reason,
            min(known.from_ms, new.from_ms),
            max(known.to_ms, new.to_ms),
            known.lost_chunks + new.lost_chunks,
            known.lost_rows + new.lost_rows,
        )
    losses[new.reason] = new
    return new
