"""Model → recipe → start: a form made from the model's own options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
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
from segstudio.core.recipe import Recipe, RunClass
from segstudio.plugin_api import ModelSpec, Option
from segstudio.ui.train.option_fields import (
    field_name,
    field_of,
    form_layout,
    left_aligned,
    show_value,
    value_of,
)
from segstudio.ui.train.recipe_fields import RecipeFields
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
        self._body.addLayout(self.fields.first_form())

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

    def show_data(
        self, classes: tuple[RunClass, ...], size: tuple[int, int] | None, train: int, val: int
    ) -> None:
        """What would be trained on: sets the crop to the images where nobody chose one yet."""
        self._classes = classes
        self._counts = (train, val)
        if size is not None:
            self.fields.fit_crop(size)
        self._summarise()

    def show_recipe(self, recipe: Recipe) -> None:
        """Fills the form with a recipe to change."""
        found = self.model.findData(recipe.model)
        if found >= 0:
            self.model.setCurrentIndex(found)
        self.title.setText(recipe.title)
        self.weights.setText(recipe.weights)
        self.fields.show_recipe(recipe)
        for name, value in recipe.options.items():
            if name in self._options:
                show_value(*self._options[name], value)

    def choose(self, model: str) -> None:
        """Brings a network in front, by its id."""
        found = self.model.findData(model)
        if found >= 0:
            self.model.setCurrentIndex(found)

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
            **self.fields.values(),
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

    def _summarise(self) -> None:
        train, val = getattr(self, "_counts", (0, 0))
        set_role(self._summary, "t2")
        self._summary.setText(
            f"{train} training and {val} validation images · {len(self._classes)} classes · "
            f"{self.fields.steps_of(train)} steps"
        )

    def _browse(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Weights to start from", str(Path.home()), "Weights (*.safetensors *.pth *.pt *.bin)"
        )
        if chosen:
            self.weights.setText(chosen)
