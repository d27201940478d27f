"""The canvas: what it paints where, and how mouse and keys zoom, pan and reach the tool."""

from __future__ import annotations

import numpy as np
import pytest
import shiboken6
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, Qt
from PySide6.QtGui import QColor, QImage, QWheelEvent
from PySide6.QtWidgets import QApplication, QHBoxLayout, QWidget

from segstudio.ui.canvas import indexed_pictures
from segstudio.ui.canvas.frame import Frame
from segstudio.ui.canvas.heat_layer import HeatLayer, HeatScale
from segstudio.ui.canvas.indexed_pictures import OUTLINE, draw_outlined
from segstudio.ui.canvas.layers import ErrorLayer, ImageLayer, LabelLayer
from segstudio.ui.canvas.readout import Readout
from segstudio.ui.canvas.tools.tool import Tool, ToolEvent
from segstudio.ui.canvas.view import CanvasView
from segstudio.ui.canvas.viewport import Viewport

RED, GREEN = (255, 0, 0), (0, 255, 0)


def flat_image(width: int, height: int, value: int = 100) -> QImage:
    image = QImage(width, height, QImage.Format.Format_RGB32)
    image.fill(QColor(value, value, value))
    return image


def make_view(qtbot, layers, size=(200, 160), image=(100, 80), viewport=None) -> CanvasView:
    viewport = viewport or Viewport()
    view = CanvasView(viewport)
    view.setFixedSize(*size)
    viewport.set_image_size(*image)
    view.set_layers(layers)
    qtbot.addWidget(view)
    view.show()
    qtbot.waitExposed(view)
    return view


def colors(view: CanvasView) -> np.ndarray:
    """(H, W, 3) uint8 RGB as painted."""
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def wheel(view: CanvasView, position: QPointF, steps: int, modifiers=Qt.KeyboardModifier.NoModifier) -> None:
    delta = QPoint(0, 120 * steps)
    event = QWheelEvent(
        position,
        QPointF(view.mapToGlobal(position.toPoint())),
        QPoint(),
        delta,
        Qt.MouseButton.NoButton,
        modifiers,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(view, event)


def test_a_fitted_image_fills_the_view_and_follows_its_size(qtbot):
    view = make_view(qtbot, [])
    assert view.viewport.fitted
    assert view.viewport.scale == pytest.approx(2.0)
    view.setFixedSize(100, 100)
    qtbot.waitUntil(lambda: view.viewport.scale == pytest.approx(1.0))


def test_the_wheel_keeps_the_pixel_under_the_pointer(qtbot):
    view = make_view(qtbot, [], image=(1000, 800))
    at = QPointF(150, 40)
    before = view.to_image(at)
    wheel(view, at, 3)
    after = view.to_image(at)
    pixel = 1 / view.viewport.scale
    assert abs(after.x() - before.x()) <= pixel and abs(after.y() - before.y()) <= pixel
    assert not view.viewport.fitted


def test_zoom_snaps_to_100_percent_within_3_percent_and_can_leave_it():
    viewport = Viewport()
    viewport.set_image_size(4000, 3000)
    viewport.set_scale(0.975)
    assert viewport.scale == 1.0
    viewport.zoom(0.05)
    assert viewport.scale > 1.0
    viewport.set_scale(0.96)
    assert viewport.scale == pytest.approx(0.96)


def test_space_drag_and_middle_drag_pan_by_the_same_pixels(qtbot):
    view = make_view(qtbot, [], image=(1000, 800))
    view.viewport.set_scale(2.0)
    start = view.viewport.center
    qtbot.mousePress(view, Qt.MouseButton.MiddleButton, pos=QPoint(100, 80))
    qtbot.mouseMove(view, QPoint(80, 70))
    qtbot.mouseRelease(view, Qt.MouseButton.MiddleButton, pos=QPoint(80, 70))
    assert view.viewport.center - start == QPointF(10, 5)
    view.setFocus()
    qtbot.keyPress(view, Qt.Key.Key_Space)
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=QPoint(80, 70))
    qtbot.mouseMove(view, QPoint(100, 80))
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=QPoint(100, 80))
    qtbot.keyRelease(view, Qt.Key.Key_Space)
    assert view.viewport.center == start


