"""The class section of the dock: its table, search, adding, renaming, recolouring, removing."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QColorDialog,
    QInputDialog,
    QLineEdit,
    QMenu,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from segstudio.core.records import UNLABELLED, LabelClass
from segstudio.core.taxonomies import default_palette, load_taxonomy, taxonomy_names
from segstudio.ui.annotate.class_table import NAME, ClassTable
from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.icons import icon
from segstudio.ui.room import Services
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.empty_state import EmptyState
from segstudio.ui.widgets.section import FoldSection

_KEYS = "1234567890"
_LEAST_ROWS = 4


class ClassDock(FoldSection):
    """Everything a person does to the class list; the list itself belongs to the project."""

    def __init__(self, services: Services, state: PaintState) -> None:
        super().__init__("Classes", key="classes")
        self._services = services
        self._session = services.session
        self._state = state
        self._most = 480
        self.table = ClassTable(self._session, state)
        self._search = QLineEdit()
        self._search.setPlaceholderText("Find a class")
        self._search.setProperty("tall", "24")
        self._search.setClearButtonEnabled(True)
        self._search.textChanged.connect(self.table.rows.set_pattern)
        self._search.returnPressed.connect(self._take_first)
        self._search.hide()
        empty = EmptyState(
            "annotate",
            "No classes yet",
            "What you paint needs a name and a colour. Ids are given once and never change.",
            button="Add a class",
            keys="Ctrl+Shift+A",
        )
        empty.clicked.connect(self.add_class)
        self._pages = QStackedWidget()
        self._pages.addWidget(self.table)
        self._pages.addWidget(empty)
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._search)
        column.addWidget(self._pages)
        self.set_body(body)
        for name, tip, action in (
            ("search", "Find a class  `", self.choose_by_name),
            ("plus", "Add a class  Ctrl+Shift+A", self.add_class),
        ):
            button = IconButton(name, tip)
            button.clicked.connect(action)
            self.add_action(button)
        more = IconButton("more", "More about classes")
        more.clicked.connect(lambda: self._menu(self._state.class_index, more.mapToGlobal(QPoint(0, 24))))
        self.add_action(more)
        self.table.class_chosen.connect(state.set_class)
        self.table.color_wanted.connect(self.recolor)
        self.table.menu_wanted.connect(self._menu)
        self._session.classes_changed.connect(self._refresh)
        self.table.rows.modelReset.connect(self._fit)
        self._refresh()

    # -- choosing --------------------------------------------------------------------------------------

    def choose_key(self, key: str) -> None:
        """The class whose key this is."""
        for entry in self._session.classes:
            if entry.key == key:
                self._state.set_class(entry.id)
                return

    def choose_by_name(self) -> None:
        """Show the search line; Enter takes the first match, Esc puts it away."""
        self.set_folded(False)
        shown = self._search.isHidden()
        self._search.setVisible(shown)
        self._fit()
        if shown:
            self._search.clear()
            self._search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        else:
            self._search.clear()

    def _take_first(self) -> None:
        entry = self.table.rows.class_at(0)
        if entry is not None:
            self._state.set_class(entry.id)
        self._search.clear()
        self._search.hide()
        self._fit()
        self.table.setFocus(Qt.FocusReason.OtherFocusReason)

    # -- changing --------------------------------------------------------------------------------------

    def add_class(self) -> None:
        """A new class with the next free id, colour and key; its name is edited in place."""
        classes = self._session.classes
        taken = {entry.id for entry in classes}
        number = next(index for index in range(65535) if index not in taken and index != 255)
        names = {entry.name for entry in classes}
        name = next(name for count in range(1, 9999) if (name := f"Class {count}") not in names)
        entry = LabelClass(number, name, self._free_color(), self._free_key())
        self._session.set_classes([*classes, entry])
        self._state.set_class(number)
        self.set_folded(False)
        row = self.table.rows.row_of(number)
        if row >= 0:
            self.table.edit(self.table.rows.index(row, NAME))

    def rename(self, index: int) -> None:
        """Edit the name in its row."""
        row = self.table.rows.row_of(index)
        if row >= 0:
            self.table.edit(self.table.rows.index(row, NAME))

    def recolor(self, index: int) -> None:
        """Ask for another colour."""
        entry = self._session.class_of(index)
        if entry is None:
            return
        color = QColorDialog.getColor(QColor(*entry.color), self, f"Colour of {entry.name}")
        if color.isValid():
            self.change(index, color=(color.red(), color.green(), color.blue()))

    def change(self, index: int, **fields: object) -> None:
        """Replace fields of one class (`name`, `color`, `key`, `ignore`, `aliases`)."""
        self._session.set_classes(
            [
                replace(entry, **fields) if entry.id == index else entry  # type: ignore[arg-type]
                for entry in self._session.classes
            ]
        )

    def set_key(self, index: int, key: str) -> None:
        """Give a class a key and take it from the class that had it."""
        self._session.set_classes(
            [
                replace(entry, key=key if entry.id == index else ("" if entry.key == key else entry.key))
                for entry in self._session.classes
            ]
        )

    def remove(self, index: int, into: int = UNLABELLED) -> None:
        """Take a class out of the list; its pixels become class `into` (-1 = unlabelled)."""
        project = self._session.project
        if project is not None:
            self._session.write(
                project.merge_classes, index, into, then=lambda _merge: self._session.reload()
            )

    def use_taxonomy(self, name: str) -> None:
        """Add the classes of a bundled list that the project does not have yet."""
        classes = list(self._session.classes)
        known = {entry.name.casefold() for entry in classes}
        taken = {entry.id for entry in classes}
        free_keys = [key for key in _KEYS if key not in {entry.key for entry in classes}]
        for entry in load_taxonomy(name).classes:
            if entry.name.casefold() in known:
                continue
            number = next(index for index in range(65535) if index not in taken and index != 255)
            taken.add(number)
            key = free_keys.pop(0) if free_keys else ""
            classes.append(LabelClass(number, entry.name, entry.color, key, False, entry.aliases))
        self._session.set_classes(classes)

    def _free_color(self) -> tuple[int, int, int]:
        used = {entry.color for entry in self._session.classes}
        count = len(used) + 1
        return next((color for color in default_palette(count + 11) if color not in used), (128, 128, 128))

    def _free_key(self) -> str:
        used = {entry.key for entry in self._session.classes}
        return next((key for key in _KEYS if key not in used), "")

    # -- menus and size --------------------------------------------------------------------------------

    def _menu(self, index: int, where: QPoint) -> None:
        menu = QMenu(self)
        entry = self._session.class_of(index)
        if entry is not None:
            menu.addAction(f"Rename {entry.name}").triggered.connect(lambda: self.rename(index))
            menu.addAction("Colour…").triggered.connect(lambda: self.recolor(index))
            keys = menu.addMenu("Key")
            for key in ("", *_KEYS):
                action = keys.addAction(key or "None")
                action.setCheckable(True)
                action.setChecked(entry.key == key)
                action.triggered.connect(lambda _on=False, key=key: self.set_key(index, key))
            action = menu.addAction("Leave out of measures and training")
            action.setCheckable(True)
            action.setChecked(entry.ignore)
            action.triggered.connect(lambda on: self.change(index, ignore=bool(on)))
            menu.addAction("Other names…").triggered.connect(lambda: self._ask_aliases(entry))
            merge = menu.addMenu("Merge into")
            for other in self._session.classes:
                if other.id != index:
                    merge.addAction(other.name).triggered.connect(
                        lambda _on=False, other=other.id: self.remove(index, other)
                    )
            menu.addAction("Remove, pixels become unlabelled").triggered.connect(lambda: self.remove(index))
            menu.addSeparator()
        menu.addAction(icon("plus", 14), "Add a class").triggered.connect(self.add_class)
        lists = menu.addMenu("Add the classes of")
        for name in taxonomy_names():
            title = load_taxonomy(name).title
            lists.addAction(title).triggered.connect(lambda _on=False, name=name: self.use_taxonomy(name))
        menu.addSeparator()
        menu.addAction("Show all").triggered.connect(lambda: self._state.set_hidden(frozenset()))
        menu.addAction("Unlock all").triggered.connect(lambda: self._state.set_locked(frozenset()))
        menu.popup(where)

    def _ask_aliases(self, entry: LabelClass) -> None:
        text, ok = QInputDialog.getText(
            self,
            "Other names",
            f"Other names of {entry.name}, with commas between:",
            text=", ".join(entry.aliases),
        )
        if ok:
            names = tuple(part.strip() for part in text.split(",") if part.strip())
            self.change(entry.id, aliases=names)

    def set_compact(self, compact: bool) -> None:
        """Rows of 24 px on small windows, else 26."""
        self.table.verticalHeader().setDefaultSectionSize(24 if compact else 26)
        self._fit()

    def _refresh(self) -> None:
        classes = self._session.classes
        self.set_count(str(len(classes)) if classes else "")
        self._pages.setCurrentIndex(0 if classes else 1)
        self._fit()

    def set_most(self, pixels: int) -> None:
        """How high the section may be with its header; with more rows the table scrolls."""
        if pixels != self._most:
            self._most = pixels
            self._fit()

    def _fit(self) -> None:
        """As high as its rows where there is room, never under four rows."""
        if not self._session.classes:
            self._pages.setFixedHeight(200)
            return
        row = self.table.verticalHeader().defaultSectionSize()
        taken = 32 + (0 if self._search.isHidden() else 26)
        room = self._most - taken
        self._pages.setFixedHeight(max(24 + _LEAST_ROWS * row, min(self.table.height_for_rows(), room)))
