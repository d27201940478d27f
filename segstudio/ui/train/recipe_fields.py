"""The fields of a training recipe: what is asked of every network, whatever its own options are.

What belongs to one of the two tasks only is absent from the form of the other.
"""

from __future__ import annotations

import os
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QHBoxLayout, QLayout, QWidget

from segstudio.core.recipe import CLASS_WEIGHTS, OPTIMIZERS, PRETRAINING_BEGINS_WITH, SCHEDULES, Recipe
from segstudio.ui.train.option_fields import (
    field_name,
    form_layout,
    left_aligned,
    real_number,
    whole_number,
)
from segstudio.ui.widgets.labels import label

Task = Literal["segmentation", "pretraining"]
TASKS: tuple[Task, ...] = ("segmentation", "pretraining")

_WARMUP_SHARE = 0.05
_FINETUNING_RATE = 0.0001


class RecipeFields(QObject):
    """Makes the fields in two forms, shows a recipe in them and reads it back."""

    changed = Signal()  # what the number of steps depends on

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._warmup_set = 0
        self._is_filling = False
        self._make_first()
        self._make_further()
        for number in (self.epochs, self.batch, self.lr):
            number.valueChanged.connect(self.changed)
        self.optimizer.currentIndexChanged.connect(self._optimizer_changed)
        self._crop_is_chosen = False
        self._task: Task = "segmentation"
        self._kept: dict[Task, dict[str, Any]] = {"pretraining": {**self.values(), **PRETRAINING_BEGINS_WITH}}
        self._only: dict[Task, list[tuple[QFormLayout, QWidget]]] = {"segmentation": [], "pretraining": []}
        for side in (self.crop_width, self.crop_height):
            side.valueChanged.connect(self._choose_crop)

    def _make_first(self) -> None:
        self.epochs = whole_number(1, 10000, 40, "Epochs")
        self.batch = whole_number(1, 512, 4, "Batch")
        self.crop_width = whole_number(16, 4096, 256, "Crop width")
        self.crop_height = whole_number(16, 4096, 256, "Crop height")
        self.lr = real_number(0.0, 10.0, 0.01, 6, "Learning rate")
        self.optimizer = QComboBox()
        self.optimizer.addItems([{"sgd": "SGD", "adamw": "AdamW"}[name] for name in OPTIMIZERS])
        self.optimizer.setAccessibleName("Optimizer")
        self.class_weights = QComboBox()
        self.class_weights.addItems(["All classes weigh the same", "Rare classes weigh more"])
        self.class_weights.setAccessibleName("Class weights")

    def _make_further(self) -> None:
        self.scale_low = real_number(0.1, 8.0, 0.5, 2, "Smallest scale")
        self.scale_high = real_number(0.1, 8.0, 2.0, 2, "Largest scale")
        self.flip = QCheckBox("Mirror left and right")
        self.flip.setChecked(True)
        self.color = real_number(0.0, 1.0, 0.4, 2, "Colour changes")
        self.steps = whole_number(0, 1_000_000, 0, "Steps per epoch")
        self.steps.setSpecialValueText("once through")
        self.warmup = whole_number(0, 100_000, 0, "Warm-up steps")
        self.schedule = QComboBox()
        self.schedule.addItems([{"poly": "Polynomial", "cosine": "Cosine"}[name] for name in SCHEDULES])
        self.schedule.setAccessibleName("Decay")
        self.weight_decay = real_number(0.0, 1.0, 0.0005, 5, "Weight decay")
        self.accumulate = whole_number(1, 256, 1, "Accumulate")
        self.ohem = real_number(0.01, 1.0, 1.0, 2, "Hardest pixels")
        self.precision = QComboBox()
        self.precision.addItems(["32 bit", "bfloat16"])
        self.precision.setAccessibleName("Precision")
        self.device = QComboBox()
        self.device.addItem("Automatic", "auto")
        self.device.addItem("CPU", "cpu")
        self.device.setAccessibleName("Device")
        self.threads = whole_number(0, os.cpu_count() or 1, 0, "Threads")
        self.threads.setSpecialValueText("all but one")
        self.seed = whole_number(0, 2**31 - 1, 0, "Seed")

    # -- forms ---------------------------------------------------------------------------------------

    def first_form(self) -> QFormLayout:
        """What nearly everybody looks at."""
        form = form_layout()
        form.addRow(field_name("Epochs"), left_aligned(self.epochs))
        form.addRow(field_name("Batch", "Images of one step"), left_aligned(self.batch))
        crop = _pair(self.crop_width, "×", self.crop_height)
        form.addRow(field_name("Crop", "Width × height in pixels, cut from the scaled image"), crop)
        form.addRow(field_name("Learning rate"), left_aligned(self.lr))
        form.addRow(field_name("Optimizer"), left_aligned(self.optimizer))
        loss = left_aligned(self.class_weights, 220)
        form.addRow(field_name("Loss"), loss)
        self._only["segmentation"].append((form, loss))
        return form

    def further_form(self) -> QFormLayout:
        """Augmentation, schedule, and where it runs."""
        form = form_layout()
        scale = QWidget()
        pair = _pair(self.scale_low, "to", self.scale_high)
        pair.setContentsMargins(0, 0, 0, 0)
        scale.setLayout(pair)
        self._scale_name = field_name("Scale", _SCALE_TIPS["segmentation"])
        form.addRow(self._scale_name, scale)
        form.addRow(field_name(""), self.flip)
        form.addRow(
            field_name("Colour", "Strength of brightness, contrast and saturation changes"),
            left_aligned(self.color),
        )
        form.addRow(field_name("Steps per epoch"), left_aligned(self.steps))
        form.addRow(field_name("Warm-up steps"), left_aligned(self.warmup))
        form.addRow(
            field_name("Decay", "How the learning rate falls after the warm-up"), left_aligned(self.schedule)
        )
        form.addRow(field_name("Weight decay"), left_aligned(self.weight_decay))
        form.addRow(field_name("Accumulate", "Batches added up before a step"), left_aligned(self.accumulate))
        hardest = left_aligned(self.ohem)
        form.addRow(field_name("Hardest pixels", "Share of pixels that count (OHEM); 1 = all"), hardest)
        self._only["segmentation"].append((form, hardest))
        form.addRow(field_name("Precision"), left_aligned(self.precision))
        form.addRow(field_name("Device"), left_aligned(self.device))
        form.addRow(field_name("Threads", "Of the processor"), left_aligned(self.threads))
        form.addRow(field_name("Seed"), left_aligned(self.seed))
        return form

    # -- values --------------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        return self._task

    def show_task(self, task: Task) -> None:
        """Shows the fields of this task, with the values they had when it was left."""
        if task == self._task:
            return
        self._kept[self._task] = self.values()
        self._task = task
        for side in (self.crop_width, self.crop_height):
            side.setSingleStep(1)
        for other, rows in self._only.items():
            for form, row in rows:
                form.setRowVisible(row, other == task)
        self._scale_name.setToolTip(_SCALE_TIPS[task])
        chosen = self._crop_is_chosen
        self._show_values(self._kept[task])
        self._crop_is_chosen = chosen

    def fit_pretraining(self, size: tuple[int, int] | None, divisor: int, rate: float) -> None:
        """What a way of pre-training asks for: pictures of `size` (height, width) in steps, and its rate."""
        chosen = self._crop_is_chosen
        for side in (self.crop_width, self.crop_height):
            side.setSingleStep(max(1, divisor))
        if size is not None:
            self.crop_height.setValue(size[0])
            self.crop_width.setValue(size[1])
        self._crop_is_chosen = chosen
        self.lr.setValue(rate)

    def fit_finetuning(self) -> None:
        """Begins where BEiT and MAE do when they go on with masks (2106.08254, appendix; 2111.06377, A.4)."""
        self.optimizer.setCurrentIndex(OPTIMIZERS.index("adamw"))
        self.lr.setValue(_FINETUNING_RATE)
        self.weight_decay.setValue(0.05)

    def fit_warmup(self, images: int) -> None:
        """Warm-up over the first steps of a pre-training, where nobody chose another."""
        if self._is_filling or self._task != "pretraining":
            return
        if self.warmup.value() == self._warmup_set:
            self._warmup_set = round(_WARMUP_SHARE * self.steps_of(images))
            self.warmup.setValue(self._warmup_set)

    def show_devices(self, devices: list[dict[str, Any]]) -> None:
        """The devices of this computer beside "Automatic"."""
        self.device.clear()
        self.device.addItem("Automatic", "auto")
        for entry in devices:
            self.device.addItem(str(entry["title"]), str(entry["id"]))

    def fit_crop(self, size: tuple[int, int]) -> None:
        """Sets the crop to images of this size, where nobody chose one yet."""
        if self._task == "segmentation" and not self._crop_is_chosen:
            self.crop_width.setValue(min(512, max(32, size[0] // 32 * 32)))
            self.crop_height.setValue(min(512, max(32, size[1] // 32 * 32)))
            self._crop_is_chosen = False

    def use_class_weights(self) -> None:
        self.class_weights.setCurrentIndex(CLASS_WEIGHTS.index("frequency"))

    def steps_of(self, images: int) -> int:
        """Steps of the whole run on so many training images."""
        once = max(1, images // max(1, self.batch.value() * self.accumulate.value()))
        return (self.steps.value() or once) * self.epochs.value()

    def show_recipe(self, recipe: Recipe) -> None:
        """Fills the fields with a recipe to change."""
        self._show_values({name: getattr(recipe, name) for name in self.values()})
        self._warmup_set = -1  # the recipe's own, whatever it is

    def _show_values(self, values: dict[str, Any]) -> None:
        """Fills the fields with what `values` gave; told as one change."""
        self._is_filling = True
        self.optimizer.setCurrentIndex(OPTIMIZERS.index(values["optimizer"]))  # sets two of the others
        for field, value in (
            (self.epochs, values["epochs"]),
            (self.batch, values["batch"]),
            (self.crop_width, values["crop"][0]),
            (self.crop_height, values["crop"][1]),
            (self.steps, values["steps_per_epoch"]),
            (self.warmup, values["warmup_steps"]),
            (self.accumulate, values["accumulate"]),
            (self.threads, values["threads"]),
            (self.seed, values["seed"]),
        ):
            field.setValue(value)
        for number, amount in (
            (self.lr, values["lr"]),
            (self.scale_low, values["scale"][0]),
            (self.scale_high, values["scale"][1]),
            (self.color, values["color"]),
            (self.weight_decay, values["weight_decay"]),
            (self.ohem, values["ohem"]),
        ):
            number.setValue(amount)
        self.flip.setChecked(values["flip"])
        self.schedule.setCurrentIndex(SCHEDULES.index(values["schedule"]))
        self.class_weights.setCurrentIndex(CLASS_WEIGHTS.index(values["class_weights"]))
        self.precision.setCurrentIndex(1 if values["precision"] == "bf16" else 0)
        self._is_filling = False
        self.changed.emit()

    def values(self) -> dict[str, Any]:
        """Arguments of `Recipe`, as the fields say."""
        return {
            "epochs": self.epochs.value(),
            "steps_per_epoch": self.steps.value(),
            "batch": self.batch.value(),
            "accumulate": self.accumulate.value(),
            "crop": (self.crop_width.value(), self.crop_height.value()),
            "scale": (self.scale_low.value(), self.scale_high.value()),
            "flip": self.flip.isChecked(),
            "color": self.color.value(),
            "optimizer": OPTIMIZERS[self.optimizer.currentIndex()],
            "lr": self.lr.value(),
            "weight_decay": self.weight_decay.value(),
            "schedule": SCHEDULES[self.schedule.currentIndex()],
            "warmup_steps": self.warmup.value(),
            "class_weights": CLASS_WEIGHTS[self.class_weights.currentIndex()],
            "ohem": self.ohem.value(),
            "device": str(self.device.currentData() or "auto"),
            "precision": "bf16" if self.precision.currentIndex() == 1 else "32",
            "threads": self.threads.value(),
            "seed": self.seed.value(),
        }

    def _choose_crop(self) -> None:
        self._crop_is_chosen = True

    def _optimizer_changed(self) -> None:
        adam = OPTIMIZERS[self.optimizer.currentIndex()] == "adamw"
        self.lr.setValue(0.001 if adam else 0.01)
        self.weight_decay.setValue(0.01 if adam else 0.0005)


_SCALE_TIPS: dict[Task, str] = {
    "segmentation": "How much images are enlarged or shrunk before the crop is cut",
    "pretraining": "Share of the image's area that a crop takes, before it is brought to its size",
}


def _pair(first: Any, word: str, second: Any) -> QLayout:
    """Two numbers with a word between them."""
    row = QHBoxLayout()
    row.setSpacing(8)
    row.addWidget(first)
    row.addWidget(label(word, role="t2"))
    row.addWidget(second)
    row.addStretch(1)
    return row
