"""How the window and its workers talk: frames of JSON over pipes, arrays in mapped files."""

from segstudio.ipc.framing import FrameDecoder, FrameError, Message, encode
from segstudio.ipc.mapped import MappedArray, sweep_leftovers

__all__ = ["FrameDecoder", "FrameError", "MappedArray", "Message", "encode", "sweep_leftovers"]
