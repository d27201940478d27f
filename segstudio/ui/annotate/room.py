"""Annotate: the canvas with its tools, the classes, the history."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import QColor, QImage, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QStackedWidget, QWidget

from segstudio.runtime.label_next import LabelNext
from segstudio.runtime.proposals import Proposals
from segstudio.ui.annotate.actions import ANNOTATE_ACTIONS
from segstudio.ui.annotate.canvas import AnnotateCanvas
from segstudio.ui.annotate.class_dock import ClassDock
from segstudio.ui.annotate.dock import LEAST_WIDTH, MOST_WIDTH, AnnotateDock
from segstudio.ui.annotate.ghost import Ghost
from segstudio.ui.annotate.ghost_layer import GhostLayer
from segstudio.ui.annotate.history_list import HistoryList
from segstudio.ui.annotate.label_next_order import LabelNextOrder
from segstudio.ui.annotate.option_bar import OptionBar
from segstudio.ui.annotate.overlay import Overlay
from segstudio.ui.annotate.proposal_dock import ProposalDock
from segstudio.ui.annotate.tool_column import TOOLS, ToolColumn
from segstudio.ui.canvas.layers import ImageLayer, LabelLayer
from segstudio.ui.canvas.tools.dragged_shape import DraggedShape, ellipse, lasso, rectangle
from segstudio.ui.canvas.tools.fill import FillTool
from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.canvas.tools.pen import PenTool
from segstudio.ui.canvas.tools.picker import PanTool, PickerTool, pick_at
from segstudio.ui.canvas.tools.polygon import PolygonTool
from segstudio.ui.canvas.tools.tool import Tool
from segstudio.ui.remembered import remember_later, settings
from segstudio.ui.room import Services
from segstudio.ui.widgets.empty_state import EmptyState

_DOCK, _DOCK_NARROW = 320, 264


class AnnotateRoom(QObject):
    """One of the four tabs (see `ui.room.Room`)."""

    title = "Annotate"
    icon = "annotate"
    key = "Alt+1"
    shows_filmstrip = True
    shows_problems = True

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._session = services.session
        self.state = PaintState(self._session, self)
        self.image_layer = ImageLayer(self)
        self.label_layer = LabelLayer(self)
        self.ghost_layer = GhostLayer(self)
        self.proposals: Proposals | None = None
        self.proposal_dock: ProposalDock | None = None
        self.label_next: LabelNextOrder | None = None
        self.overlay = Overlay(self.label_layer, self)
        self.tools: dict[str, Tool] = {
            "pan": PanTool(),
            "brush": PenTool(self.state),
            "eraser": PenTool(self.state, erases=True),
            "fill": FillTool(self.state),
            "polygon": PolygonTool(self.state),
            "lasso": DraggedShape(self.state, "lasso", lasso),
            "rectangle": DraggedShape(self.state, "rectangle", rectangle),
            "ellipse": DraggedShape(self.state, "ellipse", ellipse),
            "picker": PickerTool(self.state),
        }
        self._tool = ""
        self._tool_before = "brush"
        self._widget = _RoomWidget(self)

    # -- room protocol ---------------------------------------------------------------------------------

    def widget(self) -> QWidget:
        return self._widget

    def option_bar(self) -> QWidget | None:
        return self.options

    def activated(self) -> None:
        self.canvas.setFocus(Qt.FocusReason.OtherFocusReason)
        if self.label_next is not None:
            self.label_next.activated()

    def deactivated(self) -> None:
        if self.label_next is not None:
            self.label_next.deactivated()
        self._session.edits.cancel_stroke()

    def shut_down(self) -> None:
        """The window closes: no timer of a tool may reach the canvas any more."""
        self.canvas.set_tool(None)
        if self.proposals is not None:
            self.proposals.close()

    def status_hint(self) -> str:
        tool = self.tools[self._tool]
        if isinstance(tool, PenTool) and self._tool == "brush" and tool.erases_now:
            return "Drag erases while [Ctrl] is held · [Ctrl] [Alt] drag changes the size"
        return TOOLS[self._tool].hint

    # -- building --------------------------------------------------------------------------------------

    def parts(self) -> Iterator[None]:
        row = QHBoxLayout(self._widget)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self.column = ToolColumn()
        row.addWidget(self.column)
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.setHandleWidth(1)
        self._split.setChildrenCollapsible(False)
        row.addWidget(self._split, 1)
        yield
        self._stack = QStackedWidget()
        self._split.addWidget(self._stack)
        self._split.setStretchFactor(0, 1)
        self.canvas = AnnotateCanvas(self._services.viewport, self._small_picture)
        self.canvas.set_layers([self.image_layer, self.label_layer, self.ghost_layer])
        self._stack.addWidget(self.canvas)
        yield
        self._build_pages()
        yield
        self.options = OptionBar(self.state)
        self.options.show_overlay(self.overlay.percent, self.overlay.off)
        yield
        self.dock = AnnotateDock()
        self._split.addWidget(self.dock)
        self._split.splitterMoved.connect(lambda *_: remember_later("view.class_dock", self.dock.width()))
        self.classes = ClassDock(self._services, self.state)
        yield
        self.dock.add_classes(self.classes)
        yield
        self._build_proposals()
        yield
        self.dock.add_history(HistoryList(self._session))
        yield
        self._bind()
        self._follow_session()
        yield
        self.use_tool("brush")
        self._recolor()
        self._current_changed()
        self._labels_loaded()
        self._widget.follow_room()

    def _build_pages(self) -> None:
        """What stands where the canvas would, without an image that can be shown."""
        self._empty = EmptyState(
            "images",
            "No images yet",
            "They will appear here and in the strip below. Drop a folder anywhere.",
            button="Open a folder…",
            keys="Ctrl+O",
        )
        self._broken = EmptyState("warning", "This file cannot be shown", "")
        for page in (self._empty, self._broken):
            self._stack.addWidget(page)

    def _build_proposals(self) -> None:
        predictions, shelf = self._services.predictions, self._services.shelf
        if predictions is None or shelf is None:
            return
        self.proposals = Proposals(self._session, predictions, self)
        self.proposal_dock = ProposalDock(self._session, shelf, self.proposals, self.state)
        self.dock.add_proposal(self.proposal_dock)
        if self._services.filmstrip is not None:
            self.label_next = LabelNextOrder(
                self._session,
                LabelNext(self._session, predictions, self._services.jobs, self),
                shelf,
                self._services.filmstrip,
                self._services.status,
                self.proposal_dock,
                self,
            )

    def _bind(self) -> None:
        table = self._services.actions
        table.add(ANNOTATE_ACTIONS)
        for name in TOOLS:
            if name != "picker":
                table.bind(f"tool.{name}", lambda name=name: self.use_tool(name))
        table.bind("paint.larger", lambda: self.state.step_size(True))
        table.bind("paint.smaller", lambda: self.state.step_size(False))
        table.bind("paint.preserve", lambda: self.state.set_preserve(not self.state.preserve))
        table.list_held("paint.erase")
        table.list_held("overlay.hide")
        for digit in range(10):
            table.bind(f"class.{digit}", lambda digit=digit: self.classes.choose_key(str(digit)))
        table.bind("class.choose", self.classes.choose_by_name)
        table.bind("class.under", self._pick_under)
        table.bind("class.swap", self.state.swap_classes)
        table.bind("class.add", self.classes.add_class)
        if self.proposals is not None and self.proposal_dock is not None:
            ghost = Ghost(
                self._services, self.canvas, self.ghost_layer, self.proposals, self.proposal_dock, self
            )
            ghost.changed.connect(lambda: QTimer.singleShot(0, self, self.dock.fit_heights))
            table.bind("proposal.run", self.proposal_dock.run)
            table.bind("proposal.accept", self.proposal_dock.accept)
            table.bind("proposal.reject", self.proposal_dock.reject)
            if self.label_next is not None:
                table.bind("proposal.label_next", self.label_next.toggle)
            ghost.show()
        table.bind("overlay.less", lambda: self.overlay.step(-8))
        table.bind("overlay.more", lambda: self.overlay.step(8))
        self.column.tool_chosen.connect(self.use_tool)
        self.options.overlay_changed.connect(self.overlay.set_percent)
        self.options.overlay_toggled.connect(self.overlay.toggle)
        self.overlay.changed.connect(self.options.show_overlay)
        self.canvas.opacity_wheel.connect(lambda notch: self.overlay.step(4 * notch))
        self.canvas.hovered.connect(self._hovered)
        self._empty.clicked.connect(table.action("project.open").trigger)
        self.state.changed.connect(self._state_changed)
        self.state.protection_changed.connect(self._recolor)

    def _follow_session(self) -> None:
        session = self._session
        session.current_changed.connect(self._current_changed)
        session.images_changed.connect(self._show_page)
        session.image_ready.connect(self._image_ready)
        session.labels_loaded.connect(self._labels_loaded)
        session.labels_changed.connect(self.label_layer.update_labels)
        session.classes_changed.connect(self._recolor)
        session.history_changed.connect(self.dock.count_steps)
        session.undone.connect(lambda _tool, _index, rect, _redo: self.canvas.flash(rect))
        session.closed.connect(self._labels_loaded)

    def fit_dock(self, width: int) -> None:
        """The dock's usual width for a room this wide, or the one a person gave it."""
        usual = _DOCK_NARROW if width < 1300 else _DOCK
        dock = settings().get("view.class_dock", usual)
        dock = max(LEAST_WIDTH, min(MOST_WIDTH, dock))
        self._split.setSizes([max(64, self._split.width() - dock), dock])

    # -- tools -----------------------------------------------------------------------------------------

    @property
    def tool(self) -> str:
        """Name of the tool in hand."""
        return self._tool

    def use_tool(self, name: str) -> None:
        """Take a tool into the hand; the picker gives it back after one click."""
        if name == self._tool:
            return
        if self._tool not in ("picker", ""):
            self._tool_before = self._tool
        self._tool = name
        self.canvas.set_tool(self.tools[name])
        self.column.show_tool(name)
        self.options.show_tool(name)
        self._tell_hint()
        if name == "picker":
            self.state.class_picked.connect(self._picked)

    def _picked(self, _index: int) -> None:
        self.state.class_picked.disconnect(self._picked)
        if self._tool == "picker":
            QTimer.singleShot(0, self, lambda: self.use_tool(self._tool_before))

    def _pick_under(self) -> None:
        """C takes the class under the pointer at once; elsewhere the picker waits for a click."""
        cursor = self._services.viewport.cursor
        if cursor is not None:
            pick_at(self.state, cursor.x(), cursor.y())
        else:
            self.use_tool("picker")

    def _state_changed(self) -> None:
        tool = self.tools[self._tool] if self._tool else None
        erasing = isinstance(tool, PenTool) and self._tool == "brush" and tool.erases_now
        self.column.show_held("eraser" if erasing else "")
        if self._tool:
            self._tell_hint()
        self.canvas.update_overlay()

    def _tell_hint(self) -> None:
        """The room is made before anybody enters it; until then the first page's hint stands."""
        if self.canvas.isVisible():
            self._services.status.hint_changed.emit(self.status_hint())

    # -- what is shown ---------------------------------------------------------------------------------

    def _show_page(self) -> None:
        image = self._session.image
        if not self._session.images:
            self._stack.setCurrentWidget(self._empty)
        elif image is not None and image.problem is not None:
            error = image.problem
            self._broken.set_texts(error.what, " ".join(part for part in (error.where, error.action) if part))
            self._stack.setCurrentWidget(self._broken)
        else:
            self._stack.setCurrentWidget(self.canvas)

    def _current_changed(self) -> None:
        self._show_page()
        self.dock.count_steps()
        self.label_layer.set_labels(None)
        image, record = self._session.image, self._session.current
        if image is None or record is None:
            self.image_layer.set_levels([])
            return
        if image.levels:
            self._image_ready()
            return
        small = self._session.thumbnails.get(record.id)
        if small is not None and record.width and record.height:
            # The small picture at once, the sharp one when it is decoded.
            self._services.viewport.set_image_size(record.width, record.height, keep=True)
            self.image_layer.set_levels([small])

    def _image_ready(self) -> None:
        self._show_page()
        image = self._session.image
        if image is not None and image.levels:
            self._services.viewport.set_image_size(image.width, image.height, keep=True)
            self.image_layer.set_levels(image.levels)

    def _small_picture(self) -> QImage | None:
        """The smallest level there is of the image in front."""
        image = self._session.image
        return image.levels[-1] if image is not None and image.levels else None

    def _labels_loaded(self) -> None:
        labels = self._session.label_map
        self.label_layer.set_labels(None if labels is None else labels.array)
        self.dock.count_steps()

    def _recolor(self) -> None:
        classes = self._session.classes
        colors = [(0, 0, 0)] * (max((entry.id for entry in classes), default=-1) + 1)
        for entry in classes:
            colors[entry.id] = entry.color
        self.label_layer.set_colors(colors)
        self.ghost_layer.set_colors(colors)
        self.label_layer.set_hidden(self.state.hidden)

    def _hovered(self, pixel: tuple[int, int] | None) -> None:
        labels = self._session.label_map
        status = self._services.status
        if pixel is None or labels is None:
            status.pointed.emit(pixel, None)
            return
        index = int(labels.array[pixel[1], pixel[0]])
        entry = self._session.class_of(index)
        if entry is None:
            word = "Unlabelled" if index == labels.ignore else f"value {index}"
            status.pointed.emit(pixel, (word, None))
        else:
            status.pointed.emit(pixel, (entry.name, QColor(*entry.color)))


class _RoomWidget(QWidget):
    """Hears the keys the canvas leaves, wherever the focus is inside the room."""

    def __init__(self, room: AnnotateRoom) -> None:
        super().__init__()
        self._room = room
        self._is_made = False

    def follow_room(self) -> None:
        """The room is whole: it gets the widths that fit."""
        self._is_made = True
        self._fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self._room.canvas.setFocus(Qt.FocusReason.OtherFocusReason)
        elif not self._room.overlay.key_changed(event, True):
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if not self._room.overlay.key_changed(event, False):
            super().keyReleaseEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._is_made:
            self._fit()

    def _fit(self) -> None:
        self._room.fit_dock(self.width())
        self._room.dock.set_compact(self.window().height() < 850)
        QTimer.singleShot(0, self, self._room.dock.fit_heights)
