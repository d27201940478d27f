"""The charts of the Train tab: when they load, what they draw, how fast, and two runs in one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel

from segstudio.core.resources import resource
from segstudio.runtime.run_history import Epoch, RunHistory, smoothed
from segstudio.ui import theme
from segstudio.ui.train.chart_data import Line, Mark, short_number
from segstudio.ui.train.charts import Charts
from segstudio.ui.train.check_panel import CheckPanel
from segstudio.ui.train.curve_chart import CurveChart
from segstudio.ui.train.legend import Legend
from tests.gui.conftest import enter

_LOADED = """
import json, sys
from segstudio.ui.application import make_application
from segstudio.ui.main_window import MainWindow
application = make_application()
window = MainWindow(engines=False)
window.show()
painted = []
window.painted.connect(lambda: painted.append("pyqtgraph" in sys.modules))
while not painted:
    application.processEvents()
window.complete()
from segstudio.ui.train.chart_data import Line
from segstudio.ui.train.charts import Charts
charts = Charts()
built = "pyqtgraph" in sys.modules
charts.loss.show_lines([], x_max=1)
empty = "pyqtgraph" in sys.modules
charts.loss.show_lines([Line("train", [0, 1], [1, 2])], x_max=1)
print(json.dumps([painted[0], built, empty, "pyqtgraph" in sys.modules]))
"""


def test_pyqtgraph_is_loaded_with_the_first_curve_and_not_before():
    run = subprocess.run(
        [sys.executable, "-c", _LOADED], capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(run.stdout.splitlines()[-1]) == [False, False, False, True]


@pytest.fixture
def chart(qtbot):
    made = CurveChart("Loss")
    qtbot.addWidget(made)
    made.resize(460, 200)
    made.show_lines([Line("train", [0, 5, 10], [1.0, 0.5, 0.1])], x_max=10)
    made.show()
    qtbot.waitExposed(made)
    return made


def count(widget, role: str) -> int:
    """Pixels of `widget` in a token's colour."""
    image = widget.grab().toImage()
    wanted = QColor(theme.color(role)).rgb()
    return sum(image.pixel(x, y) == wanted for x in range(image.width()) for y in range(image.height()))


def test_a_theme_change_recolours_what_is_drawn(chart):
    assert count(chart, "accent") > 100 and count(chart, "win") > 10_000
    before = theme.color("accent").name()
    theme.appearance().use("light")
    try:
        assert theme.color("accent").name() != before
        assert count(chart, "accent") > 100 and count(chart, "win") > 10_000
    finally:
        theme.appearance().use("dark")


