"""The training loop, written once for every task, CPU, GPU, half precision, accumulation and several ranks.

Lightning Fabric places tensors, casts and synchronises; what is minimised comes from the objective, what is
random and what is saved is decided here. Losses arrive as sums and counts and are averaged only after counts
were added over ranks, so that two ranks with unevenly many ignored pixels give the gradient of one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from segstudio.core.errors import UserError
from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder
from segstudio.training.checkpoints import load_resume, save_resume, save_weights
from segstudio.training.data import Part
from segstudio.training.model import Trainee
from segstudio.training.objective import make_objective
from segstudio.training.ranks import summed
from segstudio.training.report import Report
from segstudio.training.schedules import schedule_of


@dataclass
class Progress:
    """Where a run stands. `epoch` counts finished epochs, `step` finished steps of the epoch after them.

    `best` is the objective's score, higher where it is better.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class Interrupted(Exception):
    """The run ends here because a person or the system wants it; everything is saved."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


class Training:
    """One run from its first or next step to its end."""

    def __init__(
        self,
        folder: RunFolder,
        recipe: Recipe,
        trainee: Trainee,
        fabric: Fabric,
        report: Report,
        *,
        wish: Callable[[], tuple[str, str] | None],
    ) -> None:
        self._folder, self._recipe, self._trainee = folder, recipe, trainee
        self._fabric, self._report, self._wish = fabric, report, wish
        self._objective = make_objective(folder, recipe, trainee, fabric)
        self._batches = self._objective.batches
        self._steps = self._batches.steps
        self._total = recipe.epochs * self._steps
        self._schedule = schedule_of(recipe, self._total)
        self._progress = Progress(best=self._objective.worst)
        self._set_up()

    def _set_up(self) -> None:
        recipe, module = self._recipe, self._trainee.module
        if self._fabric.world_size > 1 and self._fabric.device.type == "cuda":
            module = torch.nn.SyncBatchNorm.convert_sync_batchnorm(module)
        module = module.to(memory_format=torch.channels_last)
        groups = module.param_groups(recipe.lr)
        if recipe.optimizer == "sgd":
            optimizer: torch.optim.Optimizer = torch.optim.SGD(
                groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
            )
        else:
            optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]
        resume = load_resume(self._folder.checkpoints / "resume.pt")
        if resume is not None:
            module.load_state_dict(resume["model"])
        self._module = module
        self._model, self._optimizer = self._fabric.setup(module, optimizer)
        self._model.mark_forward_method("losses")
        if resume is not None:
            self._optimizer.load_state_dict(resume["optimizer"])
            scaler = self._scaler()
            if scaler is not None and resume["scaler"] is not None:
                scaler.load_state_dict(resume["scaler"])
            self._progress = Progress(**resume["progress"])

    @property
    def progress(self) -> Progress:
        return self._progress

    @property
    def steps_done(self) -> int:
        return self._progress.epoch * self._steps + self._progress.step

    def run(self) -> Progress:
        """Trains to the end. Raises Interrupted where somebody wished so, after saving."""
        progress = self._progress
        self._began = time.monotonic() - progress.seconds
        self._saved = time.monotonic()
        if self._fabric.is_global_zero:
            self._report.previews(self._objective.write_originals())
        self._fabric.barrier()
        while progress.epoch < self._recipe.epochs:
            self._epoch()
        return progress

    def _epoch(self) -> None:
        progress = self._progress
        self._model.train()
        if progress.step == 0:
            progress.loss_sum = 0.0
        epoch_began = time.monotonic()
        for parts in self._batches.epoch(progress.epoch, first_step=progress.step):
            losses = self._step(parts)
            progress.step += 1
            progress.loss_sum += sum(losses.values())
            self._tell_step(losses)
            self._look_for_wishes(at_epoch_end=False)
        progress.epoch += 1
        progress.step = 0
        entry: dict[str, Any] = {
            "epoch": progress.epoch,
            "step": progress.epoch * self._steps,
            "train_loss": progress.loss_sum / self._steps,
            "lr": self._optimizer.param_groups[0]["lr"],
        }
        last = progress.epoch == self._recipe.epochs
        improved = False
        if self._objective.validates and (last or progress.epoch % self._recipe.validate_every == 0):
            improved = self._validate(entry)
        entry["seconds"] = round(time.monotonic() - epoch_began, 3)
        progress.history.append(entry)
        # The state to go on from is saved before the event: a reader never sees an epoch that is lost.
        if self._fabric.is_global_zero:
            if improved:
                self._save_weights("best", entry)
            self._save_weights("last", entry)
        self._save()
        if self._fabric.is_global_zero:
            best = self._objective.best_entry(progress.best) if progress.best_epoch else None
            self._report.epoch(entry, best=best and {**best, "epoch": progress.best_epoch})
        self._look_for_wishes(at_epoch_end=True)

    def _step(self, parts: list[Part]) -> dict[str, float]:
        """One optimiser step over the parts of a batch; gives the averaged losses by name."""
        progress, recipe = self._progress, self._recipe
        step = progress.epoch * self._steps + progress.step
        factor = self._schedule(step)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        # Dropout draws from (seed, step, rank), so a resumed run draws what the whole one would have.
        torch.manual_seed(_mixed(recipe.seed, step, self._fabric.global_rank))
        device = self._fabric.device
        self._objective.begin_step(self._module, step / self._total)
        # Parts of a batch count by what is to be learned from them, on all ranks together.
        exact = torch.float32 if device.type == "mps" else torch.float64  # which has no wider one
        worth = torch.stack([self._objective.worth(part) for part in parts]).to(device, exact)
        worth = summed(self._fabric, worth)
        shares = (worth / worth.sum().clamp(min=1)).tolist()
        averaged: dict[str, float] = {}
        for index, part in enumerate(parts):
            with self._fabric.no_backward_sync(self._model, enabled=index + 1 < len(parts)):
                losses = self._objective.losses(self._model, part, device)
                names = sorted(losses)
                counts = torch.stack([losses[name].count.detach().to(exact) for name in names])
                sums = torch.stack([losses[name].sum.detach().to(exact) for name in names])
                both = summed(self._fabric, torch.stack([counts, sums]))
                divisors = both[0].clamp(min=1e-9)
                total = torch.zeros((), device=device)
                for place, name in enumerate(names):
                    loss = losses[name]
                    mean = loss.sum / divisors[place].to(loss.sum.dtype)
                    total = total + loss.weight * shares[index] * mean
                    value = loss.weight * shares[index] * float(both[1, place] / divisors[place])
                    averaged[name] = averaged.get(name, 0.0) + value
                # Ranks average gradients; the counts above already span all ranks.
                self._fabric.backward(total * self._fabric.world_size)
        if not np.isfinite(sum(averaged.values())):
            raise UserError(
                f"The loss is no longer a number at step {step + 1}",
                action="Lower the learning rate, or add warm-up steps, and start again.",
            )
        if recipe.clip_norm > 0:
            self._fabric.clip_gradients(self._model, self._optimizer, max_norm=recipe.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return averaged

    def _validate(self, entry: dict[str, Any]) -> bool:
        """Adds what validation found to `entry`; True where it is the best so far."""
        fabric, progress = self._fabric, self._progress
        verdict = self._objective.validate(
            self._module, progress.epoch, fabric, lambda: fabric.world_size == 1 and self._wanted_now()
        )
        if verdict is None:
            return False
        entry.update(verdict.entry)
        if verdict.score is not None and verdict.score > progress.best:
            progress.best, progress.best_epoch = verdict.score, progress.epoch
            return True
        return False

    def _tell_step(self, losses: dict[str, float]) -> None:
        progress = self._progress
        self._progress.seconds = time.monotonic() - self._began
        if self._fabric.is_global_zero:
            self._report.step(
                epoch=progress.epoch,
                step=progress.epoch * self._steps + progress.step,
                steps=self._total,
                images=self._recipe.batch * self._recipe.accumulate * self._fabric.world_size,
                losses=losses,
                lr=self._optimizer.param_groups[0]["lr"],
                memory=_memory(self._fabric.device),
                last_of_epoch=progress.step == self._steps,
            )
        if time.monotonic() - self._saved > self._recipe.checkpoint_seconds and self._fabric.world_size == 1:
            self._save()

    def _look_for_wishes(self, *, at_epoch_end: bool) -> None:
        found = self._agreed(self._wish())
        if found is None:
            return
        wish, when = found
        if when == "epoch" and not at_epoch_end:
            return
        if not at_epoch_end:
            self._save()
        done = f"after epoch {self._progress.epoch}"
        if self._progress.epoch >= self._recipe.epochs and at_epoch_end:
            return
        if wish == "stop":
            if self._fabric.is_global_zero and not at_epoch_end:
                self._save_weights("last", {"epoch": self._progress.epoch})
            raise Interrupted("done", f"stopped {done}")
        if wish == "end":
            raise Interrupted("paused", f"the system ended the process {done}")
        raise Interrupted("paused", f"paused {done}")

    def _wanted_now(self) -> bool:
        found = self._wish()
        return found is not None and found[1] == "now"

    def _agreed(self, wish: tuple[str, str] | None) -> tuple[str, str] | None:
        """What the first rank sees counts for all, so that none waits for one that left."""
        if self._fabric.world_size == 1:
            return wish
        return self._fabric.broadcast(wish, src=0)

    def _save(self) -> None:
        self._saved = time.monotonic()
        self._progress.seconds = time.monotonic() - self._began
        if self._fabric.is_global_zero:
            scaler = self._scaler()
            save_resume(
                self._folder.checkpoints / "resume.pt",
                {
                    "model": self._module.state_dict(),
                    "optimizer": self._optimizer.state_dict(),
                    "scaler": scaler.state_dict() if scaler is not None else None,
                    "progress": vars(self._progress),
                },
            )
        self._fabric.barrier()

    def _save_weights(self, name: str, entry: dict[str, Any]) -> None:
        path = self._folder.checkpoints / f"{name}.safetensors"
        title = f"{self._trainee.facts.title} · {self._folder.name} {name}"
        save_weights(path, self._module, replace(self._trainee.facts, title=title))
        self._report.checkpoint(name, entry)

    def _scaler(self) -> Any:
        return getattr(self._fabric.strategy.precision, "scaler", None)


def _mixed(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _memory(device: torch.device) -> int:
    """Bytes in use at the peak: of the GPU, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows has no resource module
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, kilobytes elsewhere
