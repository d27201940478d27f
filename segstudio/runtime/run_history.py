"""What a run has told so far, gathered from its events for curves, strips and previews."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_BLOCK = 256  # steps averaged at once; 0.9**-256 is 5e11, far from where doubles lose what matters


@dataclass
class Series:
    """Values over optimiser steps, in order."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)

    def cut(self, last: int) -> None:
        """Forgets everything after step `last`."""
        while self.steps and self.steps[-1] > last:
            self.steps.pop()
            self.values.pop()

    def arrays(self) -> tuple[Floats, Floats]:
        """Steps and values as (N,) float64 copies."""
        return np.array(self.steps, np.float64), np.array(self.values, np.float64)


@dataclass(frozen=True)
class Epoch:
    """A finished epoch. Fractions in 0..1; None where there was no validation.

    `previews` holds the score of each preview: its mIoU, or its error where the run is pre-training, whose
    pictures are `views` by name. `val_losses` are the validation losses by name, where there are several.
    """

    number: int
    step: int
    train_loss: float
    val_loss: float | None
    miou: float | None
    iou: tuple[float | None, ...]
    seconds: float
    previews: Mapping[int, float | None]
    views: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    val_losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """One validation image that is shown epoch after epoch. `size` is (width, height) of its pictures."""

    index: int
    image: str
    size: tuple[int, int]


class RunHistory:
    """Events in, series out. A resumed run takes back what came after the step it went on from."""

    def __init__(self) -> None:
        self.loss = Series()
        self.parts: dict[str, Series] = {}
        self.rate = Series()
        self.speed = Series()
        self.memory = Series()
        self.epochs: list[Epoch] = []
        self.previews: list[Preview] = []
        self.version = 0

    @property
    def steps_per_epoch(self) -> float | None:
        """Steps of one epoch, None before the first is finished."""
        return self.epochs[0].step / self.epochs[0].number if self.epochs else None

    @property
    def best(self) -> Epoch | None:
        known = [epoch for epoch in self.epochs if epoch.miou is not None]
        return max(known, key=lambda epoch: (epoch.miou or 0.0, -epoch.number)) if known else None

    @property
    def lowest(self) -> Epoch | None:
        """The epoch with the lowest validation loss, which is the best one of pre-training."""
        known = [(epoch.val_loss, epoch.number, epoch) for epoch in self.epochs if epoch.val_loss is not None]
        return min(known)[2] if known else None

    def feed(self, events: Iterable[Mapping[str, Any]]) -> bool:
        """Takes further events; True where something that is shown has changed."""
        changed = False
        for event in events:
            changed = self._take(event) or changed
        if changed:
            self.version += 1
        return changed

    def _take(self, event: Mapping[str, Any]) -> bool:
        kind = event.get("kind")
        try:
            if kind == "start":
                self._go_back(int(event["step"]))
            elif kind == "step":
                self._step(event)
            elif kind == "epoch":
                self._epoch(event)
            elif kind == "previews":
                self.previews = [
                    Preview(int(one["index"]), str(one["image"]), (int(one["size"][0]), int(one["size"][1])))
                    for one in event["images"]
                ]
            else:
                return False
        except (KeyError, TypeError, ValueError, IndexError):
            return False  # an event of another version is no reason to lose the others
        return True

    def _go_back(self, step: int) -> None:
        for series in (self.loss, self.rate, self.speed, self.memory, *self.parts.values()):
            series.cut(step)
        self.epochs = [epoch for epoch in self.epochs if epoch.step <= step]

    def _step(self, event: Mapping[str, Any]) -> None:
        step = int(event["step"])
        self.loss.add(step, float(event["loss"]))
        for name, value in event["losses"].items():
            self.parts.setdefault(str(name), Series()).add(step, float(value))
        self.rate.add(step, float(event["lr"]))
        self.speed.add(step, float(event["images_per_s"]))
        self.memory.add(step, float(event["memory"]))

    def _epoch(self, event: Mapping[str, Any]) -> None:
        number = int(event["epoch"])
        self.epochs = [epoch for epoch in self.epochs if epoch.number < number]
        previews = event.get("previews", ())
        self.epochs.append(
            Epoch(
                number=number,
                step=int(event["step"]),
                train_loss=float(event["train_loss"]),
                val_loss=_number(event.get("val_loss")),
                miou=_number(event.get("miou")),
                iou=tuple(_number(value) for value in event.get("iou", ())),
                seconds=float(event.get("seconds", 0.0)),
                previews={int(one["index"]): _number(one.get("miou", one.get("error"))) for one in previews},
                views={int(one["index"]): tuple(map(str, one.get("views", ()))) for one in previews},
                val_losses={str(name): float(v) for name, v in (event.get("val_losses") or {}).items()},
            )
        )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def smoothed(values: ArrayLike, weight: float = 0.9) -> Floats:
    """An exponential moving average, corrected for its start as in Adam (Kingma and Ba, 2015).

    (N,) float64, `weight` from 0.5 to below 1. Values that are no number take no part: the average goes on
    across them.
    """
    given = np.asarray(values, np.float64)
    known = np.isfinite(given)
    if known.all():
        mass = -np.expm1(np.log(weight) * np.arange(1, len(given) + 1)) / (1.0 - weight)
    else:
        mass = _decaying_sum(known.astype(np.float64), weight)
    total = _decaying_sum(np.where(known, given, 0.0), weight)
    result: Floats = np.full_like(total, np.nan)
    np.divide(total, mass, out=result, where=mass > 0)
    return result


def _decaying_sum(values: Floats, weight: float) -> Floats:
    """s[i] = values[i] + weight * s[i - 1], a block at a time: a run may have 100,000 steps."""
    blocks = -(-len(values) // _BLOCK)
    padded = np.zeros(blocks * _BLOCK)
    padded[: len(values)] = values
    powers = weight ** np.arange(_BLOCK)
    sums: Floats = np.cumsum(padded.reshape(blocks, _BLOCK) / powers, axis=1) * powers
    before, carry = [], 0.0
    for last in sums[:, -1].tolist():
        before.append(carry)
        carry = last + carry * weight**_BLOCK
    sums += np.outer(before, weight * powers)
    return sums.ravel()[: len(values)]
