"""The page of networks in the real window: found, fetched over https, opened from a file, run in Compare."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QDeadlineTimer, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog, QLabel, QMenu

from segstudio.core.downloaded_weights import checkpoint_folder
from segstudio.core.errors import UserError
from segstudio.ui.main_window import MainWindow
from segstudio.ui.models.opening import networks_page
from segstudio.ui.models.page import NetworksPage
from segstudio.ui.models.table import COLUMNS, STANDING
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.card import NoticeCard
from tests.gui.conftest import is_in_front, labels_are_there, picture
from tests.shared_data import needs_shared, shared
from tests.worker.https_server import HttpsServer, https_server, published_plugin

WAIT = 120_000
LEFT = Qt.MouseButton.LeftButton


class Bench:
    """One window with all its processes, one server, for all tests of this file."""

    def __init__(self, window: MainWindow, server: HttpsServer) -> None:
        self.window = window
        self.server = server

    @property
    def page(self) -> NetworksPage:
        found = networks_page(self.window)
        assert found is not None
        return found

    def search(self, words: str) -> None:
        """Types into the search field, from nothing."""
        self.page.bar.clear()
        self.page.bar.search.setFocus()
        QTest.keyClicks(self.page.bar.search, words)

    def rows(self, column: str = "network") -> list[str]:
        model = self.page.table.networks
        return [str(model.index(row, COLUMNS.index(column)).data()) for row in range(model.rowCount())]

    def choose(self, checkpoint: str) -> None:
        """Clicks the row of a checkpoint of the small plugin."""
        self.search("tinny")  # a name it has by mistake
        self.page.table.scrollToTop()
        row = self.page.table.networks.row_of(f"tiny/plain@{checkpoint}")
        index = self.page.table.networks.index(row, 0)
        QTest.mouseClick(self.page.table.viewport(), LEFT, pos=self.page.table.visualRect(index).center())
        assert self.page.card.offer is not None and self.page.card.offer.key.endswith(checkpoint)

    def kind(self) -> str:
        offer = self.page.card.offer
        assert offer is not None and self.window.services is not None
        assert self.window.services.weights is not None
        return self.window.services.weights.standing(offer).kind

    def press(self, text: str) -> None:
        """Clicks the card's first button, which says `text`."""
        button = self.page.card.main
        assert (button.isVisible(), button.property("text")) == (True, text)
        QTest.mouseClick(button, LEFT)


def until(ready: Callable[[], bool], milliseconds: int = WAIT) -> None:
    deadline = QDeadlineTimer(milliseconds)
    while not ready():
        assert not deadline.hasExpired(), "waited too long"
        QTest.qWait(20)


