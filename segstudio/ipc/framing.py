"""Frames between the window and its workers: 4 bytes of big-endian length, then one UTF-8 JSON object.

Nothing else ever travels: no pickles (one could import torch at the other end) and no arrays (they lie in
mapped files, see `mapped`).
"""

from __future__ import annotations

import json
from typing import Any

Message = dict[str, Any]

MAX_FRAME_BYTES = 64 * 2**20
_LENGTH_BYTES = 4


class FrameError(ValueError):
    """The byte stream is not a sequence of frames: the connection cannot be used any longer."""


def encode(message: Message) -> bytes:
    """One frame. Raises FrameError where the message is no JSON object or is too large.

    NaN and infinity are refused, since they are no JSON.
    """
    try:
        body = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data = body.encode("utf-8", errors="surrogatepass")
    except (TypeError, ValueError) as error:
        raise FrameError(f"message cannot be written as JSON: {error}") from error
    if len(data) > MAX_FRAME_BYTES:
        raise FrameError(f"frame of {len(data)} bytes exceeds the limit of {MAX_FRAME_BYTES}")
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


class FrameDecoder:
    """Cuts a byte stream, given in pieces of any size, into messages."""

    def __init__(self, *, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """The messages completed by `data`. Raises FrameError where the stream is broken."""
        self._buffer += data
        messages: list[Message] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[start : start + _LENGTH_BYTES], "big")
            if length > self._limit:
                raise FrameError(f"frame of {length} bytes exceeds the limit of {self._limit}")
            end = start + _LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            messages.append(_decode(bytes(self._buffer[start + _LENGTH_BYTES : end])))
            start = end
        del self._buffer[:start]
        return messages

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not ended yet."""
        return len(self._buffer)


def _decode(body: bytes) -> Message:
    try:
        message = json.loads(body.decode("utf-8", errors="surrogatepass"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FrameError(f"frame holds no JSON: {error}") from error
    if not isinstance(message, dict):
        raise FrameError(f"frame holds a JSON {type(message).__name__}, expected an object")
    return message
