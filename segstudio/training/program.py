"""The program of a training run: takes the lease, trains, and always says in state.json how it ended."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder, find_runs
from segstudio.core.run_lease import Lease, is_held, read_lease


def train(folder: RunFolder) -> str:
    """Starts or resumes a run and gives its end state ("done" or "paused").

    Raises UserError after "failed" was written, or where another process is at work on the run.
    """
    recipe = folder.recipe().checked()
    state = folder.state()
    if state["state"] == "done" and state.get("epoch", 0) >= recipe.epochs:
        raise UserError("The run is finished", where=str(folder.path), action="Clone it to train again.")
    first_rank = int(os.environ.get("RANK", "0")) == 0
    with _lease(folder) if first_rank else nullcontext() as lease:
        if first_rank:
            folder.forget_wishes()
            folder.write_state(state="running", reason="", epochs=recipe.epochs)
        try:
            return _train(folder, recipe, lease, first_rank=first_rank)
        except Exception as error:
            if first_rank:
                _note_failure(folder, error)
            raise


def _train(folder: RunFolder, recipe: Recipe, lease: Lease | None, *, first_rank: bool) -> str:
    # torch is imported only after the lease is ours: a second start is refused at once.
    import torch

    from segstudio.training.loop import Interrupted, Training
    from segstudio.training.model import build_trainee
    from segstudio.training.report import Report

    threads = recipe.threads or max(1, (os.cpu_count() or 2) - 1)
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    fabric = make_fabric(recipe)
    fabric.launch()
    trainee = build_trainee(recipe)
    report = Report(folder, epochs=recipe.epochs)
    with _asked_to_end() as ending:

        def wish() -> tuple[str, str] | None:
            if lease is not None and lease.lost:
                raise UserError("Another process has taken over this run", where=str(folder.path))
            if ending:
                return "end", "now"
            return folder.wish()

        training = Training(folder, recipe, trainee, fabric, report, wish=wish)
        if first_rank:
            _write_environment(folder, fabric, threads)
            done = training.progress.epoch
            report.start(resumed_at=training.steps_done)
            verb = f"resumed after epoch {done}" if training.steps_done else "started"
            on_what = f"{recipe.num_classes} classes" if recipe.classes else "without labels"
            report.log(f"{verb}: {trainee.spec.title}, {on_what}, on {fabric.device}")
            for note in trainee.notes:
                report.log(note)
        try:
            training.run()
            state, reason = "done", ""
        except Interrupted as interruption:
            state, reason = interruption.state, interruption.reason
        if first_rank:
            folder.forget_wishes()
            folder.write_state(state=state, reason=reason, left_s=None)
            folder.append_event("state", state=state, reason=reason)
            report.log(reason or "finished")
            report.close()
    if fabric.world_size > 1:
        # Threads of the group that outlive the interpreter would abort the process.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    return state


def make_fabric(recipe: Recipe) -> Any:
    """Fabric for the recipe's device; under torchrun one rank of its group."""
    from lightning_fabric import Fabric

    from segstudio.worker import devices

    precision = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[recipe.precision]
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    device = devices.choose(recipe.device)
    if precision == "16-mixed" and device.type == "cpu":
        raise UserError(
            "A CPU does not train in float16", action="Choose precision 32 or bf16 in the recipe."
        )
    accelerator = {"cuda": "cuda", "mps": "mps"}.get(device.type, "cpu")
    if ranks > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
        return Fabric(
            accelerator=accelerator,
            strategy="ddp",
            devices=local,
            num_nodes=ranks // local,
            precision=precision,
        )
    chosen: Any = [device.index or 0] if accelerator == "cuda" else 1
    return Fabric(accelerator=accelerator, devices=chosen, precision=precision)


def work_off(queue: Path) -> tuple[int, int]:
    """Trains every queued run in `queue`, one after the other; gives how many ended well and how many not.

    Runs added meanwhile are taken too. A failed run does not stop the next.
    """
    good = bad = 0
    tried: set[Path] = set()
    while True:
        waiting = [
            run
            for run in find_runs(queue)
            if run.path not in tried and run.state()["state"] in ("queued", "running") and not _busy(run)
        ]
        if not waiting:
            return good, bad
        tried.add(waiting[0].path)
        try:
            train(waiting[0])
            good += 1
        except UserError as error:
            print(f"segstudio train: {waiting[0].name}: {error}", file=sys.stderr)
            bad += 1
        except Exception:  # noqa: BLE001 - the next run must start whatever became of this one
            traceback.print_exc()
            bad += 1


def _busy(run: RunFolder) -> bool:
    lease = read_lease(run.path)
    return lease is not None and is_held(lease)


@contextmanager
def _lease(folder: RunFolder) -> Iterator[Lease]:
    lease = Lease.take(folder.path)
    try:
        yield lease
    finally:
        lease.release()


@contextmanager
def _asked_to_end() -> Iterator[list[int]]:
    """Collects the signals by which a system or a terminal ends programs, so that a run saves first."""
    asked: list[int] = []
    before: dict[int, Any] = {}
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        with suppress(ValueError):  # not in the main thread: then nobody sends us signals either
            before[number] = signal.signal(number, lambda got, _frame: asked.append(got))
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _note_failure(folder: RunFolder, error: Exception) -> None:
    """Leaves the reason in the run folder, also where the disk is full or torch is missing."""
    reason = str(error) if isinstance(error, UserError) else _plain_reason(error)
    from segstudio.training.report import Report

    with suppress(OSError):
        folder.write_state(state="failed", reason=reason)
        folder.append_event("state", state="failed", reason=reason)
        report = Report(folder, epochs=0)
        report.log(reason, level="error")
        if not isinstance(error, UserError):
            report.log("".join(traceback.format_exception(error)), level="error")


def _plain_reason(error: Exception) -> str:
    from segstudio.worker import devices

    if devices.is_out_of_memory(error):
        return "There is not enough memory. Choose a smaller crop or batch, and train again."
    return f"The training program failed: {type(error).__name__}: {error}. The log has the details."


def _write_environment(folder: RunFolder, fabric: Any, threads: int) -> None:
    import cv2
    import lightning_fabric
    import numpy as np
    import torch

    import segstudio

    document = {
        "segstudio": segstudio.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "torch": str(torch.__version__),
        "lightning_fabric": lightning_fabric.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "device": str(fabric.device),
        "device_name": torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else "CPU",
        "ranks": fabric.world_size,
        "threads": threads,
    }
    atomic_file.write_bytes(folder.path / "environment.json", json.dumps(document, indent=1).encode())
