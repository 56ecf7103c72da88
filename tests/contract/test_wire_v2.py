"""The wire contract, version 2: packed bodies, which golden bytes fix, and what a reader refuses of them."""

import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from plantprint.wire import CHUNK_BYTES_MAX, chunk, packing

GOLDEN = Path(__file__).parent / "golden_v2/readings.bin"
ROWS = [(i % 8, 1_764_000_000_000 + 250 * (i // 8), 123_456 + i, 3) for i in range(64)]


def test_a_packed_chunk_reads_back() -> None:
    header, body = chunk.unseal(GOLDEN.read_bytes())
    assert (header.v, header.packing, header.agent, header.seq, header.n) == (2, "zstd", "gw-1", 7, 64)
    assert chunk.decode_rows(header, body) == ROWS
    assert chunk.properties(header)[0] == ("v", "2")


def test_sealing_packs_what_becomes_smaller_and_leaves_the_rest_alone() -> None:
    body = chunk.encode_rows(ROWS)
    header, payload = chunk.seal(
        "dyehouse", "gw-1", "0123456789abcdef", 7, "readings", body, 64, table="t", packed=True
    )
    assert len(payload) < len(body) / 3
    assert chunk.unseal(payload, chunk.properties(header)) == (header, body)
    small = chunk.seal("dyehouse", "gw-1", "e", 8, "readings", b"[]", 0, packed=True)
    assert small == chunk.seal("dyehouse", "gw-1", "e", 8, "readings", b"[]", 0)
    assert b"packing" not in small[1]


def packed(body: bytes) -> bytes:
    head = b'{"v":2,"site":"s","agent":"a","epoch":"e","seq":1,"kind":"readings","n":1,"crc":%d,"packing":"zstd"}\n'
    return head % zlib.crc32(body) + body


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"no frame at all", "no Zstandard frame"),
        (zstandard.ZstdCompressor().compress(b"x" * (CHUNK_BYTES_MAX + 1)), "more than 65536 bytes"),
        (zstandard.ZstdCompressor(level=1).compress(bytes(20_000_000)), "Zstandard|more than"),
    ],
    ids=["garbage", "too large", "bomb"],
)
def test_a_hostile_body_is_refused_before_it_takes_room(body: bytes, problem: str) -> None:
    with pytest.raises(chunk.UnreadableEnvelopeError, match=problem):
        chunk.unseal(packed(body))


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_else_than_unpack_or_be_refused(body: bytes) -> None:
    try:
        chunk.unseal(packed(body))
    except chunk.UnreadableEnvelopeError:
        return


def test_without_the_package_a_packed_chunk_waits_for_an_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: bytes) -> bytes:
        raise packing.PackingAbsentError("install zstandard")

    monkeypatch.setattr(chunk, "unpack", absent)
    with pytest.raises(chunk.UnknownVersionError, match="install zstandard"):
        chunk.unseal(GOLDEN.read_bytes())