def test_linked_views_share_zoom_and_cursor_in_one_frame(qtbot):
    viewport = Viewport()
    viewport.set_image_size(100, 80)
    box = QWidget()
    row = QHBoxLayout(box)
    seen: list[tuple[str, int, int]] = []
    views = []
    for name in "AB":
        view = CanvasView(viewport)
        view.set_cross(True)
        view.set_readout(lambda x, y, name=name: seen.append((name, x, y)) or Readout(name))
        row.addWidget(view)
        views.append(view)
    box.resize(420, 180)
    qtbot.addWidget(box)
    box.show()
    qtbot.waitExposed(box)
    seen.clear()
    order: list[str] = []
    for view, name in zip(views, "AB", strict=True):
        view.painted.connect(lambda name=name: order.append(name))
    qtbot.mouseMove(views[0], QPoint(60, 60))
    qtbot.waitUntil(lambda: {"A", "B"} <= set(order))
    pixel = viewport.cursor_pixel
    assert pixel is not None
    assert {entry[1:] for entry in seen} == {pixel}
    assert order.index("B") - order.index("A") in (-1, 1), "both views must be painted in one pass"


def test_labels_cover_exactly_their_pixels_from_200_percent(qtbot):
    labels = np.full((80, 100), 255, np.uint8)
    labels[10:20, 30:50] = 1
    layer = LabelLayer()
    layer.set_colors([RED, GREEN])
    layer.set_labels(labels)
    layer.set_opacity(1.0)
    image = ImageLayer()
    image.set_levels([flat_image(100, 80)])
    painted = colors(make_view(qtbot, [image, layer]))
    green = (painted == (0, 255, 0)).all(axis=2)
    expected = np.zeros((160, 200), bool)
    expected[20:40, 60:100] = True
    assert (green == expected).all()
    assert (painted[~green] == 100).all()


def test_a_stroke_repaints_only_its_rectangle(qtbot):
    labels = np.full((80, 100), 255, np.uint8)
    layer = LabelLayer()
    layer.set_colors([RED, GREEN])
    layer.set_labels(labels)
    view = make_view(qtbot, [layer])
    before = colors(view)
    regions: list[QRect] = []
    original = layer.render
    layer.render = lambda painter, frame, clip: (regions.append(clip), original(painter, frame, clip))[1]
    labels[40:44, 50:54] = 0
    with qtbot.waitSignal(view.painted):
        layer.update_labels(QRect(50, 40, 4, 4))
    assert len(regions) == 1
    assert regions[0].width() <= 16 and regions[0].height() <= 16
    changed = (colors(view) != before).any(axis=2)
    assert changed[80:88, 100:108].all()
    changed[80:88, 100:108] = False
    assert not changed.any()


def test_recolouring_hiding_and_isolating_a_class(qtbot):
    labels = np.zeros((80, 100), np.uint8)
    labels[:, 50:] = 1
    layer = LabelLayer()
    layer.set_colors([RED, GREEN])
    layer.set_labels(labels)
    layer.set_opacity(1.0)
    view = make_view(qtbot, [layer])
    assert tuple(colors(view)[80, 20]) == RED
    layer.set_colors([(0, 0, 255), GREEN])
    assert tuple(colors(view)[80, 20]) == (0, 0, 255)
    ground = tuple(colors(make_view(qtbot, []))[80, 20])
    layer.set_hidden({0})
    assert tuple(colors(view)[80, 20]) == ground
    layer.set_hidden(())
    layer.set_isolated(0)
    assert tuple(colors(view)[80, 180]) == ground


