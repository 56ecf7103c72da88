r"""A chunk, the unit of delivery: a header line of JSON, a newline, the body; a CRC tells corruption from bad content.

    {"v":3,"site":"s","agent":"gw1","epoch":"9f…","seq":7,"kind":"readings","n":2,"crc":123,"table":"ab…"}\n
    [[0,1764000000000,123456,3],[1,1764000000000,17,3]]

Bodies by kind: `readings` rows of [channel index in the table, t_ms, value, quality]; `declare` a channel table;
`events` production events; `gap` one record of what an agent had to drop. (agent, epoch, seq) is the chunk's identity.
The CRC is that of the lines site, agent, epoch, seq, kind, n, table, revision and packing, each with a newline, and of the
body as it is sent. A body may be packed (`"packing":"zstd"`). Versions 1 (never packed) and 2 (always) are still read; their
CRC was that of the body alone (decision 10).
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import orjson

from plantprint.facts import PERIOD_S_MAX, Channel, ChannelKind
from plantprint.wire import CHUNK_BYTES_MAX
from plantprint.wire.packing import PackingAbsentError, PackingError, pack, unpack

VERSION_WRITTEN = 3
VERSIONS_READ = (1, 2, VERSION_WRITTEN)

ChunkKind = Literal["readings", "declare", "events", "gap"]
Row = tuple[int, int, int, int]


class UnreadableEnvelopeError(ValueError):
    """The envelope cannot be trusted (corrupt, cut, oversize): dead-letter it, do not acknowledge; a resend heals."""


class UnknownVersionError(ValueError):
    """A wire version this program does not speak: never acknowledge, raise an alarm, upgrade the collector first."""


class BadBodyError(ValueError):
    """The envelope is intact and its content is not what its kind promises: dead-letter the bytes and move on."""


class ChunkHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Identity and shape of a chunk; `revision` above 0 marks rows that correct earlier values."""

    v: int
    site: str
    agent: str
    epoch: str
    seq: int
    kind: ChunkKind
    n: int
    crc: int
    table: str = ""
    revision: int = 0
    packing: Literal["zstd"] | msgspec.UnsetType = msgspec.UNSET

    def checksum(self, body: bytes) -> int:
        """What `crc` must be: a wrong `seq` that went unnoticed would make another chunk count as received."""
        if self.v < VERSION_WRITTEN:
            return zlib.crc32(body)
        packing = "" if self.packing is msgspec.UNSET else self.packing
        told = (
            f"{self.site}\n{self.agent}\n{self.epoch}\n{self.seq}\n{self.kind}\n"
            f"{self.n}\n{self.table}\n{self.revision}\n{packing}\n"
        )
        return zlib.crc32(body, zlib.crc32(told.encode()))


