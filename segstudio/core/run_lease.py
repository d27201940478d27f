"""The lease of a run folder: at most one process works on a run.

The file is made with O_EXCL and beaten every few seconds. Another process may take it over after a
minute of silence, or at once when the holder ran on this computer and is gone.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from segstudio.core import atomic_file
from segstudio.core.errors import UserError

HEARTBEAT_SECONDS = 5.0
SILENCE_SECONDS = 60.0


class Lease:
    """The right to work on one run folder, held from `take` to `release`."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self._path = path
        self._document = document
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False

    @classmethod
    def take(cls, folder: Path, *, heartbeat: bool = True) -> Lease:
        """Raises UserError naming the holder where another process is at work on `folder`."""
        path = folder / "lease.json"
        document = {
            "host": socket.gethostname(),
            "boot_id": boot_id(),
            "pid": os.getpid(),
            "process_start": process_start(os.getpid()),
            "nonce": secrets.token_hex(8),
            "beat": time.time(),
        }
        for _ in range(20):
            if _make(path, document):
                lease = cls(path, document)
                if heartbeat:
                    lease._thread = threading.Thread(target=lease._beat, name="lease", daemon=True)
                    lease._thread.start()
                return lease
            holder = read_lease(folder)
            if holder is not None and (is_held(holder) or _just_made(path, holder)):
                who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
                raise UserError(
                    f"The run is already being worked on by {who}",
                    where=str(folder),
                    action="Stop it first, or wait a minute if it is gone.",
                )
            _remove_stale(path, holder)
        raise UserError("The run's lease keeps changing hands", where=str(folder))

    def beat_once(self) -> bool:
        """Renews the lease. False, and `lost`, where another process has taken it over."""
        holder = read_lease(self._path.parent)
        if holder is None or holder.get("nonce") != self._document["nonce"]:
            self.lost = True
            return False
        self._document["beat"] = time.time()
        with suppress(OSError):  # a full disk must not end the run; the next beat tries again
            atomic_file.write_bytes(self._path, json.dumps(self._document).encode())
        return True

    def release(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        holder = read_lease(self._path.parent)
        if holder is not None and holder.get("nonce") == self._document["nonce"]:
            self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._end.wait(HEARTBEAT_SECONDS):
            if not self.beat_once():
                return


def read_lease(folder: Path) -> dict[str, Any] | None:
    """The lease as it stands, an empty one where it cannot be understood, None where there is none."""
    try:
        document = json.loads((folder / "lease.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def is_held(lease: dict[str, Any]) -> bool:
    """Whether the holder must be believed to be at work."""
    if lease.get("host") == socket.gethostname():
        if lease.get("boot_id") != boot_id():
            return False
        pid = lease.get("pid")
        if not isinstance(pid, int):
            return False
        start = process_start(pid)
        if start != "unknown":
            return start == lease.get("process_start")
    try:
        # A clock that was set back must not make a lease immortal.
        return abs(time.time() - float(lease["beat"])) < SILENCE_SECONDS
    except (KeyError, TypeError, ValueError):
        return False


def boot_id() -> str:
    """Differs after every start of the computer, "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """When a process started, in the system's own count; "" when there is no such process.

    "unknown" where the system has no /proc: then only silence tells that a holder is gone.
    """
    if not sys.platform.startswith("linux"):
        return "unknown"
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    # The second field, the name in parentheses, may hold spaces: fields count from the last parenthesis.
    fields = stat[stat.rfind(")") + 2 :].split()
    return "" if fields[0] in ("Z", "X") else fields[19]


def _just_made(path: Path, lease: dict[str, Any]) -> bool:
    """A lease without content belongs to a process that is writing it at this moment."""
    try:
        return not lease and time.time() - path.stat().st_mtime < SILENCE_SECONDS
    except OSError:
        return False


def _make(path: Path, document: dict[str, Any]) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(document))
        file.flush()
        os.fsync(file.fileno())
    return True


def _remove_stale(path: Path, seen: dict[str, Any] | None) -> None:
    """Takes a dead lease away. Whoever finds that it moved a living one puts that back."""
    if seen is None:
        return
    aside = path.with_name(f"lease.{secrets.token_hex(6)}")
    try:
        path.rename(aside)
    except OSError:
        return
    try:
        moved = json.loads(aside.read_text("utf-8"))
    except (OSError, ValueError):
        moved = {}
    if moved.get("nonce") != seen.get("nonce"):
        with suppress(OSError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)