def test_the_outline_is_two_view_pixels_wide_at_every_zoom_and_not_round_ignore(qtbot):
    labels = np.zeros((800, 1000), np.uint8)
    labels[:, 500:] = 1
    labels[:100] = 255
    layer = LabelLayer()
    layer.set_colors([RED, GREEN])
    layer.set_labels(labels)
    view = make_view(qtbot, [layer], image=(1000, 800))
    for scale in (0.2, 1.0, 5.0):
        view.viewport.set_scale(scale)
        view.viewport.set_center(QPointF(500, 400))
        row = colors(view)[80].astype(int)
        plain_red, plain_green = row[5], row[-5]
        outlined = ~((row == plain_red).all(axis=1) | (row == plain_green).all(axis=1))
        assert outlined.sum() == 2
    view.viewport.set_scale(1.0)
    view.viewport.set_center(QPointF(200, 100))
    column = colors(view)[:, 50]
    assert len(np.unique(column, axis=0)) == 2, "only ground and area, no line where ignore begins"


def drawn_indices(monkeypatch, labels: np.ndarray, clip: QRect, **options) -> np.ndarray:
    """The indices that `draw_outlined` gives to the pixels of `clip` at 100 %."""
    height, width = labels.shape
    frame = Frame(
        scale=1.0, left=0, top=0, width=width, height=height, image_width=width, image_height=height
    )
    shown = np.full(labels.shape, 200, np.uint8)

    def draw(_painter, indices, _table, part: QRect) -> None:
        target = shown[part.top() : part.bottom() + 1, part.left() : part.right() + 1]
        assert (target == 200).all(), "no pixel twice"
        target[...] = indices

    monkeypatch.setattr(indexed_pictures, "draw_indexed", draw)
    draw_outlined(None, labels, frame, clip, [], **options)
    return shown[clip.top() : clip.bottom() + 1, clip.left() : clip.right() + 1]


@pytest.mark.parametrize("reach", [0, 1, 2])
@pytest.mark.parametrize("ignore", [255, 7])
def test_outlines_lie_on_both_sides_of_a_border_between_classes(reach, ignore, monkeypatch):
    values = np.array([0, 1, 2, 64, 125, ignore], np.uint8)
    labels = np.random.default_rng(reach).choice(values, (40, 50), p=[0.5, 0.1, 0.1, 0.05, 0.05, 0.2])
    shown = drawn_indices(monkeypatch, labels, QRect(5, 4, 40, 30), ignore=ignore, reach=reach)
    for y in range(30):
        for x in range(40):
            here = labels[y + 4, x + 5]
            around = [
                labels[y + 4 + dy, x + 5 + dx]
                for step in range(1, reach + 1)
                for dy, dx in ((step, 0), (-step, 0), (0, step), (0, -step))
            ]
            if here == ignore:
                assert shown[y, x] == 255
            else:
                border = any(other not in (here, ignore) for other in around)
                assert shown[y, x] == here + (OUTLINE if border else 0)


@pytest.mark.parametrize("reach", [0, 1, 2])
@pytest.mark.parametrize("radius", [300, 211, 190])
def test_a_big_disc_is_drawn_in_parts_that_show_the_same(reach, radius, monkeypatch):
    y, x = np.mgrid[:620, :640]
    labels = np.full((620, 640), 2, np.uint8)
    labels[(y - 310) ** 2 + (x - 320) ** 2 < radius**2] = 5
    clip = QRect(20, 10, 600, 600)
    shown = drawn_indices(monkeypatch, labels, clip, reach=reach)
    monkeypatch.setattr(indexed_pictures, "_WORTH_PARTS", 10**9)
    assert np.array_equal(shown, drawn_indices(monkeypatch, labels, clip, reach=reach))
    assert (shown >= OUTLINE).any() == (reach > 0)


def test_more_than_256_classes_are_shown(qtbot):
    labels = np.full((80, 100), 65535, np.uint16)
    labels[:, :50] = 300
    layer = LabelLayer()
    palette = [RED] * 400
    palette[300] = GREEN
    layer.set_colors(palette)
    layer.set_labels(labels)
    layer.set_opacity(1.0)
    view = make_view(qtbot, [layer])
    painted = colors(view)
    assert tuple(painted[80, 20]) == GREEN
    assert tuple(painted[80, 180]) == tuple(colors(make_view(qtbot, []))[80, 180])


