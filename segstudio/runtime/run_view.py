"""What a run says of itself, judged by whether its process is alive."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import STATES, RunFolder
from segstudio.core.run_lease import is_held, read_lease
from segstudio.runtime.jobs import Job

RunState = Literal["queued", "starting", "running", "stopping", "paused", "failed", "done"]

ACTIVE: frozenset[str] = frozenset({"starting", "running", "stopping"})


@dataclass(frozen=True)
class RunView:
    """One line of the runs table: what a run says of itself, judged by whether its process is alive."""

    name: str
    folder: RunFolder
    title: str
    model: str
    state: RunState
    reason: str
    epoch: int
    epochs: int
    step: int
    steps: int
    best: float | None
    best_epoch: int | None
    seconds: float
    images_per_s: float | None
    left_s: float | None
    memory: int
    created: float
    has_best: bool
    task: str = "segmentation"
    best_loss: float | None = None  # what pre-training is judged by

    @property
    def number(self) -> str:
        """ "7" for run-0007, the whole name for folders that are called otherwise."""
        head, _, number = self.name.partition("-")
        return number.lstrip("0") or "0" if head == "run" and number.isdigit() else self.name

    @property
    def is_pretraining(self) -> bool:
        return self.task == "pretraining"

    @property
    def best_words(self) -> str:
        """ "73.9" for a mIoU in per cent, "0.412" for a loss; "" before the first validation."""
        if self.is_pretraining:
            return "" if self.best_loss is None else f"{self.best_loss:.3f}"
        return "" if self.best is None else f"{100 * self.best:.1f}"

    @property
    def fraction(self) -> float | None:
        return self.step / self.steps if self.steps else None

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def can_resume(self) -> bool:
        """Whether starting it would go on: it is not at work and not at its end."""
        return not self.is_active and (self.state != "done" or self.epoch < self.epochs)


class RunJob(Job):
    """A job whose rate and time left are the run's own: it may have begun long before this window."""

    def __init__(
        self, title: str, *, on_cancel: Callable[[], None], on_force_stop: Callable[[], None]
    ) -> None:
        super().__init__(title, on_cancel=on_cancel, on_force_stop=on_force_stop)
        self.view: RunView | None = None

    @property
    def rate_text(self) -> str:
        rate = self.view.images_per_s if self.view is not None else None
        return f"{rate:.1f} images/s" if rate else ""

    @property
    def left_text(self) -> str:
        left = self.view.left_s if self.view is not None and self.state == "running" else None
        if left is None:
            return ""
        minutes = round(left / 60)
        if minutes < 2:
            return f"{max(1, round(left))} s left"
        return f"{minutes} min left" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min left"


def judge(
    folder: RunFolder, recipe: Recipe, *, seconds: float, launched: float, starting: bool
) -> tuple[RunView, bool]:
    """The run's own state, corrected by what its lease says about its process; whether that is alive.

    `seconds` is the time at work so far; `launched` is when this window started a process for it that has
    not taken the run yet (0 = none), `starting` whether that process is still there.
    """
    document = folder.state()
    lease = read_lease(folder.path)
    alive = lease is not None and is_held(lease)
    state: RunState = document["state"] if document["state"] in STATES else "queued"
    reason = str(document.get("reason", ""))
    if alive:
        state = "stopping" if folder.wish() is not None else "running"
    elif launched and float(document.get("updated", 0)) < launched:
        # The process has not yet taken the run: it is importing, or it fell over before it could say so.
        if starting:
            state, reason = "starting", ""
        else:
            state, reason = "failed", _last_words(folder)
    elif state == "running":
        state = "paused"
        reason = "The training process ended unexpectedly. Resume goes on from what was saved last."
    best = document.get("best") or {}
    view = RunView(
        name=folder.name,
        folder=folder,
        title=recipe.title or recipe.model.rpartition("/")[2],
        model=recipe.model,
        state=state,
        reason=reason,
        epoch=int(document.get("epoch") or 0),
        epochs=recipe.epochs,
        step=int(document.get("step") or 0),
        steps=int(document.get("steps") or 0),
        best=best.get("miou"),
        best_epoch=best.get("epoch"),
        seconds=seconds,
        images_per_s=document.get("images_per_s"),
        left_s=document.get("left_s"),
        memory=int(document.get("memory") or 0),
        created=float(document.get("created") or 0.0),
        has_best=(folder.checkpoints / "best.safetensors").exists(),
        task=str(getattr(recipe, "task", "segmentation")),
        best_loss=best.get("loss"),
    )
    return view, alive


def _last_words(folder: RunFolder) -> str:
    """What a process that ended at its start printed last."""
    with suppress(OSError):
        lines = (folder.path / "console.txt").read_text("utf-8", errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        if said:
            return f"The training program ended at its start: {said[-1].strip()}"
    return "The training program ended at its start."


def checkpoint_stamp(folder: RunFolder) -> int:
    """Changes whenever a file of weights appears or is replaced."""
    stamp = 0
    for name in ("best.safetensors", "last.safetensors"):
        with suppress(OSError):
            stamp += (folder.checkpoints / name).stat().st_mtime_ns
    return stamp
