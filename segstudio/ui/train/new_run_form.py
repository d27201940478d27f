"""Model → recipe → start: a form made from the model's own options, for masks or for pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLineEdit, QScrollArea, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.core.recipe import Recipe, RunClass, check_given
from segstudio.plugin_api import ModelSpec, Option, PretrainingSpec
from segstudio.ui.train.option_fields import (
    field_name,
    field_of,
    form_layout,
    is_share,
    left_aligned,
    show_value,
    value_of,
)
from segstudio.ui.train.recipe_fields import TASKS, RecipeFields, Task
from segstudio.ui.train.weights_field import Offer, WeightsField
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import ElidedLabel, label, set_role
from segstudio.ui.widgets.section import FoldSection
from segstudio.ui.widgets.segmented import Segment, SegmentedControl

_IMAGE_SIZE = "image_size"  # the option of pre-training that the recipe's crop stands for


@dataclass(frozen=True)
class RunData:
    """What a run would be made of: labelled images by split for masks, all images for pre-training."""

    classes: tuple[RunClass, ...] = ()
    size: tuple[int, int] | None = None
    labelled: tuple[int, int] = (0, 0)
    pictures: tuple[int, int] = (0, 0)


class NewRunForm(QWidget):
    """`start_wanted` carries a finished recipe; `cancelled` when the person thinks better of it."""

    start_wanted = Signal(object)
    cancelled = Signal()
    more_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._specs: list[ModelSpec | PretrainingSpec] = []
        self._of_task: dict[Task, list[ModelSpec | PretrainingSpec]] = {"segmentation": [], "pretraining": []}
        self._chosen: dict[Task, str] = {"segmentation": "", "pretraining": ""}
        self._fitting: tuple[str, tuple[str, ...]] = ("", ())
        self._options: dict[str, tuple[Option, QWidget]] = {}
        self._leading: list[QWidget] = []  # fields of options that the whole run turns on
        self._plugin_files: tuple[str, ...] = ()
        self._data = RunData()
        self._offers: tuple[Offer, ...] = ()
        self.fields = RecipeFields(self)
        self.fields.changed.connect(self._summarise)
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
        self.task = SegmentedControl(
            [
                Segment("Segmentation", tip="Segmentation\nLearns masks from the labels of this project"),
                Segment("Pre-training", tip="Pre-training\nLearns from all pictures alone, without labels"),
            ],
            name="What is trained",
        )
        self.task.changed.connect(lambda index: self._show_task(TASKS[index]))
        self.task.hide()  # until a plugin has both
        self._body.addWidget(self.task)
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
        self._more = more
        models.addWidget(self.model, 1)
        models.addWidget(more)
        form.addRow(field_name("Model"), models)
        form.addRow(field_name("Name"), self.title)
        self.weights = WeightsField("Weights to start from", placeholder="drawn at random")
        self.weights.path.textChanged.connect(self._tell_facts)
        form.addRow(
            field_name("Start from", "Weights that fit are loaded, the rest is drawn anew"), self.weights
        )
        self._body.addLayout(form)
        self._facts = label("", role="t2", size=12)
        self._facts.setWordWrap(True)
        self._body.addWidget(self._facts)

    def _build_recipe(self) -> None:
        self._body.addWidget(label("Recipe", size=15, strong=600))
        self._first_form = self.fields.first_form()
        self._body.addLayout(self._first_form)

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
        form = self.fields.further_form()
        form.setContentsMargins(8, 8, 8, 8)
        body.setLayout(form)
        more.set_body(body)
        self._body.addWidget(more)

    # -- filling -------------------------------------------------------------------------------------

    def show_specs(
        self,
        specs: Sequence[ModelSpec],
        plugin_files: tuple[str, ...],
        pretraining: Sequence[PretrainingSpec] = (),
    ) -> None:
        """What can be trained; the choice stays where it was."""
        self._plugin_files = plugin_files
        self._of_task = {
            "segmentation": [spec for spec in specs if spec.trainable and not spec.unavailable],
            "pretraining": [spec for spec in pretraining if not spec.unavailable],
        }
        self.task.setVisible(bool(self._of_task["pretraining"]))
        self._fill_models()

    def _fill_models(self) -> None:
        task = self.fields.task
        wanted = self._of_task[task]
        if task == "segmentation":
            wanted = sorted(wanted, key=lambda spec: (spec.title.casefold(), spec.id))
        if [spec.id for spec in wanted] == [spec.id for spec in self._specs]:
            return
        with QSignalBlocker(self.model):
            self._specs = list(wanted)
            self.model.clear()
            for spec in self._specs:
                self.model.addItem(f"{spec.title}  ({spec.name})", spec.id)
            small = next((i for i, spec in enumerate(self._specs) if "mobilenet" in spec.id), 0)
            known = [spec.id for spec in self._specs]
            current = self._chosen[task]
            self.model.setCurrentIndex(known.index(current) if current in known else small)
        self._model_changed()

    def _show_task(self, task: Task) -> None:
        self.fields.show_task(task)
        self._more.setVisible(task == "segmentation")
        self.weights.setText("")
        self._fill_models()
        if self._data.size is not None:
            self.fields.fit_crop(self._data.size)
        self._summarise()

    def show_data(self, data: RunData) -> None:
        """What would be trained on: sets the crop to the images where nobody chose one yet."""
        self._data = data
        if data.size is not None:
            self.fields.fit_crop(data.size)
        self._summarise()

    def offer_weights(self, offers: Sequence[Offer]) -> None:
        """What pre-training runs of this project left to begin with."""
        self._offers = tuple(offers)
        for field in (self.weights, *(field for _, field in self._options.values())):
            if isinstance(field, WeightsField):
                field.offer(self._offers)

    def show_recipe(self, recipe: Recipe) -> None:
        """Fills the form with a recipe to change."""
        self.choose_task("pretraining" if recipe.task == "pretraining" else "segmentation")
        self.choose(recipe.model)
        self.title.setText(recipe.title)
        self.weights.setText(recipe.weights)
        self.fields.show_recipe(recipe)
        for name, value in recipe.options.items():
            if name in self._options:
                show_value(*self._options[name], value)

    def choose_task(self, task: Task) -> None:
        """Brings the form of this task in front, where there is one."""
        if task == "segmentation" or self._of_task["pretraining"]:
            self.task.set_current(TASKS.index(task))

    def choose(self, model: str) -> None:
        """Brings a network in front, by its id."""
        task = next((task for task in TASKS if any(spec.id == model for spec in self._of_task[task])), None)
        if task is not None:
            self.choose_task(task)
        found = self.model.findData(model)
        if found >= 0:
            self.model.setCurrentIndex(found)

    def start_from(self, weights: str, backbones: Sequence[str]) -> None:
        """Masks next, from these weights: a network is chosen whose backbone begins with them."""
        self.choose_task("segmentation")
        self._fitting = (weights, tuple(backbones))
        fitting = [spec for spec in self._specs if isinstance(spec, ModelSpec) and spec.backbone in backbones]
        fitting.sort(key=lambda spec: backbones.index(spec.backbone))
        if fitting and self.spec not in fitting:
            self.choose(fitting[0].id)
        self.fields.fit_finetuning()
        self.weights.setText(weights)

    @property
    def spec(self) -> ModelSpec | PretrainingSpec | None:
        index = self.model.currentIndex()
        return self._specs[index] if 0 <= index < len(self._specs) else None

    def recipe(self) -> Recipe:
        """What the form says. Raises UserError where a field makes no sense."""
        spec = self.spec
        if spec is None:
            raise UserError("No network can be trained", action="Install a plugin that brings one.")
        options: dict[str, Any] = {}
        for name, (option, field) in self._options.items():
            value = value_of(option, field)
            if value != option.default:
                options[name] = value
        values = self.fields.values()
        if isinstance(spec, PretrainingSpec):
            check_given(spec, options)
            values["task"] = "pretraining"
            width, height = values["crop"]
            if width % spec.size_divisor or height % spec.size_divisor:
                raise UserError(
                    f"The crop is {width} × {height}, but both sides must be divisible by {spec.size_divisor}"
                )
        return Recipe(
            model=spec.id,
            classes=() if isinstance(spec, PretrainingSpec) else self._data.classes,
            options=options,
            title=self.title.text().strip() or spec.title,
            weights=self.weights.text(),
            plugin_files=self._plugin_files,
            **values,
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
        for field in self._leading:
            self._first_form.removeRow(field)
        self._leading.clear()
        self._options.clear()
        self.start.setEnabled(spec is not None)
        self.start.setToolTip("Start training" if spec is not None else "No network to train is listed yet")
        if spec is None:
            self._facts.setText("The networks that can be trained are being listed…")
            self._option_section.hide()
            return
        self._chosen[self.fields.task] = spec.id
        pretrains = isinstance(spec, PretrainingSpec)
        options = [option for option in spec.options if not (pretrains and option.name == _IMAGE_SIZE)]
        for option in options:
            field = field_of(option)
            self._options[option.name] = (option, field)
            if isinstance(field, WeightsField):
                field.offer(self._offers)
            name = field_name(option.name.replace("_", " ").capitalize(), option.help)
            if pretrains and (option.kind == "weights" or is_share(option)):
                self._first_form.addRow(name, field)
                self._leading.append(field)
            else:
                self._option_form.addRow(name, left_aligned(field))
        self._option_section.set_count(str(self._option_form.rowCount()))
        self._option_section.setVisible(self._option_form.rowCount() > 0)
        self.title.setPlaceholderText(spec.title)
        if isinstance(spec, PretrainingSpec):
            size = next((option.default for option in spec.options if option.name == _IMAGE_SIZE), None)
            self.fields.fit_pretraining(_pair_of(size), spec.size_divisor, spec.rate)
        self._tell_facts()
        self._summarise()

    def _tell_facts(self) -> None:
        spec = self.spec
        if spec is None:
            return
        facts = [spec.paper, str(spec.year) if spec.year else "", spec.id]
        words = " · ".join(fact for fact in facts if fact)
        weights, backbones = self._fitting
        fits = not backbones or not isinstance(spec, ModelSpec) or spec.backbone in backbones
        if weights and self.weights.text() == weights and not fits:
            words += f"\nThese weights fit networks with another backbone: {', '.join(backbones)}."
        self._facts.setText(words)

    def _summarise(self) -> None:
        pretrains = self.fields.task == "pretraining"
        train, val = self._data.pictures if pretrains else self._data.labelled
        self.fields.fit_warmup(train)
        set_role(self._summary, "t2")
        learned = "labelled or not" if pretrains else f"{len(self._data.classes)} classes"
        self._summary.setText(
            f"{train} training and {val} validation images · {learned} · {self.fields.steps_of(train)} steps"
        )


def _pair_of(value: object) -> tuple[int, int] | None:
    """Height and width, from one number for both or from two."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if isinstance(value, tuple | list) and len(value) == 2:
        return int(value[0]), int(value[1])
    return None
