"""The one action table: every verb a person has, with its key, from which everything else is made.

Menus, tool buttons, the key sheet and the command palette read this table; no widget owns a shortcut of its
own. A room adds its verbs with `ActionTable.add`. A verb nobody has bound yet does not exist for the person:
it has no key, no menu entry and no line in the palette.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction, QKeySequence


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One verb. `keys` are portable sequences ("Ctrl+Shift+Z"); the first is the one shown.

    `group` is its place in the key sheet, `scope` the room it belongs to ("" = everywhere). `held` marks a
    key that acts while it is down: it is listed, but its widget handles it. `icon` names a file in
    resources/icons; `hint` is one sentence.
    """

    id: str
    title: str
    keys: tuple[str, ...] = ()
    group: str = "Everywhere"
    hint: str = ""
    icon: str = ""
    scope: str = ""
    held: bool = False
    checkable: bool = False


GROUPS = ("Move", "Paint", "Classes", "See", "Models", "Everywhere")

WINDOW_ACTIONS: tuple[ActionSpec, ...] = (
    ActionSpec("image.next", "Next image", ("D", "PgDown"), "Move", icon="chevron-right"),
    ActionSpec("image.previous", "Previous image", ("A", "PgUp"), "Move", icon="chevron-left"),
    ActionSpec("image.next_unlabelled", "Next unlabelled image", ("Shift+D", "Shift+PgDown"), "Move"),
    ActionSpec("image.previous_unlabelled", "Previous unlabelled image", ("Shift+A", "Shift+PgUp"), "Move"),
    ActionSpec("image.mark_done", "Mark image as done", ("Ctrl+D",), "Move", icon="check"),
    ActionSpec("image.mark_check", "Mark image to check", ("Ctrl+Shift+D",), "Move", icon="warning"),
    ActionSpec("view.zoom_in", "Zoom in", ("+", "="), "Move", icon="zoom-in"),
    ActionSpec("view.zoom_out", "Zoom out", ("-",), "Move"),
    ActionSpec("view.fit", "Fit the image", ("Ctrl+0",), "Move", icon="fit"),
    ActionSpec("view.one_to_one", "One image pixel per screen pixel", ("Ctrl+1",), "Move"),
    ActionSpec("edit.undo", "Undo", ("Ctrl+Z",), icon="undo"),
    ActionSpec("edit.redo", "Redo", ("Ctrl+Shift+Z", "Ctrl+Y"), icon="redo"),
    ActionSpec("project.open", "Open a folder…", ("Ctrl+O",), icon="project"),
    ActionSpec("project.import", "Import labels…", ("Ctrl+I",), icon="import"),
    ActionSpec("project.export", "Export labels…", ("Ctrl+E",), icon="export"),
    ActionSpec("project.demo", "Open the demo", icon="play"),
    ActionSpec("project.close", "Close the project", ("Ctrl+W",), icon="close"),
    ActionSpec(
        "window.networks", "Networks and weights…", ("Ctrl+M",), "Models", "Find, fetch, open", "model"
    ),
    ActionSpec("window.palette", "Search or run a command", ("Ctrl+K",), icon="search"),
    ActionSpec("window.keys", "Keys", ("F1",), icon="keyboard"),
    ActionSpec("window.jobs", "Jobs", ("Ctrl+J",), icon="panel-right", checkable=True),
    ActionSpec("window.theme", "Switch between light and dark", ("Ctrl+Shift+L",), "See", icon="sun"),
    ActionSpec("window.filmstrip", "Fold the image strip", ("Ctrl+Shift+F",), "See", icon="images"),
    ActionSpec("window.settings", "Settings", ("Ctrl+,",), icon="settings"),
    ActionSpec("window.region", "Next region", ("F6",)),
    ActionSpec("window.quit", "Quit", ("Ctrl+Q",)),
)


class ActionTable(QObject):
    """All verbs of one window as QActions. `changed` comes when verbs appear, vanish or get other keys."""

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._specs: dict[str, ActionSpec] = {}
        self._actions: dict[str, QAction] = {}
        self._bound: set[str] = set()
        self._slots: dict[str, Callable[[], object]] = {}
        self._reasons: dict[str, str] = {}
        self._scope = ""
        self.add(WINDOW_ACTIONS)

    def add(self, specs: Iterable[ActionSpec]) -> None:
        """Put verbs into the table. Raises ValueError for an id that is taken by another verb."""
        for spec in specs:
            known = self._specs.get(spec.id)
            if known == spec:
                continue
            if known is not None:
                raise ValueError(f"the action {spec.id!r} exists already: {known.title!r}")
            action = QAction(spec.title, self)
            action.setObjectName(spec.id)
            action.setCheckable(spec.checkable)
            self._specs[spec.id] = spec
            self._actions[spec.id] = action
            self._refresh(spec.id)
        self.changed.emit()

    def bind(self, action_id: str, slot: Callable[[], object]) -> QAction:
        """Say what a verb does, and no longer what was said before; from now on it has its key.

        Raises KeyError for an unknown id.
        """
        action = self._actions[action_id]
        spec = self._specs[action_id]
        if action_id not in self._bound:
            self._bound.add(action_id)
            if not spec.held:
                action.setShortcuts([QKeySequence(keys) for keys in spec.keys])
        if action_id not in self._slots:
            action.triggered.connect(lambda _checked=False: self._slots[action_id]())
        self._slots[action_id] = slot
        self._refresh(action_id)
        return action

    def list_held(self, action_id: str) -> None:
        """A widget handles this held key: it shows in the key sheet. Raises KeyError for an unknown id."""
        self._specs[action_id]
        self._bound.add(action_id)

    def action(self, action_id: str) -> QAction:
        """The QAction of a verb. Raises KeyError for an unknown id."""
        return self._actions[action_id]

    def spec(self, action_id: str) -> ActionSpec:
        """The table's line of a verb. Raises KeyError for an unknown id."""
        return self._specs[action_id]

    def available(self) -> list[ActionSpec]:
        """The verbs that do something now or would in their room, in the order of the table."""
        return [spec for spec in self._specs.values() if spec.id in self._bound]

    def all_actions(self) -> list[QAction]:
        """Every QAction, for a window that has to hold them for their keys to work."""
        return list(self._actions.values())

    def enable(self, action_id: str, on: bool, *, why_not: str = "") -> None:
        """Switch a verb on or off; `why_not` is shown in its tooltip and in the palette."""
        self._reasons[action_id] = "" if on else (why_not or "Not possible now")
        self._refresh(action_id)

    def reason(self, action_id: str) -> str:
        """Why a verb is off, or an empty string."""
        return self._reasons.get(action_id, "")

    def set_scope(self, scope: str) -> None:
        """The room in front: only its keys and the window's own are alive."""
        if scope != self._scope:
            self._scope = scope
            for action_id in self._specs:
                self._refresh(action_id)

    def _refresh(self, action_id: str) -> None:
        spec, action = self._specs[action_id], self._actions[action_id]
        in_scope = spec.scope in ("", self._scope)
        reason = self.reason(action_id)
        action.setEnabled(action_id in self._bound and in_scope and not reason)
        keys = (
            QKeySequence(spec.keys[0]).toString(QKeySequence.SequenceFormat.NativeText) if spec.keys else ""
        )
        lines = [f"{spec.title}  {keys}".rstrip(), spec.hint, reason]
        action.setToolTip("\n".join(line for line in lines if line))
