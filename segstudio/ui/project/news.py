"""What the open project has to tell a person, as cards and short notices over the room."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QRect

from segstudio.core.errors import UserError
from segstudio.core.records import ScanReport
from segstudio.runtime.actions import ActionTable
from segstudio.runtime.label_import import take_copies
from segstudio.runtime.session import ProjectSession
from segstudio.ui.notices import Notices
from segstudio.ui.rooms import Rooms


class ProjectNews(QObject):
    """Follows the session. A room that tells itself what is wrong with the file in front gets no card."""

    def __init__(
        self,
        session: ProjectSession,
        notices: Notices,
        actions: ActionTable,
        rooms: Rooms,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._session, self._notices, self._actions = session, notices, actions
        self._rooms = rooms
        session.opened.connect(self._opened)
        session.problem.connect(self._problem)
        session.scanned.connect(self._scanned)
        session.undone.connect(self._undone)

    def look_for_changed_copies(self) -> None:
        """Offer to take over label pictures that another program changed."""
        if not self._session.read_only_reason:
            self._session.read(lambda project: project.changed_copies(), self._offer_copies)

    def _opened(self) -> None:
        project = self._session.project
        note = project.home_note if project is not None else ""
        for sentence in (self._session.read_only_reason, note):
            if sentence:
                self._notices.show_error(UserError(sentence.rstrip(".")), severity="warn")

    def _problem(self, error: UserError) -> None:
        """No card on top of what the room says in the picture's own place."""
        image = self._session.image
        in_place = getattr(self._rooms.current, "shows_problems", False)
        if not (in_place and image is not None and image.problem is error):
            self._notices.show_error(error)

    def _scanned(self, report: ScanReport) -> None:
        if report.skipped:
            count = len(report.skipped)
            words = "1 entry of the folder was" if count == 1 else f"{count} entries of the folder were"
            details = "\n".join(f"{path}: {why}" for path, why in report.skipped)
            error = UserError(f"{words} left out", where="as no pictures to label", details=details)
            self._notices.show_error(error, severity="warn")

    def _offer_copies(self, changed: list[tuple[int, Path]]) -> None:
        """Label pictures that another program wrote over: nothing is lost, and nothing taken unasked."""
        if not changed:
            return
        session, count = self._session, len(changed)
        error = UserError(
            "1 label picture was changed" if count == 1 else f"{count} label pictures were changed",
            where="by another program since SegStudio wrote it" if count == 1 else "by another program",
            action="Take them over as a step that can be undone, or keep the project's labels.",
            details="\n".join(str(path) for _image, path in changed),
        )
        take = ("Take over", lambda: take_copies(session, changed))
        self._notices.show_error(error, severity="warn", buttons=[take])

    def _undone(self, tool: str, class_index: int, _where: QRect, redo: bool) -> None:
        entry = self._session.class_of(class_index)
        what = tool.replace("_", " ").capitalize() + (f" · {entry.name}" if entry is not None else "")
        action = self._actions.action("edit.undo" if redo else "edit.redo")
        word = "Redone" if redo else "Undone"
        self._notices.show_notice(f"{word}: {what}", "Undo" if redo else "Redo", action.trigger)
