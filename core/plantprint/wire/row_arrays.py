"""Rows of a `readings` chunk straight into an array, for the collector; an agent on a gateway has no numpy."""

import numpy as np
from numpy.typing import NDArray

from plantprint.wire.chunk import ChunkHeader

_INT64 = np.iinfo(np.int64)
_NUMBERS = b"-0123456789"


def compact_rows(header: ChunkHeader, body: bytes) -> NDArray[np.int64] | None:
    """Rows as agents write them, without a space: int64 [channel index, t_ms, value, quality], shape (n, 4).

    None for anything else, which `chunk.decode_rows` reads or refuses: numbers beyond int64, spaces, what is no list of rows.
    """
    if not 0 < header.n <= len(body) or body.translate(None, _NUMBERS) != _marks_of(header.n) or _is_lenient(body):
        return None
    try:
        # Anything else that is no number ends it: by an error or, in older versions, by a warning and too few numbers.
        flat = np.fromstring(body.translate(None, b"[]"), np.int64, sep=",")
    except (ValueError, DeprecationWarning):
        return None
    # What is beyond int64 becomes the last number within.
    if len(flat) != 4 * header.n or flat.max() == _INT64.max or flat.min() == _INT64.min:
        return None
    return flat.reshape(-1, 4)


def _marks_of(rows: int) -> bytes:
    return b"[" + b",".join([b"[,,,]"] * rows) + b"]"


def _is_lenient(body: bytes) -> bool:
    """Whether something is in it that numpy takes for a number and JSON does not: a sign alone, a zero before other digits."""
    byte = np.frombuffer(body, np.uint8)
    is_digit = byte - np.uint8(ord("0")) < np.uint8(10)
    zero_first = ~is_digit[:-2] & (byte[1:-1] == ord("0")) & is_digit[2:]
    sign_alone = (byte[:-1] == ord("-")) & ~is_digit[1:]
    return bool(zero_first.any() or sign_alone.any())
