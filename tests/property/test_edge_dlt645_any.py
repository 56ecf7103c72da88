"""DL/T 645 from a hostile line: any bytes, in any pieces, give frames or nothing; digits give a number or the one error."""

import contextlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from plantprint_edge.sources.dlt645_frame import DATA_MAX, Deframer, DigitsError, Frame, encode, number, refusal

ADDRESSES = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex().upper())
FRAMES = st.builds(Frame, ADDRESSES, st.integers(0, 255), st.binary(max_size=DATA_MAX))
# Bytes that often look like the beginning of a frame.
NOISE = st.lists(st.sampled_from([0x68, 0x16, 0xFE, 0x00, 0x91, 0x11]) | st.integers(0, 255), max_size=400).map(bytes)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[a:b] for a, b in pairwise(places)]


@given(FRAMES)
def test_a_frame_comes_back_as_it_went(frame: Frame) -> None:
    assert Deframer().feed(encode(frame)) == [frame]


@given(st.lists(NOISE | FRAMES.map(encode), max_size=8).map(b"".join), st.lists(st.integers(0, 2000), max_size=20))
def test_any_bytes_in_any_pieces_give_the_same_frames_and_hold_little(stream: bytes, cuts: list[int]) -> None:
    whole = Deframer().feed(stream)
    deframer, found = Deframer(), []
    for piece in pieces(stream, cuts):
        found += deframer.feed(piece)
        assert len(deframer._held) <= DATA_MAX + 12
    assert found == whole
    for frame in found:
        assert encode(frame) in stream


@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(0, 2000), max_size=20))
def test_frames_one_after_the_other_are_all_found(frames: list[Frame], cuts: list[int]) -> None:
    deframer, found = Deframer(), []
    for piece in pieces(b"\xfe\xfe".join(map(encode, frames)), cuts):
        found += deframer.feed(piece)
    assert found == frames


@given(st.binary(max_size=20), st.booleans())
def test_any_data_is_a_number_missing_or_refused(data: bytes, signed: bool) -> None:
    with contextlib.suppress(DigitsError):
        value = number(data, signed=signed)
        assert value is None or abs(value) < 100 ** len(data)
    assert refusal(data)


@given(st.integers(-799_999_99, 799_999_99))
def test_a_signed_number_comes_back(value: int) -> None:
    raw = bytearray(bytes.fromhex(f"{abs(value):08d}")[::-1])
    raw[-1] |= 0x80 if value < 0 else 0
    assert number(bytes(raw), signed=True) == value