@pytest.fixture(scope="module")
def bench(qapp: QApplication, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("networks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGSTUDIO_HOME", str(folder / "home"))
        with https_server(patch) as server:
            images = folder / "Pictures"
            images.mkdir()
            Image.fromarray(picture(96, 64)).save(images / "one.png")
            window = MainWindow(plugin_files=[published_plugin(folder, server)])
            window.resize(1280, 800)
            window.show()
            until(lambda: window.services is not None)
            shelf = window.services.shelf
            until(lambda: len(shelf.plugins) >= 4 and not shelf.is_listing)
            window.open(images)
            until(lambda: labels_are_there(window))
            yield Bench(window, server)
            window.close()
            window.shut_down()


@pytest.fixture(autouse=True)
def in_front(bench: Bench) -> None:
    """The page is open, as after Ctrl+M; every test starts with nothing fetched."""
    bench.server.hold_after = None
    bench.server.go_on.clear()
    bench.window.enter("Annotate")
    bench.window.actions_table.action("window.networks").trigger()
    for path in checkpoint_folder().iterdir():
        path.unlink()
    bench.window.services.weights.refresh()
    bench.page.bar.clear()


def test_the_page_opens_by_its_key_and_goes_by_escape(bench: Bench) -> None:
    window = bench.window
    QTest.keyClick(bench.page.bar.search, Qt.Key.Key_Escape)
    assert window.pages.currentWidget() is window.rooms
    window.activateWindow()
    until(window.isActiveWindow)
    QTest.keyClick(window, Qt.Key.Key_M, Qt.KeyboardModifier.ControlModifier)
    assert window.pages.currentWidget() is bench.page
    QTest.keyClicks(bench.page.bar.search, "ccnet")
    assert bench.page.bar.query == "ccnet", "the field has the focus"
    QTest.keyClick(bench.page.bar.search, Qt.Key.Key_Escape)
    assert bench.page.bar.query == "" and window.pages.currentWidget() is bench.page


@pytest.mark.parametrize(
    ("words", "system"),
    [
        ("PsNet", "PSANet"),
        ("pointnet", "PointRend"),
        ("criss-cross", "CCNet"),
        ("deep lab v3+", "DeepLabV3+"),
        ("Strudel", "Segmenter"),
        ("isanet", ""),
    ],
)
def test_networks_are_found_by_paper_author_and_wrong_name(bench: Bench, words: str, system: str) -> None:
    bench.search(words)
    offers = bench.page.table.networks.offers
    assert {offer.system for offer in offers} == ({system} if system else set())


def test_a_misspelt_name_is_put_right_by_one_click(bench: Bench) -> None:
    bench.search("danett")
    assert bench.rows() == []
    button = bench.page._empty.button
    assert button is not None and button.isVisible() and button.text() == "Search for DANet"
    QTest.mouseClick(button, LEFT)
    assert {offer.system for offer in bench.page.table.networks.offers} == {"DANet"}


def test_filters_narrow_the_list_and_every_published_checkpoint_is_in_it(bench: Bench) -> None:
    bar, model = bench.page.bar, bench.page.table.networks
    published = [offer for offer in model.offers if offer.checkpoint and "openmmlab" in offer.checkpoint.url]
    assert len(published) == 349
    QTest.keyClicks(bar.systems, "CCN")  # a list is chosen from by typing
    assert bar.system == "CCNet"
    bar.datasets.setCurrentText("ADE20K")
    assert bench.rows("dataset") == ["ADE20K"] * 4
    figures = [float(value) for value in bench.rows("miou")]
    head = bench.page.table.horizontalHeader()
    x = head.sectionViewportPosition(COLUMNS.index("miou")) + 20
    QTest.mouseClick(head.viewport(), LEFT, pos=QPoint(x, 12))
    assert [float(value) for value in bench.rows("miou")] == sorted(figures, reverse=True)
    bar.clear()
    QTest.mouseClick(bar.standings, LEFT, pos=bar.standings.rect_of(1).center())
    assert set(bench.rows("state")) == {"On this computer"}


def test_the_card_tells_paper_classes_licence_and_address(bench: Bench) -> None:
    bench.search("ccnet_r50-d8_512x1024_40k")
    card = bench.page.card
    until(lambda: any(label.text().startswith("SHA-256") for label in card.findChildren(QLabel)))
    words = " ".join(label.text() for label in card.findChildren(QLabel))
    for expected in (
        "CCNet: Criss-Cross Attention for Semantic Segmentation",
        "Huang",
        "ICCV, 2019",
        "19 classes",
        "not stated by the list",
        "key layout checked",
        "77.8, 78.9 multi-scale and flipped",
        "1024 × 512",
        "SHA-256 begins with 4123f401",
    ):
        assert expected in words
    copy = next(each for each in card.findChildren(IconButton) if "address of the file" in each.toolTip())
    QTest.mouseClick(copy, LEFT)
    assert QApplication.clipboard().text() == card.offer.checkpoint.url


def test_a_network_is_fetched_with_progress_and_runs_in_compare(bench: Bench) -> None:
    bench.choose("good")
    bench.server.hold_after = 1_500_000
    bench.press("Download")
    table = bench.page.table
    row = table.networks.row_of("tiny/plain@good")
    index = table.networks.index(row, COLUMNS.index("state"))
    until(lambda: (index.data(STANDING).fraction or 0) > 0.3)
    assert index.data().endswith(" %")
    job = bench.window.services.jobs.running[-1]
    assert job.title == "Fetch Tiny plain · Pascal VOC 2012" and "MB of" in job.text
    bench.server.go_on.set()
    until(lambda: bench.kind() == "here")
    assert bench.rows("state")[row] == "On this computer"
    bench.press("Show in Compare")
    until(lambda: is_in_front(bench.window, "Compare"))
    room = bench.window.rooms.current
    assert room.title == "Compare"
    (pane,) = [each for each in room.comparison.models if each.title == "Tiny plain · Pascal VOC 2012"]
    until(lambda: room.stage.result(pane) is not None)
    assert "aeroplane" in pane.runnable.class_names
    seen = np.unique(room.stage.result(pane).labels)
    names = {bench.window.services.predictions.space.get(int(value)).name for value in seen}
    assert names <= set(pane.runnable.class_names)
    room.comparison.remove(pane.number)


def test_cancel_keeps_the_part_and_resume_goes_on(bench: Bench) -> None:
    bench.choose("good")
    bench.server.hold_after = 1_000_000
    bench.server.ranges.clear()
    bench.press("Download")
    until(lambda: bench.kind() == "fetching")
    part = checkpoint_folder() / "good.pth.part"
    until(lambda: part.exists() and part.stat().st_size > 900_000)
    bench.press("Cancel")
    assert bench.page.card.main.property("text") == "Cancelling…"
    until(lambda: bench.kind() == "part")
    assert "were fetched earlier" in bench.page.card.words
    bench.server.hold_after = None
    bench.press("Resume")
    until(lambda: bench.kind() == "here")
    assert bench.server.ranges[0] is None and int(bench.server.ranges[-1].strip("bytes=-")) > 900_000


def test_a_wrong_file_and_no_connection_are_one_sentence_each(bench: Bench) -> None:
    bench.choose("wrong")
    bench.press("Download")
    until(lambda: bench.kind() == "failed")
    offer = bench.page.card.offer
    error = bench.window.services.weights.standing(offer).error
    assert error is not None and "not the published file" in error.what
    assert list(checkpoint_folder().iterdir()) == []
    content = bench.server.files.pop("good.pth")
    try:
        bench.choose("good")
        bench.press("Download")
        until(lambda: bench.kind() == "failed")
        error = bench.window.services.weights.standing(bench.page.card.offer).error
        assert str(checkpoint_folder() / "good.pth") in error.action
    finally:
        bench.server.files["good.pth"] = content
    bench.press("Try again")
    until(lambda: bench.kind() == "here")


@pytest.mark.qt_log_ignore("This plugin does not support")  # of the screen that is none, about pop-ups
def test_more_networks_stands_where_networks_are_chosen(bench: Bench) -> None:
    window = bench.window
    window.enter("Compare")
    until(lambda: is_in_front(window, "Compare"))
    room = window.rooms.current
    QTest.mouseClick(room.bar.add, LEFT)
    menu = room.bar.findChildren(QMenu)[-1]
    action = next(each for each in menu.actions() if each.text() == "More networks…")
    QTest.mouseClick(menu, LEFT, pos=menu.actionGeometry(action).center())
    assert window.pages.currentWidget() is bench.page
    menu.close()


def test_a_network_without_weights_goes_to_train(bench: Bench) -> None:
    bench.search("ocrnet_r50-d8")
    assert bench.kind() == "none"
    QTest.keyClick(bench.page.bar.search, Qt.Key.Key_Return)
    until(lambda: is_in_front(bench.window, "Train"))
    room = bench.window.rooms.current
    assert room.form.spec.id == "segstudio_zoo/ocrnet_r50-d8"


def test_a_plugin_that_cannot_run_says_why(bench: Bench) -> None:
    specs = [spec for spec in bench.window.services.shelf.specs if spec.unavailable]
    if not specs:
        pytest.skip("every plugin can run here")
    bench.search(specs[0].name)
    assert "Cannot run here" in bench.rows("state")
    assert specs[0].unavailable in bench.page.card.words
    assert not bench.page.card.main.isVisible()


def drop(bench: Bench, path: Path) -> None:
    """Drags a file over the middle of the page and lets it go."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    middle, copy, none = bench.page.rect().center(), Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(middle, copy, data, LEFT, none)
    QApplication.sendEvent(bench.page, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(bench.page, QDropEvent(QPointF(middle), copy, data, LEFT, none))


def test_a_dropped_file_that_is_no_weights_is_told_so(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "notes.pth"
    path.write_text("no weights at all")
    drop(bench, path)
    card = bench.page.file_card
    assert card.isVisible() and "Looking" in card.sentence
    until(lambda: not card.sentence)
    assert any("is no file of weights" in label.text() for label in card.findChildren(QLabel))
    QTest.keyClick(card, Qt.Key.Key_Escape)
    assert bench.page.card.isVisible()


def test_a_list_that_arrives_meanwhile_leaves_the_opened_file_in_front(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "notes.pth"
    path.write_text("no weights at all")
    drop(bench, path)
    card = bench.page.file_card
    bench.page.refresh()
    assert card.isVisible() and "Looking" in card.sentence
    until(lambda: not card.sentence)
    assert card.isVisible()
    QTest.keyClick(card, Qt.Key.Key_Escape)


@needs_shared
def test_a_file_of_a_foreign_network_gets_a_plain_sentence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared("data", "weights", "foreign_espnet", "espnet_p_2_q_8_camvid.pth")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    QTest.mouseClick(bench.page.bar.open, LEFT)
    card = bench.page.file_card
    until(lambda: card.sentence.startswith("None of the"))
    assert "has these" in card.sentence and not card.add.isVisible()


@needs_shared
def test_a_backbone_alone_says_what_it_is_good_for(bench: Bench) -> None:
    drop(bench, shared("data", "weights", "mobilenetv2_imagenet", "mobilenet_v2_imagenet.pth"))
    card = bench.page.file_card
    until(lambda: "without a head" in card.sentence)
    assert not card.add.isVisible()


@needs_shared
def test_real_weights_are_recognised_added_and_compared(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "voc.pth"
    shutil.copy(shared("data", "weights", "deeplabv3_mobilenetv2_voc", "deeplabv3_mobilenetv2_voc.pth"), path)
    drop(bench, path)
    card = bench.page.file_card
    until(card.add.isVisible)
    assert "DeepLabV3 · MobileNetV2" in card.sentence
    card.classes.setCurrentText("Pascal VOC")
    assert len(card.classes.currentText()) > 0
    QTest.mouseClick(card.add, LEFT)
    until(lambda: bench.page.card.isVisible() and bench.kind() == "here")
    bench.press("Show in Compare")
    until(lambda: is_in_front(bench.window, "Compare"))
    room = bench.window.rooms.current
    until(lambda: any(each.key.startswith(f"file:{path}") for each in room.comparison.models))
    pane = next(each for each in room.comparison.models if each.key.startswith(f"file:{path}"))
    until(lambda: room.stage.result(pane) is not None)
    assert pane.runnable.class_names[15] == "person"
    room.comparison.remove(pane.number)
    bench.window.actions_table.action("window.networks").trigger()
    bench.page.choose(f"file:{path}")
    QTest.mouseClick(bench.page.card._foot.second, LEFT)
    until(lambda: bench.page.table.networks.row_of(f"file:{path}") < 0)
    assert path.exists()


def test_the_narrowest_window_drops_columns_but_never_the_state(bench: Bench) -> None:
    table, before = bench.page.table, bench.window.size()
    bench.window.resize(1024, 680)
    until(lambda: bench.window.width() == 1024 and table.isColumnHidden(COLUMNS.index("crop")))
    head = table.horizontalHeader()
    state = COLUMNS.index("state")
    assert head.sectionViewportPosition(state) + 140 <= table.viewport().width()
    bench.window.resize(1920, 1080)
    until(lambda: not any(table.isColumnHidden(section) for section in range(len(COLUMNS))))
    bench.window.resize(before)


def visible_cards(bench: Bench) -> list[NoticeCard]:
    return [card for card in bench.page.findChildren(NoticeCard) if card.isVisible()]


def test_a_plugin_that_cannot_be_listed_has_its_card_above_the_list(bench: Bench) -> None:
    shelf = bench.window.services.shelf
    shelf.problems["broken"] = UserError("Plugin broken did not say which models it has")
    shelf.weights_changed()
    until(lambda: bool(visible_cards(bench)))
    (card,) = visible_cards(bench)
    assert card.mapTo(bench.page, QPoint()).y() < bench.page.table.y() + 200
    assert any("Plugin broken" in label.text() for label in card.findChildren(QLabel))
    del shelf.problems["broken"]
    shelf.weights_changed()
    until(lambda: not visible_cards(bench))