class ChannelDecl(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    unit: str
    decimals: int
    kind: ChannelKind
    period_s: int = 0


# How reasons of a gap begin where chunks were lost that had their numbers already, so that these numbers never come.
CHUNK_DAMAGED = "chunk damaged on disk"
OUTBOX_DAMAGED = "outbox damaged"


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent dropped because its outbox was full, or lost with its disk: counted, never silent."""

    from_ms: int
    to_ms: int
    lost_chunks: int
    lost_rows: int
    reason: str


_header_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(ChunkHeader)
_rows_decoder = msgspec.json.Decoder(list[Row])
_table_decoder = msgspec.json.Decoder(list[ChannelDecl])
_gap_decoder = msgspec.json.Decoder(Gap)


def seal(
    site: str,
    agent: str,
    epoch: str,
    seq: int,
    kind: ChunkKind,
    body: bytes,
    n: int,
    *,
    table: str = "",
    revision: int = 0,
    packed: bool = False,
) -> tuple[ChunkHeader, bytes]:
    """The header and final bytes of a chunk; raises `ValueError` above the size limit.

    With `packed` the body is packed if that makes it smaller; it must be within the limit before, too.
    """
    if len(body) > CHUNK_BYTES_MAX:
        raise ValueError(f"a body of {len(body)} bytes exceeds the limit of {CHUNK_BYTES_MAX}")
    smaller = pack(body) if packed else body
    packed = len(smaller) < len(body)
    body = smaller if packed else body
    header = ChunkHeader(
        v=VERSION_WRITTEN, site=site, agent=agent, epoch=epoch, seq=seq, kind=kind, n=n, crc=0,
        table=table, revision=revision, packing="zstd" if packed else msgspec.UNSET,
    )  # fmt: skip
    # Nobody else has seen it yet, and a copy would cost as much as the rest of the header.
    msgspec.structs.force_setattr(header, "crc", header.checksum(body))
    payload = _header_encoder.encode(header) + b"\n" + body
    if len(payload) > CHUNK_BYTES_MAX:
        raise ValueError(f"a chunk of {len(payload)} bytes exceeds the limit of {CHUNK_BYTES_MAX}")
    return header, payload


def properties(header: ChunkHeader) -> list[tuple[str, str]]:
    """The MQTT 5 user properties that repeat the header's identity."""
    return [
        ("v", str(header.v)), ("epoch", header.epoch), ("seq", str(header.seq)),
        ("n", str(header.n)), ("crc", str(header.crc)),
    ]  # fmt: skip


def unseal(payload: bytes, user_properties: Sequence[tuple[str, str]] = ()) -> tuple[ChunkHeader, bytes]:
    """Header and unpacked body of intact bytes; raises `UnknownVersionError` or `UnreadableEnvelopeError`.

    User properties may be absent (a bridge may strip them); present ones must agree with the payload.
    """
    if len(payload) > CHUNK_BYTES_MAX:
        raise UnreadableEnvelopeError(f"{len(payload)} bytes exceed the limit of {CHUNK_BYTES_MAX}")
    head, newline, body = payload.partition(b"\n")
    if not newline:
        raise UnreadableEnvelopeError("no header line")
    _check_version(head)
    try:
        header = _header_decoder.decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableEnvelopeError(f"header: {error}") from error
    if header.checksum(body) != header.crc:
        raise UnreadableEnvelopeError("the CRC does not match what it stands for")
    if not 0 <= header.seq < 2**62 or not 0 <= header.n <= CHUNK_BYTES_MAX or not 0 <= header.revision < 2**15:
        raise UnreadableEnvelopeError("seq, n or revision out of range")
    expected: Mapping[str, str] = dict(properties(header))
    for name, value in user_properties:
        if expected.get(name, value) != value:
            raise UnreadableEnvelopeError(
                f"user property {name}={value!r} contradicts the payload's {expected[name]!r}"
            )
    return header, body if header.packing is msgspec.UNSET else _unpacked(body)


def _unpacked(body: bytes) -> bytes:
    try:
        return unpack(body)
    except PackingError as error:
        raise UnreadableEnvelopeError(str(error)) from error
    except PackingAbsentError as error:
        raise UnknownVersionError(str(error)) from error


def _check_version(head: bytes) -> None:
    try:
        version = orjson.loads(head).get("v")
    except (orjson.JSONDecodeError, AttributeError) as error:
        raise UnreadableEnvelopeError(f"header: {error}") from error
    if version not in VERSIONS_READ:
        if isinstance(version, int):
            raise UnknownVersionError(f"wire version {version}; this program reads {VERSIONS_READ}")
        raise UnreadableEnvelopeError("header without a version")


def encode_rows(rows: Sequence[Row]) -> bytes:
    return orjson.dumps(rows)


def decode_rows(header: ChunkHeader, body: bytes) -> list[Row]:
    """Rows of a `readings` chunk; raises `BadBodyError`. Meaning of channel and time is the collector's to check."""
    try:
        rows = _rows_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadBodyError(f"rows: {error}") from error
    if len(rows) != header.n:
        raise BadBodyError(f"{len(rows)} rows where the header says {header.n}")
    return rows


def encode_table(channels: Sequence[Channel]) -> bytes:
    """The body of a `declare` chunk; a row's channel index is the position in this list."""
    return msgspec.json.encode(
        [ChannelDecl(name=c.name, unit=c.unit, decimals=c.decimals, kind=c.kind, period_s=c.period_s) for c in channels]
    )


def table_hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def decode_table(header: ChunkHeader, body: bytes) -> list[Channel]:
    """Channels of a `declare` chunk; raises `BadBodyError`."""
    try:
        decls = _table_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadBodyError(f"channel table: {error}") from error
    for decl in decls:
        if not 0 <= decl.decimals <= 12 or not 0 < len(decl.name) <= 200:
            raise BadBodyError(f"channel {decl.name!r}: decimals must be 0 to 12, a name has 1 to 200 characters")
        if not 0 <= decl.period_s <= PERIOD_S_MAX:
            remedy = "send what is known for longer spans as activity events"
            raise BadBodyError(
                f"channel {decl.name!r}: period_s {decl.period_s} is not within 0 to {PERIOD_S_MAX} (a week); {remedy}"
            )
    return [Channel(header.agent, d.name, d.unit, d.decimals, d.kind, d.period_s) for d in decls]


def encode_gap(gap: Gap) -> bytes:
    return msgspec.json.encode(gap)


def decode_gap(body: bytes) -> Gap:
    """Raises `BadBodyError`."""
    try:
        return _gap_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadBodyError(f"gap: {error}") from error
