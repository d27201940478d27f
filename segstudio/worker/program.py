"""The worker program: `segstudio worker [--reader]`, started by the window and spoken to in frames."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import segstudio
from segstudio.ipc import messages
from segstudio.worker.dispatch import Dispatcher
from segstudio.worker.memory import be_first_to_go, limit_memory
from segstudio.worker.streams import FrameWriter, claim_stdin, claim_stdout


def serve(*, reader: bool, plugin_files: Sequence[Path] = (), memory_limit: int = 0) -> int:
    """Answers the window's requests until the window goes. `memory_limit` in bytes, 0 = none.

    The reader imports no torch and no plugin.
    """
    writer = FrameWriter(claim_stdout())
    stream = claim_stdin()
    faulthandler.enable(sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    be_first_to_go()
    if memory_limit:
        limit_memory(memory_limit)
    if reader:
        from segstudio.worker import reader as role

        operations = role.OPERATIONS
        threads = max(2, min(4, os.cpu_count() or 2))
    else:
        from segstudio.worker.operations import worker_operations

        operations = worker_operations(plugin_files)
        threads = 1
    writer.send(messages.hello("reader" if reader else "worker", os.getpid(), segstudio.__version__))
    Dispatcher(operations, stream, writer, threads=threads).serve()
    return 0
