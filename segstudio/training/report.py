"""What a run tells the world while it works: events, state, TensorBoard, log. One rank writes."""

from __future__ import annotations

import time
from typing import Any

from segstudio.core.run_folder import RunFolder

_EVENT_SECONDS = 1.0


class Report:
    """Gathers steps into at most one event a second; everything else is written at once."""

    def __init__(self, folder: RunFolder, *, epochs: int) -> None:
        self._folder = folder
        self._epochs = epochs
        self._sums: dict[str, float] = {}
        self._steps = 0
        self._images = 0
        self._since = time.monotonic()
        self._board: Any = None
        self._rate: float | None = None

    def start(self, *, resumed_at: int) -> None:
        """Opens the event files; what was written after step `resumed_at` counts no more."""
        # TensorBoard's writer takes a second to import, so it comes only when a run begins.
        from torch.utils.tensorboard import SummaryWriter

        self._folder.mend_events()
        self._folder.append_event("start", step=resumed_at)
        self._board = SummaryWriter(
            str(self._folder.path / "tensorboard"), purge_step=resumed_at if resumed_at else None
        )
        self._since = time.monotonic()

    def previews(self, entries: list[dict[str, Any]]) -> None:
        self._folder.append_event("previews", images=entries)

    def step(
        self,
        *,
        epoch: int,
        step: int,
        steps: int,
        images: int,
        losses: dict[str, float],
        lr: float,
        memory: int,
        last_of_epoch: bool,
    ) -> None:
        """One optimiser step: `step` of `steps`, `images` in it, averaged `losses`, peak `memory` (bytes)."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += 1
        self._images += images
        passed = time.monotonic() - self._since
        if passed < _EVENT_SECONDS and not last_of_epoch and step > 1:
            return
        means = {name: total / self._steps for name, total in self._sums.items()}
        rate = self._images / max(passed, 1e-6)
        # The first step of a process also builds caches: it says nothing about the speed.
        if step > 1:
            self._rate = rate if self._rate is None else 0.8 * self._rate + 0.2 * rate
        left = (steps - step) * images / self._rate if self._rate else None
        loss = sum(means.values())
        self._folder.append_event(
            "step",
            epoch=epoch,
            step=step,
            loss=loss,
            losses=means,
            lr=lr,
            images_per_s=round(rate, 3),
            memory=memory,
        )
        self._folder.write_state(
            state="running",
            reason="",
            epoch=epoch,
            epochs=self._epochs,
            step=step,
            steps=steps,
            images_per_s=round(self._rate or rate, 3),
            left_s=None if left is None else round(left, 1),
            memory=memory,
        )
        if self._board is not None:
            self._board.add_scalar("train/loss", loss, step)
            for name, value in means.items():
                self._board.add_scalar(f"train/{name}", value, step)
            self._board.add_scalar("train/lr", lr, step)
        self._sums, self._steps, self._images = {}, 0, 0
        self._since = time.monotonic()

    def epoch(self, entry: dict[str, Any], *, best: dict[str, float] | None) -> None:
        """A finished epoch with what training and validation found; `best` is the best one so far."""
        self._folder.append_event("epoch", **entry)
        self._folder.write_state(epoch=entry["epoch"], best=best)
        words = [f"epoch {entry['epoch']}: train {entry['train_loss']:.3f}"]
        if entry.get("val_loss") is not None:
            words.append(f"validation {entry['val_loss']:.3f}")
        if entry.get("miou") is not None:
            words.append(f"mIoU {100 * entry['miou']:.1f}")
        if self._board is not None:
            values = {"loss": entry.get("val_loss"), "miou": entry.get("miou"), **entry.get("val_losses", {})}
            for name, value in values.items():
                if value is not None:
                    self._board.add_scalar(f"val/{name}", value, entry["step"])
        self.log(", ".join(words))
        self._since = time.monotonic()

    def checkpoint(self, name: str, entry: dict[str, Any]) -> None:
        found = {name: entry[name] for name in ("miou", "val_loss") if entry.get(name) is not None}
        self._folder.append_event(
            "checkpoint", **{"name": name, "epoch": entry["epoch"], "miou": None, **found}
        )

    def log(self, text: str, *, level: str = "info") -> None:
        """One line of log.txt: date, time, level, words."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with self._folder.log.open("a", encoding="utf-8") as file:
            for line in text.splitlines() or [""]:
                file.write(f"{stamp} {level:<7} {line}\n")

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None
