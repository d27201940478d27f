"""Frames survive any cutting of the stream, and a broken stream is noticed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segstudio.ipc import FrameDecoder, FrameError, encode

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), max_size=6)


@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(messages: list, cuts: list[int]) -> None:
    stream = b"".join(encode(message) for message in messages)
    decoder, found, start, turn = FrameDecoder(), [], 0, 0
    while start < len(stream):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(stream[start : start + size])
        start, turn = start + size, turn + 1
    assert json.dumps(found) == json.dumps(messages)
    assert decoder.pending == 0


def test_a_file_name_that_is_no_text_survives() -> None:
    message = {"path": b"caf\xe9.png".decode("utf-8", errors="surrogateescape")}
    assert FrameDecoder().feed(encode(message)) == [message]


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff\xff", b"12", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        FrameDecoder().feed(len(body).to_bytes(4, "big") + body)


def test_a_stray_print_in_the_stream_is_refused_at_once_instead_of_waited_for() -> None:
    with pytest.raises(FrameError, match="limit"):
        FrameDecoder().feed(b"Hello from a plugin\n")


def test_arrays_and_not_a_number_never_travel_in_frames() -> None:
    with pytest.raises(FrameError):
        encode({"value": float("nan")})
    with pytest.raises(FrameError):
        encode({"value": object()})
