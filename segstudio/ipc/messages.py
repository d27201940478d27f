"""The messages that travel in frames, and how they are made.

Window to worker: `{"id", "op", "arguments"}`. Worker to window, about one request: first `started`, any
number of `progress`, then exactly one of `result`, `error` and `cancelled`. Worker to window, unasked:
`hello` once, `heartbeat` every second, `log`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from segstudio.ipc.framing import Message

PROTOCOL = 1
HEARTBEAT_SECONDS = 1.0

Kind = Literal["hello", "heartbeat", "log", "started", "progress", "result", "error", "cancelled"]
ENDS: frozenset[str] = frozenset({"result", "error", "cancelled"})


def request(number: int, op: str, arguments: Mapping[str, Any]) -> Message:
    return {"id": number, "op": op, "arguments": dict(arguments)}


def cancel(target: int) -> Message:
    """Asks for the end of request `target`; it has no answer of its own."""
    return {"id": 0, "op": "cancel", "arguments": {"target": target}}


def shutdown() -> Message:
    return {"id": 0, "op": "shutdown", "arguments": {}}


def hello(role: Literal["worker", "reader"], pid: int, version: str) -> Message:
    return {"kind": "hello", "protocol": PROTOCOL, "role": role, "pid": pid, "version": version}


def heartbeat(running: list[int], memory: int) -> Message:
    """`running`: the requests at work. `memory`: resident bytes of the worker, 0 where unknown."""
    return {"kind": "heartbeat", "running": running, "memory": memory}


def started(number: int) -> Message:
    return {"id": number, "kind": "started"}


def progress(number: int, fraction: float, text: str) -> Message:
    return {"id": number, "kind": "progress", "fraction": fraction, "text": text}


def result(number: int, values: Mapping[str, Any]) -> Message:
    return {"id": number, "kind": "result", "values": dict(values)}


def error(number: int, document: Mapping[str, Any], *, bug: bool) -> Message:
    """`document`: what, where, action, details. `bug` is True where the program, not the world, is wrong."""
    return {"id": number, "kind": "error", "bug": bug, **document}


def cancelled(number: int) -> Message:
    return {"id": number, "kind": "cancelled"}
