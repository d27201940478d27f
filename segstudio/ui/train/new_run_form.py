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
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from segstudio.core.errors import UserError
from segstudio.core.recipe import CLASS_WEIGHTS, OPTIMIZERS, Recipe, RunClass
from segstudio.plugin_api import ModelSpec, Option
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import ElidedLabel, label, set_role
from segstudio.ui.widgets.section import FoldSection

FIELD = 132


class NewRunForm(QWidget):
    """`start_wanted` carries a finished recipe; `cancelled` when the person thinks better of it."""

    start_wanted = Signal(object)
    cancelled = Signal()

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
        form = _form()
        self.model = QComboBox()
        self.model.setAccessibleName("Model")
        self.model.setMaxVisibleItems(20)
        self.model.currentIndexChanged.connect(self._model_changed)
        self.title = QLineEdit()
        self.title.setAccessibleName("Name of the run")
        form.addRow(_name("Model"), self.model)
        form.addRow(_name("Name"), self.title)
        weights = QHBoxLayout()
        weights.setSpacing(4)
        self.weights = QLineEdit()
        self.weights.setPlaceholderText("drawn at random")
        self.weights.setAccessibleName("Weights to start from")
        browse = IconButton("project", "Choose a file of weights", side=28)
        browse.clicked.connect(self._browse)
        weights.addWidget(self.weights, 1)
        weights.addWidget(browse)
        form.addRow(_name("Start from", "Weights that fit are loaded, the rest is drawn anew"), weights)
        self._body.addLayout(form)
        self._facts = label("", role="t2", size=12)
        self._facts.setWordWrap(True)
        self._body.addWidget(self._facts)

    def _build_recipe(self) -> None:
        self._body.addWidget(label("Recipe", size=15, strong=600))
        form = _form()
        self.epochs = _whole(1, 10000, 40, "Epochs")
        self.batch = _whole(1, 512, 4, "Batch")
        self.crop_width = _whole(16, 4096, 256, "Crop width")
        self.crop_height = _whole(16, 4096, 256, "Crop height")
        self.lr = _real(0.0, 10.0, 0.01, 6, "Learning rate")
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
        form.addRow(_name("Epochs"), _left(self.epochs))
        form.addRow(_name("Batch", "Images of one step"), _left(self.batch))
        form.addRow(_name("Crop", "Width × height in pixels, cut from the scaled image"), crop)
        form.addRow(_name("Learning rate"), _left(self.lr))
        form.addRow(_name("Optimizer"), _left(self.optimizer))
        form.addRow(_name("Loss"), _left(self.class_weights, 220))
        self._body.addLayout(form)
        self.lr.valueChanged.connect(self._summarise)
        self.epochs.valueChanged.connect(self._summarise)
        self.batch.valueChanged.connect(self._summarise)
        self.optimizer.currentIndexChanged.connect(self._optimizer_changed)

    def _build_more(self) -> None:
        self._option_section = FoldSection("Options of the model", key="train.options", folded=True)
        self._option_body = QWidget()
        self._option_form = _form()
        self._option_form.setContentsMargins(8, 8, 8, 8)
        self._option_body.setLayout(self._option_form)
        self._option_section.set_body(self._option_body)
        self._body.addWidget(self._option_section)
        more = FoldSection("Augmentation and schedule", key="train.more", folded=True)
        body = QWidget()
        form = _form()
        form.setContentsMargins(8, 8, 8, 8)
        self.scale_low = _real(0.1, 8.0, 0.5, 2, "Smallest scale")
        self.scale_high = _real(0.1, 8.0, 2.0, 2, "Largest scale")
        scale = QHBoxLayout()
        scale.setSpacing(8)
        scale.addWidget(self.scale_low)
        scale.addWidget(label("to", role="t2"))
        scale.addWidget(self.scale_high)
        scale.addStretch(1)
        self.flip = QCheckBox("Mirror left and right")
        self.flip.setChecked(True)
        self.color = _real(0.0, 1.0, 0.4, 2, "Colour changes")
        self.steps = _whole(0, 1_000_000, 0, "Steps per epoch")
        self.steps.setSpecialValueText("once through")
        self.warmup = _whole(0, 100_000, 0, "Warm-up steps")
        self.weight_decay = _real(0.0, 1.0, 0.0005, 5, "Weight decay")
        self.accumulate = _whole(1, 256, 1, "Accumulate")
        self.ohem = _real(0.01, 1.0, 1.0, 2, "Hardest pixels")
        self.precision = QComboBox()
        self.precision.addItems(["32 bit", "bfloat16"])
        self.precision.setAccessibleName("Precision")
        self.device = QComboBox()
        self.device.addItem("Automatic", "auto")
        self.device.addItem("CPU", "cpu")
        self.device.setAccessibleName("Device")
        self.threads = _whole(0, os.cpu_count() or 1, 0, "Threads")
        self.threads.setSpecialValueText("all but one")
        self.seed = _whole(0, 2**31 - 1, 0, "Seed")
        form.addRow(_name("Scale"), scale)
        form.addRow(_name(""), self.flip)
        form.addRow(
            _name("Colour", "Strength of brightness, contrast and saturation changes"), _left(self.color)
        )
        form.addRow(_name("Steps per epoch"), _left(self.steps))
        form.addRow(_name("Warm-up steps"), _left(self.warmup))
        form.addRow(_name("Weight decay"), _left(self.weight_decay))
        form.addRow(_name("Accumulate", "Batches added up before a step"), _left(self.accumulate))
        form.addRow(_name("Hardest pixels", "Share of pixels that count (OHEM); 1 = all"), _left(self.ohem))
        form.addRow(_name("Precision"), _left(self.precision))
        form.addRow(_name("Device"), _left(self.device))
        form.addRow(_name("Threads", "Of the processor"), _left(self.threads))
        form.addRow(_name("Seed"), _left(self.seed))
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
                _show_value(*self._options[name], value)

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
            value = _value(option, field)
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
            field = _field_of(option)
            self._options[option.name] = (option, field)
            words = option.name.replace("_", " ").capitalize()
            self._option_form.addRow(_name(words, option.help), _left(field))
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