def test_the_plot_has_neither_menu_nor_buttons_nor_a_mouse_of_its_own(chart):
    box = chart.plot.getPlotItem().getViewBox()
    before = box.viewRange()
    QTest.mouseClick(chart, Qt.MouseButton.RightButton, pos=QPoint(200, 90))
    assert QApplication.activePopupWidget() is None
    at = QPointF(200, 90)
    wheel = QWheelEvent(
        at,
        chart.mapToGlobal(at),
        QPoint(),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(chart, wheel)
    assert box.viewRange() == before
    assert chart.childAt(200, 90) is None  # presses reach the chart itself
    assert not chart.plot.getPlotItem().autoBtn.isVisible()


def test_the_pointer_reads_the_values_of_all_curves(chart):
    QTest.mouseMove(chart, QPoint(44 + 200, 90))
    assert chart.plot._readout.isVisible()
    assert chart.plot._readout.toPlainText().startswith("5.0 · train 0.50")


def test_the_read_out_stays_with_the_pointer_when_the_scale_changes(chart):
    at = QPoint(44 + 100, 90)
    QTest.mouseMove(chart, at)
    for log in (True, False):
        chart.set_log(log)
        readout = chart.plot._readout
        box = readout.mapRectToScene(readout.boundingRect())
        assert chart.plot.area().contains(box) and box.left() == pytest.approx(at.x() + 12, abs=1)


def test_a_loss_below_zero_is_drawn_whole_on_a_linear_scale(chart):
    chart.set_log(True)
    chart.show_lines([Line("train", [0, 5, 10], [0.4, -0.6, -1.4])], x_max=10)
    low, high = chart.plot.getPlotItem().getViewBox().viewRange()[1]
    assert low < -1.4 and high > 0.4 and not chart.fits_log
    chart.show_lines([Line("train", [0, 5, 10], [1.0, 0.1, 0.01])], x_max=10)
    assert chart.fits_log and chart.plot.getPlotItem().getAxis("left").logMode


def test_the_choice_of_a_scale_is_absent_where_a_loss_goes_below_zero(qtbot):
    charts = Charts()
    qtbot.addWidget(charts)
    charts.resize(1200, 300)
    charts.show()
    history = RunHistory()
    view = SimpleNamespace(name="run-0001", number=1, epochs=1, steps=2, is_pretraining=True)

    def tell(step: int, loss: float) -> None:
        event = {"kind": "step", "step": step, "losses": {"a": loss}, "loss": loss, "lr": 0.1}
        history.feed([{**event, "images_per_s": 2.0, "memory": 0}])
        charts.show_run(view, history)

    tell(1, 0.5)
    qtbot.waitUntil(lambda: len(charts.loss.lines) == 1)
    assert charts.scale.isVisible()
    tell(2, -9.0)
    qtbot.waitUntil(lambda: not charts.scale.isVisible())


def tick_texts(chart, side: str) -> list[str]:
    """The numbers an axis really draws: those without room are left out."""
    from PySide6.QtGui import QImage, QPainter

    axis = chart.plot.getPlotItem().getAxis(side)
    image = QImage(10, 10, QImage.Format.Format_ARGB32)
    painter = QPainter(image)
    drawn = [text for _, _, text in axis.generateDrawSpecs(painter)[2]]
    painter.end()
    return drawn


def test_axes_have_few_short_numbers(chart):
    assert tick_texts(chart, "bottom") == ["0", "2", "4", "6", "8", "10"]
    chart.set_log(True)
    assert tick_texts(chart, "left") == ["0.1", "0.2", "0.5", "1"]
    chart.set_log(False)
    chart.show_lines([Line("run", [1, 2, 3], [10.0, 60.0, 70.0])], x_max=3, from_zero=True)
    assert tick_texts(chart, "left")[0] == "0"
    assert tick_texts(chart, "bottom") == ["0", "1", "2", "3"]  # no half epochs
    assert [short_number(value) for value in (0.05, 12, 15_000, 3.1e9)] == ["0.05", "12", "15.0k", "3.1G"]
    exact = [short_number(value, exact=True) for value in (0.00312, 0.000251, 0.5, 71.26)]
    assert exact == ["0.00312", "2.51e-4", "0.500", "71.3"]


def test_a_loss_of_zero_or_nan_leaves_the_logarithmic_chart_standing(chart):
    chart.set_log(True)
    chart.show_lines([Line("train", [0, 1, 2, 3], [2.0, 0.0, float("nan"), 1.0])], x_max=3)
    low, high = chart.plot.getPlotItem().getViewBox().viewRange()[1]
    assert 0.5 < 10**low < 1.0 and 2.0 < 10**high < 3.0


def test_the_star_has_room_above_the_best_point(chart):
    line = Line("run 1", [1, 2, 3], [10.0, 98.0, 70.0])
    chart.show_lines([line], x_max=3, from_zero=True, mark=Mark(2, 98.0, "98.0 at 2"))
    plot = chart.plot
    peak = plot.getPlotItem().getViewBox().mapViewToScene(QPointF(2, 98.0)).y()
    words = plot._mark_words.mapRectToScene(plot._mark_words.boundingRect())
    assert plot.area().top() <= words.top() + 4 and words.bottom() < peak + 4


def test_the_star_of_the_last_epoch_is_whole(chart):
    line = Line("run 1", [1, 2, 3], [10.0, 70.0, 98.0])
    chart.show_lines([line], x_max=3, from_zero=True, mark=Mark(3, 98.0, "98.0 at 3"))
    plot = chart.plot
    x, y = plot._star.getData()
    centre = plot.getPlotItem().getViewBox().mapViewToScene(QPointF(x[0], y[0]))
    assert plot.area().left() + 6 <= centre.x() <= plot.area().right() - 6


# -- long runs -------------------------------------------------------------------------------------------


def long_history(seed: int) -> RunHistory:
    history = RunHistory()
    noise = np.random.default_rng(seed).random(100_000)
    for step in range(1, 100_001):
        history.loss.add(step, float(np.exp(-step / 3e4) + 0.1 + 0.2 * noise[step - 1]))
    history.epochs = [
        Epoch(n, 1000 * n, 0.1, 0.2 + 1 / n, 0.7 - 0.5 / n, (0.1,), 1.0, {}) for n in range(1, 101)
    ]
    return history


@pytest.mark.parametrize("smooth", [True, False])
def test_of_a_hundred_thousand_steps_no_more_points_are_drawn_than_can_be_seen(qtbot, smooth):
    charts = Charts()
    qtbot.addWidget(charts)
    charts.resize(1100, 260)
    charts.show()
    qtbot.waitExposed(charts)
    charts.set_smooth(smooth)
    view = SimpleNamespace(name="run-0001", number="1", epochs=100, steps=100_000, is_pretraining=False)
    history = long_history(0)
    charts.show_run(view, history)
    QApplication.processEvents()
    points = sum(len(part.curve.getData()[0]) for part in charts.loss.plot._curves)
    assert points < 12_000


def test_every_loss_has_a_curve_of_its_own(qtbot):
    charts = Charts()
    qtbot.addWidget(charts)
    charts.resize(800, 260)
    history = RunHistory()
    for step in range(1, 41):
        losses = {"decode.loss_ce": 1.0 / step, "aux.loss_ce": 0.4 / step}
        event = {"kind": "step", "step": step, "loss": sum(losses.values()), "losses": losses}
        history.feed([{**event, "lr": 0.1, "images_per_s": 2.0, "memory": 0}])
    view = SimpleNamespace(name="run-0001", number="1", epochs=4, steps=40, is_pretraining=False)
    charts.show_run(view, history)
    qtbot.waitUntil(lambda: [line.name for line in charts.loss.lines] == ["train"])
    charts.set_quantity("parts")
    charts.set_smooth(False)
    qtbot.waitUntil(lambda: len(charts.loss.lines) == 2)
    first, second = charts.loss.lines
    assert (first.name, second.name) == ("decode.loss_ce", "aux.loss_ce") and first.role != second.role
    np.testing.assert_allclose(np.asarray(second.y), 0.4 / np.arange(1, 41))
    np.testing.assert_allclose(np.asarray(second.x)[-1], 4.0)
    assert charts.loss_legend.accessibleName() == "decode.loss_ce, aux.loss_ce"
    charts.set_quantity("memory")
    qtbot.waitUntil(lambda: [line.name for line in charts.loss.lines] == ["run 1"])


def test_smoothing_is_the_recurrence_and_steps_over_what_is_no_number():
    values = np.random.default_rng(3).random(1000)
    values[[0, 300, 301, 999]] = np.nan
    average, mass, expected = 0.0, 0.0, []
    for value in values:
        known = np.isfinite(value)
        average = 0.9 * average + (0.1 * value if known else 0.0)
        mass = 0.9 * mass + (0.1 if known else 0.0)
        expected.append(average / mass if mass else np.nan)
    np.testing.assert_allclose(smoothed(values), expected, rtol=1e-9)
    whole = np.nan_to_num(values)
    np.testing.assert_allclose(smoothed(whole)[:2], [whole[0], (0.9 * whole[0] + whole[1]) / 1.9], rtol=1e-9)
    assert smoothed([]).shape == (0,)


# -- legend ------------------------------------------------------------------------------------------


def test_a_narrow_legend_shortens_strokes_first_and_then_the_longest_name(qtbot):
    legend = Legend()
    qtbot.addWidget(legend)
    legend.show_lines([Line(name, [0], [0]) for name in ("train", "validation", "run 12")])
    full = legend.sizeHint().width()
    assert legend.fitted(full) == (16, ["train", "validation", "run 12"])
    assert legend.fitted(full - 10) == (10, ["train", "validation", "run 12"])
    stroke, names = legend.fitted(full - 30)
    assert stroke == 10 and names[0] == "train" and names[2] == "run 12" and names[1].endswith("…")
    assert legend._needed(stroke, names) <= full - 30


# -- the room ----------------------------------------------------------------------------------------


def add_run(root, number: int, *, factor: float = 1.0, title: str = "", **state) -> None:
    """The demo's bundled run again under another number, with `factor` times its losses."""
    source = next(resource("demo", "runs").iterdir())
    folder = root / f"run-{number:04d}"
    shutil.copytree(source, folder)
    document = json.loads((folder / "state.json").read_text())
    document.update({"created": document["created"] + number, **state})
    (folder / "state.json").write_text(json.dumps(document))
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for event in events:
        if event["kind"] == "step":
            event["loss"] *= factor
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


@pytest.fixture
def room(make_window, make_folder, qtbot):
    """The Train tab at 1280x800 with three runs, the last of them failed."""
    window = make_window(make_folder())
    root = window.session.project.home / "runs"
    for number in (1, 2):
        add_run(root, number, factor=float(number))
    reason = "CUDA ran out of memory at step 361 of 880. Take a smaller crop or batch and resume the run."
    add_run(root, 3, state="failed", reason=reason)
    made = enter(qtbot, window, "Train")
    qtbot.waitUntil(lambda: len(window.services.runs.views) == 3)
    made.table.choose("run-0001")
    wait_for_lines(qtbot, made.progress.charts.loss, "train", "validation")
    return made


def wait_for_lines(qtbot, chart, *names: str) -> None:
    """A run's events are read on a thread, and its curves drawn in a turn of their own."""
    qtbot.waitUntil(lambda: [line.name for line in chart.lines] == list(names))


# What Qt's offscreen platform says of every menu that opens.
opens_menu = pytest.mark.qt_log_ignore("This plugin does not support (raise|grabbing the keyboard)")


def press_menu(room, qtbot, words: str) -> None:
    QTest.mouseClick(room.comparison.button, Qt.MouseButton.LeftButton)
    menu = room.comparison.menu
    qtbot.waitUntil(menu.isVisible)
    action = next(action for action in menu.actions() if action.text().startswith(words))
    QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())