def test_errors_show_the_predicted_class_and_leave_ignored_pixels_alone(qtbot):
    truth = np.zeros((80, 100), np.uint8)
    truth[:, 60:] = 255
    labels = np.zeros((80, 100), np.uint8)
    labels[:, 40:] = 1
    layer = ErrorLayer()
    layer.set_colors([RED, GREEN])
    layer.set_maps(labels, truth)
    painted = colors(make_view(qtbot, [layer]))
    ground = painted[80, 4]
    assert painted[80, 100, 1] > 200
    assert (painted[80, 150] == ground).all()
    assert (painted[80, 80] == 255).all(), "the border of a wrong region is white"


def test_heat_cells_are_drawn_at_their_stride_without_interpolation(qtbot):
    cells = np.zeros((10, 12), np.float32)
    cells[3, 4] = 1.0
    layer = HeatLayer()
    layer.set_cells(cells, stride=(8, 8))
    image = ImageLayer()
    image.set_levels([flat_image(100, 80)])
    painted = colors(make_view(qtbot, [image, layer]))
    hot = (painted != 100).any(axis=2)
    expected = np.zeros((160, 200), bool)
    expected[48:64, 64:80] = True
    assert (hot == expected).all(), "zero is the image itself, one cell covers 8 x 8 pixels"
    assert layer.cell_at(35.9, 24.1) == (3, 4)
    assert layer.cell_at(97.0, 10.0) is None


@pytest.mark.parametrize("kind", ["linear", "log", "clip"])
def test_heat_scales_are_monotone_and_clip_at_the_percentile(kind):
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    scale = HeatScale(kind, clip=90.0)
    top = scale.top_of(values)
    indices = scale.indices(values, top)
    assert (np.diff(indices.astype(int)) >= 0).all()
    assert indices[0] == 0 and indices[-1] == 255
    assert top == pytest.approx(0.9 if kind == "clip" else 1.0, abs=1e-3)


def test_signed_maps_are_symmetric_about_zero():
    scale = HeatScale()
    values = np.array([-2.0, -1.0, 0.0, 1.0], np.float32)
    indices = scale.indices(values, scale.top_of(values, signed=True), signed=True)
    assert indices[2] == 128
    assert 128 - indices[1] == pytest.approx(indices[3] - 128, abs=1)
    assert indices[0] == 1


class RecordingTool(Tool):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, float, float]] = []

    def press(self, event: ToolEvent) -> bool:
        self.events.append(("press", event.x, event.y))
        return True

    def move(self, event: ToolEvent) -> bool:
        self.events.append(("move", event.x, event.y))
        return True

    def release(self, event: ToolEvent) -> bool:
        self.events.append(("release", event.x, event.y))
        return True

    def key_press(self, view, event) -> bool:
        self.events.append(("key", event.key(), 0))
        return True


def test_the_tool_gets_press_move_release_and_keys_in_image_coordinates(qtbot):
    view = make_view(qtbot, [])
    tool = RecordingTool()
    view.set_tool(tool)
    view.setFocus()
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=QPoint(20, 40))
    qtbot.mouseMove(view, QPoint(60, 40))
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=QPoint(60, 42))
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert tool.events == [
        ("press", 10, 20),
        ("move", 30, 20),
        ("release", 30, 21),
        ("key", Qt.Key.Key_Escape, 0),
    ]


def test_alt_wheel_asks_for_opacity_and_does_not_zoom(qtbot):
    view = make_view(qtbot, [])
    scale = view.viewport.scale
    with qtbot.waitSignal(view.opacity_wheel) as asked:
        wheel(view, QPointF(50, 50), 1, Qt.KeyboardModifier.AltModifier)
    assert asked.args == [1]
    assert view.viewport.scale == scale


