"""The window's end of one worker process: requests go out, answers come back, crashes are survived.

The client keeps its own queue (call_queue) and hands the process only as much as it works on, so a queued
request is cancelled at once and a crash costs no more than what was at work.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

from segstudio.core.errors import UserError
from segstudio.core.program import child_environment, program_command
from segstudio.ipc import FrameDecoder, FrameError, Message, encode, messages, sweep_leftovers
from segstudio.runtime.call import Call, cut_off_twice, error_of, subject_of
from segstudio.runtime.call_queue import CallQueue

__all__ = ["Call", "WorkerClient"]

State = Literal["stopped", "starting", "ready", "busy", "failed"]

SILENCE_SECONDS = 120.0
KILLS_TO_SWITCH_OFF = 3
_FAILED_STARTS = 3
_STDERR_BYTES = 64 * 1024
_FATAL_SIGNALS = {
    4: "illegal instruction",
    6: "abort",
    7: "bus error",
    8: "arithmetic error",
    9: "killed, perhaps because memory ran out",
    11: "segmentation fault",
}


class WorkerClient(QObject):
    """Owns one worker process (`reader=True`: the torch-free one) and starts it again when it dies.

    A request that was at work when the process died fails with one UserError; the others run again,
    once. Where several were at work, each runs again alone, which shows which one it was. A model that
    killed the process three times is switched off until `switch_on`.
    """

    state_changed = Signal(str)
    crashed = Signal(str)
    switched_off = Signal(str)
    heard = Signal(dict)

    def __init__(
        self,
        *,
        reader: bool = False,
        plugin_files: Sequence[Path] = (),
        memory_limit: int = 0,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._reader = reader
        self._plugin_files = tuple(plugin_files)
        self._memory_limit = memory_limit
        self._numbers = itertools.count(1)
        self._calls = CallQueue(depth=4 if reader else 2)
        self._kills: dict[str, int] = {}
        self._state: State = "stopped"
        self._process: QProcess | None = None
        self._decoder = FrameDecoder()
        self._errors = bytearray()
        self._failed_starts = 0
        self._closing = False
        self._stopped_on_purpose: Call | None = None
        self._last_heard = time.monotonic()
        self._watch = QTimer(self)
        self._watch.setInterval(1000)
        self._watch.timeout.connect(self._look_for_silence)
        self._ends_later: list[tuple[Call, Literal["failed", "cancelled"], Any]] = []
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._go_on)
        self.memory = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def silent_seconds(self) -> float:
        """How long the process has said nothing; a healthy one says something every second."""
        return time.monotonic() - self._last_heard if self._process is not None else 0.0

    @property
    def switched_off_models(self) -> tuple[str, ...]:
        return tuple(model for model, kills in self._kills.items() if kills >= KILLS_TO_SWITCH_OFF)

    def start(self) -> None:
        """Starts the process where it is not running; requests start it by themselves."""
        if self._process is None and not self._closing:
            self._failed_starts = 0
            self._start_process()

    def request(self, op: str, *, priority: int = 0, **arguments: Any) -> Call:
        """Queues a request; higher `priority` first, then in order. Connect to the call's signals next:
        none is emitted before the event loop runs again.
        """
        call = Call(self, next(self._numbers), op, arguments, priority)
        if self._closing:
            self._end_later(call, "cancelled")
            return call
        if self._kills.get(call.model, 0) >= KILLS_TO_SWITCH_OFF:
            problem = UserError(
                f"{call.model} is switched off, because it stopped the worker {KILLS_TO_SWITCH_OFF} times",
                action="Switch it on again to try once more",
            )
            self._end_later(call, "failed", problem)
            return call
        self._calls.add(call)
        self._soon.start()
        return call

    def switch_on(self, model: str) -> None:
        """Lets a model run again that was switched off."""
        self._kills.pop(model, None)

    def restart(self) -> None:
        """Ends the process and starts a new one; requests at work run again."""
        if self._process is None:
            self.start()
            return
        self._process.kill()

    def close(self) -> None:
        """Ends the process without waiting for what it does. Never takes more than about a second."""
        self._closing = True
        self._watch.stop()
        for call in self._calls.take_all():
            self._end(call, "cancelled")
        process, self._process = self._process, None
        if process is not None:
            process.blockSignals(True)
            process.closeWriteChannel()
            if not process.waitForFinished(200):
                process.kill()
                process.waitForFinished(1000)
            process.deleteLater()
        self._set_state("stopped")

    def cancel_call(self, call: Call) -> None:
        if call.ended or call.cancelling:
            return
        call.cancelling = True
        if call.state == "queued":
            self._calls.remove(call)
            self._end_later(call, "cancelled")
        else:
            self._send(messages.cancel(call.number))

    def force_stop_call(self, call: Call) -> None:
        if call.state in ("sent", "running") and self._process is not None:
            self._stopped_on_purpose = call
            self._process.kill()
        else:
            self.cancel_call(call)

    # -- queue ---------------------------------------------------------------------------------------

    def _end_later(self, call: Call, state: Literal["failed", "cancelled"], value: Any = None) -> None:
        """Ends a call from the event loop: its maker has not connected to its signals yet."""
        self._ends_later.append((call, state, value))
        self._soon.start()

    def _go_on(self) -> None:
        ends, self._ends_later = self._ends_later, []
        for call, state, value in ends:
            self._end(call, state, value)
        self._pump()

    def _pump(self) -> None:
        """Hands the process what it can work on."""
        if self._closing or not self._calls.has_waiting:
            self._update_busy()
            return
        if self._process is None:
            if self._state == "failed":
                self._failed_starts = 0
            self._start_process()
            return
        if self._state not in ("ready", "busy"):
            return
        while (call := self._calls.send_next()) is not None:
            try:
                frame = encode(messages.request(call.number, call.op, call.arguments))
            except FrameError as error:
                self._calls.remove(call)
                problem = UserError("A request could not be written", action=str(error))
                self._end(call, "failed", problem)
                continue
            self._write(frame)
        self._update_busy()

    def _end(self, call: Call, state: Literal["finished", "failed", "cancelled"], value: Any = None) -> None:
        if call.ended:
            return
        call.state = state
        if state == "finished":
            call.finished.emit(value)
        elif state == "failed":
            call.failed.emit(value)
        else:
            call.cancelled.emit()
        call.deleteLater()

    # -- process -------------------------------------------------------------------------------------

    def _start_process(self) -> None:
        sweep_leftovers()
        arguments = ["worker", *(["--reader"] if self._reader else [])]
        for file in self._plugin_files:
            arguments += ["--plugin", str(file)]
        if self._memory_limit:
            arguments += ["--memory-limit", str(self._memory_limit)]
        program, *rest = program_command(*arguments)
        environment = QProcessEnvironment()
        for name, value in child_environment().items():
            environment.insert(name, value)
        environment.insert("PYTHONSAFEPATH", "1")  # the folder we were started in is no place for modules
        process = QProcess(self)
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read_frames)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._process_finished)
        process.errorOccurred.connect(self._process_error)
        self._process = process
        self._decoder = FrameDecoder()
        self._errors.clear()
        self._last_heard = time.monotonic()
        self._set_state("starting")
        process.start(program, rest)
        self._watch.start()

    def _send(self, message: Message) -> None:
        self._write(encode(message))

    def _write(self, frame: bytes) -> None:
        if self._process is not None:
            self._process.write(frame)

    def _read_frames(self) -> None:
        if self._process is None:
            return
        self._last_heard = time.monotonic()
        try:
            arrived = self._decoder.feed(self._process.readAllStandardOutput().data())
        except FrameError as error:
            self._errors += f"\n{error}\n".encode()
            self._process.kill()
            return
        for message in arrived:
            self._take(message)

    def _read_errors(self) -> None:
        if self._process is not None:
            self._errors += self._process.readAllStandardError().data()
            del self._errors[:-_STDERR_BYTES]

    def _take(self, message: Message) -> None:
        kind = message.get("kind")
        if kind == "hello":
            self._failed_starts = 0
            self._set_state("ready")
            self._pump()
            return
        if kind in ("heartbeat", "log"):
            self.memory = int(message.get("memory", self.memory))
            self.heard.emit(message)
            return
        call = self._calls.sent(int(message.get("id", 0)))
        if call is None:
            return
        if kind == "started":
            call.state = "running"
            call.started.emit()
        elif kind == "progress":
            call.progressed.emit(float(message["fraction"]), str(message["text"]))
        elif kind in messages.ENDS:
            self._calls.remove(call)
            if kind == "result":
                self._end(call, "finished", message["values"])
            elif kind == "cancelled":
                self._end(call, "cancelled")
            else:
                self._end(call, "failed", error_of(message))
            self._pump()

    def _process_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            self._errors += self._process.errorString().encode()
            self._process_gone(f"it could not be started ({self._process.errorString()})")

    def _process_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        if self._process is None:
            return
        self._read_frames()
        self._read_errors()
        if status == QProcess.ExitStatus.CrashExit:
            self._process_gone(f"signal {code}, {_FATAL_SIGNALS.get(code, 'crash')}")
        else:
            self._process_gone(f"exit code {code}")

    def _process_gone(self, how: str) -> None:
        process, self._process = self._process, None
        if process is None or self._closing:
            return
        process.deleteLater()
        self._watch.stop()
        started = self._state in ("ready", "busy")
        details = self._errors.decode("utf-8", errors="replace")
        on_purpose, self._stopped_on_purpose = self._stopped_on_purpose, None
        cut_off = self._calls.take_sent()
        self._set_state("stopped")
        if on_purpose is None and started:
            self.crashed.emit(how)
        self._sort_out(cut_off, on_purpose, how, details)
        if not started:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                self._give_up(how, details)
                return
        self._start_process()

    def _sort_out(self, cut_off: list[Call], on_purpose: Call | None, how: str, details: str) -> None:
        """Which of the requests cut off fails, and which run again."""
        at_work = [call for call in cut_off if call.state == "running"]
        again: list[Call] = []
        for call in cut_off:
            if call is on_purpose or call.cancelling:
                self._end(call, "cancelled")
            elif on_purpose is None and at_work == [call]:
                self._blame(call, how, details)
            elif on_purpose is None and call.cut_off:
                self._end(call, "failed", cut_off_twice(call, how, details))
            else:
                call.cut_off += on_purpose is None
                call.suspect = on_purpose is None and call in at_work
                again.append(call)
        self._calls.add_again(again)

    def _blame(self, call: Call, how: str, details: str) -> None:
        what = "The reader" if self._reader else "The worker"
        subject = call.model or subject_of(call)
        kills = 0
        if call.model:
            kills = self._kills[call.model] = self._kills.get(call.model, 0) + 1
        action = "It was started again, and everything else goes on"
        if kills >= KILLS_TO_SWITCH_OFF:
            action = f"This happened {kills} times, so {call.model} is now switched off"
        problem = UserError(
            f"{what} stopped while it was at work on {subject} ({how})", action=action, details=details
        )
        self._end(call, "failed", problem)
        if kills == KILLS_TO_SWITCH_OFF:
            self.switched_off.emit(call.model)

    def _give_up(self, how: str, details: str) -> None:
        self._set_state("failed")
        problem = UserError(
            "The reader cannot start" if self._reader else "The worker cannot start",
            where=how,
            action="Run `segstudio doctor` to see what is missing",
            details=details,
        )
        for call in self._calls.take_all():
            self._end(call, "failed", problem)

    def _look_for_silence(self) -> None:
        """A process that hangs in native code without letting its heartbeat thread run is ended."""
        if self._process is not None and self._state == "busy" and self.silent_seconds > SILENCE_SECONDS:
            self._process.kill()

    def _update_busy(self) -> None:
        if self._process is not None and self._state in ("ready", "busy"):
            self._set_state("busy" if self._calls.has_sent else "ready")

    def _set_state(self, state: State) -> None:
        if state != self._state:
            self._state = state
            self.state_changed.emit(state)
