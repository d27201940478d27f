"""Model → recipe → start: a form made from the model's own options."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from segstudio.core.errors import UserError
from segstudio.core.recipe import CLASS_WEIGHTS, OPTIMIZERS, Recipe, RunClass
from segstudio.plugin_api import ModelSpec, Option
from segstudio.ui.train.option_fields import (
    field_name,
    field_of,
    form_layout,
    left_aligned,
    real_number,
    show_value,
    value_of,
    whole_number,
)
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import ElidedLabel, label, set_role
from segstudio.ui.widgets.section import FoldSection


class NewRunForm(QWidget):
    """`start_wanted` carries a finished recipe; `cancelled` when the person thinks better of it."""

    start_wanted = Signal(object)
    cancelled = Signal()
    more_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._specs: list[ModelSpec] = []
        self._options: dict[str, tuple[Option, QWidget]] = {}
        self._plugin_files: tuple[str, ...] = ()
        self._classes: tuple[RunClass, ...] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._head())
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inside = QWidget()
        inside.setObjectName("Plain")
        inside.setMaximumWidth(720)
        self._body = QVBoxLayout(inside)
        self._body.setContentsMargins(16, 16, 16, 16)
        self._body.setSpacing(16)
        self._build_model()
        self._build_recipe()
        self._build_more()
        self._body.addStretch(1)
        self._model_changed()
        scroll.setWidget(inside)
        column.addWidget(scroll, 1)

    # -- parts ---------------------------------------------------------------------------------------

    def _head(self) -> QWidget:
        head = QFrame()
        head.setObjectName("PaneHeader")
        head.setFixedHeight(40)
        row = QHBoxLayout(head)
        row.setContentsMargins(16, 0, 8, 0)
        row.setSpacing(8)
        row.addWidget(label("New run", size=13, strong=600))
        self._summary = ElidedLabel("", role="t2", size=12)
        row.addWidget(self._summary, 1)
        cancel = push_button("Cancel", tall=28)
        cancel.setToolTip("Cancel  Esc")
        cancel.clicked.connect(self.cancelled)
        self.start = push_button("Start training", kind="primary", icon_name="play")
        self.start.clicked.connect(self._start)
        row.addWidget(cancel)
        row.addWidget(self.start)
        return head

    def _build_model(self) -> None:
        form = form_layout()
        self.model = QComboBox()
        self.model.setAccessibleName("Model")
        self.model.setMaxVisibleItems(20)
        self.model.currentIndexChanged.connect(self._model_changed)
        self.title = QLineEdit()
        self.title.setAccessibleName("Name of the run")
        models = QHBoxLayout()
        models.setSpacing(4)
        more = IconButton("model", "More networks…\nTheir papers, parts and published weights", side=28)
        more.clicked.connect(self.more_wanted)
        models.addWidget(self.model, 1)
        models.addWidget(more)
        form.addRow(field_name("Model"), models)
        form.addRow(field_name("Name"), self.title)
        weights = QHBoxLayout()
        weights.setSpacing(4)
        self.weights = QLineEdit()
        self.weights.setPlaceholderText("drawn at random")
        self.weights.setAccessibleName("Weights to start from")
        browse = IconButton("project", "Choose a file of weights", side=28)
        browse.clicked.connect(self._browse)
        weights.addWidget(self.weights, 1)
        weights.addWidget(browse)
        form.addRow(field_name("Start from", "Weights that fit are loaded, the rest is drawn anew"), weights)
        self._body.addLayout(form)
        self._facts = label("", role="t2", size=12)
        self._facts.setWordWrap(True)
        self._body.addWidget(self._facts)

    def _build_recipe(self) -> None:
        self._body.addWidget(label("Recipe", size=15, strong=600))
        form = form_layout()
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
        crop = QHBoxLayout()
        crop.setSpacing(8)
        crop.addWidget(self.crop_width)
        crop.addWidget(label("×", role="t2"))
        crop.addWidget(self.crop_height)
        crop.addStretch(1)
        form.addRow(field_name("Epochs"), left_aligned(self.epochs))
        form.addRow(field_name("Batch", "Images of one step"), left_aligned(self.batch))
        form.addRow(field_name("Crop", "Width × height in pixels, cut from the scaled image"), crop)
        form.addRow(field_name("Learning rate"), left_aligned(self.lr))
        form.addRow(field_name("Optimizer"), left_aligned(self.optimizer))
        form.addRow(field_name("Loss"), left_aligned(self.class_weights, 220))
        self._body.addLayout(form)
        self.lr.valueChanged.connect(self._summarise)
        self.epochs.valueChanged.connect(self._summarise)
        self.batch.valueChanged.connect(self._summarise)
        self.optimizer.currentIndexChanged.connect(self._optimizer_changed)

    def _build_more(self) -> None:
        self._option_section = FoldSection("Options of the model", key="train.options", folded=True)
        self._option_body = QWidget()
        self._option_form = form_layout()
        self._option_form.setContentsMargins(8, 8, 8, 8)
        self._option_body.setLayout(self._option_form)
        self._option_section.set_body(self._option_body)
        self._body.addWidget(self._option_section)
        more = FoldSection("Augmentation and schedule", key="train.more", folded=True)
        body = QWidget()
        form = form_layout()
        form.setContentsMargins(8, 8, 8, 8)
        self.scale_low = real_number(0.1, 8.0, 0.5, 2, "Smallest scale")
        self.scale_high = real_number(0.1, 8.0, 2.0, 2, "Largest scale")
        scale = QHBoxLayout()
        scale.setSpacing(8)
        scale.addWidget(self.scale_low)
        scale.addWidget(label("to", role="t2"))
        scale.addWidget(self.scale_high)
        scale.addStretch(1)
        self.flip = QCheckBox("Mirror left and right")
        self.flip.setChecked(True)
        self.color = real_number(0.0, 1.0, 0.4, 2, "Colour changes")
        self.steps = whole_number(0, 1_000_000, 0, "Steps per epoch")
        self.steps.setSpecialValueText("once through")
        self.warmup = whole_number(0, 100_000, 0, "Warm-up steps")
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
        form.addRow(field_name("Scale"), scale)
        form.addRow(field_name(""), self.flip)
        form.addRow(
            field_name("Colour", "Strength of brightness, contrast and saturation changes"),
            left_aligned(self.color),
        )
        form.addRow(field_name("Steps per epoch"), left_aligned(self.steps))
        form.addRow(field_name("Warm-up steps"), left_aligned(self.warmup))
        form.addRow(field_name("Weight decay"), left_aligned(self.weight_decay))
        form.addRow(field_name("Accumulate", "Batches added up before a step"), left_aligned(self.accumulate))
        form.addRow(
            field_name("Hardest pixels", "Share of pixels that count (OHEM); 1 = all"),
            left_aligned(self.ohem),
        )
        form.addRow(field_name("Precision"), left_aligned(self.precision))
        form.addRow(field_name("Device"), left_aligned(self.device))
        form.addRow(field_name("Threads", "Of the processor"), left_aligned(self.threads))
        form.addRow(field_name("Seed"), left_aligned(self.seed))
        body.setLayout(form)
        more.set_body(body)
        self._body.addWidget(more)

    # -- filling -------------------------------------------------------------------------------------

    def show_specs(self, specs: list[ModelSpec], plugin_files: tuple[str, ...]) -> None:
        """The networks that can be trained; the choice stays where it was."""
        self._plugin_files = plugin_files
        wanted = [spec for spec in specs if spec.trainable and not spec.unavailable]
        if [spec.id for spec in wanted] == [spec.id for spec in self._specs]:
            return
        current = self.spec.id if self.spec is not None else ""
        with QSignalBlocker(self.model):
            self._specs = sorted(wanted, key=lambda spec: (spec.title.casefold(), spec.id))
            self.model.clear()
            for spec in self._specs:
                self.model.addItem(f"{spec.title}  ({spec.name})", spec.id)
            small = next((i for i, spec in enumerate(self._specs) if "mobilenet" in spec.id), 0)
            found = next((i for i, spec in enumerate(self._specs) if spec.id == current), small)
            self.model.setCurrentIndex(found)
        self._model_changed()

    def show_devices(self, devices: list[dict[str, Any]]) -> None:
        """The devices of this computer beside "Automatic"."""
        self.device.clear()
        self.device.addItem("Automatic", "auto")
        for entry in devices:
            self.device.addItem(str(entry["title"]), str(entry["id"]))

    def show_data(
        self, classes: tuple[RunClass, ...], size: tuple[int, int] | None, train: int, val: int
    ) -> None:
        """What would be trained on: sets the crop to the images where nobody chose one yet."""
        self._classes = classes
        self._counts = (train, val)
        if size is not None and not self.crop_width.property("touched"):
            self.crop_width.setValue(min(512, max(32, size[0] // 32 * 32)))
            self.crop_height.setValue(min(512, max(32, size[1] // 32 * 32)))
        self._summarise()

    def show_recipe(self, recipe: Recipe) -> None:
        """Fills the form with a recipe to change."""
        found = self.model.findData(recipe.model)
        if found >= 0:
            self.model.setCurrentIndex(found)
        self.title.setText(recipe.title)
        self.weights.setText(recipe.weights)
        self.optimizer.setCurrentIndex(OPTIMIZERS.index(recipe.optimizer))
        for field, value in (
            (self.epochs, recipe.epochs),
            (self.batch, recipe.batch),
            (self.crop_width, recipe.crop[0]),
            (self.crop_height, recipe.crop[1]),
            (self.steps, recipe.steps_per_epoch),
            (self.warmup, recipe.warmup_steps),
            (self.accumulate, recipe.accumulate),
            (self.threads, recipe.threads),
            (self.seed, recipe.seed),
        ):
            field.setValue(value)
        for number, amount in (
            (self.lr, recipe.lr),
            (self.scale_low, recipe.scale[0]),
            (self.scale_high, recipe.scale[1]),
            (self.color, recipe.color),
            (self.weight_decay, recipe.weight_decay),
            (self.ohem, recipe.ohem),
        ):
            number.setValue(amount)
        self.flip.setChecked(recipe.flip)
        self.class_weights.setCurrentIndex(CLASS_WEIGHTS.index(recipe.class_weights))
        self.precision.setCurrentIndex(1 if recipe.precision == "bf16" else 0)
        for name, value in recipe.options.items():
            if name in self._options:
                show_value(*self._options[name], value)

    def choose(self, model: str) -> None:
        """Brings a network in front, by its id."""
        found = self.model.findData(model)
        if found >= 0:
            self.model.setCurrentIndex(found)

    def use_class_weights(self) -> None:
        self.class_weights.setCurrentIndex(CLASS_WEIGHTS.index("frequency"))

    @property
    def spec(self) -> ModelSpec | None:
        index = self.model.currentIndex()
        return self._specs[index] if 0 <= index < len(self._specs) else None

    def recipe(self) -> Recipe:
        """What the form says. Raises UserError where a field makes no sense."""
        spec = self.spec
        if spec is None:
            raise UserError("No network can be trained", action="Install a plugin that brings one.")
        options = {}
        for name, (option, field) in self._options.items():
            value = value_of(option, field)
            if value != option.default:
                options[name] = value
        return Recipe(
            model=spec.id,
            classes=self._classes,
            options=options,
            title=self.title.text().strip() or spec.title,
            weights=self.weights.text().strip(),
            plugin_files=self._plugin_files,
            epochs=self.epochs.value(),
            steps_per_epoch=self.steps.value(),
            batch=self.batch.value(),
            accumulate=self.accumulate.value(),
            crop=(self.crop_width.value(), self.crop_height.value()),
            scale=(self.scale_low.value(), self.scale_high.value()),
            flip=self.flip.isChecked(),
            color=self.color.value(),
            optimizer=OPTIMIZERS[self.optimizer.currentIndex()],
            lr=self.lr.value(),
            weight_decay=self.weight_decay.value(),
            warmup_steps=self.warmup.value(),
            class_weights=CLASS_WEIGHTS[self.class_weights.currentIndex()],
            ohem=self.ohem.value(),
            device=str(self.device.currentData() or "auto"),
            precision="bf16" if self.precision.currentIndex() == 1 else "32",
            threads=self.threads.value(),
            seed=self.seed.value(),
        ).checked()

    # -- reactions -----------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.cancelled.emit()
            return
        super().keyPressEvent(event)

    def _start(self) -> None:
        try:
            recipe = self.recipe()
        except UserError as error:
            self._summary.setText(str(error))
            set_role(self._summary, "err")
            return
        self.start_wanted.emit(replace(recipe))

    def _model_changed(self) -> None:
        spec = self.spec
        while self._option_form.rowCount():
            self._option_form.removeRow(0)
        self._options.clear()
        self.start.setEnabled(spec is not None)
        self.start.setToolTip("Start training" if spec is not None else "No network to train is listed yet")
        if spec is None:
            self._facts.setText("The networks that can be trained are being listed…")
            self._option_section.hide()
            return
        for option in spec.options:
            field = field_of(option)
            self._options[option.name] = (option, field)
            words = option.name.replace("_", " ").capitalize()
            self._option_form.addRow(field_name(words, option.help), left_aligned(field))
        self._option_section.set_count(str(len(spec.options)))
        self._option_section.setVisible(bool(spec.options))
        self.title.setPlaceholderText(spec.title)
        facts = [spec.paper, str(spec.year) if spec.year else "", spec.id]
        self._facts.setText(" · ".join(fact for fact in facts if fact))
        self._summarise()

    def _optimizer_changed(self) -> None:
        adam = OPTIMIZERS[self.optimizer.currentIndex()] == "adamw"
        self.lr.setValue(0.001 if adam else 0.01)
        self.weight_decay.setValue(0.01 if adam else 0.0005)

    def _summarise(self) -> None:
        train, val = getattr(self, "_counts", (0, 0))
        set_role(self._summary, "t2")
        steps = self.steps.value() or max(1, train // max(1, self.batch.value() * self.accumulate.value()))
        self._summary.setText(
            f"{train} training and {val} validation images · {len(self._classes)} classes · "
            f"{steps * self.epochs.value()} steps"
        )

    def _browse(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Weights to start from", str(Path.home()), "Weights (*.safetensors *.pth *.pt *.bin)"
        )
        if chosen:
            self.weights.setText(chosen)