def test_the_picture_is_nearest_from_200_percent_with_a_grid_from_1600(qtbot):
    image = flat_image(100, 80, 0)
    image.setPixelColor(50, 40, QColor(255, 255, 255))
    layer = ImageLayer()
    layer.set_levels([image])
    view = make_view(qtbot, [layer])
    values = np.unique(colors(view)[..., 0])
    assert set(values) == {0, 255}, "at 200 % no value between the pixels' own"
    view.viewport.set_scale(16.0)
    view.viewport.set_center(QPointF(50.5, 40.5))
    row = colors(view)[80, :, 0]
    assert set(np.unique(row)) > {0, 255}, "grid lines lie between the pixels"


def test_a_panned_view_equals_a_fresh_one_also_when_labels_changed_meanwhile(qtbot):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (80, 100), np.uint8)
    image = QImage(100, 80, QImage.Format.Format_RGB32)
    for y in range(80):
        for x in range(100):
            image.setPixelColor(x, y, QColor(*(int(v) for v in rng.integers(0, 256, 3))))
    picture, overlay = ImageLayer(), LabelLayer()
    picture.set_levels([image])
    overlay.set_colors([RED, GREEN])
    overlay.set_labels(labels)
    for scale in (1.6, 4.0):
        view = make_view(qtbot, [picture, overlay])
        view.viewport.set_scale(scale)
        view.viewport.set_center(QPointF(50, 40))
        colors(view)
        view.viewport.pan(13, -7)
        labels[38:44, 50:56] ^= 1
        overlay.update_labels(QRect(50, 38, 6, 6))
        view.viewport.pan(-4, 3)
        panned = colors(view)
        view.invalidate()
        assert (colors(view) == panned).all()


def test_a_view_whose_viewport_is_gone_takes_no_events(qtbot):
    viewport = Viewport()
    view = make_view(qtbot, [ImageLayer()], viewport=viewport)
    qtbot.mouseMove(view, QPoint(60, 60))
    hovered = []
    view.hovered.connect(hovered.append)
    shiboken6.delete(viewport)
    QApplication.sendEvent(view, QEvent(QEvent.Type.Leave))
    qtbot.mouseMove(view, QPoint(70, 60))
    view.repaint()
    assert hovered == []


def test_labels_of_another_image_are_not_drawn_and_the_right_ones_are_afterwards(qtbot):
    layer, overlay = ImageLayer(), LabelLayer()
    layer.set_levels([flat_image(100, 80)])
    overlay.set_colors([RED])
    overlay.set_outline(False)
    view = make_view(qtbot, [layer, overlay])
    alone = colors(view)
    overlay.set_labels(np.zeros((20, 30), np.uint8))  # of the image that is still being decoded
    assert np.array_equal(colors(view), alone)
    overlay.set_labels(np.zeros((80, 100), np.uint8))
    assert (colors(view)[80, 100] != alone[80, 100]).any()


def test_a_layer_that_raises_costs_one_frame(qtbot):
    layer = ImageLayer()
    layer.set_levels([flat_image(100, 80)])
    view = make_view(qtbot, [layer])
    shown = colors(view)
    frame, kept = view.frame_now(), view._kept

    class Broken(ImageLayer):
        def render(self, painter, frame, clip):
            raise ValueError("a broken layer")

    kept.invalidate()
    with pytest.raises(ValueError, match="a broken layer"):
        kept.render(frame, [Broken()], QColor("black"), grid=False)
    assert np.array_equal(colors(view), shown)


def test_a_grey_picture_that_was_kept_is_the_one_that_is_made(qtbot):
    noise = np.random.default_rng(2).integers(0, 256, (80, 100, 4), dtype=np.uint8)
    layer = ImageLayer()
    layer.set_levels([QImage(noise.data, 100, 80, 400, QImage.Format.Format_RGB32).copy()])
    layer.set_grey(True, 0.5)
    view = make_view(qtbot, [layer])
    first = colors(view)
    view.invalidate()
    assert np.array_equal(colors(view), first)
    layer.set_grey(False)
    assert not np.array_equal(colors(view), first)
