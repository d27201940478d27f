"""A new run: the form when somebody first asks for it, what it is told, and the run made of its recipe."""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QStackedWidget

from segstudio.core.errors import UserError
from segstudio.core.new_run import run_classes
from segstudio.core.recipe import Recipe
from segstudio.ui.room import Services
from segstudio.ui.train.check_section import CheckSection
from segstudio.ui.train.new_run_form import NewRunForm, RunData


class RunMaking(QObject):
    """Puts the form into the stack of the tab; `closed` when it is no longer wanted."""

    closed = Signal()

    def __init__(self, services: Services, check: CheckSection, stack: QStackedWidget) -> None:
        super().__init__(stack)
        self._services = services
        self._session, self._shelf, self._runs = services.session, services.shelf, services.runs
        self._check = check
        self._stack = stack
        self.made: NewRunForm | None = None
        check.reported.connect(self.show_data)
        if self._shelf is not None:
            self._shelf.changed.connect(self._show_models)

    @property
    def form(self) -> NewRunForm:
        """Made when somebody first asks for it: its many fields take longer than the rest of the room."""
        if self.made is None:
            self.made = made = NewRunForm()
            self._stack.addWidget(made)
            made.cancelled.connect(self.closed)
            made.more_wanted.connect(self._services.actions.action("window.networks").trigger)
            made.start_wanted.connect(self._create)
            self.refresh()
            self.show_data()
        return self.made

    def show(self) -> None:
        """Brings the form in front, where there is a project to make runs of."""
        if self._session.project is None:
            return
        form = self.form
        form.offer_weights(
            [
                (
                    f"Run {view.number} · {view.title}, best weights",
                    str(view.folder.checkpoints / "best.safetensors"),
                )
                for view in self._runs.views
                if view.is_pretraining and view.has_best
            ]
        )
        self._stack.setCurrentWidget(form)
        self.form.model.setFocus(Qt.FocusReason.OtherFocusReason)
        self._services.status.hint_changed.emit("[Esc] goes back without a run")

    def refresh(self) -> None:
        """The tab came in front: models may be others, and devices are asked for where nobody did."""
        self._show_models()
        worker, form = self._services.worker, self.made
        if worker is not None and form is not None and form.fields.device.count() <= 2:
            call = worker.request("devices")
            call.finished.connect(lambda values: form.fields.show_devices(values.get("devices", [])))

    def show_data(self) -> None:
        """What the check found is told to the form."""
        report, project = self._check.report, self._session.project
        if report is not None and project is not None and self.made is not None:
            classes, _ = run_classes(project)
            self.made.show_data(RunData(classes, report.size, (report.train, report.val), report.pictures))

    def _show_models(self) -> None:
        if self._shelf is not None and self.made is not None:
            files = tuple(str(file.absolute()) for file in self._shelf.plugin_files)
            self.made.show_specs(self._shelf.specs, files, self._shelf.pretraining)

    def _create(self, recipe: Recipe) -> None:
        project = self._session.project
        if project is None:
            return
        report = self._check.report
        if recipe.task == "segmentation" and report is not None and not report.can_train:
            wrong = next(finding for finding in report.findings if finding.level == "err")
            self._services.status.error.emit(UserError(wrong.title, action=wrong.detail.capitalize()))
            return
        self._session.saving.flush()
        self._runs.create(recipe, project)
        self.closed.emit()
