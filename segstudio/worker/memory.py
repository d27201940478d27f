"""Memory of this process: how much it holds, how much is free, and a limit on it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def resident_bytes() -> int:
    """Resident memory of this process, 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def peak_resident_bytes() -> int:
    """The most resident memory this process ever held, 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available_bytes() -> int:
    """Memory that can be taken without swapping, within a container's limit and this process's own.

    4 GB is assumed where the system does not tell.
    """
    candidates = [_meminfo_available(), _cgroup_available(), _limit_available()]
    known = [value for value in candidates if value is not None]
    return max(0, min(known)) if known else 4 * 2**30


def limit_memory(nbytes: int) -> None:
    """From now on an allocation over `nbytes` of address space fails in this process alone (POSIX)."""
    if sys.platform != "win32":
        import resource

        _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = nbytes if hard == resource.RLIM_INFINITY else min(nbytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def be_first_to_go() -> None:
    """When the system runs out of memory it ends this process rather than the window (Linux)."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        try:
            score.write_text("600")
        except OSError as error:
            print(f"worker: its memory score stays as it is ({error})", file=sys.stderr)


def _meminfo_available() -> int | None:
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    for line in path.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_available() -> int | None:
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if not (limit.exists() and used.exists()):
        return None
    text = limit.read_text().strip()
    return None if text == "max" else int(text) - int(used.read_text())


def _limit_available() -> int | None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    import resource

    soft, _hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    return soft - int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