def _form() -> QFormLayout:
    form = QFormLayout()
    form.setHorizontalSpacing(16)
    form.setVerticalSpacing(8)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return form


def _name(text: str, tip: str = "") -> QWidget:
    made = label(text, role="t2", size=12)
    made.setFixedWidth(FIELD)
    made.setMinimumHeight(28)
    made.setToolTip(tip)
    return made


def _left(field: QWidget, width: int = FIELD) -> QWidget:
    if not isinstance(field, QCheckBox):
        field.setFixedWidth(width)
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(field)
    row.addStretch(1)
    return holder


def _whole(low: int, high: int, value: int, name: str) -> QSpinBox:
    made = QSpinBox()
    made.setRange(low, high)
    made.setValue(value)
    made.setAccessibleName(name)
    made.setFixedSize(FIELD, 28)
    made.lineEdit().setTextMargins(6, 0, 0, 0)
    return made


class _Number(QDoubleSpinBox):
    """Shows 0.01 as "0.01", however many decimals it takes."""

    def textFromValue(self, value: float) -> str:
        return self.locale().toString(value, "g", 6)


def _real(low: float, high: float, value: float, decimals: int, name: str) -> QDoubleSpinBox:
    made = _Number()
    made.setDecimals(decimals)
    made.setRange(low, high)
    made.setSingleStep(10.0 ** -min(2, decimals))
    made.setValue(value)
    made.setAccessibleName(name)
    made.setFixedSize(FIELD, 28)
    made.lineEdit().setTextMargins(6, 0, 0, 0)
    return made


def _field_of(option: Option) -> QWidget:
    made: QWidget
    if option.kind == "bool":
        made = QCheckBox()
    elif option.kind == "choice":
        made = QComboBox()
        for choice in option.choices:
            made.addItem(str(choice), choice)
    elif option.kind == "int":
        low = int(option.minimum) if option.minimum is not None else -(2**31)
        high = int(option.maximum) if option.maximum is not None else 2**31 - 1
        made = _whole(low, high, 0, option.name)
    elif option.kind == "float" and option.default is not None:
        made = _real(
            option.minimum if option.minimum is not None else -1e9,
            option.maximum if option.maximum is not None else 1e9,
            0.0,
            4,
            option.name,
        )
    else:
        made = QLineEdit()
        made.setPlaceholderText("as published" if option.default is None else "")
    made.setAccessibleName(option.name)
    made.setToolTip(option.help)
    _show_value(option, made, option.default)
    return made


def _show_value(option: Option, field: QWidget, value: Any) -> None:
    if isinstance(field, QCheckBox):
        field.setChecked(bool(value))
    elif isinstance(field, QComboBox):
        field.setCurrentIndex(max(0, field.findText(str(value))))
    elif isinstance(field, QSpinBox):
        field.setValue(int(value))
    elif isinstance(field, QDoubleSpinBox):
        field.setValue(float(value))
    elif isinstance(field, QLineEdit):
        text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        field.setText(text)


def _value(option: Option, field: QWidget) -> Any:
    if isinstance(field, QCheckBox):
        return field.isChecked()
    if isinstance(field, QComboBox):
        return option.choices[field.currentIndex()]
    if isinstance(field, QSpinBox | QDoubleSpinBox):
        return field.value()
    assert isinstance(field, QLineEdit)
    text = field.text().strip()
    if not text:
        return option.default
    try:
        if option.kind == "ints":
            return tuple(int(part) for part in text.replace("x", ",").split(","))
        return float(text) if option.kind == "float" else text
    except ValueError as error:
        raise UserError(f"{option.name} is {text!r}, expected {option.kind}") from error
