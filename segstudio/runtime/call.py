"""One request of the window to a worker, as its maker sees it, and the sentences about its failures."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PySide6.QtCore import QObject, Signal

from segstudio.core.errors import UserError
from segstudio.ipc import Message

if TYPE_CHECKING:
    from segstudio.runtime.worker_client import WorkerClient


class Call(QObject):
    """One request. Ends in exactly one of `finished`, `failed` and `cancelled`."""

    started = Signal()
    progressed = Signal(float, str)
    finished = Signal(dict)
    failed = Signal(object)  # UserError
    cancelled = Signal()

    def __init__(
        self, client: WorkerClient, number: int, op: str, arguments: dict[str, Any], priority: int
    ) -> None:
        super().__init__(client)
        # Not a plain reference: the last owner of the client would be a child in its own destructor.
        self._client = weakref.ref(client)
        self.number = number
        self.op = op
        self.arguments = arguments
        self.priority = priority
        self.state: Literal["queued", "sent", "running", "finished", "failed", "cancelled"] = "queued"
        self.cancelling = False
        self.cut_off = 0
        self.suspect = False

    @property
    def model(self) -> str:
        """The model that runs in this request, or an empty string."""
        model = self.arguments.get("model")
        return str(model.get("model", "")) if isinstance(model, dict) else ""

    @property
    def ended(self) -> bool:
        return self.state in ("finished", "failed", "cancelled")

    def cancel(self) -> None:
        """Asks for the end: at once where the request waits, else between two of its steps."""
        client = self._client()
        if client is not None:
            client.cancel_call(self)

    def force_stop(self) -> None:
        """Ends the worker process, and with it this request. Other requests run again."""
        client = self._client()
        if client is not None:
            client.force_stop_call(self)


def error_of(message: Message) -> UserError:
    """The error a worker told."""
    fields = {key: str(message.get(key, "")) for key in ("what", "where", "action", "details")}
    return UserError(
        fields["what"], where=fields["where"], action=fields["action"], details=fields["details"]
    )


def subject_of(call: Call) -> str:
    """What a request was about, for a sentence."""
    path = call.arguments.get("path")
    return Path(str(path)).name if path else f"a request ({call.op})"


def cut_off_twice(call: Call, how: str, details: str) -> UserError:
    """For a request that fell victim to others' crashes and is not tried a third time."""
    return UserError(
        f"{subject_of(call)} was cut off twice, because the worker stopped ({how})",
        action="Try again on its own",
        details=details,
    )