@opens_menu
def test_a_second_run_is_drawn_dashed_with_its_own_legend_entry(room, qtbot):
    charts = room.progress.charts
    press_menu(room, qtbot, "Run 2")
    wait_for_lines(qtbot, charts.loss, "train", "validation", "run 2")
    train, _, other = charts.loss.lines
    assert (other.name, other.role, other.dashed) == ("run 2", "t3", True)
    np.testing.assert_allclose(np.asarray(other.y), 2 * np.asarray(train.y), rtol=1e-6)
    wait_for_lines(qtbot, charts.miou, "run 1", "run 2")
    assert charts.loss_legend.accessibleName() == "train, validation, run 2"
    pens = [curve.opts["pen"].style() for curve in charts.loss.plot._curves]
    assert pens == [Qt.PenStyle.SolidLine, Qt.PenStyle.SolidLine, Qt.PenStyle.CustomDashLine]
    assert room.comparison.button.isChecked()
    # The choice stays while another run comes to the front, and never compares a run with itself.
    room.table.choose("run-0003")
    wait_for_lines(qtbot, charts.miou, "run 3", "run 2")
    room.table.choose("run-0002")
    wait_for_lines(qtbot, charts.miou, "run 2")
    assert not room.comparison.button.isChecked()
    room.table.choose("run-0001")
    press_menu(room, qtbot, "Nothing")
    wait_for_lines(qtbot, charts.miou, "run 1")
    assert not room.comparison.button.isChecked()


