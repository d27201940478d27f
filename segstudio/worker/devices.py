"""Which devices this computer has, and which one a run takes."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

import torch

from segstudio.core.errors import UserError
from segstudio.worker import kept_heap
from segstudio.worker.memory import available_bytes


def choose(name: str = "auto") -> torch.device:
    """ "auto" is the first CUDA device, else MPS, else the CPU. Raises UserError where `name` is not here."""
    if name in ("", "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if _has_mps() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"There is no device named {name!r}", action=f"Choose one of {_names()}") from error
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", 0)
    if str(device) not in [found["id"] for found in describe()]:
        raise UserError(f"This computer has no device {name!r}", action=f"Choose one of {_names()}")
    return device


def describe() -> list[dict[str, Any]]:
    """All devices, the preferred one first: `id`, `title`, `memory` and `free` in bytes, `bfloat16`."""
    found: list[dict[str, Any]] = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            title = torch.cuda.get_device_name(index)
            bfloat16 = has_bfloat16(torch.device("cuda", index))
            found.append(
                {
                    "id": f"cuda:{index}",
                    "title": title,
                    "memory": total,
                    "free": free,
                    "bfloat16": bfloat16,
                }
            )
    if _has_mps():
        total = int(torch.mps.recommended_max_memory())
        free = total - int(torch.mps.driver_allocated_memory())
        found.append({"id": "mps", "title": "Apple GPU", "memory": total, "free": free})
    free = available_bytes()
    threads = torch.get_num_threads()
    bfloat16 = has_bfloat16(torch.device("cpu"))
    title = f"CPU, {threads} threads"
    found.append({"id": "cpu", "title": title, "memory": _total(free), "free": free, "bfloat16": bfloat16})
    return found


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; where it does not, torch imitates it slowly."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@cache
def bfloat16_speed() -> float:
    """How many times as fast this processor multiplies matrices of bfloat16 as of float32 (measured, 20 ms).

    Under 1 where it has the instructions but no units for them beside those of float32.
    """
    best = []
    for kind in (torch.float32, torch.bfloat16):
        a = torch.ones(512, 512, dtype=kind)
        times = []
        for _ in range(4):
            begun = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - begun)
        best.append(min(times))
    return best[0] / best[1]


def free_bytes(device: torch.device) -> int:
    """Memory a run on `device` may take, with what torch keeps for reuse counted as free."""
    if device.type == "cuda":
        free, _total_bytes = torch.cuda.mem_get_info(device)
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + reusable)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return available_bytes() + kept_heap.kept_bytes()


def empty_cache(device: torch.device) -> None:
    """Gives memory that torch keeps for reuse back."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    else:
        kept_heap.release()


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what was asked, so that times are true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _names() -> str:
    return ", ".join(found["id"] for found in describe())


def _total(free: int) -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        return int(meminfo.read_text().split("\n", 1)[0].split()[1]) * 1024
    return free
