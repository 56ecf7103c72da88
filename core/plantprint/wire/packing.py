"""Bodies of chunks with Zstandard: only where the sender was told so, and never beyond the size of a plain body."""

from plantprint.wire import CHUNK_BYTES_MAX


class PackingError(ValueError):
    """Bytes that are no packed body, or that would become too large."""


class PackingAbsentError(RuntimeError):
    """The `zstandard` package is not installed here."""


def pack(body: bytes) -> bytes:
    """Raises `PackingAbsentError`."""
    try:
        import zstandard  # noqa: PLC0415 - who packs nothing need not have it
    except ImportError as error:
        raise PackingAbsentError("install zstandard, or leave chunks as they are") from error
    return zstandard.ZstdCompressor().compress(body)


def unpack(packed: bytes) -> bytes:
    """Raises `PackingError` and `PackingAbsentError`."""
    try:
        import zstandard  # noqa: PLC0415 - who packs nothing need not have it
    except ImportError as error:
        raise PackingAbsentError("install zstandard: an agent sends packed chunks") from error
    # A hostile frame may promise any size, or none.
    room = zstandard.ZstdDecompressor(max_window_size=1 << 17)
    try:
        with room.stream_reader(packed) as reader:
            body = reader.read(CHUNK_BYTES_MAX + 1)
    except zstandard.ZstdError as error:
        raise PackingError(f"no Zstandard frame: {error}") from error
    if len(body) > CHUNK_BYTES_MAX:
        raise PackingError(f"a packed body of more than {CHUNK_BYTES_MAX} bytes")
    return body