@opens_menu
def test_the_legend_fits_beside_the_scale_at_1280(room, qtbot):
    press_menu(room, qtbot, "Run 2")
    charts = room.progress.charts
    wait_for_lines(qtbot, charts.loss, "train", "validation", "run 2")
    qtbot.waitUntil(lambda: charts.loss_legend.width() > 100)
    assert charts.orientation() == Qt.Orientation.Horizontal
    assert charts.loss_legend.fitted(charts.loss_legend.width())[1] == ["train", "validation", "run 2"]


def test_low_and_narrow_windows_stack_the_charts_and_leave_room_for_pictures(room, qtbot):
    room.widget().window().resize(1024, 700)
    charts, grid = room.progress.charts, room.progress.panel.grid
    qtbot.waitUntil(lambda: charts.orientation() == Qt.Orientation.Vertical)
    qtbot.waitUntil(lambda: grid.height() > 90)


def test_without_a_second_run_there_is_nothing_to_compare_with(make_window, make_folder, qtbot):
    window = make_window(make_folder())
    add_run(window.session.project.home / "runs", 1)
    room = enter(qtbot, window, "Train")
    qtbot.waitUntil(lambda: room.table.current == "run-0001")
    assert room.comparison.button.isHidden()


def test_a_long_reason_squeezes_no_figure(room, qtbot):
    room.table.choose("run-0003")
    detail = room.detail
    qtbot.waitUntil(lambda: detail._reason.isVisible())
    assert detail._reason.heightForWidth(detail._reason.width()) > 20  # more than a line at this width
    parts = [*detail._facts.values(), *detail._names.values()]
    qtbot.waitUntil(lambda: all(part.height() >= part.sizeHint().height() for part in parts))
    qtbot.waitUntil(lambda: detail._facts["Left"].text() == "15 min")  # its events are read on a thread
    assert detail._names["Left"].text() == "Took"


