"""What all painting tools share: class, size, tip, protection, and which classes are hidden or locked."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QRect, Signal
from PySide6.QtGui import QColor

from segstudio.core.edits import StrokeRecorder
from segstudio.core.label_map import Rect
from segstudio.runtime.painting import Ink, Tip
from segstudio.runtime.session import ProjectSession

SMALLEST, LARGEST = 1, 1000


class PaintState(QObject):
    """The painter's hand. `refused(class index)` when a locked class would have to change."""

    changed = Signal()
    size_changed = Signal(int)
    class_changed = Signal(int)
    protection_changed = Signal()
    refused = Signal(int)
    class_picked = Signal(int)

    def __init__(self, session: ProjectSession, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.tip: Tip = "round"
        self.preserve = False
        self.locked: frozenset[int] = frozenset()
        self.hidden: frozenset[int] = frozenset()
        self._size = 44
        self._class = -1
        self._before = -1
        session.classes_changed.connect(self._classes_changed)

    @property
    def size(self) -> int:
        """Diameter of the tip in image pixels, 1-1000."""
        return self._size

    def set_size(self, size: int) -> None:
        """Sizes outside 1-1000 are brought inside."""
        size = max(SMALLEST, min(LARGEST, size))
        if size != self._size:
            self._size = size
            self.size_changed.emit(size)
            self.changed.emit()

    def step_size(self, up: bool) -> None:
        """The next larger or smaller size; the step grows with the size."""
        step = max(1, self._size // 8)
        self.set_size(self._size + step if up else self._size - step)

    def set_tip(self, tip: Tip) -> None:
        """Round or square."""
        self.tip = tip
        self.changed.emit()

    def set_preserve(self, preserve: bool) -> None:
        """Whether only unlabelled pixels are painted on."""
        self.preserve = preserve
        self.protection_changed.emit()
        self.changed.emit()

    def set_locked(self, locked: frozenset[int]) -> None:
        """Classes whose pixels nothing changes."""
        self.locked = locked
        self.protection_changed.emit()

    def set_hidden(self, hidden: frozenset[int]) -> None:
        """Classes that are not drawn; their pixels still count and still can be painted over."""
        self.hidden = hidden
        self.protection_changed.emit()

    @property
    def class_index(self) -> int:
        """The class that is painted; -1 while the project has none."""
        return self._class

    def set_class(self, index: int) -> None:
        """Paint this class from the next stroke on."""
        if index != self._class and self.session.class_of(index) is not None:
            self._before, self._class = self._class, index
            self.class_changed.emit(index)
            self.changed.emit()

    def swap_classes(self) -> None:
        """Back to the class before this one."""
        if self.session.class_of(self._before) is not None:
            self.set_class(self._before)

    def pick(self, index: int) -> None:
        """The class under the pointer was picked."""
        self.set_class(index)
        self.class_picked.emit(index)

    def color(self) -> QColor:
        """Colour of the class in hand."""
        entry = self.session.class_of(self._class)
        return QColor(*entry.color) if entry is not None else QColor("#9A9A9A")

    def class_name(self) -> str:
        """Name of the class in hand, empty without one."""
        entry = self.session.class_of(self._class)
        return entry.name if entry is not None else ""

    def ink(self, *, erase: bool) -> Ink | None:
        """What the next stroke writes; None (with `refused`) where the class in hand is locked or missing."""
        labels = self.session.label_map
        if labels is None:
            return None
        if erase:
            only = frozenset({self._class}) if self.preserve else None
            return Ink(labels.ignore, self.locked, only)
        if not 0 <= self._class < labels.ignore:
            return None
        if self._class in self.locked:
            self.refused.emit(self._class)
            return None
        only = frozenset({labels.ignore}) if self.preserve else None
        return Ink(self._class, self.locked - {self._class}, only)

    def begin(self) -> StrokeRecorder | None:
        """Start a change of the image in front."""
        return self.session.edits.begin_stroke()

    def finish(self, tool: str, class_index: int) -> None:
        """Hand the change to the writer."""
        self.session.edits.finish_stroke(tool, class_index)

    def change(
        self, tool: str, class_index: int, work: Callable[[StrokeRecorder], object], *, pixels: int = -1
    ) -> bool:
        """One change at once, on a thread where it looks at more `pixels` than fit into a frame."""
        return self.session.edits.change(tool, class_index, work, pixels=pixels)

    def changed_labels(self, rect: Rect | None) -> None:
        """Pixels inside `rect` were written; canvases repaint them."""
        if rect is not None:
            self.session.labels_changed.emit(QRect(rect.x0, rect.y0, rect.width, rect.height))

    def _classes_changed(self) -> None:
        if self.session.class_of(self._class) is None:
            classes = self.session.classes
            self._class = classes[0].id if classes else -1
            self.class_changed.emit(self._class)
        self.changed.emit()
