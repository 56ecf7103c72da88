"""The wire contract, version 3: golden bytes, and a checksum that nothing in a chunk escapes, its header included."""

import zlib
from pathlib import Path

import pytest

from plantprint.wire import chunk

GOLDEN = Path(__file__).parent / "golden_v3"
TABLE = "0577fa028d27d0aa"
ROWS = [(0, 1_764_000_000_000, 123_456, 3), (1, 1_764_000_000_250, -17, 1)]


def test_a_readings_chunk_reads_back_and_is_written_again_byte_for_byte() -> None:
    payload = (GOLDEN / "readings.bin").read_bytes()
    header, body = chunk.unseal(payload)
    assert (header.v, header.site, header.agent, header.epoch, header.seq) == (
        3,
        "dyehouse",
        "gw-1",
        "0123456789abcdef",
        7,
    )
    assert (header.kind, header.n, header.table, header.revision) == ("readings", 2, TABLE, 4)
    assert chunk.decode_rows(header, body) == ROWS
    again = chunk.seal("dyehouse", "gw-1", "0123456789abcdef", 7, "readings", body, 2, table=TABLE, revision=4)
    assert again == (header, payload)
    told = f"dyehouse\ngw-1\n0123456789abcdef\n7\nreadings\n2\n{TABLE}\n4\n\n".encode()
    assert header.crc == zlib.crc32(told + body)
    assert ("crc", str(header.crc)) in chunk.properties(header)


def test_a_packed_chunk_reads_back() -> None:
    header, body = chunk.unseal((GOLDEN / "packed.bin").read_bytes())
    assert (header.v, header.packing, header.seq, header.n) == (3, "zstd", 8, 64)
    assert chunk.decode_rows(header, body) == [
        (i % 8, 1_764_000_000_000 + 250 * (i // 8), 123_456 + i, 3) for i in range(64)
    ]


@pytest.mark.parametrize("name", ["readings", "packed"])
def test_a_flipped_bit_is_noticed_without_user_properties_or_changes_nothing(name: str) -> None:
    good = (GOLDEN / f"{name}.bin").read_bytes()
    harmless = 0
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            try:
                # As when the name of a field is spoilt that holds what is its default anyway.
                assert chunk.unseal(bytes(bad)) == chunk.unseal(good)
                harmless += 1
            except (chunk.UnreadableEnvelopeError, chunk.UnknownVersionError):
                continue
    assert harmless < 8 * len('"revision"')


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"seq":7', b'"seq":17'),
        (b'"revision":4', b'"revision":0'),
        (b'"n":2', b'"n":3'),
        (b'"epoch":"0', b'"epoch":"1'),
        (b'"kind":"readings"', b'"kind":"events"'),
        (b'"table":"05', b'"table":"15'),
        (b'"agent":"gw-1"', b'"agent":"gw-2"'),
        (b'"site":"dyehouse"', b'"site":"dyehouze"'),
        (b',"revision":4', b""),
        (b'"revision":4', b'"revision":4,"packing":"zstd"'),
    ],
)
def test_a_header_that_was_changed_is_noticed_whatever_the_field(was: bytes, becomes: bytes) -> None:
    good = (GOLDEN / "readings.bin").read_bytes()
    assert was in good
    with pytest.raises(chunk.UnreadableEnvelopeError, match="CRC"):
        chunk.unseal(good.replace(was, becomes))


def test_the_order_and_spacing_of_a_header_are_the_writers_own() -> None:
    head, _, body = (GOLDEN / "readings.bin").read_bytes().partition(b"\n")
    fields = head.strip(b"{}").split(b",")
    chunk.unseal(b"{ " + b" , ".join(reversed(fields)) + b" }\n" + body)
