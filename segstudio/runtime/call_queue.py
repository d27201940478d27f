"""In which order a worker gets its requests: those that wait, and those it has in hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from segstudio.runtime.call import Call


class CallQueue:
    """Holds every request that has not ended. The process has at most `depth` in hand.

    A suspect request (one of several that were at work when the process died) runs alone.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._waiting: deque[Call] = deque()
        self._sent: dict[int, Call] = {}

    def __iter__(self) -> Iterator[Call]:
        yield from self._sent.values()
        yield from self._waiting

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def has_sent(self) -> bool:
        return bool(self._sent)

    def add(self, call: Call) -> None:
        """Higher priority first, then in order."""
        call.state = "queued"
        position = len(self._waiting)
        while position > 0 and self._waiting[position - 1].priority < call.priority:
            position -= 1
        self._waiting.insert(position, call)

    def add_again(self, calls: Sequence[Call]) -> None:
        """Before all others and in this order: they were at work when the process died."""
        for call in reversed(calls):
            call.state = "queued"
            self._waiting.appendleft(call)

    def send_next(self) -> Call | None:
        """The request that may go out now, as sent; None where all wait or enough are in hand."""
        if not self._waiting or len(self._sent) >= self._depth:
            return None
        alone = self._waiting[0].suspect or any(call.suspect for call in self._sent.values())
        if alone and self._sent:
            return None
        call = self._waiting.popleft()
        call.state = "sent"
        self._sent[call.number] = call
        return call

    def sent(self, number: int) -> Call | None:
        """The request with this number, where the process has it in hand."""
        return self._sent.get(number)

    def remove(self, call: Call) -> None:
        """It has ended."""
        if self._sent.pop(call.number, None) is None:
            self._waiting.remove(call)

    def take_sent(self) -> list[Call]:
        """Takes out what the process had in hand (it is gone)."""
        calls = list(self._sent.values())
        self._sent.clear()
        return calls

    def take_all(self) -> list[Call]:
        """Takes out everything."""
        calls = list(self)
        self._sent.clear()
        self._waiting.clear()
        return calls