def test_space_plays_wherever_it_has_no_other_use(room, qtbot):
    scrubber = room.progress.panel.scrubber
    room.table.setFocus()
    QTest.keyClick(room.table, Qt.Key.Key_Space)
    assert scrubber.playing
    QTest.keyClick(room.table, Qt.Key.Key_Space)
    assert not scrubber.playing
    button = room.progress.panel.scrubber.best
    QTest.keyClick(button, Qt.Key.Key_Space)
    assert not scrubber.playing and room.progress.epoch == 19
    room.progress.filter.setFocus()
    QTest.keyClick(room.progress.filter, Qt.Key.Key_Space)
    assert room.progress.filter.text() == " " and not scrubber.playing


def test_the_words_that_ask_for_patience_go_when_the_report_comes(qtbot):
    panel = CheckPanel()
    qtbot.addWidget(panel)
    panel.show()
    finding = SimpleNamespace(level="ok", title="Labels", detail="12 of 12 have some", fix="", images=())
    panel.show_report(SimpleNamespace(findings=[finding]))

    def shown() -> list[str]:
        return [part.text() for part in panel.findChildren(QLabel) if part.isVisibleTo(panel)]

    assert "Looking at the labels…" not in shown()  # not even until the old row is deleted
    qtbot.waitUntil(lambda: shown() == ["Labels", "· 12 of 12 have some"])
