"""Rows read straight into an array are those that the JSON decoder reads; what it refuses is not read either."""

import warnings

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from plantprint.wire.chunk import ChunkHeader, decode_rows, encode_rows, seal
from plantprint.wire.row_arrays import compact_rows

INT64 = st.integers(-(2**63), 2**63 - 1)
ROW = st.tuples(INT64, INT64, INT64, INT64)
NEAR = st.sampled_from([0, -1, 9, 10, -10, 2**63 - 1, -(2**63), 2**63 - 2, 1 - 2**63])


def header_of(body: bytes, n: int) -> ChunkHeader:
    return seal("s", "a", "e", 1, "readings", body, n)[0]


@given(st.lists(ROW | st.tuples(NEAR, NEAR, NEAR, NEAR), min_size=1, max_size=20))
def test_rows_as_agents_write_them_are_read_at_once_and_alike(rows: list[tuple[int, int, int, int]]) -> None:
    body = encode_rows(rows)
    found = compact_rows(header_of(body, len(rows)), body)
    numbers = [number for row in rows for number in row]
    if max(numbers) == 2**63 - 1 or min(numbers) == -(2**63):
        assert found is None
    else:
        assert found is not None
        assert found.dtype == np.int64
        assert [tuple(row) for row in found.tolist()] == rows


BYTES = st.lists(st.sampled_from([b"[", b"]", b",", b"-", b"0", b"1", b"97", b" ", b".", b"e", b"\x00", b"18446744073709551616"]),
                 max_size=24)  # fmt: skip


@given(BYTES.map(b"".join), st.integers(0, 3))
@example(b"[[1,2,3,-]]", 1)
@example(b"[[1,2,3,]]", 1)
@example(b"[[-,2,3,4]]", 1)
@example(b"[[1,-09,3,4]]", 1)
@example(b"[[1,00,3,4]]", 1)
@example(b"[[1,0,-0,10]]", 1)
@example(b"[[1,2,3,1-2]]", 1)
@example(b"[[1,2,3,--2]]", 1)
@example(b"[[,1,2,3]]", 1)
@example(b"[[1,2,3,18446744073709551616]]", 1)
@example(b"[[1,2,3,4],[5,6,7,8]]", 1)
@example(b"[]", 0)
def test_what_is_no_list_of_rows_is_left_to_the_decoder_that_says_why(body: bytes, n: int) -> None:
    header = header_of(body, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compact_rows(header, body)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strict = compact_rows(header, body)
    assert (found is None) == (strict is None)
    if found is not None:
        assert [tuple(row) for row in found.tolist()] == decode_rows(header, body)
