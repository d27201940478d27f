"""Takes requests from the window, runs each, and ends each in exactly one result, error or cancelled."""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from segstudio.core.errors import UserError
from segstudio.ipc import FrameDecoder, FrameError, Message, messages
from segstudio.worker.control import Cancelled, Control
from segstudio.worker.memory import resident_bytes
from segstudio.worker.streams import FrameWriter

Operation = Callable[[dict[str, Any], Control], Mapping[str, Any]]

_READ_BYTES = 1 << 16


class Dispatcher:
    """Requests come in on `stream`; `threads` of them run at a time; answers leave through `writer`.

    Cancel is heard at once by the reading thread. The end of the stream ends the process: its window is
    gone, and nothing here is worth keeping.
    """

    def __init__(
        self, operations: Mapping[str, Operation], stream: BinaryIO, writer: FrameWriter, *, threads: int = 1
    ) -> None:
        self._operations = operations
        self._stream = stream
        self._writer = writer
        self._threads = threads
        self._waiting: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._controls: dict[int, Control] = {}
        self._running: list[int] = []

    def serve(self) -> None:
        """Runs for as long as the process lives. The caller's thread is one of the working threads."""
        threading.Thread(target=self._read, name="frames", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        for number in range(1, self._threads):
            threading.Thread(target=self._work, name=f"work-{number}", daemon=True).start()
        self._work()

    def _read(self) -> None:
        decoder = FrameDecoder()
        try:
            while data := self._stream.read(_READ_BYTES):
                for message in decoder.feed(data):
                    self._take(message)
        except FrameError:
            traceback.print_exc()
            os._exit(70)
        os._exit(0)

    def _take(self, message: Message) -> None:
        op = message.get("op")
        if op == "shutdown":
            os._exit(0)
        if op == "cancel":
            with self._lock:
                control = self._controls.get(int(message["arguments"]["target"]))
            if control is not None:
                control.cancel()
            return
        number = int(message["id"])

        def tell(fraction: float, text: str) -> None:
            self._writer.send(messages.progress(number, fraction, text))

        with self._lock:
            self._controls[number] = Control(progress=tell)
        self._waiting.put(message)

    def _beat(self) -> None:
        stop = threading.Event()
        while not stop.wait(messages.HEARTBEAT_SECONDS):
            with self._lock:
                running = list(self._running)
            try:
                self._writer.send(messages.heartbeat(running, resident_bytes()))
            except OSError:
                os._exit(0)

    def _work(self) -> None:
        while True:
            message = self._waiting.get()
            number = int(message["id"])
            with self._lock:
                control = self._controls[number]
                self._running.append(number)
            answer = self._answer(number, message, control)
            with self._lock:
                self._running.remove(number)
                del self._controls[number]
            try:
                self._writer.send(answer)
            except FrameError as error:
                self._writer.send(messages.error(number, _bug(error), bug=True))
            except OSError:
                os._exit(0)

    def _answer(self, number: int, message: Message, control: Control) -> Message:
        try:
            control.check()
            self._writer.send(messages.started(number))
            operation = self._operations.get(str(message["op"]))
            if operation is None:
                raise UserError(
                    f"This worker has no operation {message['op']!r}",
                    action="Restart SegStudio: its window and its worker are of different versions",
                )
            return messages.result(number, operation(message.get("arguments", {}), control))
        except Cancelled:
            return messages.cancelled(number)
        except UserError as error:
            return messages.error(number, error.to_json(), bug=False)
        except MemoryError as error:
            return messages.error(number, out_of_memory(error).to_json(), bug=False)
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit included
            return messages.error(number, _bug(error), bug=True)


def out_of_memory(error: BaseException) -> UserError:
    """The one sentence for memory that ran out."""
    return UserError(
        "There is not enough memory for this",
        action="Close other programs, choose a smaller network or a smaller image",
        details="".join(traceback.format_exception(error)),
    )


def _bug(error: BaseException) -> dict[str, Any]:
    text = str(error).strip().splitlines()
    name = type(error).__name__
    return {
        "what": f"Something unexpected went wrong: {name}: {text[0]}" if text else f"Unexpected {name}",
        "where": "",
        "action": "Copy the report and send it to the authors",
        "details": "".join(traceback.format_exception(error)),
    }
